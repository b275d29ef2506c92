import asyncio

import asyncpg
import pytest

from rows import NOON_MS, Record
from teltonika_processor.codec.native import LAST_POSITION_COLUMNS, POSITION_COLUMNS
from teltonika_processor.errors import (
    SchemaMismatch,
    SinkFault,
    SinkUnavailable,
)
from teltonika_processor.store.columns import COLUMN_TYPES
from teltonika_processor.store.positions import PositionWriter
from waiting import eventually_async
from writing import write

DRIFTS = [
    ("positions ALTER angle_deg TYPE smallint", "positions.angle_deg is smallint instead of inte"),
    ("positions ALTER altitude_m TYPE integer", "positions.altitude_m is integer instead of smal"),
    (
        "positions ALTER received_at TYPE timestamptz(0)",
        r"positions.received_at is timestamp\(0\) with time zone instead of timestamp with time",
    ),
    ("positions ALTER io TYPE text", "positions.io is text instead of jsonb or json"),
    (
        "positions DROP clock_suspect CASCADE",
        "positions.clock_suspect is missing instead of boolean",
    ),
    ("last_position ALTER speed_kmh TYPE bigint", "last_position.speed_kmh is bigint instead of"),
]


def test_every_column_written_has_a_type() -> None:
    assert tuple(COLUMN_TYPES) == POSITION_COLUMNS
    assert set(LAST_POSITION_COLUMNS) <= set(POSITION_COLUMNS)


@pytest.mark.parametrize(("alteration", "said"), DRIFTS)
async def test_a_column_of_another_type_is_a_schema_that_does_not_fit(
    writer: PositionWriter, admin: asyncpg.Connection, alteration: str, said: str
) -> None:
    await admin.execute(f"ALTER TABLE {alteration}")
    with pytest.raises(SchemaMismatch, match=said):
        await write(writer, Record())
    assert await admin.fetchval("SELECT count(*) FROM positions") == 0


@pytest.mark.parametrize(("alteration", "said"), [DRIFTS[0], DRIFTS[1], DRIFTS[4]])
async def test_a_type_altered_under_an_open_session_is_named_by_the_next_try(
    writer: PositionWriter, admin: asyncpg.Connection, alteration: str, said: str
) -> None:
    await write(writer, Record())
    await admin.execute(f"ALTER TABLE {alteration}")
    later = Record(digest=2, recorded_at_ms=NOON_MS + 1)

    async def write_twice() -> None:
        try:
            await write(writer, later)
        except SinkUnavailable:
            await write(writer, later)

    with pytest.raises(SchemaMismatch, match=said):
        await write_twice()
    assert await admin.fetchval("SELECT count(*) FROM positions") == 1


@pytest.mark.parametrize("redelivered", [False, True])
async def test_a_column_that_wants_a_value_we_do_not_have_rejects_no_row(
    writer: PositionWriter, admin: asyncpg.Connection, *, redelivered: bool
) -> None:
    await admin.execute("ALTER TABLE positions ADD COLUMN tenant int NOT NULL")
    with pytest.raises(SchemaMismatch, match=r'23502 .*"tenant"'):
        await write(writer, Record(), redelivered=redelivered)


async def test_a_column_of_the_operators_with_a_default_gets_it_on_either_path(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    for table in ("positions", "last_position"):
        await admin.execute(f"ALTER TABLE {table} ADD COLUMN tenant int NOT NULL DEFAULT 7")
    await write(writer, Record(digest=1))
    await write(writer, Record(digest=2), redelivered=True)
    found = await admin.fetch(
        "SELECT tenant FROM positions UNION ALL SELECT tenant FROM last_position"
    )
    assert [row["tenant"] for row in found] == [7, 7, 7]


@pytest.mark.parametrize("redelivered", [False, True])
async def test_io_altered_to_text_under_an_open_session_stores_nothing_and_stops(
    writer: PositionWriter, admin: asyncpg.Connection, *, redelivered: bool
) -> None:
    """Binary jsonb is text as well, but for its first byte."""
    await write(writer, Record(digest=1), redelivered=redelivered)
    await admin.execute("ALTER TABLE positions ALTER io TYPE text")
    for _ in range(2):
        with pytest.raises(SchemaMismatch, match=r"positions\.io is text instead of jsonb or json"):
            await write(writer, Record(digest=2), redelivered=redelivered)
    assert await admin.fetchval("SELECT count(*) FROM positions") == 1


@pytest.mark.parametrize("redelivered", [False, True])
@pytest.mark.parametrize(("before", "after"), [("jsonb", "json"), ("json", "jsonb")])
async def test_io_altered_under_an_open_session_is_noticed_at_once_and_written_on(
    writer: PositionWriter,
    admin: asyncpg.Connection,
    before: str,
    after: str,
    *,
    redelivered: bool,
) -> None:
    await admin.execute(f"ALTER TABLE positions ALTER io TYPE {before}")
    await write(writer, Record(digest=1), redelivered=redelivered)
    await admin.execute(f"ALTER TABLE positions ALTER io TYPE {after}")
    with pytest.raises(SinkUnavailable, match=r"type of positions\.io changed") as caught:
        await write(writer, Record(digest=2), redelivered=redelivered)
    assert not isinstance(caught.value, SinkFault)
    receipt = await write(writer, Record(digest=2), redelivered=redelivered)
    assert receipt.n_stored == 1
    assert await admin.fetchval("SELECT io::text FROM positions WHERE digest = 2") in {
        '{"1":1,"239":255}',
        '{"1": 1, "239": 255}',
    }


async def test_io_is_not_altered_between_the_look_at_it_and_its_rows(
    writer: PositionWriter, admin: asyncpg.Connection, observer: asyncpg.Connection
) -> None:
    await write(writer, Record(digest=1))
    assert writer._session is not None
    session = writer._session.connection
    await session.execute(writer._session.paths.direct)
    altering = asyncio.create_task(admin.execute("ALTER TABLE positions ALTER io TYPE text"))
    waits = "SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
    await eventually_async(lambda: observer.fetchval(waits, admin.get_server_pid()))
    await session.execute("INSERT INTO positions SELECT * FROM positions ON CONFLICT DO NOTHING")
    await session.execute("COMMIT")
    assert await altering == "ALTER TABLE"


@pytest.mark.parametrize("sqlstate", ["XX000", "72000"])
async def test_a_fault_of_the_servers_with_tables_as_they_were_stays_one(
    writer: PositionWriter, admin: asyncpg.Connection, sqlstate: str
) -> None:
    await write(writer, Record(digest=1))
    await admin.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$BEGIN RAISE EXCEPTION 'bug' USING ERRCODE = '{sqlstate}'; END$$"
    )
    await admin.execute(
        "CREATE TRIGGER fail BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    with pytest.raises(SinkFault, match=f"{sqlstate} bug") as caught:
        await write(writer, Record(digest=2))
    assert caught.value.sqlstate == sqlstate

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from rows import DAY_MS, NOON_MS, BuiltRows, Record, rows
from teltonika_processor.codec.native import LAST_POSITION_COLUMNS, POSITION_COLUMNS
from teltonika_processor.embedded import EmbeddedPostgres
from teltonika_processor.errors import (
    DayUnavailable,
    SchemaMismatch,
    SinkRejected,
    SinkTooSlow,
    SinkUnavailable,
)
from teltonika_processor.store.accounts import accounts_session
from teltonika_processor.store.columns import COLUMN_TYPES
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.migrate import migrate
from teltonika_processor.store.positions import PositionWriter, Receipt, SharedState
from teltonika_processor.store.queries import CLEAR_SUSPECTS, END_STALE_SESSIONS, ENSURE_DAYS
from waiting import eventually_async

SEED = int(os.environ.get("TEST_SEED", "20261122"))

IMEI = Record().imei
FUTURE_MS = NOON_MS + 30 * DAY_MS

Open = Callable[..., PositionWriter]


@pytest.fixture
async def dsn(database: str) -> str:
    await migrate(database)
    return database


@pytest.fixture
async def admin(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, server_settings={"application_name": "report"})
    yield connection
    await connection.close()


@pytest.fixture
async def observer(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Outside of every transaction, since one sees the same sessions for as long as it lasts."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def frozen(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session of an instance that does nothing more; ended here if no writer did."""
    name = {"application_name": "teltonika-processor/frozen"}
    connection = await asyncpg.connect(dsn, server_settings=name)
    yield connection
    connection.terminate()


@pytest.fixture
async def open_writer(dsn: str) -> AsyncIterator[Open]:
    opened: list[PositionWriter] = []
    shared = SharedState()

    def open_one(
        *,
        own_state: bool = False,
        address: str = dsn,
        clock: Callable[[], float] = time.monotonic,
        **config: Any,
    ) -> PositionWriter:
        session = SessionConfig(dsn=address, instance=f"test-{len(opened)}", **config)
        state = SharedState() if own_state else shared
        writer = PositionWriter(session, state, clock=clock, wall_clock=lambda: NOON_MS / 1000)
        opened.append(writer)
        return writer

    yield open_one
    for writer in opened:
        await writer.close()


@pytest.fixture
def writer(open_writer: Open) -> PositionWriter:
    return open_writer()


async def write(writer: PositionWriter, *records: Record, redelivered: bool = False) -> Receipt:
    return await writer.write(BuiltRows(records), redelivered=redelivered)


async def stored(connection: asyncpg.Connection) -> list[tuple[int, bool]]:
    """(digest, clock_suspect) of every row, by digest."""
    found = await connection.fetch("SELECT digest, clock_suspect FROM positions ORDER BY digest")
    return [tuple(row) for row in found]


async def partition_of(connection: asyncpg.Connection, digest: int) -> str:
    name = await connection.fetchval(
        "SELECT tableoid::regclass::text FROM positions WHERE digest = $1", digest
    )
    return str(name)


async def last_digest(connection: asyncpg.Connection) -> int | None:
    found: int | None = await connection.fetchval("SELECT digest FROM last_position")
    return found


async def waiting_pid(observer: asyncpg.Connection) -> int | None:
    """The session of the writer, once it waits for a lock in the middle of its COPY."""
    found: int | None = await observer.fetchval(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'teltonika-processor/test-0'"
        " AND wait_event_type = 'Lock' AND query LIKE 'COPY%' AND datname = current_database()"
    )
    return found


async def hold_key(connection: asyncpg.Connection, record: Record) -> None:
    """Insert a row of the same key and leave the transaction open."""
    await connection.execute("BEGIN")
    await connection.execute(
        "INSERT INTO positions VALUES ($1, to_timestamp($2::float8 / 1000), $3, now(), 0, 0, 0, 0,"
        " 0, 0, 0, 0, NULL, false, '{}')",
        *record.key,
    )


# What a row looks like


async def test_a_record_is_stored_with_every_value_in_its_unit(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    record = Record(altitude_m=-12, digest=-5, generation_type=3, io='{"16":18446744073709551615}')
    assert await write(writer, record) == Receipt(1, 0, staged=False)
    found = await admin.fetchrow(
        "SELECT imei, recorded_at::text, digest, received_at::text, longitude, latitude,"
        " altitude_m, angle_deg, satellites, speed_kmh, priority, event_io_id, generation_type,"
        " clock_suspect, io::text FROM positions"
    )
    assert tuple(found) == (
        352093081452251,
        "2026-11-22 12:00:00+00",
        -5,
        "2026-11-22 12:00:01+00",
        25.2797,
        54.6872,
        -12,
        90,
        9,
        50,
        1,
        239,
        3,
        False,
        '{"16": 18446744073709551615}',
    )


async def test_no_rows_are_no_transaction(writer: PositionWriter) -> None:
    assert await writer.write(rows()) == Receipt(0, 0, staged=False)
    assert writer._session is None


async def test_a_json_column_is_written_as_json(
    open_writer: Open, admin: asyncpg.Connection
) -> None:
    await admin.execute("ALTER TABLE positions ALTER COLUMN io TYPE json")
    writer = open_writer()
    record = Record(io='{"1":1,  "1":2}')
    await write(writer, record)
    await write(writer, record, Record(digest=2))
    assert await admin.fetchval("SELECT io::text FROM positions WHERE digest = 1") == record.io


async def test_a_column_altered_under_an_open_session_rejects_no_row(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    for number, io_type in enumerate(("jsonb", "json", "jsonb"), start=1):
        await admin.execute(f"ALTER TABLE positions ALTER COLUMN io TYPE {io_type}")
        record = Record(digest=number)
        if number > 1:
            with pytest.raises(SinkUnavailable):
                await write(writer, record)
        await write(writer, record)
    assert len(await stored(admin)) == 3


# Tables that are not ours any more

DRIFTS = [
    ("positions ALTER angle_deg TYPE smallint", "positions.angle_deg is smallint instead of inte"),
    ("positions ALTER altitude_m TYPE integer", "positions.altitude_m is integer instead of smal"),
    (
        "positions ALTER received_at TYPE timestamptz(0)",
        r"positions.received_at is timestamp\(0\) with time zone instead of timestamp with time",
    ),
    ("positions ALTER io TYPE text", "positions.io is text instead of jsonb or json"),
    ("positions DROP clock_suspect", "positions.clock_suspect is missing instead of boolean"),
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


# Each record once


async def test_the_same_batch_again_stores_nothing(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    batch = [Record(digest=n) for n in range(5)]
    assert await write(writer, *batch) == Receipt(5, 0, staged=False)
    assert await write(writer, *batch) == Receipt(0, 5, staged=True)
    assert len(await stored(admin)) == 5


async def test_copies_inside_the_batch_and_stored_before_are_duplicates(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    old, new, twice = (Record(digest=n) for n in (1, 2, 3))
    await write(writer, old)
    assert await write(writer, old, new, twice, twice) == Receipt(2, 2, staged=True)
    assert await stored(admin) == [(1, False), (2, False), (3, False)]


async def test_a_retransmission_into_a_renamed_partition_is_a_duplicate(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record())
    await admin.execute("ALTER TABLE positions_20261122 RENAME TO positions_sunday")
    assert await write(writer, Record(), Record(digest=2)) == Receipt(1, 1, staged=True)


async def test_after_a_duplicate_the_staged_path_is_kept_for_a_while_only(
    writer: PositionWriter,
) -> None:
    await write(writer, Record(digest=0))
    receipts = [await write(writer, Record(digest=n)) for n in (0, 1, 2, 3, 4, 5)]
    assert [receipt.staged for receipt in receipts] == [True, True, True, True, True, False]


async def test_redelivered_rows_are_staged_at_once(writer: PositionWriter) -> None:
    receipt = await write(writer, Record(), redelivered=True)
    assert receipt == Receipt(1, 0, staged=True)
    assert await write(writer, Record(digest=2)) == Receipt(1, 0, staged=False)


async def test_two_records_of_one_millisecond_both_stay(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    assert await write(writer, Record(digest=7), Record(digest=-7)) == Receipt(2, 0, staged=False)
    assert await stored(admin) == [(-7, False), (7, False)]


async def test_two_writers_with_the_same_rows_in_other_batches_store_each_once(
    open_writer: Open, admin: asyncpg.Connection
) -> None:
    print(f"TEST_SEED={SEED}")  # noqa: T201 -- to repeat a failure
    rng = random.Random(SEED)
    writers = [open_writer() for _ in range(3)]
    for n_round in range(8):
        start_ms = NOON_MS + n_round * 4 * DAY_MS
        records = [
            Record(
                imei=rng.randrange(1, 6),
                recorded_at_ms=start_ms + rng.randrange(3) * DAY_MS + rng.randrange(50),
                received_at_ms=start_ms + 3 * DAY_MS,
                digest=rng.randrange(-2, 2),
            )
            for _ in range(300)
        ]
        n_distinct = len({record.key for record in records})

        async def write_all(writer: PositionWriter, batches: Sequence[BuiltRows]) -> int:
            receipts = [await writer.write(batch) for batch in batches]
            return sum(receipt.n_stored for receipt in receipts)

        shuffled = [rng.sample(records, len(records)) for _ in writers]
        batches = [[BuiltRows(part[i : i + 75]) for i in range(0, 300, 75)] for part in shuffled]
        counts = await asyncio.gather(*map(write_all, writers, batches))
        assert sum(counts) == n_distinct
        in_window = "SELECT count(*) FROM positions WHERE recorded_at >= to_timestamp($1::float8)"
        assert await admin.fetchval(in_window, start_ms / 1000) == n_distinct


# A record is suspect only if every copy of it is


@pytest.mark.parametrize("redelivered", [False, True])
async def test_a_sane_copy_clears_a_suspect_one(
    writer: PositionWriter, admin: asyncpg.Connection, *, redelivered: bool
) -> None:
    ahead = Record(recorded_at_ms=FUTURE_MS, clock_suspect=True)
    sane = Record(recorded_at_ms=FUTURE_MS, received_at_ms=FUTURE_MS)
    await write(writer, ahead)
    assert await last_digest(admin) is None
    assert await write(writer, sane, redelivered=redelivered) == Receipt(0, 1, staged=True)
    assert await stored(admin) == [(1, False)]
    assert await partition_of(admin, 1) == "positions_20261222"
    assert await last_digest(admin) == 1


@pytest.mark.parametrize("redelivered", [False, True])
async def test_a_suspect_copy_leaves_a_sane_one(
    writer: PositionWriter, admin: asyncpg.Connection, *, redelivered: bool
) -> None:
    ahead = Record(recorded_at_ms=FUTURE_MS, clock_suspect=True)
    sane = Record(recorded_at_ms=FUTURE_MS, received_at_ms=FUTURE_MS)
    await write(writer, sane)
    assert await write(writer, ahead, redelivered=redelivered) == Receipt(0, 1, staged=True)
    assert await stored(admin) == [(1, False)]


async def test_a_sane_copy_clears_only_its_own_record(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    suspects = [Record(recorded_at_ms=FUTURE_MS, digest=n, clock_suspect=True) for n in (1, 2)]
    await write(writer, *suspects)
    sane = Record(recorded_at_ms=FUTURE_MS, digest=2, received_at_ms=FUTURE_MS)
    await write(writer, sane, suspects[0], Record(digest=3))
    assert await stored(admin) == [(1, True), (2, False), (3, False)]


async def test_clearing_suspects_looks_up_keys_and_scans_no_day(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record())
    await admin.execute(
        "INSERT INTO positions SELECT 1, to_timestamp($1::float8 / 1000), n, now(), 0, 0, 0, 0, 0,"
        " 0, 0, 0, NULL, false, '{}' FROM generate_series(1, 20000) AS n",
        NOON_MS,
    )
    await admin.execute("ANALYZE positions")
    await write(writer, Record(), redelivered=True)
    assert writer._session is not None
    session = writer._session.connection
    day_s = NOON_MS // DAY_MS * 86_400
    plan = await session.fetch("EXPLAIN " + CLEAR_SUSPECTS, day_s, day_s + 86_400)
    text = "\n".join(row[0] for row in plan)
    assert "positions_20261122_pkey" in text
    assert "Seq Scan on positions" not in text


# Partitions


async def test_a_late_day_gets_its_partition(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    late_ms = NOON_MS - 1000 * DAY_MS
    await write(writer, Record(recorded_at_ms=late_ms), Record(digest=2))
    assert await partition_of(admin, 1) == "positions_20240226"
    assert await partition_of(admin, 2) == "positions_20261122"


async def test_the_first_and_the_last_millisecond_of_a_day_share_its_partition(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    midnight_ms = NOON_MS - DAY_MS // 2
    edges = [midnight_ms - 1, midnight_ms, midnight_ms + DAY_MS - 1, midnight_ms + DAY_MS]
    await write(writer, *(Record(recorded_at_ms=at, digest=n) for n, at in enumerate(edges)))
    assert [await partition_of(admin, n) for n in range(4)] == [
        "positions_20261121",
        "positions_20261122",
        "positions_20261122",
        "positions_20261123",
    ]


async def test_impossible_clocks_make_no_partition(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    never_set = Record(recorded_at_ms=0, digest=1, clock_suspect=True)
    ahead = Record(recorded_at_ms=FUTURE_MS, digest=2, clock_suspect=True)
    await write(writer, never_set, ahead)
    assert await partition_of(admin, 1) == "positions_before_2010"
    assert await partition_of(admin, 2) == "positions_default"


async def test_a_suspect_row_moves_when_its_day_gets_a_partition(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    other_day = Record(recorded_at_ms=FUTURE_MS + DAY_MS, digest=3, clock_suspect=True)
    await write(writer, Record(recorded_at_ms=FUTURE_MS, clock_suspect=True), other_day)
    await write(writer, Record(recorded_at_ms=FUTURE_MS, digest=2, received_at_ms=FUTURE_MS))
    assert await partition_of(admin, 1) == "positions_20261222"
    assert await partition_of(admin, 2) == "positions_20261222"
    assert await stored(admin) == [(1, True), (2, False), (3, True)]


async def test_a_day_inside_a_coarser_partition_is_left_to_it(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "CREATE TABLE positions_y2024 PARTITION OF positions"
        " FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2025-01-01 00:00+00')"
    )
    late_ms = NOON_MS - 1000 * DAY_MS
    await write(writer, Record(recorded_at_ms=late_ms), Record(digest=2))
    assert await partition_of(admin, 1) == "positions_y2024"
    assert await partition_of(admin, 2) == "positions_20261122"


async def test_the_day_after_today_is_prepared_whatever_a_sender_takes_for_today(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record(received_at_ms=253_402_300_799_999))
    days = await admin.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^positions_[0-9]'"
        " ORDER BY relname"
    )
    assert [row["relname"] for row in days] == ["positions_20261122", "positions_20261123"]


async def test_a_day_that_could_not_be_prepared_is_made_when_it_begins(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await admin.execute("SELECT positions_ensure_days(ARRAY[date '2026-11-22'])")
    await admin.execute("BEGIN; LOCK TABLE positions_default IN ACCESS SHARE MODE")
    await write(writer, Record())
    await admin.execute("COMMIT")
    await write(writer, Record(recorded_at_ms=NOON_MS + DAY_MS, digest=2))
    assert await partition_of(admin, 2) == "positions_20261123"


async def test_a_day_that_could_not_be_prepared_is_tried_again_after_a_minute(
    open_writer: Open, admin: asyncpg.Connection
) -> None:
    now_s = 1000.0
    writer = open_writer(clock=lambda: now_s)
    is_there = "SELECT to_regclass('positions_20261123') IS NOT NULL"
    await admin.execute("SELECT positions_ensure_days(ARRAY[date '2026-11-22'])")
    await admin.execute("BEGIN; LOCK TABLE positions_default IN ACCESS SHARE MODE")
    await write(writer, Record())
    await admin.execute("COMMIT")
    now_s += 59
    await write(writer, Record(digest=2))
    assert not await admin.fetchval(is_there)
    now_s += 1
    await write(writer, Record(digest=3))
    assert await admin.fetchval(is_there)


@pytest.mark.parametrize(("write_timeout_s", "sqlstate"), [(5.0, "55P03"), (0.25, "57014")])
async def test_a_report_on_the_default_partition_delays_only_new_days(
    open_writer: Open, admin: asyncpg.Connection, write_timeout_s: float, sqlstate: str
) -> None:
    await admin.execute("SELECT positions_ensure_days(ARRAY[date '2026-11-22'])")
    await admin.execute("BEGIN")
    await admin.execute("SELECT count(*) FROM positions_default")
    writer = open_writer(write_timeout_s=write_timeout_s)
    assert (await write(writer, Record())).n_stored == 1
    session = writer._session
    late = [Record(recorded_at_ms=NOON_MS - n * DAY_MS, digest=n) for n in (2, 3)]
    pid = admin.get_server_pid()
    said = f"no partition for 2026-11-19 and 1 more yet, locked out by {pid}$"
    with pytest.raises(DayUnavailable, match=said) as caught:
        await write(writer, *late)
    assert (caught.value.sqlstate, caught.value.days) == (sqlstate, (20776, 20777))
    assert (await write(writer, Record(digest=4))).n_stored == 1
    assert writer._session is session
    await admin.execute("COMMIT")
    assert (await write(writer, *late)).n_stored == 2


async def test_a_frozen_instance_in_the_default_partition_is_ended_and_the_day_is_made(
    open_writer: Open, frozen: asyncpg.Connection
) -> None:
    writer = open_writer(write_timeout_s=0.25)
    await frozen.execute("BEGIN; LOCK TABLE positions_default IN ROW EXCLUSIVE MODE")

    async def is_written() -> bool:
        try:
            return (await write(writer, Record())).n_stored == 1
        except DayUnavailable:
            return False

    await eventually_async(is_written)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await frozen.fetchval("SELECT 1")


async def test_rows_of_a_detached_day_go_to_the_default_partition(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record(digest=1))
    await admin.execute("ALTER TABLE positions DETACH PARTITION positions_20261122")
    await write(writer, Record(digest=2))
    assert await partition_of(admin, 2) == "positions_default"


async def test_more_days_than_one_call_takes_get_their_partitions(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    batch = [Record(recorded_at_ms=NOON_MS - n * DAY_MS, digest=n) for n in range(120)]
    assert (await write(writer, *batch)).n_stored == 120
    assert await admin.fetchval("SELECT count(*) FROM positions_default") == 0


async def test_days_made_by_four_sessions_at_once_deadlock_nobody(
    open_writer: Open, dsn: str, admin: asyncpg.Connection
) -> None:
    """Writers of suspect rows meet sessions that give the same days their partitions."""
    print(f"TEST_SEED={SEED}")  # noqa: T201 -- to repeat a failure
    rng = random.Random(SEED)
    first = FUTURE_MS // DAY_MS
    n_batches, n_days = 40, 24

    async def write_suspects(writer: PositionWriter, imei: int) -> None:
        for n in range(n_batches):
            days = rng.sample(range(n_days), 4)
            batch = [
                Record(
                    imei=imei, recorded_at_ms=FUTURE_MS + d * DAY_MS, digest=n, clock_suspect=True
                )
                for d in days
            ]
            await written_at_last(writer, [*batch, Record(imei=imei, digest=n)], {"23514"})

    async def ensure_days() -> None:
        connection = await asyncpg.connect(dsn)
        for day in rng.sample(range(n_days), n_days):
            days = [first + day, first + (day + 1) % n_days]
            await connection.execute(ENSURE_DAYS, days)
        await connection.close()

    writers = [write_suspects(open_writer(), imei) for imei in (1, 2)]
    await asyncio.gather(*writers, *(ensure_days() for _ in range(4)))
    assert await admin.fetchval("SELECT count(*) FROM positions") == 2 * n_batches * 5
    assert await admin.fetchval("SELECT count(*) FROM positions_default") == 0


async def written_at_last(
    writer: PositionWriter, batch: Sequence[Record], allowed: set[str]
) -> None:
    """Write as the pipeline does; a failure for a reason that is not allowed is the test's."""
    while True:
        try:
            await write(writer, *batch)
        except SinkUnavailable as error:
            if error.sqlstate not in allowed:
                raise
        else:
            return


# last_position


@pytest.mark.parametrize("newest_first", [False, True])
async def test_last_position_is_the_newest_fix_in_either_order(
    writer: PositionWriter, admin: asyncpg.Connection, *, newest_first: bool
) -> None:
    batches = [Record(digest=5), Record(recorded_at_ms=NOON_MS + 1, digest=-5, speed_kmh=61)]
    for record in reversed(batches) if newest_first else batches:
        await write(writer, record)
    found = await admin.fetchrow("SELECT imei, digest, speed_kmh FROM last_position")
    assert tuple(found) == (IMEI, -5, 61)


@pytest.mark.parametrize("digests", [(-1, 1), (1, -1)])
async def test_of_one_millisecond_the_greater_signed_digest_wins(
    writer: PositionWriter, admin: asyncpg.Connection, digests: tuple[int, int]
) -> None:
    for digest in digests:
        await write(writer, Record(digest=digest))
    assert await last_digest(admin) == 1


@pytest.mark.parametrize(
    "invalid",
    [
        {"satellites": 0},
        {"longitude": 214.7},
        {"latitude": -91.0},
        {"recorded_at_ms": FUTURE_MS, "clock_suspect": True},
    ],
)
async def test_a_record_without_a_valid_fix_never_moves_a_device(
    writer: PositionWriter, admin: asyncpg.Connection, invalid: dict[str, Any]
) -> None:
    await write(writer, Record(digest=1))
    await write(writer, Record(**{"recorded_at_ms": NOON_MS + 60_000, "digest": 2} | invalid))
    assert len(await stored(admin)) == 2
    assert await last_digest(admin) == 1


async def test_a_duplicate_moves_last_position_if_the_first_copy_was_written_by_hand(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record())
    await admin.execute("DELETE FROM last_position")
    await write(writer, Record())
    assert await last_digest(admin) == 1


# devices


async def test_devices_are_registered_with_their_first_and_last_receive_time(
    open_writer: Open, admin: asyncpg.Connection
) -> None:
    for hours in (2, 0, 5):
        received_ms = NOON_MS + hours * 3_600_000
        record = Record(digest=hours, received_at_ms=received_ms)
        await write(open_writer(own_state=True), record)
    found = await admin.fetchrow(
        "SELECT imei, allowed, first_seen_at::text, last_seen_at::text FROM devices"
    )
    assert tuple(found) == (IMEI, False, "2026-11-22 12:00:00+00", "2026-11-22 17:00:00+00")


async def test_what_the_operator_says_of_a_device_stays(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        "INSERT INTO devices (imei, name, allowed) VALUES ($1, 'Bus 7', true)", IMEI
    )
    await write(writer, Record())
    found = await admin.fetchrow("SELECT name, allowed, first_seen_at::text FROM devices")
    assert tuple(found) == ("Bus 7", True, "2026-11-22 12:00:01+00")


# Failures


async def test_a_refused_value_is_rejected_and_the_next_batch_goes_through(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    with pytest.raises(SinkRejected) as caught:
        await write(writer, Record(digest=1), Record(digest=2, io="{"))
    assert caught.value.sqlstate == "22P02"
    assert await stored(admin) == []
    assert await write(writer, Record(digest=1)) == Receipt(1, 0, staged=False)


async def test_an_index_of_the_operators_rejects_and_is_no_duplicate(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, Record(digest=1))
    await admin.execute("CREATE UNIQUE INDEX one_a_ms ON positions_20261122 (imei, recorded_at)")
    with pytest.raises(SinkRejected) as caught:
        await write(writer, Record(digest=2))
    assert caught.value.sqlstate == "23505"


async def test_a_session_ended_in_the_middle_of_copy_is_replaced(
    writer: PositionWriter, admin: asyncpg.Connection, observer: asyncpg.Connection
) -> None:
    record = Record()
    await write(writer, Record(digest=9))
    await hold_key(admin, record)
    writing = asyncio.create_task(write(writer, record))
    await eventually_async(lambda: waiting_pid(observer))
    assert await observer.fetchval("SELECT pg_terminate_backend($1)", await waiting_pid(observer))
    with pytest.raises(SinkUnavailable):
        await writing
    await admin.execute("ROLLBACK")
    assert await write(writer, record) == Receipt(1, 0, staged=False)


async def test_a_cancelled_write_leaves_nothing_behind(
    writer: PositionWriter, admin: asyncpg.Connection, observer: asyncpg.Connection
) -> None:
    record = Record()
    await write(writer, Record(digest=9))
    await hold_key(admin, record)
    writing = asyncio.create_task(write(writer, record))
    await eventually_async(lambda: waiting_pid(observer))
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await admin.execute("ROLLBACK")
    assert await stored(admin) == [(9, False)]
    assert (await write(writer, record)).n_stored == 1


@pytest.mark.parametrize("lock_timeout", [{"lock_timeout_s": 0.1}, {}])
async def test_a_frozen_instance_past_its_deadline_is_ended_and_its_rows_are_written(
    open_writer: Open,
    frozen: asyncpg.Connection,
    admin: asyncpg.Connection,
    lock_timeout: dict[str, float],
) -> None:
    record = Record()
    writer = open_writer(write_timeout_s=0.25, **lock_timeout)
    await write(writer, Record(digest=9))
    await hold_key(frozen, record)

    async def is_written() -> bool:
        try:
            return (await write(writer, record)).n_stored == 1
        except SinkUnavailable as error:
            if error.sqlstate != "55P03":
                raise
            return False

    await eventually_async(is_written)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await frozen.fetchval("SELECT 1")
    assert len(await stored(admin)) == 2


async def test_a_statement_out_of_time_ends_frozen_instances_as_a_lock_does(
    open_writer: Open, frozen: asyncpg.Connection, admin: asyncpg.Connection
) -> None:
    """One wait is short enough, but there may be many in a statement."""
    writer = open_writer(write_timeout_s=0.5)
    await write(writer, Record(digest=9))
    await frozen.execute("BEGIN")
    await sleep_on_insert(admin)
    with pytest.raises(SinkTooSlow):
        await write(writer, Record())
    with pytest.raises(SinkTooSlow):
        await write(writer, Record())
    with pytest.raises(SinkTooSlow):
        await write(writer, Record())
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await frozen.fetchval("SELECT 1")


async def sleep_on_insert(connection: asyncpg.Connection) -> None:
    """Make every row of `positions` take longer than any write timeout here."""
    await connection.execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN PERFORM pg_sleep(60); RETURN new; END'"
    )
    await connection.execute(
        "CREATE TRIGGER dawdle BEFORE INSERT ON positions FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )


async def test_a_write_out_of_time_is_too_slow(
    open_writer: Open, admin: asyncpg.Connection
) -> None:
    await sleep_on_insert(admin)
    with pytest.raises(SinkTooSlow) as caught:
        await write(open_writer(write_timeout_s=0.25), Record())
    assert caught.value.sqlstate == "57014"


async def test_an_open_session_that_answers_no_more_is_too_slow(
    own_postgres: EmbeddedPostgres,
) -> None:
    dsn = own_postgres.dsn()
    await migrate(dsn)
    writer = PositionWriter(
        SessionConfig(dsn=dsn, instance="test", write_timeout_s=0.5), SharedState()
    )
    await write(writer, Record())
    assert writer._session is not None
    pid = writer._session.connection.get_server_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(SinkTooSlow, match="no answer by the deadline"):
            await write(writer, Record(digest=2))
    finally:
        os.kill(pid, signal.SIGCONT)
    await writer.close()


async def test_a_reader_is_not_ended_as_a_frozen_writer(
    dsn: str, admin: asyncpg.Connection
) -> None:
    async with accounts_session(dsn, instance="test") as reader:
        await reader.execute("BEGIN")
        assert await reader.fetchval("SELECT 1") == 1
        assert await admin.fetchval(END_STALE_SESSIONS, 0.0) == 0
        assert await reader.fetchval("SELECT 1") == 1


async def test_sessions_that_are_not_ours_are_left_alone(
    open_writer: Open, admin: asyncpg.Connection, observer: asyncpg.Connection
) -> None:
    record = Record()
    writer = open_writer(write_timeout_s=0.25, lock_timeout_s=0.1)
    await write(writer, Record(digest=9))
    await hold_key(admin, record)

    async def is_old() -> bool:
        past_deadline = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'report'"
            " AND datname = current_database()"
            " AND xact_start < clock_timestamp() - interval '0.5 s'"
        )
        return bool(await observer.fetchval(past_deadline))

    await eventually_async(is_old)
    with pytest.raises(SinkUnavailable) as caught:
        await write(writer, record)
    assert caught.value.sqlstate == "55P03"
    assert await admin.fetchval("SELECT count(*) FROM positions WHERE digest = 1") == 1


async def test_a_server_that_never_answers_is_given_up_at_the_deadline(open_writer: Open) -> None:
    connected = asyncio.Event()
    answered = asyncio.Event()

    async def say_nothing(_reader: asyncio.StreamReader, closing: asyncio.StreamWriter) -> None:
        connected.set()
        await answered.wait()
        closing.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    writer = open_writer(
        address=f"postgresql://someone@127.0.0.1:{port}/nothing_test", write_timeout_s=0.1
    )
    with pytest.raises(SinkUnavailable, match="no answer by the deadline") as caught:
        await write(writer, Record())
    assert not isinstance(caught.value, SinkTooSlow)
    assert connected.is_set()
    answered.set()
    server.close()


async def test_a_missing_table_is_a_schema_that_does_not_fit(database: str) -> None:
    writer = PositionWriter(SessionConfig(dsn=database, instance="test"), SharedState())
    with pytest.raises(SchemaMismatch, match="42P01"):
        await write(writer, Record())
    await writer.close()


async def test_sessions_say_who_they_are_and_bound_their_waits(open_writer: Open) -> None:
    writer = open_writer()
    await write(writer, Record())
    assert writer._session is not None
    connection = writer._session.connection
    shown = {
        name: await connection.fetchval(f"SHOW {name}")
        for name in (
            "application_name",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "transaction_isolation",
        )
    }
    assert shown == {
        "application_name": "teltonika-processor/test-0",
        "statement_timeout": "5s",
        "lock_timeout": "2s",
        "idle_in_transaction_session_timeout": "5s",
        "transaction_isolation": "read committed",
    }


async def test_a_lock_is_given_up_before_the_statement(open_writer: Open) -> None:
    writer = open_writer(write_timeout_s=1.5)
    await write(writer, Record())
    assert writer._session is not None
    assert await writer._session.connection.fetchval("SHOW lock_timeout") == "750ms"


async def test_a_server_that_defaults_to_stricter_isolation_changes_nothing(
    open_writer: Open, admin: asyncpg.Connection
) -> None:
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(
        f'ALTER DATABASE "{name}" SET default_transaction_isolation = "serializable"'
    )
    record = Record()
    first, second = open_writer(), open_writer()
    await write(first, Record(digest=9))
    receipts = await asyncio.gather(write(first, record), write(second, record))
    assert sorted(receipt.n_stored for receipt in receipts) == [0, 1]


async def test_a_role_that_may_only_write_writes_and_makes_partitions(
    open_writer: Open, dsn: str, admin: asyncpg.Connection
) -> None:
    role = f"tp_writer_{os.getpid()}"
    grants = (
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT, INSERT, UPDATE ON positions, last_position, devices TO {role}",
        f"GRANT EXECUTE ON FUNCTION positions_ensure_days(date[]) TO {role}",
    )
    for statement in grants:
        await admin.execute(statement)
    try:
        writer = open_writer(address=with_user(dsn, role))
        assert (await write(writer, Record())).n_stored == 1
        assert (await write(writer, Record())).n_stored == 0
        assert await partition_of(admin, 1) == "positions_20261122"
        await writer.close()
    finally:
        await admin.execute(f"DROP OWNED BY {role}")
        await admin.execute(f"DROP ROLE {role}")


async def test_making_partitions_is_not_open_to_everybody(
    dsn: str, admin: asyncpg.Connection
) -> None:
    role = f"tp_stranger_{os.getpid()}"
    await admin.execute(f"CREATE ROLE {role} LOGIN")
    try:
        stranger = await asyncpg.connect(with_user(dsn, role))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await stranger.execute("SELECT public.positions_ensure_days(ARRAY[current_date])")
        await stranger.close()
    finally:
        await admin.execute(f"DROP ROLE {role}")


def with_user(dsn: str, role: str) -> str:
    parts = urlsplit(dsn)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()

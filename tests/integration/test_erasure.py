"""Erasing one device from every table, and nothing else."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from crossings import GATE, at
from rows import DAY_MS, NOON_MS, Record
from teltonika_processor.codec.native import Fold, ZoneIndex
from teltonika_processor.errors import SchemaMismatch, SinkRejected
from teltonika_processor.store import erasure, folding
from teltonika_processor.store.connection import (
    Session,
    SessionConfig,
    open_session,
    session_of,
)
from teltonika_processor.store.erasure import (
    PERSONAL_TABLES,
    PersonalTables,
    count_rows,
    erase_rows,
    erasure_session,
    personal_tables,
)
from teltonika_processor.store.folding import Folder, FoldLimits, KnownZones
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.zones import count_changes, path_limits
from writing import IMEI, with_user, write

OTHER = 356307042441013
TABLES_WITH_IMEI = """
SELECT c.relname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE a.attname = 'imei' AND c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
  AND c.relkind IN ('r', 'p')
"""
# The last millisecond that Postgres can hold, and the first days that trackers count from.
FAR_MS = 9_224_318_015_999_999
CLOCKS_MS = {
    "positions_before_2010": [0, 946_684_800_000, 999_999_999_999],
    "positions_default": [NOON_MS + 40 * DAY_MS, FAR_MS - 1, FAR_MS],
    "positions_20261120": [NOON_MS - 2 * DAY_MS + 1000 * n for n in range(5)],
    "positions_20261122": [NOON_MS + n for n in range(4)],
}


@pytest.fixture
async def session(dsn: str) -> AsyncIterator[Session]:
    async with erasure_session(dsn) as session:
        yield session


async def erased(session: Session, imei: int) -> dict[str, int]:
    rows: dict[str, int] = {}
    await erase_rows(session, await personal_tables(session), imei, rows)
    return rows


async def fill(writer: PositionWriter, imei: int) -> None:
    for partition, times in CLOCKS_MS.items():
        is_suspect = partition in {"positions_before_2010", "positions_default"}
        records = [Record(imei=imei, recorded_at_ms=t, clock_suspect=is_suspect) for t in times]
        await write(writer, *records)


async def by_partition(admin: asyncpg.Connection, imei: int) -> dict[str, int]:
    rows = await admin.fetch(
        "SELECT tableoid::regclass::text AS name, count(*) FROM positions WHERE imei = $1"
        " GROUP BY 1",
        imei,
    )
    return {row["name"]: row["count"] for row in rows}


async def test_every_table_of_ours_with_an_imei_is_in_the_list(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(TABLES_WITH_IMEI)
    assert {row["relname"] for row in rows} == set(PERSONAL_TABLES)


@pytest.mark.parametrize("rows_at_once", [1, 3, 10_000])
async def test_a_device_goes_from_every_table_and_partition_and_the_others_stay(
    session: Session,
    writer: PositionWriter,
    admin: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    rows_at_once: int,
) -> None:
    monkeypatch.setattr(erasure, "_ROWS", rows_at_once)
    await fill(writer, IMEI)
    await fill(writer, OTHER)
    expected = {name: len(times) for name, times in CLOCKS_MS.items()}
    assert await by_partition(admin, IMEI) == expected
    tables = await personal_tables(session)
    await admin.execute(
        "INSERT INTO refold SELECT imei FROM unnest($1::bigint[]) AS imei", [IMEI, OTHER]
    )
    await admin.execute(
        "INSERT INTO timing_records SELECT imei, now(), 1, 0, 1, 'initial', now(), 0, NULL, 'ok',"
        " NULL, NULL, 1, 0, 9 FROM unnest($1::bigint[]) AS imei",
        [IMEI, OTHER],
    )
    await admin.execute(
        "INSERT INTO timing_revisions (imei, end_t, zone_id, n, cause)"
        " SELECT imei, now(), 1, 0, 'late_data' FROM unnest($1::bigint[]) AS imei",
        [IMEI, OTHER],
    )
    counts = {**dict.fromkeys(PERSONAL_TABLES, 1), "positions": 15}
    assert await count_rows(session, tables, IMEI) == counts
    assert await erased(session, IMEI) == counts
    assert await by_partition(admin, IMEI) == {}
    assert await count_rows(session, tables, IMEI) == dict.fromkeys(counts, 0)
    assert await by_partition(admin, OTHER) == expected
    assert await count_rows(session, tables, OTHER) == counts
    assert await erased(session, IMEI) == dict.fromkeys(counts, 0)


async def test_a_transaction_locks_only_the_partitions_of_its_rows(
    session: Session,
    writer: PositionWriter,
    admin: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(erasure, "_ROWS", 3)
    await fill(writer, IMEI)
    # Whoever holds a day that comes later is waited for then, and what was committed stays.
    await admin.execute("BEGIN; LOCK TABLE positions_20261122 IN SHARE MODE")
    rows: dict[str, int] = {}
    with pytest.raises(asyncpg.LockNotAvailableError):
        await erase_rows(session, await personal_tables(session), IMEI, rows)
    await admin.execute("ROLLBACK")
    assert rows == {"positions": 6}
    assert await by_partition(admin, IMEI) == {
        "positions_20261120": 2,
        "positions_20261122": 4,
        "positions_default": 3,
    }


async def test_tables_of_others_are_named_and_left_alone(
    session: Session, admin: asyncpg.Connection
) -> None:
    await admin.execute("CREATE SCHEMA fleet; CREATE TABLE fleet.devices (imei bigint)")
    await admin.execute("CREATE TABLE drivers (imei text); INSERT INTO drivers VALUES ('1')")
    await admin.execute("CREATE VIEW seen AS SELECT imei FROM devices")
    tables = await personal_tables(session)
    assert tables.ours == PERSONAL_TABLES
    assert tables.of_others == ("fleet.devices", "public.drivers")
    await erased(session, 1)
    assert await admin.fetchval("SELECT count(*) FROM drivers") == 1


async def test_a_detached_day_is_named(
    session: Session, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await fill(writer, IMEI)
    await admin.execute("ALTER TABLE positions DETACH PARTITION positions_20261120")
    assert (await personal_tables(session)).of_others == ("public.positions_20261120",)
    assert (await erased(session, IMEI))["positions"] == 10


async def test_a_role_that_may_not_delete_is_told_which_grant_it_lacks(
    dsn: str, admin: asyncpg.Connection
) -> None:
    role = f"{await admin.fetchval('SELECT current_database()')}_clerk"
    await admin.execute(f"CREATE ROLE {role} LOGIN")
    names = ", ".join(f"public.{table}" for table in PERSONAL_TABLES)
    try:
        await admin.execute(f"GRANT SELECT, INSERT, UPDATE ON {names} TO {role}")
        async with erasure_session(with_user(dsn, role)) as session:
            grant = f"GRANT SELECT, DELETE ON {names} TO {role}"
            with pytest.raises(SchemaMismatch, match=re.escape(grant)):
                await personal_tables(session)
            await admin.execute(grant)
            assert await erased(session, IMEI) == dict.fromkeys(PERSONAL_TABLES, 0)
    finally:
        await admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_without_our_tables_nothing_is_erased(database: str) -> None:
    async with erasure_session(database) as session:
        await session.execute("CREATE TABLE devices (imei bigint)")
        with pytest.raises(SchemaMismatch, match="positions is not there"):
            await personal_tables(session)


async def test_a_row_that_an_operators_table_refers_to_is_told_as_a_refusal(
    dsn: str, writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await fill(writer, IMEI)
    await admin.execute("CREATE TABLE trips (device bigint REFERENCES devices (imei))")
    await admin.execute("INSERT INTO trips VALUES ($1)", IMEI)
    with pytest.raises(SinkRejected, match="23503"):
        async with erasure_session(dsn) as session:
            await erased(session, IMEI)


@pytest.mark.parametrize("n_erased", range(len(PERSONAL_TABLES) + 1))
async def test_a_fold_under_way_leaves_nothing_of_the_device(
    dsn: str,
    writer: PositionWriter,
    admin: asyncpg.Connection,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    *,
    n_erased: int,
) -> None:
    """It has read the device's fixes, and writes between two statements of the erasure."""
    await admin.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, radius_m)"
        " VALUES (1, 1, 'any', 'circle', '{}', 100)"
    )
    await write(writer, at(0, -30), at(2, 30))
    known = KnownZones(
        ZoneIndex([GATE]), await path_limits(admin), await count_changes(admin), n_versions=1
    )
    read = folding._compare

    async def read_and_erased(folds: Session, found: Fold) -> list[int]:
        changed = await read(folds, found)
        tables = PersonalTables(PERSONAL_TABLES[:n_erased], ())
        await erase_rows(session, tables, IMEI, {})
        return changed

    monkeypatch.setattr(folding, "_compare", read_and_erased)
    async with session_of(open_session, SessionConfig(dsn=dsn, instance="test-0")) as folds:
        await Folder(folds, FoldLimits()).fold(known, [IMEI])
    tables = PersonalTables(PERSONAL_TABLES[n_erased:], ())
    await erase_rows(session, tables, IMEI, {})
    left = await count_rows(session, PersonalTables(PERSONAL_TABLES, ()), IMEI)
    assert left == dict.fromkeys(PERSONAL_TABLES, 0)

"""Looking at partitions and dropping them beside writers and readers, on a real server.

The log of these tests is of January 2024, and so is their clock: the earlier of two todays counts,
so no server's clock matters that says more.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from pgbouncer import Pooler
from rows import DAY_MS, Record
from teltonika_processor.cli.partitions_repair import repair, survey
from teltonika_processor.service.partition_drop import DropAccount, Pace, drop, due_now
from teltonika_processor.store.connection import Session
from teltonika_processor.store.partition import Kind, Partition
from teltonika_processor.store.partition_changes import detach, take_turn
from teltonika_processor.store.partitions import (
    MARK,
    counted,
    figures,
    is_owner,
    owner_session,
    partitions,
    plausible_days,
    writer_session,
)
from teltonika_processor.store.positions import PositionWriter
from waiting import eventually_async
from writing import Open, partition_of, write

NOON_MS = 1_706_788_800_000  # 2024-02-01 12:00 UTC
TODAY = 19_754
DAY_S = 86_400.0


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Session]:
    async with owner_session(dsn, "test") as session:
        yield session


def of_day(days_ago: int, digest: int = 1, **fields: Any) -> Record:
    at_ms = NOON_MS - days_ago * DAY_MS
    return Record(recorded_at_ms=at_ms, received_at_ms=NOON_MS, digest=digest, **fields)


async def due(session: Session, keep_days: int) -> list[Partition]:
    return await due_now(session, keep_days=keep_days, unix_s=NOON_MS / 1e3)


async def dropped(
    session: Session, keep_days: int, patience_s: float = 5.0, **how: Any
) -> DropAccount:
    account = DropAccount()
    pace = Pace(patience_s=patience_s, **how)
    assert await drop(session, await due(session, keep_days), pace, account)
    return account


async def days(admin: asyncpg.Connection) -> list[str]:
    """Tables of days, attached or not, without those of today and later."""
    rows = await admin.fetch(
        "SELECT relname FROM pg_class WHERE relname ~ '^positions_2024' AND relkind = 'r'"
        " ORDER BY relname"
    )
    return [row["relname"] for row in rows]


# Looking


async def test_every_table_is_listed_with_its_kind_bounds_rows_and_size(
    writer: PositionWriter, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(writer, of_day(1), of_day(1, digest=2), of_day(2), of_day(3))
    await admin.execute("ALTER TABLE positions DETACH PARTITION positions_20240130")
    await admin.execute(
        "CREATE SCHEMA archive; CREATE TABLE archive.y2023 PARTITION OF positions FOR VALUES"
        " FROM ('2023-01-01 00:00+00') TO ('2024-01-01 00:00+00') PARTITION BY RANGE (recorded_at);"
        " CREATE TABLE positions_20230101 PARTITION OF archive.y2023 FOR VALUES"
        " FROM ('2023-01-01 00:00+00') TO ('2023-07-01 00:00+00')"
    )
    await admin.execute("ANALYZE positions")
    found = {p.name: p for p in await partitions(owner)}
    ranges = {n: (p.kind, p.from_s, p.to_s, p.rows) for n, p in found.items() if p.to_s > 0}
    day_s = TODAY * DAY_S
    del ranges["positions_20261123"]  # made ahead, by the clock of the writers
    assert ranges == {
        "positions_before_2010": (Kind.BEFORE_2010, -math.inf, 1_262_304_000.0, 0),
        "archive.y2023": (Kind.OPERATOR, 1_672_531_200.0, 1_704_067_200.0, 0),
        "positions_20240129": (Kind.DAY, day_s - 3 * DAY_S, day_s - 2 * DAY_S, 1),
        "positions_20240131": (Kind.DAY, day_s - DAY_S, day_s, 2),
    }
    others = {n: p.kind for n, p in found.items() if math.isnan(p.to_s)}
    assert others == {"positions_default": Kind.DEFAULT, "positions_20240130": Kind.DETACHED}
    assert found["positions_20240131"].n_bytes > 8192
    detached = found["positions_20240130"]
    assert (detached.rows, (await counted(owner, detached)).rows) == (None, 1)


async def test_the_time_zone_and_date_style_of_the_server_move_no_bound(
    admin: asyncpg.Connection, dsn: str
) -> None:
    await admin.execute("SELECT positions_ensure_days(ARRAY[date '2024-01-31'])")
    database = await admin.fetchval("SELECT quote_ident(current_database())")
    await admin.execute(f"ALTER DATABASE {database} SET timezone = 'Pacific/Kiritimati'")
    await admin.execute(f"ALTER DATABASE {database} SET datestyle = 'SQL, DMY'")
    async with owner_session(dsn) as session:
        (day,) = [p for p in await partitions(session) if p.kind is Kind.DAY]
    assert (day.from_s, day.to_s) == ((TODAY - 1) * DAY_S, TODAY * DAY_S)


async def test_plausible_rows_of_the_default_partition_are_counted_up_to_a_bound(
    writer: PositionWriter, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(writer, of_day(1), of_day(2), of_day(-30, clock_suspect=True))
    assert (await figures(owner)).default_plausible_rows == 0
    await admin.execute("ALTER TABLE positions DETACH PARTITION positions_20240130")
    await admin.execute("ALTER TABLE positions DETACH PARTITION positions_20240131")
    await write(writer, of_day(1, digest=2), *(of_day(2, digest=n) for n in range(10, 1015)))
    assert (await figures(owner)).default_plausible_rows == 1000
    assert await plausible_days(owner, 0) == [(TODAY - 2, 1000)]
    assert await plausible_days(owner, TODAY - 1) == [(TODAY - 1, 1)]
    assert await plausible_days(owner, TODAY) == []
    n_partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'positions'::regclass"
    assert (await figures(owner)).n_partitions == await admin.fetchval(n_partitions)


async def test_plausible_rows_are_found_by_an_index_that_is_empty_where_there_are_none(
    writer: PositionWriter, admin: asyncpg.Connection
) -> None:
    await write(writer, *(of_day(-30, digest=n, clock_suspect=True) for n in range(2000)))
    await admin.execute("ANALYZE positions_default")
    size = "SELECT pg_relation_size('positions_default_plausible'::regclass)"
    assert await admin.fetchval(size) == 8192
    plan = await admin.fetch(
        "EXPLAIN SELECT recorded_at FROM positions_default"
        " WHERE NOT clock_suspect ORDER BY recorded_at LIMIT 1000"
    )
    assert "using positions_default_plausible" in "".join(row[0] for row in plan)


# Dropping


async def test_days_that_are_old_enough_go_and_the_others_stay(
    writer: PositionWriter, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(writer, *(of_day(ago) for ago in range(6)))
    before = [p for p in await partitions(owner) if p.name == "positions_20240127"]
    account = await dropped(owner, keep_days=3)
    assert [p.name for p in account.dropped] == ["positions_20240127", "positions_20240128"]
    assert account.dropped[0] == before[0]
    assert (account.left, account.n_tries, account.holders) == ({}, 2, ())
    assert 0 < account.longest_wait_s < 5
    assert (await days(admin))[:3] == [
        "positions_20240129",
        "positions_20240130",
        "positions_20240131",
    ]
    assert await admin.fetchval("SELECT count(*) FROM positions") == 4
    assert (await dropped(owner, keep_days=3)).dropped == []


async def test_an_operators_partition_goes_with_its_own_and_one_elsewhere_too(
    admin: asyncpg.Connection, owner: Session
) -> None:
    await admin.execute(
        'CREATE SCHEMA "Old Ones"; CREATE TABLE "Old Ones"."y""2022" PARTITION OF positions'
        " FOR VALUES FROM ('2022-01-01 00:00+00') TO ('2023-01-01 00:00+00')"
        " PARTITION BY RANGE (recorded_at); CREATE TABLE inner_2022 PARTITION OF"
        ' "Old Ones"."y""2022" DEFAULT'
    )
    account = await dropped(owner, keep_days=30)
    assert [p.name for p in account.dropped] == ['Old Ones.y"2022']
    assert await admin.fetchval("SELECT to_regclass('inner_2022')") is None


async def test_what_lies_before_2010_and_the_default_partition_stay(
    writer: PositionWriter, admin: asyncpg.Connection, owner: Session
) -> None:
    never_set = Record(recorded_at_ms=0, clock_suspect=True, digest=1)
    await write(writer, never_set, of_day(-30, digest=2, clock_suspect=True))
    await dropped(owner, keep_days=1)
    assert [await partition_of(admin, digest) for digest in (1, 2)] == [
        "positions_before_2010",
        "positions_default",
    ]


async def test_a_late_record_of_a_dropped_day_gets_a_partition_of_its_own_again(
    open_writer: Open, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(open_writer(), of_day(5))
    assert len((await dropped(owner, keep_days=1)).dropped) == 1
    await write(open_writer(own_state=True), of_day(5, digest=2))
    assert await partition_of(admin, 2) == "positions_20240127"
    assert len((await dropped(owner, keep_days=1)).dropped) == 1
    assert await admin.fetchval("SELECT count(*) FROM positions_default") == 0


async def test_a_drop_that_was_cut_off_is_ended_by_the_next_one_and_keeps_no_late_record_away(
    open_writer: Open, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(open_writer(), of_day(5))
    (old,) = await due(owner, keep_days=1)
    gone = (await detach(owner, old)).partition
    assert (gone.name, gone.kind) == ("positions_20240127_dropped", Kind.DROPPED)
    # Where it was cut off. A late record comes:
    await write(open_writer(own_state=True), of_day(5, digest=2))
    assert await partition_of(admin, 2) == "positions_20240127"
    found = {p.name: p.kind for p in await partitions(owner)}
    assert found["positions_20240127_dropped"] is Kind.DROPPED
    account = await dropped(owner, keep_days=1)
    assert [p.name for p in account.dropped] == [
        "positions_20240127_dropped",
        "positions_20240127",
    ]
    assert [name for name in await days(admin) if name < "positions_20240201"] == []


async def test_a_table_that_is_only_named_like_a_leftover_is_left_alone(
    admin: asyncpg.Connection, owner: Session
) -> None:
    await admin.execute("CREATE TABLE positions_20240101_dropped (LIKE positions)")
    assert await due(owner, keep_days=1) == []
    await admin.execute(f"COMMENT ON TABLE positions_20240101_dropped IS '{MARK}'")
    await admin.execute("CREATE TABLE elsewhere (LIKE positions)")
    await admin.execute(f"COMMENT ON TABLE elsewhere IS '{MARK}'")
    assert [p.name for p in await due(owner, keep_days=1)] == ["positions_20240101_dropped"]


async def test_a_name_that_is_as_long_as_it_may_be_is_cut(
    admin: asyncpg.Connection, owner: Session
) -> None:
    name = "positions_" + "ä" * 26
    await admin.execute(
        f"CREATE TABLE {name} PARTITION OF positions"
        " FOR VALUES FROM ('2022-01-01 00:00+00') TO ('2023-01-01 00:00+00')"
    )
    (old,) = await due(owner, keep_days=1)
    assert (await detach(owner, old)).partition.name == "positions_" + "ä" * 22 + "_dropped"
    assert len((await dropped(owner, keep_days=1)).dropped) == 1


async def test_the_earlier_of_our_clock_and_the_servers_counts(
    writer: PositionWriter, admin: asyncpg.Connection, owner: Session
) -> None:
    now_s = await admin.fetchval("SELECT extract(epoch FROM now())::float8")
    await write(writer, Record(recorded_at_ms=round((now_s - 5 * DAY_S) * 1e3)))
    century_s = 36_525 * DAY_S
    assert await due_now(owner, keep_days=10, unix_s=now_s + century_s) == []
    assert await due_now(owner, keep_days=3, unix_s=now_s - century_s) == []
    due = await due_now(owner, keep_days=3, unix_s=now_s + century_s)
    day = datetime.fromtimestamp(now_s - 5 * DAY_S, UTC)
    assert f"positions_{day:%Y%m%d}" in [partition.name for partition in due]


async def test_a_table_that_something_depends_on_stays_and_the_others_go(
    writer: PositionWriter, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(writer, of_day(5), of_day(4), of_day(3))
    await admin.execute("CREATE VIEW mine AS SELECT imei FROM positions_20240128")
    account = await dropped(owner, keep_days=1)
    assert [p.name for p in account.dropped] == ["positions_20240127", "positions_20240129"]
    (why,) = account.left.values()
    assert list(account.left) == ["positions_20240128"]
    assert why.startswith("Postgres: 2BP01 cannot drop table positions_20240128_dropped")
    await admin.execute("DROP VIEW mine")
    again = await dropped(owner, keep_days=1)
    assert [p.name for p in again.dropped] == ["positions_20240128_dropped"]


async def test_one_drops_at_a_time(
    writer: PositionWriter, admin: asyncpg.Connection, owner: Session, dsn: str
) -> None:
    await write(writer, of_day(5))
    async with owner_session(dsn) as other:
        assert await take_turn(other)
        account = DropAccount()
        wanted = await due(owner, keep_days=1)
        assert not await drop(owner, wanted, Pace(patience_s=5.0), account)
    assert (account.dropped, account.left) == ([], {})
    assert "positions_20240127" in await days(admin)


async def test_what_somebody_else_altered_since_the_look_is_left_and_what_is_gone_is_passed_over(
    writer: PositionWriter, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(writer, *(of_day(ago) for ago in (5, 4, 3)))
    await admin.execute(
        "CREATE SCHEMA archive; CREATE TABLE archive.y2022 PARTITION OF positions"
        " FOR VALUES FROM ('2022-01-01 00:00+00') TO ('2023-01-01 00:00+00')"
    )
    wanted = await due(owner, keep_days=1)
    await admin.execute(
        "ALTER TABLE positions DETACH PARTITION archive.y2022; DROP TABLE positions_20240127;"
        "ALTER TABLE positions DETACH PARTITION positions_20240128;"
        "ALTER TABLE positions ATTACH PARTITION positions_20240128"
        " FOR VALUES FROM ('2024-01-26 00:00+00') TO ('2024-01-29 00:00+00')"
    )
    account = DropAccount()
    assert await drop(owner, wanted, Pace(patience_s=5.0), account)
    assert [p.name for p in account.dropped] == ["positions_20240129"]
    altered = "it was attached or detached meanwhile: run the drop again"
    assert account.left == {"archive.y2022": altered, "positions_20240128": altered}
    assert not account.gave_up


# Repairing


async def test_a_repair_takes_no_more_than_a_writers_session(
    writer: PositionWriter, writer_dsn: str, pooler: Pooler, admin: asyncpg.Connection
) -> None:
    await write(writer, of_day(5), of_day(0))
    await admin.execute("ALTER TABLE positions DETACH PARTITION positions_20240127")
    records = [of_day(5, digest=n) for n in range(10, 13)]
    for page in range(0, 2100, 700):  # more than one look
        records += [of_day(0, digest=100 + page + n, imei=7) for n in range(700)]
    await admin.execute("ALTER TABLE positions DETACH PARTITION positions_20240201")
    for first in range(0, len(records), 500):
        await write(writer, *records[first : first + 500])
    await admin.execute("ALTER TABLE positions_20240201 RENAME TO kept")
    async with writer_session(writer_dsn, pooler=pooler) as session:
        surveyed = await survey(session)
        assert [(found.day, found.rows, found.is_cut) for found in surveyed] == [
            (TODAY - 5, 3, False),
            (TODAY, 997, True),
        ]
        found = await repair(session, patience_s=5.0)
    stuck, moved = found
    assert stuck.why_not == (
        "a table with the name of its partition is there and is none: rename it, then repair again"
    )
    assert (moved.day, moved.why_not) == (TODAY, None)
    assert await admin.fetchval("SELECT count(*) FROM positions_default") == 3
    assert await admin.fetchval("SELECT count(*) FROM positions_20240201") == 2100


# Beside others


@dataclass
class Steady:
    """A writer that commits batches without a pause, and how long each took."""

    latencies_s: list[float] = field(default_factory=list)
    n_stored: int = 0

    async def run(self, writer: PositionWriter, stop: asyncio.Event, imei: int) -> None:
        while not stop.is_set():
            batch = [of_day(0, digest=self.n_stored + n, imei=imei) for n in range(20)]
            began_s = time.perf_counter()
            receipt = await write(writer, *batch)
            self.latencies_s.append(time.perf_counter() - began_s)
            self.n_stored += receipt.n_stored
            await asyncio.sleep(0)


@asynccontextmanager
async def writing(open_writer: Open) -> AsyncIterator[list[Steady]]:
    """Two writers at work while the block runs; none of their writes may fail."""
    stop, steady = asyncio.Event(), [Steady(), Steady()]
    async with asyncio.TaskGroup() as tasks:
        for n, one in enumerate(steady):
            tasks.create_task(one.run(open_writer(), stop, imei=n))
        yield steady
        stop.set()


async def committed_more(steady: list[Steady], by: int = 5) -> None:
    """Wait until each of them has committed so many batches more."""
    goals = [len(one.latencies_s) + by for one in steady]

    async def reached() -> bool:
        return all(len(o.latencies_s) >= n for o, n in zip(steady, goals, strict=True))

    await eventually_async(reached)


async def test_beside_writers_and_a_long_reader_each_try_holds_nobody_up_for_longer_than_it_says(
    open_writer: Open, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(open_writer(), *(of_day(ago) for ago in (5, 4, 3, 0)))
    await admin.execute("BEGIN; SELECT count(*) FROM positions")
    account = DropAccount()
    async with writing(open_writer) as steady:
        await committed_more(steady)
        before = [len(one.latencies_s) for one in steady]
        wanted = await due(owner, keep_days=1)
        work = asyncio.create_task(
            drop(owner, wanted, Pace(patience_s=20.0, jitter=float), account)
        )

        async def has_tried() -> bool:
            return account.n_tries >= 4

        await eventually_async(has_tried)
        assert account.dropped == []
        await committed_more(steady)  # between the tries they go on
        await admin.execute("COMMIT")
        assert await work
        await committed_more(steady)
    assert sorted(p.name for p in account.dropped) == [
        "positions_20240127",
        "positions_20240128",
        "positions_20240129",
    ]
    slowest_s = max(max(o.latencies_s[n:]) for o, n in zip(steady, before, strict=True))
    longest_s = account.longest_wait_s
    print(  # noqa: T201 -- the figures
        f"{account.n_tries} tries; a try blocked for {longest_s * 1e3:.0f} ms at most, "
        f"a writer's batch took {slowest_s * 1e3:.0f} ms at most"
    )
    assert 0.2 <= longest_s < 0.5
    # A write that waits once in each of its two statements on the log waits for two tries at most;
    # pauses are longer than tries, so it nearly always waits for one.
    assert slowest_s < 2 * longest_s + 0.3
    n_rows = await admin.fetchval("SELECT count(*) FROM positions")
    assert n_rows == sum(one.n_stored for one in steady) + 1
    assert await admin.fetchval("SELECT count(*) FROM positions_default") == 0


async def test_a_reader_that_does_not_end_is_named_and_nothing_is_dropped(
    open_writer: Open, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(open_writer(), *(of_day(ago) for ago in (5, 4, 0)))
    await admin.execute("BEGIN; SELECT count(*) FROM positions")
    async with writing(open_writer) as steady:
        await committed_more(steady)
        account = await dropped(owner, keep_days=1, patience_s=1.5)
        await committed_more(steady)
    assert account.dropped == []
    assert sorted(account.left) == ["positions_20240127", "positions_20240128"]
    assert set(account.left.values()) == {"Postgres: 55P03 canceling statement due to lock timeout"}
    assert [(h.pid, h.application_name) for h in account.holders] == [
        (admin.get_server_pid(), "report")
    ]
    assert account.n_tries >= 2
    await admin.execute("COMMIT")
    n_old = "SELECT count(*) FROM positions WHERE recorded_at < '2024-01-29'"
    assert await admin.fetchval(n_old) == 2


async def test_a_reader_of_one_partition_keeps_only_that_one(
    open_writer: Open, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(open_writer(), *(of_day(ago) for ago in (5, 4, 3)))
    await admin.execute("BEGIN; SELECT count(*) FROM positions_20240127")
    account = await dropped(owner, keep_days=1, patience_s=1.5)
    assert [p.name for p in account.dropped] == ["positions_20240128", "positions_20240129"]
    assert account.left == {
        "positions_20240127": "Postgres: 55P03 could not obtain lock on relation "
        '"public.positions_20240127"'
    }
    assert [h.pid for h in account.holders] == [admin.get_server_pid()]
    await admin.execute("COMMIT")


async def test_pauses_grow_and_are_never_shorter_than_the_try_before(
    open_writer: Open, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(open_writer(), of_day(5))
    now_s, pauses = 0.0, []

    async def sleep(wait_s: float) -> None:
        nonlocal now_s
        pauses.append(wait_s)
        now_s += wait_s

    await admin.execute("BEGIN; SELECT count(*) FROM positions")
    how: dict[str, Callable[..., Any]] = {
        "clock": lambda: now_s,
        "sleep": sleep,
        "jitter": lambda: 1.0,
    }
    account = await dropped(owner, keep_days=1, patience_s=20.0, **how)
    await admin.execute("COMMIT")
    assert pauses == [0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert account.n_tries == 7


# Rights


async def test_the_writer_may_look_and_repair_and_may_not_drop(
    writer: PositionWriter, admin: asyncpg.Connection, owner: Session
) -> None:
    await write(writer, of_day(5))
    (old,) = await due(owner, keep_days=1)
    role = await admin.fetchval("SELECT quote_ident(current_database() || '_writer')")
    await admin.execute(
        f"CREATE ROLE {role};"
        f"GRANT SELECT, INSERT, UPDATE ON devices, positions, last_position TO {role};"
        f"GRANT EXECUTE ON FUNCTION positions_ensure_days(date[]) TO {role};"
        f"GRANT EXECUTE ON FUNCTION positions_default_plausible(integer, date) TO {role};"
        f"SET ROLE {role}"
    )
    try:
        assert not await is_owner(admin)
        assert (await figures(admin)).default_plausible_rows == 0
        await admin.execute(
            f"RESET ROLE; REVOKE EXECUTE ON FUNCTION positions_default_plausible FROM {role};"
            f"SET ROLE {role}"
        )
        assert (await figures(admin)).default_plausible_rows is None
        assert (await figures(admin)).n_partitions > 3
        assert len(await partitions(admin)) > 3
        attempt = await detach(admin, old)
        assert not attempt.may_succeed
        assert attempt.why_not is not None
        assert attempt.why_not.startswith("Postgres: 42501 permission denied")
        for statement in (
            "ALTER TABLE positions DETACH PARTITION positions_20240127",
            "DROP TABLE positions_20240127",
            "DELETE FROM positions",
            "TRUNCATE positions",
            "SELECT positions_create_day('2024-01-01')",
            "SELECT * FROM positions_default",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute(statement)
    finally:
        await admin.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")
    definers = await admin.fetch(
        "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
        " ORDER BY proname"
    )
    assert [row["proname"] for row in definers] == [
        "positions_default_plausible",
        "positions_ensure_days",
    ]

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from commands import own_environment, run_command
from teltonika_processor.errors import SchemaMismatch, SinkUnavailable
from teltonika_processor.store import migrate as runner
from teltonika_processor.store.migrate import (
    LOCK_KEY,
    SchemaReport,
    apply_steps,
    inspect,
    may_migrate,
    migrate,
    migration_session,
    prepare_schema,
)
from teltonika_processor.store.steps import Step, packaged_steps, parse_step, read_steps
from waiting import eventually_async

PACKAGED = (
    "0001_spine",
    "0002_day_partitions",
    "0003_io_elements",
    "0004_default_plausible",
    "0005_default_current_sessions",
    "0006_timing",
    "0007_sessions",
    "0008_limits_marked",
)


@pytest.fixture
async def admin(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


def step(name: str, sql: str, *, header: str = "-- phase: pre\n") -> Step:
    return parse_step(name, (header + sql).encode())


async def apply(dsn: str, *steps: Step) -> tuple[str, ...]:
    return (await apply_upgrade(dsn, *steps)).applied


async def apply_upgrade(dsn: str, *steps: Step, post: bool = False) -> SchemaReport:
    async with migration_session(dsn) as session:
        return await apply_steps(session, steps, post=post)


async def history(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch("SELECT name FROM teltonika_migrations ORDER BY applied_at, name")
    return [row["name"] for row in rows]


# The schema


async def test_columns_have_the_agreed_names_and_types(
    database: str, admin: asyncpg.Connection
) -> None:
    await migrate(database)
    rows = await admin.fetch(
        "SELECT attrelid::regclass::text AS name, attname, format_type(atttypid, atttypmod),"
        " attnotnull FROM pg_attribute WHERE attnum > 0 AND attrelid IN"
        " ('positions'::regclass, 'last_position'::regclass, 'devices'::regclass)"
        " ORDER BY attrelid::regclass::text, attnum"
    )
    found: dict[str, list[str]] = {}
    for table, column, kind, required in rows:
        found.setdefault(table, []).append(f"{column} {kind}{'' if required else ' null'}")
    fix = [
        "imei bigint",
        "recorded_at timestamp with time zone",
        "digest bigint",
        "received_at timestamp with time zone",
        "longitude double precision",
        "latitude double precision",
        "altitude_m smallint",
        "angle_deg integer",
        "satellites smallint",
        "speed_kmh integer",
        "priority smallint",
        "event_io_id integer",
    ]
    assert found == {
        "devices": [
            "imei bigint",
            "name text null",
            "allowed boolean",
            "first_seen_at timestamp with time zone null",
            "last_seen_at timestamp with time zone null",
            "attributes jsonb",
        ],
        "last_position": fix,
        "positions": [*fix, "generation_type smallint null", "clock_suspect boolean", "io jsonb"],
    }


async def test_keys_fillfactor_and_partitions_are_as_agreed(
    database: str, admin: asyncpg.Connection
) -> None:
    await migrate(database)
    keys = await admin.fetch(
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE contype = 'p' AND conrelid IN"
        " ('positions'::regclass, 'last_position'::regclass, 'devices'::regclass) ORDER BY 1"
    )
    assert [tuple(row) for row in keys] == [
        ("devices", "PRIMARY KEY (imei)"),
        ("last_position", "PRIMARY KEY (imei)"),
        ("positions", "PRIMARY KEY (imei, recorded_at, digest)"),
    ]
    options = "SELECT reloptions FROM pg_class WHERE oid = 'last_position'::regclass"
    assert await admin.fetchval(options) == ["fillfactor=50"]
    await admin.execute("SET timezone = 'UTC'")
    await admin.execute("SELECT positions_ensure_days(ARRAY[date '2026-11-22'])")
    partitions = await admin.fetch(
        "SELECT oid::regclass::text, pg_get_expr(relpartbound, oid) FROM pg_class"
        " WHERE relispartition AND relkind = 'r' ORDER BY 1"
    )
    assert [tuple(row) for row in partitions] == [
        (
            "positions_20261122",
            "FOR VALUES FROM ('2026-11-22 00:00:00+00') TO ('2026-11-23 00:00:00+00')",
        ),
        ("positions_before_2010", "FOR VALUES FROM (MINVALUE) TO ('2010-01-01 00:00:00+00')"),
        ("positions_default", "DEFAULT"),
    ]


async def test_the_time_zone_of_the_server_does_not_move_a_day(admin: asyncpg.Connection) -> None:
    await admin.execute("SET timezone = 'Pacific/Kiritimati'")
    await admin.execute("SET datestyle = 'SQL, DMY'")
    for packaged in packaged_steps():
        await admin.execute(packaged.sql)
    await admin.execute("SELECT positions_ensure_days(ARRAY[date '2026-11-22'])")
    await admin.execute("SET timezone = 'UTC'")
    await admin.execute("RESET datestyle")
    bounds = await admin.fetch(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class"
        " WHERE relname IN ('positions_20261122', 'positions_before_2010') ORDER BY relname"
    )
    assert [row[0] for row in bounds] == [
        "FOR VALUES FROM ('2026-11-22 00:00:00+00') TO ('2026-11-23 00:00:00+00')",
        "FOR VALUES FROM (MINVALUE) TO ('2010-01-01 00:00:00+00')",
    ]


async def test_every_table_and_column_is_explained(
    database: str, admin: asyncpg.Connection
) -> None:
    await migrate(database)
    silent = await admin.fetch(
        "SELECT c.relname, a.attname FROM pg_class AS c LEFT JOIN pg_attribute AS a"
        " ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relname IN ('positions', 'devices', 'io_elements')"
        " AND col_description(c.oid, a.attnum) IS NULL"
        " UNION ALL SELECT relname, NULL FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND obj_description(oid, 'pg_class') IS NULL"
    )
    assert [tuple(row) for row in silent] == []


async def test_whoever_may_make_partitions_may_know_which_are_missing_without_a_new_grant(
    database: str, admin: asyncpg.Connection
) -> None:
    role = database.rpartition("/")[2].partition("?")[0] + " Writer"
    async with migration_session(database) as session:
        await apply_steps(session, packaged_steps()[:2])
    await admin.execute(f'CREATE ROLE "{role}"')
    try:
        grant = f'GRANT EXECUTE ON FUNCTION positions_ensure_days(date[]) TO "{role}"'
        await admin.execute(grant)
        await migrate(database)
        asked = (
            "SELECT has_function_privilege($1, 'positions_default_plausible(int, date)', 'EXECUTE')"
        )
        assert await admin.fetchval(asked, role)
        assert not await admin.fetchval(asked, "pg_monitor")
    finally:
        await admin.execute(f'DROP OWNED BY "{role}"')
        await admin.execute(f'DROP ROLE "{role}"')


async def test_days_before_2010_and_days_that_are_there_make_nothing(
    database: str, admin: asyncpg.Connection
) -> None:
    await migrate(database)
    statement = "SELECT positions_ensure_days($1::text[]::date[])"
    days = ["2009-12-31", "2010-01-01", "2026-11-22", "2026-11-22"]
    assert await admin.fetchval(statement, days) == 2
    assert await admin.fetchval(statement, days) == 0
    assert await admin.fetchval(statement, []) == 0


async def test_days_that_any_partition_touches_make_nothing_whatever_the_time_zone(
    database: str, admin: asyncpg.Connection
) -> None:
    await migrate(database)
    partitions = {
        "positions_y2024": "FROM ('2024-01-01 00:00+00') TO ('2025-01-01 00:00+00')",
        "positions_morning": "FROM ('2026-11-22 06:00+00') TO ('2026-11-22 07:00+00')",
        "positions_far": "FROM ('2100-01-01 00:00+00') TO (MAXVALUE) PARTITION BY RANGE (imei)",
    }
    for name, bounds in partitions.items():
        await admin.execute(f"CREATE TABLE {name} PARTITION OF positions FOR VALUES {bounds}")
    await admin.execute("SET timezone = 'Asia/Kolkata'")
    await admin.execute("SET datestyle = 'SQL, DMY'")
    statement = (
        "SELECT positions_ensure_days(array(SELECT to_date(unnest($1::text[]), 'YYYY-MM-DD')))"
    )
    covered = ["2024-01-01", "2024-06-30", "2024-12-31", "2026-11-22", "2100-01-01", "2999-12-31"]
    assert await admin.fetchval(statement, covered) == 0
    beside = ["2023-12-31", "2025-01-01", "2026-11-21", "2026-11-23", "2099-12-31"]
    assert await admin.fetchval(statement, [*covered, *beside]) == 5


# The runner


async def test_steps_are_applied_once_and_noted(database: str, admin: asyncpg.Connection) -> None:
    assert (await migrate(database)).applied == PACKAGED
    assert (await migrate(database)).applied == ()
    noted = await admin.fetch(
        "SELECT name, phase, sha256, applied_by <> '', applied_at <= now()"
        " FROM teltonika_migrations ORDER BY name"
    )
    expected = [(s.name, s.phase, s.sha256, True, True) for s in packaged_steps()]
    assert [tuple(row) for row in noted] == expected


async def test_checking_changes_nothing(database: str, admin: asyncpg.Connection) -> None:
    state = await inspect(database)
    assert (state.applied, state.pending, state.fits) == ((), PACKAGED, False)
    relations = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert await admin.fetchval(relations) == 0


async def test_a_step_changed_after_it_was_applied_is_refused(database: str) -> None:
    await apply(database, step("0001_a", "CREATE TABLE a ()"))
    with pytest.raises(SchemaMismatch, match="changed after they were applied: 0001_a"):
        await apply(database, step("0001_a", "CREATE TABLE b ()"), step("0002_c", "SELECT 1"))


async def test_a_database_of_a_later_version_is_named(database: str) -> None:
    old = step("0001_a", "CREATE TABLE a ()")
    harmless = step("0002_b", "CREATE TABLE b ()")
    await apply(database, old, harmless)
    async with migration_session(database) as session:
        assert (await apply_steps(session, [old])).newer == ("0002_b",)
    last = step("0003_c", "DROP TABLE a", header="-- phase: post\n")
    await apply_upgrade(database, old, harmless, last, post=True)
    with pytest.raises(SchemaMismatch, match="newer than this version: it has 0003_c"):
        await apply(database, old)


async def test_a_failing_step_leaves_nothing_and_is_named(
    database: str, admin: asyncpg.Connection
) -> None:
    good = step("0001_good", "CREATE TABLE good ()")
    bad = step("0002_bad", "CREATE TABLE half (); SELECT * FROM nowhere")
    with pytest.raises(SchemaMismatch, match="migration 0002_bad failed: Postgres: 42P01"):
        await apply(database, good, bad)
    assert await history(admin) == ["0001_good"]
    assert await admin.fetchval("SELECT to_regclass('half')") is None
    assert await apply(database, good, step("0002_bad", "CREATE TABLE half ()")) == ("0002_bad",)


async def test_a_step_that_cannot_get_its_lock_gives_up(
    database: str, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "STEP_LOCK_TIMEOUT_S", 0.1)
    first = step("0001_a", "CREATE TABLE a ()")
    await apply(database, first)
    await admin.execute("BEGIN")
    await admin.execute("LOCK TABLE a IN ACCESS SHARE MODE")
    with pytest.raises(SinkUnavailable) as caught:
        await apply(database, first, step("0002_b", "ALTER TABLE a ADD COLUMN b int"))
    assert caught.value.sqlstate == "55P03"
    await admin.execute("ROLLBACK")
    assert await history(admin) == ["0001_a"]


async def test_four_instances_at_once_apply_each_step_once(
    database: str, admin: asyncpg.Connection
) -> None:
    """The index is built outside a transaction, which a waiter with a snapshot would block."""
    index = step(
        "0009_index",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_time ON last_position (recorded_at)",
        header="-- phase: pre\n-- transaction: none\n",
    )
    steps = [*packaged_steps(), index]
    applied = await asyncio.gather(*(apply(database, *steps) for _ in range(4)))
    assert sorted(applied) == [(), (), (), (*PACKAGED, "0009_index")]
    assert sorted(await history(admin)) == [*PACKAGED, "0009_index"]
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_time'::regclass"
    assert await admin.fetchval(valid)


async def test_four_processes_at_once_apply_each_step_once(
    database: str, admin: asyncpg.Connection
) -> None:
    environment = {**os.environ, "DATABASE_URL": database}
    command = [sys.executable, "-m", "teltonika_processor", "migrate", "--json"]
    processes = [
        await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    outputs = [await process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    reports = sorted((json.loads(out) for out, _ in outputs), key=lambda r: len(r["applied"]))
    assert [report["applied"] for report in reports] == [[], [], [], list(PACKAGED)]
    assert [report["io_elements_changed"] for report in reports] == [0, 0, 0, 656]
    assert sorted(await history(admin)) == list(PACKAGED)


async def test_a_holder_killed_in_the_middle_of_a_step_lets_the_next_go_on(
    database: str, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "0001_slow.sql"
    file.write_text("-- phase: pre\nCREATE TABLE slow (); SELECT pg_sleep(600)")
    program = (
        "import asyncio, pathlib, sys\n"
        "from teltonika_processor.store.migrate import apply_steps, migration_session\n"
        "from teltonika_processor.store.steps import read_steps\n"
        "async def main():\n"
        "    async with migration_session(sys.argv[1]) as session:\n"
        "        await apply_steps(session, read_steps(pathlib.Path(sys.argv[2])))\n"
        "asyncio.run(main())\n"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, database, str(tmp_path)
    )
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    await eventually_async(lambda: admin.fetchval(sleeping))
    assert await admin.fetchval("SELECT NOT pg_try_advisory_lock($1)", LOCK_KEY)
    holder.send_signal(signal.SIGKILL)
    await holder.wait()
    file.write_text("-- phase: pre\nCREATE TABLE slow ()")
    async with asyncio.timeout(15):
        assert await apply(database, *read_steps(tmp_path)) == ("0001_slow",)
    assert await history(admin) == ["0001_slow"]


async def test_a_lock_that_stays_held_is_said(database: str, admin: asyncpg.Connection) -> None:
    await admin.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    async with migration_session(database) as session:
        with pytest.raises(SinkUnavailable, match="another migration holds the lock"):
            await apply_steps(session, packaged_steps(), lock_wait_max_s=0.2)
    assert (await inspect(database)).pending == PACKAGED


# Upgrades: pre steps go before, post steps after the version before is gone


BASE = step("0001_base", "CREATE TABLE base (old int)")
PRE = step("0002_new_column", "ALTER TABLE base ADD COLUMN new int")
POST = step("0003_no_old", "ALTER TABLE base DROP COLUMN old", header="-- phase: post\n")


async def columns_of_base(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'base' ORDER BY 1"
    )
    return [row[0] for row in rows]


async def test_an_upgrade_applies_post_steps_only_when_told(
    database: str, admin: asyncpg.Connection
) -> None:
    await apply(database, BASE)
    before = await apply_upgrade(database, BASE, PRE, POST)
    assert (before.applied, before.deferred) == (("0002_new_column",), ("0003_no_old",))
    assert await columns_of_base(admin) == ["new", "old"]
    after = await apply_upgrade(database, BASE, PRE, POST, post=True)
    assert (after.applied, after.deferred) == (("0003_no_old",), ())
    assert await columns_of_base(admin) == ["new"]


async def test_a_new_database_gets_post_steps_at_once(
    database: str, admin: asyncpg.Connection
) -> None:
    assert await apply(database, BASE, PRE, POST) == (
        "0001_base",
        "0002_new_column",
        "0003_no_old",
    )
    assert await columns_of_base(admin) == ["new"]


async def test_an_upgrade_upon_one_that_was_not_ended_changes_nothing_until_told(
    database: str, admin: asyncpg.Connection
) -> None:
    await apply(database, BASE, PRE)
    later = step("0004_later", "ALTER TABLE base ADD COLUMN later int")
    with pytest.raises(SchemaMismatch, match="an earlier upgrade was not ended: 0003_no_old"):
        await apply_upgrade(database, BASE, PRE, POST, later)
    assert await columns_of_base(admin) == ["new", "old"]
    report = await apply_upgrade(database, BASE, PRE, POST, later, post=True)
    assert report.applied == ("0003_no_old", "0004_later")


# Roles


@pytest.fixture
async def writer_dsn(database: str, admin: asyncpg.Connection) -> AsyncIterator[str]:
    """The address of a role that owns nothing and may create nothing."""
    role = f"tp_migration_reader_{os.getpid()}"
    await admin.execute(f"CREATE ROLE {role} LOGIN")
    await admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    parts = urlsplit(database)
    yield parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()
    await admin.execute(f"DROP OWNED BY {role}")
    await admin.execute(f"DROP ROLE {role}")


async def test_the_owner_migrates_at_start(database: str) -> None:
    report = await prepare_schema(database, database)
    assert (report.applied, report.migrated) == (PACKAGED, True)


async def test_a_role_that_may_only_write_finds_the_schema_fit(
    database: str, writer_dsn: str
) -> None:
    await migrate(database)
    report = await prepare_schema(writer_dsn, writer_dsn)
    assert (report.applied, report.migrated) == ((), False)


async def test_a_role_that_may_only_write_does_not_start_on_an_empty_database(
    writer_dsn: str, admin: asyncpg.Connection
) -> None:
    with pytest.raises(SchemaMismatch, match="migrations are pending: 0001_spine"):
        await prepare_schema(writer_dsn, writer_dsn)
    assert await admin.fetchval("SELECT to_regclass('teltonika_migrations')") is None


async def test_without_leave_to_migrate_an_owner_only_looks(database: str) -> None:
    with pytest.raises(SchemaMismatch, match="migrations are pending"):
        await prepare_schema(database, None)
    await migrate(database)
    assert not (await prepare_schema(database, None)).migrated


async def test_create_on_the_schema_is_not_enough_once_another_owns_the_table(
    database: str, writer_dsn: str, admin: asyncpg.Connection
) -> None:
    role = urlsplit(writer_dsn).netloc.rpartition("@")[0]
    await admin.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
    async with migration_session(writer_dsn) as session:
        assert await may_migrate(session)
        await migrate(database)
        assert not await may_migrate(session)


# The command


def run_migrate(dsn: str, *arguments: str) -> tuple[int, str, str]:
    done = run_command("migrate", *arguments, environment=own_environment(DATABASE_URL=dsn))
    return done.returncode, done.stdout, done.stderr


def test_the_command_checks_applies_and_checks_again(database: str) -> None:
    assert run_migrate(database, "--check") == (
        76,
        "".join(f"pending {name}\n" for name in PACKAGED),
        "",
    )
    applied = "".join(f"applied {name}\n" for name in PACKAGED)
    assert run_migrate(database) == (0, f"{applied}wrote 656 rows of io_elements\n", "")
    assert run_migrate(database) == (0, "nothing to apply\n", "")
    assert run_migrate(database, "--check") == (0, "the schema fits: 8 steps applied\n", "")
    code, out, _ = run_migrate(database, "--check", "--json")
    assert (code, json.loads(out)["fits"], json.loads(out)["applied"]) == (0, True, [*PACKAGED])


def test_the_command_names_a_server_that_is_away_without_its_password() -> None:
    code, out, err = run_migrate("postgresql://someone:hush@127.0.0.1:1/nowhere_test")
    assert (code, out) == (75, "")
    assert err.startswith("Postgres: ")
    assert "hush" not in err

"""The roles of ops/postgres/roles.sql are those of OPERATIONS.md, are enough, and are no more."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from commands import own_environment, run_command
from devices import Device, handshake
from processes import Gateway, Processor
from roles import drop_roles, dsn_of, make_roles
from secret import SECRET
from servers import run_sql
from telemetry import BASE_MS, IMEI, Key, Telemetry, entry, fetch, frame_at, stored_keys
from teltonika_processor.store.admission import (
    Refusal,
    admission_session,
    allowed_pages,
    known,
    record_refused,
)
from teltonika_processor.store.connection import SessionConfig
from waiting import eventually

OPERATIONS = (Path(__file__).parents[2] / "OPERATIONS.md").read_text()

DAY_MS = 86_400_000

FIRST = "SELECT (extract(epoch FROM end_t) * 1000)::bigint FROM timing_records"


@pytest.fixture
def with_roles(migrated_database: str) -> Iterator[str]:
    """DSN of the superuser in a database that has the roles, and a table of somebody else's."""
    run_sql(migrated_database, "CREATE SCHEMA elsewhere")
    run_sql(migrated_database, "CREATE TABLE elsewhere.wages AS SELECT 1 AS euro")
    make_roles(migrated_database)
    yield migrated_database
    drop_roles(migrated_database)


@pytest.fixture
def writer_dsn(with_roles: str) -> str:
    return dsn_of(with_roles, "writer")


def documented() -> set[tuple[str, str, str]]:
    """(role, table, privilege) of the table in OPERATIONS.md."""
    _, _, section = OPERATIONS.partition("\n## Roles\n")
    rows = re.findall(r"^\| `teltonika_(\w+)` \| (.*) \| (.*) \|$", section, re.MULTILINE)
    return {
        (role, name, privilege)
        for role, names, privileges in rows
        for name in re.findall(r"`(\w+)`", names)
        for privilege in re.findall(r"`([A-Z]+)`", privileges)
    }


def test_the_file_grants_what_the_document_says(with_roles: str) -> None:
    database = urlsplit(with_roles).path.removeprefix("/")
    tables = fetch(
        with_roles,
        "SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants "
        "WHERE grantee = any ($1)",
        [f"{database}_{role}" for role in ("writer", "gateway", "reader")],
    )
    granted = {(row[0].removeprefix(f"{database}_"), row[1], row[2]) for row in tables}
    there = {row[0] for row in fetch(with_roles, "SELECT relname FROM pg_class")}
    expected = {(role, name, privilege) for role, name, privilege in documented() if name in there}
    assert expected
    assert granted == expected


def test_the_gateway_may_say_who_was_seen_and_no_more(with_roles: str) -> None:
    database = urlsplit(with_roles).path.removeprefix("/")
    columns = fetch(
        with_roles,
        "SELECT privilege_type, array_agg(column_name::text ORDER BY column_name) "
        "FROM information_schema.role_column_grants "
        "WHERE grantee = $1 AND table_name = 'devices' GROUP BY 1 ORDER BY 1",
        f"{database}_gateway",
    )
    assert [tuple(row) for row in columns] == [
        ("INSERT", ["first_seen_at", "imei", "last_seen_at"]),
        ("SELECT", ["allowed", "first_seen_at", "imei", "last_seen_at"]),
        ("UPDATE", ["first_seen_at", "last_seen_at"]),
    ]


def test_the_file_grants_the_functions_that_the_document_says(with_roles: str) -> None:
    database = urlsplit(with_roles).path.removeprefix("/")
    functions = fetch(
        with_roles,
        "SELECT grantee, routine_name FROM information_schema.role_routine_grants "
        "WHERE grantee = any ($1)",
        [f"{database}_{role}" for role in ("writer", "gateway", "reader")],
    )
    _, _, section = OPERATIONS.partition("\n## Roles\n")
    documented = set(
        re.findall(r"^\| `teltonika_(\w+)` \| function (\w+) \|", section, re.MULTILINE)
    )
    assert documented
    granted = {(row[0].removeprefix(f"{database}_"), row[1]) for row in functions}
    assert granted == documented


def test_all_that_migrations_make_belongs_to_the_owner(with_roles: str) -> None:
    rows = fetch(
        with_roles,
        "SELECT relname::text, relowner::regrole::text FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace "
        "UNION ALL SELECT proname::text, proowner::regrole::text FROM pg_proc "
        "WHERE pronamespace = 'public'::regnamespace",
    )
    owner = urlsplit(with_roles).path.removeprefix("/") + "_owner"
    names = {row[0] for row in rows}
    assert {"position_elements", "positions_io", "positions_default_plausible"} < names
    assert [row[0] for row in rows if row[1] != owner] == []


def test_the_file_may_be_run_again(with_roles: str) -> None:
    before = acls(with_roles)
    make_roles(with_roles)
    assert acls(with_roles) == before


def acls(dsn: str) -> list[asyncpg.Record]:
    return fetch(
        dsn,
        "SELECT oid::regclass::text, relowner::regrole::text, relacl::text FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace "
        "UNION ALL SELECT oid::regprocedure::text, proowner::regrole::text, proacl::text "
        "FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    )


def test_the_writers_grants_are_enough(
    redis_url: str, migrated_database: str, writer_dsn: str
) -> None:
    telemetry = Telemetry(redis_url)
    run_sql(
        migrated_database,
        "INSERT INTO zones (id, version, name, kind, geometry, radius_m, unmarked) VALUES (1, 1,"
        """ 'all', 'circle', '{"type": "Point", "coordinates": [25.28, 54.69]}', 10000, '(,)')""",
    )
    run_sql(migrated_database, "UPDATE timing_limits SET is_marked = false")
    with Processor(redis_url, writer_dsn, "--no-migrate") as processor:
        # New rows, then a batch with a copy of one among them, then a day without a partition.
        for times in ([BASE_MS], [BASE_MS, BASE_MS + 1000], [BASE_MS - DAY_MS]):
            telemetry.publish([entry(frame_at(time)) for time in times])
            eventually(telemetry.settled)
        # A late fix replaced the crossing that was the first.
        processor.wait_for("edits.finished")
        eventually(lambda: fetch(migrated_database, FIRST) == [(BASE_MS - DAY_MS,)])
        assert processor.terminate() == 0
    telemetry.close()
    assert [*map(tuple, fetch(migrated_database, "SELECT is_marked FROM timing_limits"))] == [
        (True,)
    ]
    assert stored_keys(migrated_database) == [
        Key(IMEI, BASE_MS - DAY_MS),
        Key(IMEI, BASE_MS),
        Key(IMEI, BASE_MS + 1000),
    ]
    partitions = fetch(
        migrated_database,
        "SELECT relname::text, relowner::regrole::text FROM pg_class "
        "WHERE relname ~ '^positions_202609[0-9]+$' ORDER BY 1",
    )
    database = urlsplit(migrated_database).path.removeprefix("/")
    assert [tuple(row) for row in partitions] == [
        ("positions_20260920", f"{database}_owner"),
        ("positions_20260921", f"{database}_owner"),
    ]


async def test_the_gateways_grants_are_enough(with_roles: str) -> None:
    config = SessionConfig(dsn=dsn_of(with_roles, "gateway"), instance="gateway-1")
    async with admission_session(config) as session:
        for _ in range(2):  # a new row, and one that is there
            await record_refused(session, [Refusal(int(IMEI), BASE_MS, BASE_MS + 1)])
        assert await known(session, [int(IMEI)]) == {int(IMEI): False}
        assert [page.n_rows async for page in allowed_pages(session)] == [1]


def test_a_gateway_needs_no_other_grants(redis_url: str, with_roles: str) -> None:
    settings = {"DATABASE_URL": dsn_of(with_roles, "gateway"), "INGEST_ADMISSION": "postgres"}
    settings |= {"INGEST_DURABILITY": "memory"}
    with Gateway(redis_url, **settings) as gateway:
        gateway.wait_for("admission.replaced")
        assert not is_let_in(gateway)
        eventually(lambda: fetch(with_roles, "SELECT allowed FROM devices") == [(False,)])
        run_sql(with_roles, "UPDATE devices SET allowed = true")
        eventually(lambda: is_let_in(gateway))
        assert gateway.terminate() == 0


def is_let_in(gateway: Gateway) -> bool:
    with Device(gateway.tcp_port, None) as device:
        device.send(handshake())
        return device.receive(1) == b"\1"


def test_a_gateway_that_may_not_read_who_is_allowed_says_so(
    redis_url: str, with_roles: str
) -> None:
    database = urlsplit(with_roles).path.removeprefix("/")
    run_sql(with_roles, f"REVOKE ALL ON devices FROM {database}_gateway")
    settings = {"DATABASE_URL": dsn_of(with_roles, "gateway"), "INGEST_ADMISSION": "postgres"}
    settings |= {"INGEST_DURABILITY": "memory"}
    with Gateway(redis_url, **settings) as gateway:
        assert gateway.exit_code() == 76


NOBODY_BUT_THE_OWNER = (
    "DROP TABLE positions",
    "ALTER TABLE positions ADD COLUMN x int",
    "ALTER TABLE positions DETACH PARTITION positions_default",
    "ALTER TABLE last_position DISABLE TRIGGER ALL",
    "TRUNCATE positions",
    "TRUNCATE last_position",
    "DELETE FROM positions",
    "DELETE FROM devices",
    "DELETE FROM last_position",
    "INSERT INTO teltonika_migrations (name) VALUES ('x')",
    "UPDATE teltonika_migrations SET name = 'x'",
    "SELECT FROM positions_default",
    "CREATE TABLE public.x (y int)",
    "CREATE SCHEMA x",
    "CREATE FUNCTION public.x() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE INDEX ON positions (speed_kmh)",
    (
        "CREATE TRIGGER x BEFORE INSERT ON devices "
        "EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "SELECT * FROM elsewhere.wages",
    "SELECT positions_create_day('2026-09-21')",
    "SELECT positions_missing_days('{2026-09-21}')",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY devices TO PROGRAM 'true'",
    "SET session_replication_role = replica",
    "CREATE ROLE x",
)
NOT_EVEN_THE_OWNER = (
    "SELECT * FROM elsewhere.wages",
    "SELECT rolpassword FROM pg_authid",
    "SELECT pg_read_file('/etc/passwd')",
    "CREATE ROLE x",
    "CREATE SCHEMA x",
)
NOR_THE_READER = (
    "INSERT INTO devices (imei) VALUES (1)",
    "UPDATE devices SET allowed = true",
    "UPDATE positions SET speed_kmh = 1",
    "UPDATE last_position SET speed_kmh = 1",
    "SELECT positions_ensure_days('{2026-09-21}')",
    "CREATE TEMPORARY TABLE x (y int)",
)
NOR_THE_GATEWAY = (
    "INSERT INTO devices (imei, allowed) VALUES (1, true)",
    "INSERT INTO devices (imei, name) VALUES (1, 'x')",
    "UPDATE devices SET allowed = true",
    "UPDATE devices SET name = 'x'",
    "UPDATE devices SET imei = 1",
    "SELECT name FROM devices",
    "SELECT attributes FROM devices",
    "SELECT FROM positions",
    "SELECT FROM last_position",
    "INSERT INTO positions (imei) VALUES (1)",
    "SELECT positions_ensure_days('{2026-09-21}')",
    "SELECT positions_default_plausible(10)",
    "CREATE TEMPORARY TABLE x (y int)",
)


@pytest.mark.parametrize(
    ("role", "statements"),
    [
        ("writer", NOBODY_BUT_THE_OWNER),
        ("reader", NOBODY_BUT_THE_OWNER),
        ("reader", NOR_THE_READER),
        ("gateway", NOBODY_BUT_THE_OWNER),
        ("gateway", NOR_THE_GATEWAY),
        ("owner", NOT_EVEN_THE_OWNER),
    ],
)
async def test_a_role_is_denied(with_roles: str, role: str, statements: Sequence[str]) -> None:
    session = await asyncpg.connect(dsn_of(with_roles, role))
    try:
        assert [s for s in statements if not await is_denied(session, s)] == []
    finally:
        await session.close()


async def is_denied(session: asyncpg.Connection, statement: str) -> bool:
    try:
        await session.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    return False


def test_the_reader_reads(with_roles: str) -> None:
    reader = dsn_of(with_roles, "reader")
    for table in (
        "devices",
        "positions",
        "last_position",
        "teltonika_migrations",
        "io_elements",
        "position_elements",
        "positions_default_plausible(10)",
    ):
        run_sql(reader, f"SELECT * FROM {table}")


def test_a_stolen_writers_password_can_rewrite_what_is_stored(writer_dsn: str) -> None:
    """SECURITY.md says so: a writer that may merge a batch may change rows."""
    run_sql(writer_dsn, "INSERT INTO devices (imei) VALUES (1)")
    run_sql(writer_dsn, "UPDATE devices SET allowed = true")
    run_sql(writer_dsn, "UPDATE positions SET speed_kmh = 1")
    run_sql(writer_dsn, "SELECT positions_ensure_days('{2031-01-01}')")


def test_nobody_else_may_connect(with_roles: str) -> None:
    database = urlsplit(with_roles).path.removeprefix("/")
    role = f"{database}_stranger"
    run_sql(with_roles, f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            run_sql(dsn_of(with_roles, "stranger"), "SELECT 1")
    finally:
        run_sql(with_roles, f"DROP ROLE {role}")


def test_the_owner_migrates_an_empty_database(database: str) -> None:
    make_roles(database)
    try:
        owner = own_environment(DATABASE_URL=dsn_of(database, "owner"))
        done = run_command("migrate", environment=owner)
        assert done.returncode == 0, done.stderr
        make_roles(database)
        checked = own_environment(DATABASE_URL=dsn_of(database, "writer"))
        assert run_command("migrate", "--check", environment=checked).returncode == 0
    finally:
        drop_roles(database)


def test_documented_grants_are_enough_for_devices_but_not_to_erase_one(
    redis_url: str, migrated_database: str, writer_dsn: str
) -> None:
    run_sql(migrated_database, f"INSERT INTO devices (imei) VALUES ({IMEI})")
    environment = own_environment(REDIS_URL=redis_url, DATABASE_URL=writer_dsn)
    for arguments in (["allow", f"{IMEI}", "7" * 15, "--yes"], ["list"], ["show", f"{IMEI}"]):
        told = run_command("device", *arguments, environment=environment)
        assert told.returncode == 0, told.stderr
    told = run_command("device", "forget", f"{IMEI}", "--yes", environment=environment)
    assert (told.returncode, told.stdout) == (76, "")
    assert (
        "GRANT SELECT, DELETE ON public.positions, public.last_position, public.refold"
        in told.stderr
    )


PLAUSIBLE_BY_MISTAKE = (
    "INSERT INTO positions VALUES (1, '2026-03-05 12:00Z', 1, now(), 0, 0, 0, 0, 0, 0, 0, 0, NULL, "
    "false, '{}')"
)


def test_the_writers_grants_are_enough_to_look_and_to_repair(
    redis_url: str, migrated_database: str, writer_dsn: str
) -> None:
    run_sql(migrated_database, PLAUSIBLE_BY_MISTAKE)
    environment = own_environment(REDIS_URL=redis_url, DATABASE_URL=writer_dsn)
    told = run_command("status", "--sample", "0", "--json", environment=environment)
    assert json.loads(told.stdout)["postgres"]["partitions"]["plausible_rows"] == 1
    told = run_command("doctor", "--json", environment=environment)
    checks = [json.loads(line) for line in told.stdout.splitlines()]
    status_of = {
        check["check"]: check["status"] for check in checks if check["party"] == "postgres"
    }
    assert "unknown" not in status_of.values()
    assert (status_of["grants"], status_of["default-partition"]) == ("ok", "failure")
    told = run_command("partitions", "list", environment=environment)
    assert (told.returncode, told.stderr) == (0, "")
    told = run_command("partitions", "repair", "--yes", environment=environment)
    assert (told.returncode, told.stderr) == (0, "")
    rows = fetch(migrated_database, "SELECT tableoid::regclass::text FROM positions")
    assert [row[0] for row in rows] == ["positions_20260305"]


def test_dropping_and_erasing_take_the_owner(
    redis_url: str, migrated_database: str, with_roles: str, writer_dsn: str
) -> None:
    run_sql(writer_dsn, "SELECT positions_ensure_days('{2026-03-05}')")
    run_sql(writer_dsn, PLAUSIBLE_BY_MISTAKE.replace("(1,", f"({IMEI},"))
    drop = ("partitions", "drop", "--older-than", "3", "--yes")
    forget = ("device", "forget", f"{IMEI}", "--yes")
    environment = own_environment(REDIS_URL=redis_url, DATABASE_URL=writer_dsn)
    for arguments in (drop, forget):
        assert run_command(*arguments, environment=environment).returncode == 76
    environment["DATABASE_MIGRATION_URL"] = dsn_of(with_roles, "owner")
    told = run_command(*forget, environment=environment)
    assert told.returncode == 0, told.stderr
    assert stored_keys(migrated_database) == []
    told = run_command(*drop, environment=environment)
    assert told.returncode == 0, told.stderr
    days = "SELECT FROM pg_class WHERE relname = 'positions_20260305'"
    assert fetch(migrated_database, days) == []


def test_role_that_may_only_write_does_not_migrate(
    redis_url: str, migrated_database: str, writer_dsn: str
) -> None:
    run_sql(migrated_database, "DELETE FROM public.teltonika_migrations")
    with Processor(redis_url, writer_dsn) as processor:
        assert processor.exit_code() == 76
    assert stored_keys(migrated_database) == []

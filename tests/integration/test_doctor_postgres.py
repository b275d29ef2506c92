"""What an examination is told by a real Postgres, each problem provoked."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from commands import own_environment, run_command
from servers import new_postgres, run_in_own_loop, run_sql
from telemetry import fetch, locked
from teltonika_processor.doctor.findings import Finding
from teltonika_processor.doctor.postgres_server import Wanted, server_findings
from teltonika_processor.doctor.schema import schema_findings
from teltonika_processor.errors import SchemaMismatch, SinkUnavailable
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.facts import (
    PostgresFacts,
    read_owner_facts,
    read_postgres_facts,
)

WANTED = Wanted(pooler="none", writers=2, write_deadline_ms=10_000, migrate_on_start=True)
PASSWORD = "of-the-test"  # on servers of the suite's own

BEFORE_0004 = "DELETE FROM teltonika_migrations WHERE name = '0004_default_plausible'"

ROW = (
    "INSERT INTO {table} (imei, recorded_at, digest, received_at, longitude, latitude, altitude_m,"
    " angle_deg, satellites, speed_kmh, priority, event_io_id, clock_suspect, io)"
    " VALUES (1, '{day} 12:00Z', {digest}, now(), 0, 0, 0, 0, 5, 0, 0, 0, {suspect}, '{{}}')"
)


def config(dsn: str) -> SessionConfig:
    return SessionConfig(dsn=dsn, instance="doctor", write_timeout_s=3.0)


def facts(dsn: str) -> PostgresFacts:
    return run_in_own_loop(read_postgres_facts(config(dsn)))


def of(dsn: str, check: str) -> Finding:
    found = facts(dsn)
    findings = [*server_findings(found, WANTED), *schema_findings(found, None, WANTED)]
    return next(finding for finding in findings if finding.check == check)


@pytest.fixture
def role(migrated_database: str) -> Iterator[str]:
    """A role without any grant."""
    name = urlsplit(migrated_database).path.removeprefix("/") + "_bare"
    run_sql(migrated_database, f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
    run_sql(migrated_database, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    yield name
    run_sql(migrated_database, f"DROP OWNED BY {name}")
    run_sql(migrated_database, f"DROP ROLE {name}")


def as_role(dsn: str, role: str) -> str:
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{role}:{PASSWORD}@{host}").geturl()


def test_a_migrated_database_is_ok_but_for_the_superuser(migrated_database: str) -> None:
    found = facts(migrated_database)
    findings = [*server_findings(found, WANTED), *schema_findings(found, None, WANTED)]
    assert {f.check: f.status.value for f in findings if f.status != "ok"} == {"role": "warning"}
    assert found.not_seen == {}
    assert found.clock.apart_ms < 1000
    assert found.pooler == "none"


def test_an_empty_database_has_pending_steps_and_nothing_else_to_see(database: str) -> None:
    assert of(database, "schema").found.startswith("pending: 0001_spine")
    assert of(database, "grants").status == "unknown"
    assert of(database, "default-partition").status == "unknown"


def test_a_database_of_an_older_version_is_looked_at_as_far_as_it_goes(
    migrated_database: str,
) -> None:
    run_sql(migrated_database, "DROP FUNCTION positions_default_plausible")
    run_sql(migrated_database, BEFORE_0004)
    assert of(migrated_database, "schema").found.startswith("pending: 0004_default_plausible")
    finding = of(migrated_database, "default-partition")
    told = (finding.status, finding.found, finding.remedy)
    assert told == ("unknown", "pending migrations", "teltonika-processor migrate")
    assert of(migrated_database, "partitions").found == "2"


def test_a_grant_on_a_column_of_a_step_that_is_pending_is_not_known_yet(
    migrated_database: str,
) -> None:
    assert of(migrated_database, "grants").status == "ok"
    run_sql(migrated_database, "ALTER TABLE timing_limits DROP COLUMN is_marked")
    run_sql(migrated_database, "DELETE FROM teltonika_migrations WHERE name > '0008'")
    finding = of(migrated_database, "grants")
    assert (finding.status, finding.found) == ("unknown", "not all tables and columns are there")


def test_a_role_without_grants_is_told_what_it_lacks(migrated_database: str, role: str) -> None:
    dsn = as_role(migrated_database, role)
    grants = of(dsn, "grants")
    assert grants.status == "failure"
    for missing in (
        "USAGE ON SCHEMA public",
        "INSERT ON public.positions",
        "UPDATE ON public.last_position",
        "SELECT ON public.devices",
        "SELECT ON public.timing_limits",
        "UPDATE (unmarked) ON public.zones",
        "UPDATE (is_marked) ON public.timing_limits",
        "EXECUTE ON FUNCTION public.positions_ensure_days(date[])",
    ):
        assert missing in grants.found
    again, _, by_hand = grants.remedy.partition("as the owner: ")
    assert again == "run ops/postgres/roles.sql again, as after each upgrade; or "
    run_sql(migrated_database, by_hand)
    assert of(dsn, "grants").status == "ok"
    run_sql(migrated_database, f"DROP OWNED BY {role}")
    assert of(dsn, "schema").status == "unknown"
    assert of(dsn, "default-partition").status == "unknown"
    assert of(dsn, "role").found == role
    assert of(dsn, "migrations").found == "42501 permission denied for schema public"
    run_sql(migrated_database, f"GRANT USAGE ON SCHEMA public TO {role}")
    assert of(dsn, "migrations").found.startswith(f"by hand: {role} may not")


def test_the_grant_that_is_asked_for_makes_the_default_partition_known(
    migrated_database: str, role: str
) -> None:
    run_sql(migrated_database, f"GRANT USAGE ON SCHEMA public TO {role}")
    dsn = as_role(migrated_database, role)
    finding = of(dsn, "default-partition")
    assert finding.found.startswith("42501 permission denied")
    run_sql(migrated_database, finding.remedy)
    assert of(dsn, "default-partition").status == "ok"


def test_the_remedy_moves_plausible_rows_to_their_days(migrated_database: str) -> None:
    table = "public.positions_default"
    for digest, suspect in enumerate(("true", "false", "false")):
        statement = ROW.format(table=table, day="2026-03-05", digest=digest, suspect=suspect)
        run_sql(migrated_database, statement)
    finding = of(migrated_database, "default-partition")
    assert finding.found == "rows with a plausible clock: 2"
    command = finding.remedy.removeprefix("teltonika-processor ").partition(",")[0].split()
    environment = own_environment(DATABASE_URL=migrated_database)
    assert run_command(*command, "--yes", environment=environment).returncode == 0
    assert of(migrated_database, "default-partition").status == "ok"
    (count,) = fetch(migrated_database, "SELECT count(*) AS n FROM public.positions_20260305")
    assert count["n"] == 3


def test_a_day_that_was_detached_is_named(migrated_database: str) -> None:
    run_sql(migrated_database, "SELECT positions_ensure_days('{2026-03-05,2026-03-06}')")
    assert of(migrated_database, "detached-days").status == "ok"
    before = of(migrated_database, "partitions").found
    run_sql(migrated_database, "ALTER TABLE positions DETACH PARTITION positions_20260305")
    assert of(migrated_database, "detached-days").found == "positions_20260305"
    assert (before, of(migrated_database, "partitions").found) == ("4", "3")


@pytest.mark.parametrize(
    ("setting", "check", "status"),
    [
        ("default_transaction_read_only = on", "primary", "failure"),
        ("synchronous_commit = off", "durability", "failure"),
        ("idle_session_timeout = '5s'", "timeouts", "warning"),
    ],
)
def test_a_setting_of_the_database_that_does_harm(
    migrated_database: str, setting: str, check: str, status: str
) -> None:
    name = urlsplit(migrated_database).path.removeprefix("/")
    run_sql(migrated_database, f'ALTER DATABASE "{name}" SET {setting}')
    finding = of(migrated_database, check)
    assert finding.status == status
    # What can be looked at all the same is.
    assert of(migrated_database, "schema").status == "ok"


def test_a_limit_of_the_roles_connections(migrated_database: str, role: str) -> None:
    dsn = as_role(migrated_database, role)
    assert of(dsn, "connections").status == "ok"
    run_sql(migrated_database, f"ALTER ROLE {role} CONNECTION LIMIT 3")
    assert of(dsn, "connections").found.endswith("and a limit of 3 is set")


def test_a_slot_that_nobody_reads_is_told() -> None:
    with new_postgres(settings={"wal_level": "replica", "max_wal_senders": "2"}) as server:
        run_sql(server.dsn(), "SELECT pg_create_physical_replication_slot('left_over', true)")
        finding = of(server.dsn(), "replication-slots")
    assert finding.status == "warning"
    assert finding.found.startswith("1 unread: left_over (")


def test_an_unneeded_pooler_setting_is_told(migrated_database: str) -> None:
    pooled = SessionConfig(dsn=migrated_database, instance="doctor", pooler="transaction")
    found = run_in_own_loop(read_postgres_facts(pooled))
    assert found.pooler == "none"
    assert found.schema is not None
    assert found.schema.fits
    assert found.not_seen == {}


def test_two_addresses_are_known_to_lead_to_one_database(
    migrated_database: str, database: str
) -> None:
    here, there = facts(migrated_database), facts(database)
    owner = run_in_own_loop(read_owner_facts(config(migrated_database)))
    assert owner.may_migrate
    assert here.identity == owner.identity
    assert here.identity is not None
    assert there.identity != owner.identity


def test_a_table_that_is_locked_is_unknown_and_the_rest_is_told(
    migrated_database: str,
) -> None:
    short = SessionConfig(
        dsn=migrated_database, instance="doctor", write_timeout_s=0.3, lock_timeout_s=0.2
    )
    with locked(migrated_database, "positions_default"):
        found = run_in_own_loop(read_postgres_facts(short))
    assert found.plausible_in_default is None
    assert found.not_seen["plausible_in_default"].startswith("55P03")
    assert found.connections is not None


def test_a_server_that_is_away_or_refuses_is_no_finding_but_an_error(
    migrated_database: str,
) -> None:
    with pytest.raises(SinkUnavailable):
        facts("postgresql://127.0.0.1:1/nobody")
    with pytest.raises(SchemaMismatch, match="3D000"):
        facts(urlsplit(migrated_database)._replace(path="/not_there").geturl())

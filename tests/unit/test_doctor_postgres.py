"""What literal facts about a Postgres come to."""

from dataclasses import replace
from typing import Any

import pytest

from teltonika_processor.clocks import ClockReading
from teltonika_processor.doctor.findings import Finding, Status
from teltonika_processor.doctor.postgres_server import Wanted, server_findings
from teltonika_processor.doctor.schema import schema_findings
from teltonika_processor.store.facts import (
    Connections,
    IdleSlot,
    OwnerFacts,
    Partitions,
    PostgresFacts,
    ServerState,
)
from teltonika_processor.store.steps import SchemaState

MIB = 1024 * 1024

SERVER = ServerState(
    version_num=150_013,
    version="15.13",
    in_recovery=False,
    read_only=False,
    role="processor",
    is_superuser=False,
    database="fleet",
    settings={
        "autovacuum": "on",
        "fsync": "on",
        "full_page_writes": "on",
        "idle_session_timeout": "0",
        "synchronous_commit": "on",
    },
)
FITS = SchemaState(
    applied=("0001_a", "0002_b"), pending=(), deferred=(), mismatched=(), newer=(), too_new=()
)
FACTS = PostgresFacts(
    server=SERVER,
    ping_ms=0.4,
    clock=ClockReading(0.0, 0.1),
    pooler="none",
    schema=FITS,
    missing_grants=(),
    may_migrate=False,
    connections=Connections(used=10, allowed=97, role_limit=-1, database_limit=-1),
    idle_slots=(),
    partitions=Partitions(n_attached=40, detached=()),
    plausible_in_default=0,
    identity=("7", 5),
)
WANTED = Wanted(pooler="none", writers=2, write_deadline_ms=10_000, migrate_on_start=True)
OWNER = OwnerFacts(role="owner", may_migrate=True, identity=("7", 5))


def of(
    check: str, facts: PostgresFacts = FACTS, owner: OwnerFacts | None = None, **wanted: Any
) -> Finding:
    ours = replace(WANTED, **wanted)
    findings = [*server_findings(facts, ours), *schema_findings(facts, owner, ours)]
    (finding,) = [found for found in findings if found.check == check]
    return finding


def with_settings(**settings: str) -> PostgresFacts:
    return replace(FACTS, server=replace(SERVER, settings={**SERVER.settings, **settings}))


def with_server(**change: Any) -> PostgresFacts:
    return replace(FACTS, server=replace(SERVER, **change))


def test_a_healthy_database_is_all_ok() -> None:
    findings = [*server_findings(FACTS, WANTED), *schema_findings(FACTS, OWNER, WANTED)]
    assert {finding.status for finding in findings} == {Status.OK}
    assert len({finding.check for finding in findings}) == len(findings) == 16


@pytest.mark.parametrize(
    ("check", "facts", "status", "found"),
    [
        ("version", with_server(version_num=140_020, version="14.20"), "failure", None),
        ("primary", with_server(in_recovery=True), "failure", "a standby, in recovery"),
        ("primary", with_server(read_only=True), "failure", "transaction_read_only is on"),
        ("durability", with_settings(fsync="off"), "failure", "fsync: off"),
        (
            "durability",
            with_settings(synchronous_commit="off", full_page_writes="off"),
            "failure",
            "full_page_writes, synchronous_commit: off",
        ),
        ("durability", with_settings(synchronous_commit="local"), "ok", None),
        ("autovacuum", with_settings(autovacuum="off"), "warning", "off"),
        ("timeouts", with_settings(transaction_timeout="9999"), "warning", None),
        ("timeouts", with_settings(transaction_timeout="10000"), "ok", None),
        ("timeouts", with_settings(idle_session_timeout="59999"), "warning", None),
        ("timeouts", with_settings(idle_session_timeout="60000"), "ok", None),
        ("reachable", replace(FACTS, ping_ms=51.0), "warning", None),
        ("reachable", FACTS, "ok", "database fleet as processor, 0.4 ms"),
        ("role", with_server(is_superuser=True), "warning", "processor is a superuser"),
    ],
)
def test_what_the_server_is_like(
    check: str, facts: PostgresFacts, status: str, found: str | None
) -> None:
    finding = of(check, facts)
    assert finding.status == status
    assert found is None or finding.found == found
    assert bool(finding.remedy) == (status != "ok")


def test_a_pooler_is_as_the_settings_say_or_told() -> None:
    through = replace(FACTS, pooler="transaction")
    assert of("pooler", through, pooler="transaction").status == "ok"
    unknown = of("pooler", through)
    assert (unknown.status, unknown.found) == (
        "failure",
        "there is one, and DATABASE_POOLER is none",
    )
    assert of("pooler", FACTS, pooler="transaction").status == "warning"


@pytest.mark.parametrize(
    ("used", "status"),
    [(89, "ok"), (90, "warning")],
)
def test_an_instance_more_must_get_its_sessions(used: int, status: str) -> None:
    connections = Connections(used=used, allowed=97, role_limit=-1, database_limit=-1)
    finding = of("connections", replace(FACTS, connections=connections))
    assert finding.status == status
    assert finding.found == f"{used} of 97 used, an instance needs 8"


def test_a_limit_of_the_role_that_is_too_low_is_a_failure_but_for_superusers() -> None:
    tight = Connections(used=1, allowed=97, role_limit=4, database_limit=50)
    finding = of("connections", replace(FACTS, connections=tight))
    assert finding.status == "failure"
    assert finding.found.endswith("and a limit of 4 is set")
    assert of("connections", replace(with_server(is_superuser=True), connections=tight)).status == (
        "ok"
    )


def test_a_slot_that_nobody_reads_is_told_with_what_it_keeps() -> None:
    facts = replace(FACTS, idle_slots=(IdleSlot("old_standby", 300 * MIB),))
    finding = of("replication-slots", facts)
    assert (finding.status, finding.found) == ("warning", "1 unread: old_standby (300 MiB)")


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (replace(FITS, pending=("0003_c",)), "pending: 0003_c"),
        (replace(FITS, mismatched=("0001_a",)), "changed after it was applied: 0001_a"),
        (replace(FITS, too_new=("0009_z",)), "of a later version: 0009_z"),
    ],
)
def test_a_schema_that_does_not_fit_is_a_failure(state: SchemaState, found: str) -> None:
    finding = of("schema", replace(FACTS, schema=state))
    assert (finding.status, finding.found) == ("failure", found)


def test_a_schema_that_may_not_be_read_is_unknown() -> None:
    facts = replace(FACTS, schema=None, not_seen={"schema": "42501 permission denied"})
    finding = of("schema", facts)
    assert (finding.status, finding.found) == ("unknown", "42501 permission denied")
    assert finding.remedy == "GRANT SELECT ON public.teltonika_migrations TO processor"


def test_missing_grants_are_named() -> None:
    facts = replace(FACTS, missing_grants=("INSERT ON public.positions",))
    finding = of("grants", facts)
    assert (finding.status, finding.found) == (
        "failure",
        "processor lacks INSERT ON public.positions",
    )
    assert finding.remedy == "as the owner: GRANT INSERT ON public.positions TO processor"
    assert of("grants", replace(FACTS, missing_grants=None)).status == "unknown"


def test_the_migrations_address_must_lead_to_the_same_database() -> None:
    other = of("migrations", owner=replace(OWNER, identity=("7", 6)))
    assert other.status == "failure"
    assert of("migrations", owner=replace(OWNER, identity=None)).found == "at the start, as owner"
    assert of("migrations").found.startswith("by hand: processor may not")
    assert of("migrations", migrate_on_start=False).found == (
        "not at the start, MIGRATE_ON_START is false"
    )


@pytest.mark.parametrize(("n", "status"), [(2000, "ok"), (2001, "warning")])
def test_very_many_partitions_are_a_warning(n: int, status: str) -> None:
    facts = replace(FACTS, partitions=Partitions(n_attached=n, detached=()))
    assert of("partitions", facts).status == status


def test_tables_of_days_that_are_no_partitions_are_named() -> None:
    days = tuple(f"positions_2026010{n}" for n in range(1, 6))
    facts = replace(FACTS, partitions=Partitions(n_attached=40, detached=days))
    finding = of("detached-days", facts)
    assert (finding.status, finding.found) == (
        "warning",
        "positions_20260101, positions_20260102, positions_20260103 and 2 more",
    )


def test_a_plausible_row_in_the_default_partition_is_a_failure() -> None:
    one = of("default-partition", replace(FACTS, plausible_in_default=1))
    assert (one.status, one.found) == ("failure", "rows with a plausible clock: 1")
    assert one.remedy == "teltonika-processor partitions repair, which moves them to their days"
    many = of("default-partition", replace(FACTS, plausible_in_default=1000))
    assert many.found == "rows with a plausible clock: 1,000 or more"


def test_a_default_partition_that_may_not_be_read_is_unknown() -> None:
    seen = {"plausible_in_default": "42501 permission denied for table positions_default"}
    facts = replace(FACTS, plausible_in_default=None, not_seen=seen)
    finding = of("default-partition", facts)
    assert finding.status == "unknown"
    function = "public.positions_default_plausible(integer, date)"
    assert finding.remedy == f"GRANT EXECUTE ON FUNCTION {function} TO processor"


def test_a_default_partition_of_an_older_schema_waits_for_the_migrations() -> None:
    behind = replace(FITS, pending=("0004_default_plausible",))
    facts = replace(FACTS, plausible_in_default=None, schema=behind)
    finding = of("default-partition", facts)
    told = (finding.status, finding.found, finding.remedy)
    assert told == ("unknown", "pending migrations", "teltonika-processor migrate")
    dropped = of("default-partition", replace(facts, schema=FITS))
    assert dropped.found == "the function positions_default_plausible was dropped"


def test_what_could_not_be_looked_at_says_why() -> None:
    seen = {"connections": "42501 no", "idle_slots": "42501 no", "partitions": "57014 too long"}
    facts = replace(FACTS, connections=None, idle_slots=None, partitions=None, not_seen=seen)
    found = {check: of(check, facts) for check in ("connections", "replication-slots")}
    assert {finding.found for finding in found.values()} == {"42501 no"}
    assert of("partitions", facts).found == of("detached-days", facts).found == "57014 too long"

"""What the database that positions are written to must hold, and what the role may do there."""

from collections.abc import Iterator
from typing import Final

from teltonika_processor.doctor.findings import Check, Finding, Party
from teltonika_processor.doctor.postgres_server import Wanted
from teltonika_processor.store.facts import OwnerFacts, Partitions, PostgresFacts
from teltonika_processor.store.partitions import PLAUSIBLE_MAX
from teltonika_processor.store.steps import SchemaState

SCHEMA = Check(
    Party.POSTGRES, "schema", "an instance whose tables do not fit its version stops with 76"
)
ROLE = Check(
    Party.POSTGRES, "role", "a superuser passes every check of rights, and may do any harm"
)
GRANTS = Check(
    Party.POSTGRES, "grants", "an instance stops with 76 at the first statement that is refused"
)
MIGRATIONS = Check(
    Party.POSTGRES,
    "migrations",
    "MIGRATE_ON_START applies what a new version brings; where the role may not, it only looks",
)
PARTITIONS = Check(
    Party.POSTGRES, "partitions", "each one costs planning time and locks in every query of a range"
)
DETACHED = Check(
    Party.POSTGRES,
    "detached-days",
    "a day whose table is there but not attached gets no partition: its records go to the default",
)
DEFAULT_ROWS = Check(
    Party.POSTGRES,
    "default-partition",
    "it is for impossible clocks: records of a real day are not dropped or archived with their day",
)

_MANY_PARTITIONS: Final = 2000

# Tables that a migration adds have no grants yet.
_OF_TIMING: Final = ("zones", "timing_", "refold")

_MOVE_ROWS: Final = "teltonika-processor partitions repair, which moves them to their days"


def schema_findings(
    facts: PostgresFacts, owner: OwnerFacts | None, wanted: Wanted
) -> Iterator[Finding]:
    """All about the database and the role; `owner` where there is a second address."""
    yield _schema(facts)
    yield _role(facts)
    yield _grants(facts)
    yield _migrations(facts, owner, wanted)
    if facts.partitions is None:
        for check in (PARTITIONS, DETACHED):
            yield check.unknown(*_unseen(facts, "partitions"))
    else:
        yield _partitions(facts.partitions)
        yield _detached(facts.partitions)
    yield _default_rows(facts)


def _unseen(facts: PostgresFacts, name: str) -> tuple[str, str]:
    cause = facts.not_seen.get(name, "not all tables and columns are there")
    return cause, "mend what schema and grants say, and look again"


def _schema(facts: PostgresFacts) -> Finding:
    state = facts.schema
    if state is None:
        return SCHEMA.unknown(
            facts.not_seen.get("schema", ""),
            f"GRANT SELECT ON public.teltonika_migrations TO {facts.server.role}",
        )
    if state.fits:
        return SCHEMA.ok(f"fits, {len(state.applied)} steps applied")
    if state.mismatched or state.too_new:
        return SCHEMA.failure(_strange(state), "run the version that migrated this database")
    return SCHEMA.failure(
        f"pending: {', '.join(state.pending)}", "teltonika-processor migrate, as the owner"
    )


def _strange(state: SchemaState) -> str:
    changed = [f"changed after it was applied: {name}" for name in state.mismatched]
    return "; ".join([*changed, *(f"of a later version: {name}" for name in state.too_new)])


def _role(facts: PostgresFacts) -> Finding:
    if facts.server.is_superuser:
        return ROLE.warning(
            f"{facts.server.role} is a superuser",
            "give the service a role of its own, with the grants of OPERATIONS.md, Roles",
        )
    return ROLE.ok(facts.server.role)


def _grants(facts: PostgresFacts) -> Finding:
    missing = facts.missing_grants
    if missing is None:
        return GRANTS.unknown(*_unseen(facts, "missing_grants"))
    if missing:
        grants = "; ".join(f"GRANT {grant} TO {facts.server.role}" for grant in missing)
        is_upgrade = any(f"public.{table}" in grant for grant in missing for table in _OF_TIMING)
        again = "run ops/postgres/roles.sql again, as after each upgrade; or " if is_upgrade else ""
        return GRANTS.failure(
            f"{facts.server.role} lacks {', '.join(missing)}", f"{again}as the owner: {grants}"
        )
    return GRANTS.ok("all that the service needs")


def _migrations(facts: PostgresFacts, owner: OwnerFacts | None, wanted: Wanted) -> Finding:
    if owner and owner.identity and facts.identity and owner.identity != facts.identity:
        return MIGRATIONS.failure(
            "DATABASE_MIGRATION_URL leads to another database than DATABASE_URL",
            "let both name the same server and database",
        )
    role = owner.role if owner else facts.server.role
    may = owner.may_migrate if owner else facts.may_migrate
    if not wanted.migrate_on_start:
        return MIGRATIONS.ok("not at the start, MIGRATE_ON_START is false")
    if may:
        return MIGRATIONS.ok(f"at the start, as {role}")
    if may is None:
        return MIGRATIONS.unknown(*_unseen(facts, "may_migrate"))
    return MIGRATIONS.ok(f"by hand: {role} may not, so a start only looks whether they are done")


def _partitions(found: Partitions) -> Finding:
    text = f"{found.n_attached:,}"
    if found.n_attached > _MANY_PARTITIONS:
        return PARTITIONS.warning(
            text, "detach or drop days that are no longer asked for, or keep them by the month"
        )
    return PARTITIONS.ok(text)


def _detached(found: Partitions) -> Finding:
    if not found.detached:
        return DETACHED.ok("none")
    more = len(found.detached) - 3
    names = ", ".join(found.detached[:3]) + (f" and {more:,} more" if more > 0 else "")
    return DETACHED.warning(
        names, "attach it again, or rename it, so that late records of its day get a new partition"
    )


def _default_rows(facts: PostgresFacts) -> Finding:
    n_rows = facts.plausible_in_default
    if n_rows is None:
        cause = facts.not_seen.get("plausible_in_default")
        if cause is None:
            return _not_to_be_counted(facts.schema)
        return DEFAULT_ROWS.unknown(
            cause,
            "GRANT EXECUTE ON FUNCTION public.positions_default_plausible(integer, date) TO "
            f"{facts.server.role}",
        )
    if n_rows:
        text = f"{n_rows:,}" if n_rows < PLAUSIBLE_MAX else f"{n_rows:,} or more"
        return DEFAULT_ROWS.failure(f"rows with a plausible clock: {text}", _MOVE_ROWS)
    return DEFAULT_ROWS.ok("no row with a plausible clock")


def _not_to_be_counted(schema: SchemaState | None) -> Finding:
    if schema is not None and schema.fits:
        return DEFAULT_ROWS.unknown(
            "the function positions_default_plausible was dropped",
            "make it again as migration 0004_default_plausible does",
        )
    return DEFAULT_ROWS.unknown("pending migrations", "teltonika-processor migrate")

"""What a Postgres that positions are written to must be like."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from teltonika_processor.doctor.findings import Check, Finding, Party
from teltonika_processor.store.connection import Pooler
from teltonika_processor.store.facts import Connections, IdleSlot, PostgresFacts, ServerState
from teltonika_processor.texts import size_text

REACHABLE = Check(
    Party.POSTGRES, "reachable", "nothing is stored without it, and all waits in Redis"
)
VERSION = Check(Party.POSTGRES, "version", "the statements are made for PostgreSQL 15 and later")
PRIMARY = Check(
    Party.POSTGRES, "primary", "a standby or a read-only database refuses every write (25006)"
)
POOLER = Check(
    Party.POSTGRES,
    "pooler",
    "through a pooler in transaction mode settings, locks and prepared statements reach sessions "
    "of others, so the service must know of it",
)
DURABILITY = Check(
    Party.POSTGRES,
    "durability",
    "an entry is acknowledged after the commit; a commit that a crash can undo loses its records",
)
AUTOVACUUM = Check(
    Party.POSTGRES,
    "autovacuum",
    "last_position is updated all the time; without it that table and the indexes only grow",
)
TIMEOUTS = Check(
    Party.POSTGRES,
    "timeouts",
    "sessions ask for their own limits, all but these, which end them from outside",
)
CONNECTIONS = Check(
    Party.POSTGRES, "connections", "an instance that gets no session writes nothing"
)
SLOTS = Check(
    Party.POSTGRES,
    "replication-slots",
    "a slot that nobody reads keeps all WAL since then, until the disk is full and writes fail",
)

_OLDEST: Final = 150_000
_SLOW_MS: Final = 50.0

# Of the probe, of folding, of the look for marks, of an edit of zones that is finished, of a
# migration, and of the commands run by hand.
_SESSIONS_BESIDE_WRITERS: Final = 6

# Ends sessions between two batches of a quiet fleet; they are opened again, with a delay each time.
_IDLE_SESSION_MIN_MS: Final = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the settings say; `write_deadline_ms` is the longest life of a transaction."""

    pooler: Pooler
    writers: int
    write_deadline_ms: int
    migrate_on_start: bool


def server_findings(facts: PostgresFacts, wanted: Wanted) -> Iterator[Finding]:
    """All about the server itself."""
    yield _reachable(facts)
    yield _version(facts.server)
    yield _primary(facts.server)
    yield _pooler(facts.pooler, wanted.pooler)
    yield _durability(facts.server.settings)
    yield _autovacuum(facts.server.settings)
    yield _timeouts(facts.server.settings, wanted.write_deadline_ms)
    if facts.connections is None:
        yield CONNECTIONS.unknown(*_unseen(facts, "connections"))
    else:
        yield _connections(facts.connections, wanted, is_superuser=facts.server.is_superuser)
    if facts.idle_slots is None:
        yield SLOTS.unknown(*_unseen(facts, "idle_slots"))
    else:
        yield _slots(facts.idle_slots)


def _unseen(facts: PostgresFacts, name: str) -> tuple[str, str]:
    cause = facts.not_seen.get(name, "it is not to be asked here")
    return cause, "look as a role that may: GRANT pg_monitor"


def _reachable(facts: PostgresFacts) -> Finding:
    found = f"database {facts.server.database} as {facts.server.role}, {facts.ping_ms:.1f} ms"
    if facts.ping_ms > _SLOW_MS:
        return REACHABLE.warning(
            found, "run the processors near to Postgres: a batch takes some of these round trips"
        )
    return REACHABLE.ok(found)


def _version(server: ServerState) -> Finding:
    found = f"PostgreSQL {server.version}"
    if server.version_num < _OLDEST:
        return VERSION.failure(found, "upgrade to PostgreSQL 15 or later")
    return VERSION.ok(found)


def _primary(server: ServerState) -> Finding:
    if server.in_recovery:
        return PRIMARY.failure("a standby, in recovery", "point DATABASE_URL at the primary")
    if server.read_only:
        return PRIMARY.failure(
            "transaction_read_only is on",
            "look who set default_transaction_read_only: on the server, the database or the role",
        )
    return PRIMARY.ok("writable")


def _pooler(found: Pooler, wanted: Pooler) -> Finding:
    if found == wanted:
        return POOLER.ok("none" if found == "none" else "in transaction mode, as set")
    if found == "transaction":
        return POOLER.failure(
            "there is one, and DATABASE_POOLER is none",
            "set DATABASE_POOLER=transaction, and DATABASE_MIGRATION_URL to an address past it",
        )
    return POOLER.warning(
        "there is none, and DATABASE_POOLER is transaction",
        "unset DATABASE_POOLER, which spares some statements a batch; leave it if one is to come",
    )


def _durability(settings: Mapping[str, str]) -> Finding:
    names = ("fsync", "full_page_writes", "synchronous_commit")
    off = [name for name in names if settings.get(name) == "off"]
    if off:
        return DURABILITY.failure(
            f"{', '.join(off)}: off",
            "set them on: ALTER SYSTEM SET, or ALTER ROLE .. SET for synchronous_commit",
        )
    return DURABILITY.ok(", ".join(f"{name} {settings.get(name, '?')}" for name in names))


def _autovacuum(settings: Mapping[str, str]) -> Finding:
    if settings.get("autovacuum") == "off":
        return AUTOVACUUM.warning("off", "ALTER SYSTEM SET autovacuum = on, and reload")
    return AUTOVACUUM.ok("on")


def _timeouts(settings: Mapping[str, str], write_deadline_ms: int) -> Finding:
    transaction_ms = int(settings.get("transaction_timeout", 0))
    idle_ms = int(settings.get("idle_session_timeout", 0))
    found = f"transaction_timeout {_limit(transaction_ms)}, idle_session_timeout {_limit(idle_ms)}"
    if 0 < transaction_ms < write_deadline_ms:
        return TIMEOUTS.warning(
            f"{found}: a write may take {write_deadline_ms:,} ms",
            "ALTER ROLE .. SET transaction_timeout = 0; writes have a deadline of their own",
        )
    if 0 < idle_ms < _IDLE_SESSION_MIN_MS:
        return TIMEOUTS.warning(
            found, "ALTER ROLE .. SET idle_session_timeout = 0; a batch waits for a new session"
        )
    return TIMEOUTS.ok(found)


def _limit(limit_ms: int) -> str:
    return f"{limit_ms:,} ms" if limit_ms else "none"


def _connections(found: Connections, wanted: Wanted, *, is_superuser: bool) -> Finding:
    needed = wanted.writers + _SESSIONS_BESIDE_WRITERS
    text = f"{found.used:,} of {found.allowed:,} used, an instance needs {needed}"
    limits = [] if is_superuser else [found.role_limit, found.database_limit]
    tight = [limit for limit in limits if 0 <= limit < needed]
    if tight:
        return CONNECTIONS.failure(
            f"{text}, and a limit of {min(tight)} is set",
            "raise it: ALTER ROLE .. CONNECTION LIMIT, ALTER DATABASE .. CONNECTION LIMIT",
        )
    # Those of instances that run are among the used ones.
    if found.used + needed > found.allowed:
        return CONNECTIONS.warning(
            text, "raise max_connections, lower WRITERS, or put a pooler before it"
        )
    return CONNECTIONS.ok(text)


def _slots(idle: tuple[IdleSlot, ...]) -> Finding:
    if not idle:
        return SLOTS.ok("none is left unread")
    names = ", ".join(f"{slot.name} ({size_text(slot.kept_bytes)})" for slot in idle[:5])
    return SLOTS.warning(
        f"{len(idle)} unread: {names}",
        "start what reads it, or SELECT pg_drop_replication_slot('..')",
    )

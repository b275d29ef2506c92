"""Making partitions of `positions` and taking them away: one statement each, no decision.

DETACH needs ACCESS EXCLUSIVE on `positions` (CONCURRENTLY is refused beside a default partition),
and from the moment on that it is asked for, every reader and writer waits behind whoever asks. So
that wait is short, and what else a detach needs is asked for with NOWAIT once it is over: nobody
that came by way of `positions` can hold it then.

The detached table is renamed in the same transaction: a late record of its day must get a partition
of its own again, and no day whose table is there under its name does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import asyncpg

from teltonika_processor.store.connection import Session
from teltonika_processor.store.partition import Kind, Partition
from teltonika_processor.store.partitions import LOCK_TIMEOUT_S, MARK, quoted, table_sql
from teltonika_processor.store.queries import ENSURE_DAYS, HOLDERS_OF_DAYS, array
from teltonika_processor.store.sqlstate import translate

TURN_KEY: Final = 0x7E17_0818
"""The advisory lock of whoever drops partitions."""

# Bound: a foreign key of an operator's makes the detach look for its rows.
_DETACH_MAX: Final = "500ms"

_NAME_BYTES_MAX: Final = 63
_DROPPED: Final = "_dropped"

# Those who were there before the try: writers waited behind it, and hold the same locks now.
# $2: seconds since then. Of other roles' sessions an owner may not know when they began.
_HOLDERS: Final = """
SELECT DISTINCT l.pid, coalesce(a.application_name, '') AS application_name
FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a USING (pid)
WHERE l.granted AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND l.relation IN (
    'public.positions'::regclass, 'public.positions_default'::regclass, to_regclass($1)
  )
  AND coalesce(a.xact_start, '-infinity') < clock_timestamp() - make_interval(secs => $2)
ORDER BY l.pid
LIMIT 20
"""

_DETACH: Final = """
SET LOCAL lock_timeout = '{lock_timeout_ms}ms';
SET LOCAL statement_timeout = '{detach_max}';
LOCK TABLE ONLY public.positions IN ACCESS EXCLUSIVE MODE;
LOCK TABLE ONLY public.positions_default, {table} IN ACCESS EXCLUSIVE MODE NOWAIT;
ALTER TABLE public.positions DETACH PARTITION {table};
ALTER TABLE {table} RENAME TO {new_name};
COMMENT ON TABLE {new_table} IS '{mark}'
"""

# Nobody writes it any more.
_REMOVE: Final = "SET LOCAL lock_timeout = '{lock_timeout_ms}ms'; DROP TABLE {table}"

# The locks were not to be had: the next try may get them.
_LOCKED_OUT: Final = (
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
)


@dataclass(frozen=True, slots=True)
class Holder:
    """A session in the way."""

    pid: int
    application_name: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one try.

    Attributes:
        partition: As it is now: under its new name if it was detached.
        why_not: None if it was done; else what is in the way, as a sentence.
        may_succeed: Whether another try may do it.
    """

    partition: Partition
    why_not: str | None = None
    may_succeed: bool = True


async def take_turn(session: Session) -> bool:
    """Whether nobody else drops partitions now; it stays ours until the session ends."""
    return bool(await session.fetchval("SELECT pg_try_advisory_lock($1)", TURN_KEY))


async def ensure_day(session: Session, day: int) -> str | None:
    """Give a UTC day its partition, with its rows out of the default one; None if it has one now.

    Otherwise who is in the way, as a sentence: it may be asked for again.

    Raises:
        SchemaMismatch: The role may not do it.
        Foreign errors that cost the session.
    """
    try:
        await session.execute(ENSURE_DAYS, array([day]))
    except _LOCKED_OUT as error:
        if session.is_closed():
            raise
        rows = await session.fetch(HOLDERS_OF_DAYS)
        pids = ", ".join(str(row["pid"]) for row in rows) or "a session that ended"
        return f"{translate(error)}, locked out by {pids}"
    return None


async def detach(session: Session, partition: Partition) -> Attempt:
    """Detach and rename it in one transaction of one round trip; nothing of it on failure."""
    gone = replace(partition, table=_dropped_name(partition.table), kind=Kind.DROPPED)
    statement = _DETACH.format(
        lock_timeout_ms=round(LOCK_TIMEOUT_S * 1e3),
        detach_max=_DETACH_MAX,
        table=table_sql(partition),
        new_name=quoted(gone.table),
        new_table=table_sql(gone),
        mark=MARK,
    )
    failed = await _try(session, statement, partition)
    return failed or Attempt(gone)


async def remove(session: Session, partition: Partition) -> Attempt:
    """Drop the table that was detached."""
    lock_timeout_ms = round(LOCK_TIMEOUT_S * 1e3)
    statement = _REMOVE.format(lock_timeout_ms=lock_timeout_ms, table=table_sql(partition))
    return await _try(session, statement, partition) or Attempt(partition)


async def holders(session: Session, partition: Partition, asked_s_ago: float) -> Sequence[Holder]:
    """Who has held what a detach needs since before it was asked for; 20 at most."""
    rows = await session.fetch(_HOLDERS, table_sql(partition), asked_s_ago)
    return [Holder(row["pid"], row["application_name"]) for row in rows]


async def _try(session: Session, statement: str, partition: Partition) -> Attempt | None:
    """Why `statement` was not done, None if it was.

    Raises:
        Foreign errors that cost the session.
    """
    try:
        # Without BEGIN: several statements in one message are one transaction, and a failure needs
        # no ROLLBACK.
        await session.execute(statement)
    except asyncpg.PostgresError as error:
        if session.is_closed():
            raise
        return Attempt(partition, str(translate(error)), isinstance(error, _LOCKED_OUT))
    return None


def _dropped_name(table: str) -> str:
    """A name that no day's partition has; as long as Postgres takes it."""
    kept = table.encode()[: _NAME_BYTES_MAX - len(_DROPPED)]
    return kept.decode(errors="ignore") + _DROPPED

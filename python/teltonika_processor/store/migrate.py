"""The migration runner: many instances may start at once, each step is applied once.

The lock is a session's advisory lock, because it ends with the session however that ends. It is
asked for again and again and never waited for inside Postgres: a waiting statement holds a
snapshot, and CREATE INDEX CONCURRENTLY waits for every older one, so both would wait for ever.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import asyncpg

from teltonika_processor.codec.dictionary import Dictionary
from teltonika_processor.codec.dictionary_file import load_dictionary
from teltonika_processor.errors import SchemaMismatch, SinkRejected, SinkUnavailable
from teltonika_processor.store.connection import (
    Pooler,
    Session,
    SessionConfig,
    open_migration_session,
    open_reading_session,
    session_of,
)
from teltonika_processor.store.io_elements import has_no_elements, write_elements
from teltonika_processor.store.sqlstate import NOT_READABLE, NOT_THERE, translate
from teltonika_processor.store.steps import (
    AppliedStep,
    SchemaState,
    Step,
    compare,
    packaged_steps,
)

LOCK_KEY: Final = 0x7E17_0817
"""The advisory lock of migrations: one number for all versions, a database has locks of its own."""

LOCK_POLL_S: Final = 0.1
LOCK_WAIT_MAX_S: Final = 600.0

# Bound: a step that waits for a table makes everybody behind it wait too.
STEP_LOCK_TIMEOUT_S: Final = 5.0

_CREATE_HISTORY: Final = """
CREATE TABLE IF NOT EXISTS public.teltonika_migrations (
    name text PRIMARY KEY,
    phase text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL
);
COMMENT ON TABLE public.teltonika_migrations IS 'Steps applied, and by which version.';
GRANT SELECT ON public.teltonika_migrations TO PUBLIC
"""

_NOTE_STEP: Final = """
INSERT INTO public.teltonika_migrations (name, phase, sha256, applied_by) VALUES ($1, $2, $3, $4)
"""

# The owner of positions may, and on an empty database whoever may create tables.
_MAY_MIGRATE: Final = """
SELECT has_schema_privilege('public', 'CREATE') AND coalesce(
    (SELECT pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class
     WHERE oid = to_regclass('public.positions')),
    true
)
"""


LoadDictionary = Callable[[], Dictionary]


@dataclass(frozen=True, slots=True)
class Elements:
    """What `io_elements` shall hold.

    Attributes:
        load: Called where the table is written.
        always: Write it also where no step was applied and it holds something.
    """

    load: LoadDictionary
    always: bool = False


@dataclass(frozen=True, slots=True)
class SchemaReport:
    """How the schema came to fit.

    Attributes:
        applied: Names of the steps applied now, in their order.
        migrated: Whether this process was allowed to migrate; otherwise it only looked.
        newer: Names of harmless steps that a later version applied.
        deferred: Names of steps that wait until no instance of the version before runs.
        io_elements_changed: Rows of `io_elements` that did not say what the dictionary says.
    """

    applied: tuple[str, ...]
    migrated: bool
    newer: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()
    io_elements_changed: int = 0


async def prepare_schema(
    dsn: str,
    migration_dsn: str | None,
    *,
    pooler: Pooler = "none",
    dictionary: LoadDictionary = load_dictionary,
) -> SchemaReport:
    """Make the schema fit or refuse: migrate where wanted and allowed, otherwise look.

    Args:
        dsn: The writer's address; it must lead to a database that fits, whoever migrates which one.
        migration_dsn: The owner's, past any pooler; None: apply nothing.
        pooler: What the writer's address leads to.
        dictionary: What `io_elements` shall hold, if this start applies steps or finds it empty:
            else two versions, or two overlays, would write it in turn at each start of theirs.

    Raises:
        ConfigError: A pooler lies where none may.
        SchemaMismatch: The schema does not fit this version and may not be changed from here.
        SinkUnavailable: Postgres is away, or another migration holds the lock for too long.
    """
    if migration_dsn is None:
        return await _require_fit(dsn, pooler)
    async with migration_session(migration_dsn) as session:
        if await may_migrate(session):
            report = await apply_steps(session, packaged_steps(), elements=Elements(dictionary))
        else:
            report = await _look(session)
    if dsn != migration_dsn:
        await _require_fit(dsn, pooler)
    return report


async def _require_fit(dsn: str, pooler: Pooler) -> SchemaReport:
    config = SessionConfig(dsn=dsn, instance=socket.gethostname(), pooler=pooler)
    async with session_of(open_reading_session, config) as session:
        return await _look(session)


async def _look(session: Session) -> SchemaReport:
    state = await check(session, packaged_steps())
    state.require_fit()
    return SchemaReport((), migrated=False, newer=state.newer, deferred=state.deferred)


async def migrate(
    dsn: str, dictionary: LoadDictionary = load_dictionary, *, post: bool = False
) -> SchemaReport:
    """Apply the steps of this version as the role of `dsn`; errors as `prepare_schema`.

    Args:
        dsn: The owner's address.
        dictionary: What `io_elements` shall hold.
        post: Those steps as well that wait until no instance of the version before runs.
    """
    async with migration_session(dsn) as session:
        if not await may_migrate(session):
            role = await session.fetchval("SELECT current_user")
            raise SchemaMismatch(
                f"the role {role} may not migrate: give the owner's address as "
                "DATABASE_MIGRATION_URL"
            )
        elements = Elements(dictionary, always=True)
        return await apply_steps(session, packaged_steps(), post=post, elements=elements)


async def inspect(dsn: str) -> SchemaState:
    """Compare the database with this version and change nothing; errors as `prepare_schema`."""
    async with migration_session(dsn) as session:
        return await check(session, packaged_steps())


def migration_session(dsn: str) -> AbstractAsyncContextManager[Session]:
    """A session for migrations; foreign errors that leave the block are translated."""
    config = SessionConfig(
        dsn=dsn, instance=socket.gethostname(), lock_timeout_s=STEP_LOCK_TIMEOUT_S
    )
    return session_of(open_migration_session, config)


async def may_migrate(session: Session) -> bool:
    """Whether this role owns the schema, or may make it in an empty database."""
    return bool(await session.fetchval(_MAY_MIGRATE))


async def check(session: Session, steps: Sequence[Step]) -> SchemaState:
    """Compare the database with `steps`; changes nothing."""
    history = await session.fetchval("SELECT to_regclass('public.teltonika_migrations')")
    if history is None:
        return compare(steps, [])
    rows = await session.fetch("SELECT name, phase, sha256 FROM public.teltonika_migrations")
    return compare(steps, [AppliedStep(*row) for row in rows])


@asynccontextmanager
async def pending_told(session: Session) -> AsyncIterator[None]:
    """What the block does not find because the schema is older is told as that.

    Raises:
        SchemaMismatch: With the steps that are pending.
    """
    try:
        yield
    except NOT_THERE:
        if session.is_in_transaction():
            await session.execute("ROLLBACK")
        with suppress(*NOT_READABLE):
            (await check(session, packaged_steps())).require_fit()
        raise


async def apply_steps(
    session: Session,
    steps: Sequence[Step],
    *,
    post: bool = False,
    elements: Elements | None = None,
    lock_wait_max_s: float = LOCK_WAIT_MAX_S,
) -> SchemaReport:
    """Apply those of `steps` that are pending, one after the other, under the lock.

    Then `io_elements` is filled, unless a later version has migrated.

    Args:
        session: Of the owner.
        steps: Of this version.
        post: Apply as well what waits until no instance of the version before runs.
        elements: What `io_elements` shall hold; None: leave it as it is.
        lock_wait_max_s: Longest wait for another one that migrates.

    Raises:
        SchemaMismatch: The database's history is not ours, a step failed, or one that waits stands
            before one that is pending.
        SinkUnavailable: The lock was held by others for longer than `lock_wait_max_s`.
        Foreign errors, see ``sqlstate.FOREIGN_ERRORS``.
    """
    await _lock(session, lock_wait_max_s)
    try:
        state = await check(session, steps)
        state.require_same_history()
        due = _due(steps, state, post=post)
        if due:
            await session.execute(_CREATE_HISTORY)
        for step in due:
            await _apply(session, step)
        n_changed = 0
        if (
            elements is not None
            and not state.newer
            and (elements.always or due or await has_no_elements(session))
        ):
            n_changed = await write_elements(session, elements.load())
    finally:
        # The session ends next, and the lock with it, even where this cannot be said any more.
        if not session.is_closed():
            await session.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)
    return SchemaReport(
        tuple(step.name for step in due),
        migrated=True,
        newer=state.newer,
        deferred=() if post else state.deferred,
        io_elements_changed=n_changed,
    )


def _due(steps: Sequence[Step], state: SchemaState, *, post: bool) -> list[Step]:
    """The steps to apply now, in their order."""
    names = {*state.pending, *(state.deferred if post else ())}
    due = [step for step in steps if step.name in names]
    left = ", ".join(step.name for step in due if step.phase == "post")
    if left and state.applied and not post:
        raise SchemaMismatch(
            f"an earlier upgrade was not ended: {left} is pending; run `teltonika-processor "
            "migrate --post` once no instance of a version before runs"
        )
    return due


async def _lock(session: Session, wait_max_s: float) -> None:
    deadline_s = time.monotonic() + wait_max_s
    while not await session.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
        if time.monotonic() >= deadline_s:
            raise SinkUnavailable(f"another migration holds the lock for over {wait_max_s:.0f} s")
        await asyncio.sleep(LOCK_POLL_S)


async def _apply(session: Session, step: Step) -> None:
    """Run one step and note it, in one transaction where the step allows that."""
    try:
        if step.transactional:
            async with session.transaction(isolation="read_committed"):
                await session.execute(step.sql)
                await _note(session, step)
        else:
            await session.execute(step.sql)
            await _note(session, step)
    except asyncpg.PostgresError as error:
        translated = translate(error)
        if isinstance(translated, SinkRejected | SchemaMismatch):
            raise SchemaMismatch(f"migration {step.name} failed: {translated}") from error
        raise


async def _note(session: Session, step: Step) -> None:
    await session.execute(_NOTE_STEP, step.name, step.phase, step.sha256, _this_version())


def _this_version() -> str:
    try:
        return version("teltonika-processor")
    except PackageNotFoundError:
        return "unknown"

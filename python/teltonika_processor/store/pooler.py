"""Sessions behind a pooler in transaction mode, and knowing one that nobody told us of.

Such a pooler gives a session another server process for every transaction, so nothing that outlives
a transaction belongs to it: no setting, no temporary table, no prepared statement, no lock.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from typing_extensions import override

from teltonika_processor.errors import ConfigError

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

POOLER_FOUND: Final = (
    "this address leads to a pooler, which gives one server process to many sessions: for "
    "DATABASE_URL set DATABASE_POOLER=transaction; DATABASE_MIGRATION_URL must lead past the pooler"
)

# In milliseconds, as they were asked for; by the names that `bounds_in_force` returns them under.
_CHECKED: Final = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

# By COPY, the one way to read values that leaves no prepared statement in a process of others.
_LOOK: Final = "SELECT pg_backend_pid(), " + ", ".join(  # noqa: S608 -- constants of ours
    f"round(extract(epoch FROM current_setting('{name}')::interval) * 1000)" for name in _CHECKED
)


class PooledConnection(_Connection):
    """Runs every statement in a transaction, and every transaction within its own bounds.

    Outside a transaction even the two steps of a statement with arguments may meet two server
    processes, the second of which may hold somebody else's statement.

    Attributes:
        bounds: ``SET LOCAL`` statements, separated by semicolons.
    """

    bounds: str = ""

    @override
    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        if self.is_in_transaction():
            return await super().execute(query, *args, timeout=timeout)
        if query.lstrip().startswith("BEGIN"):
            begin, _, rest = query.partition(";")
            return await super().execute(f"{begin}; {self.bounds}; {rest}", timeout=timeout)
        async with self._transaction():
            return await super().execute(query, *args, timeout=timeout)

    # The signatures of these are overloaded, and nothing of them matters here.

    @override
    async def fetch(self, *args: Any, **options: Any) -> Any:
        async with self._transaction():
            return await super().fetch(*args, **options)

    @override
    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        async with self._transaction():
            return await super().fetchrow(*args, **options)

    @override
    async def fetchval(self, *args: Any, **options: Any) -> Any:
        async with self._transaction():
            return await super().fetchval(*args, **options)

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        """A transaction for the block, unless there is one; a failure in it leaves it rolled back.

        Whatever is no answer of the server's leaves the session closed.
        """
        if self.is_in_transaction():
            yield
            return
        try:
            await self.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            yield
            await super().execute("COMMIT")
        except asyncpg.PostgresError:
            if not self.is_closed():
                await super().execute("ROLLBACK")
            raise
        except BaseException:
            self.terminate()
            raise


def set_local(settings: Mapping[str, str]) -> str:
    """Statements that put `settings` in force until the transaction ends."""
    quoted = {name: value.replace("'", "''") for name, value in settings.items()}
    return "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in quoted.items())


async def require_own_process(session: _Connection, asked: Mapping[str, str]) -> None:
    """Refuse a session whose server process is not its own, or that has not got what it asked for.

    Poolers make up the process id that they announce, which is how they are known without a doubt;
    those that keep a process for a session, with its settings, do no harm.

    Args:
        session: Just opened, in no transaction.
        asked: The settings that it was opened with.

    Raises:
        ConfigError: A pooler in transaction mode lies between, or one that drops settings.
    """
    pid, *in_force = await _look(session)
    if pid == session.get_server_pid():
        return
    if in_force != [int(asked[name]) for name in _CHECKED]:
        raise ConfigError(POOLER_FOUND)
    if [pid, *in_force] != await _look(session):
        raise ConfigError(POOLER_FOUND)


async def _look(session: _Connection) -> list[int]:
    """The process that answers, and the timeouts in force there."""
    line = bytearray()

    async def collect(data: bytes) -> None:
        line.extend(data)

    await session.copy_from_query(_LOOK, output=collect)
    return [int(value) for value in line.split()]

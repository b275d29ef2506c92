"""Sessions whose server process is ended before a statement of theirs, or behind a COMMIT.

A seam of the tests: the product opens its sessions through `Kills.opening`, which wraps them.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import asyncpg

from teltonika_processor.store.connection import Session, SessionConfig, open_session

# Bound: statements of a session before one of which its process may be ended.
_STATEMENTS: Final = 16
_COMMITS: Final = 3


class Kills:
    """Ends server processes, so many in all.

    Attributes:
        n_before: Ended before a statement.
        n_behind: Ended behind a COMMIT whose answer was lost.
        n_at_random: Ended at any time.
    """

    def __init__(self, admin: asyncpg.Connection, randomly: random.Random, most: int) -> None:
        self._admin: Final = admin
        self._randomly: Final = randomly
        self._lock: Final = asyncio.Lock()
        self._left = most
        self.n_before = self.n_behind = self.n_at_random = 0

    @property
    def n(self) -> int:
        """All that were ended."""
        return self.n_before + self.n_behind + self.n_at_random

    async def opening(self, config: SessionConfig) -> Session:
        """Open a session that may be ended."""
        session: Any = _Doomed(await open_session(config), self, self._randomly)
        return session  # type: ignore[no-any-return]

    async def end(self, pid: int) -> bool:
        """Whether the process was ended: by then it is gone."""
        async with self._lock:
            if self._left == 0:
                return False
            self._left -= 1
            await self._admin.execute("SELECT pg_terminate_backend($1, 5000)", pid)
            return True

    async def now_and_then(self) -> None:
        """End one at any time, until cancelled."""
        ours = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE 'teltonika-processor/%' ORDER BY random() LIMIT 1"
        )
        while True:
            await asyncio.sleep(self._randomly.uniform(0.005, 0.1))
            async with self._lock:
                pid = await self._admin.fetchval(ours)
            if pid is not None:
                self.n_at_random += await self.end(pid)


class _Doomed:
    """A session that counts its statements."""

    def __init__(self, session: Session, kills: Kills, randomly: random.Random) -> None:
        self._session: Final = session
        self._kills: Final = kills
        self._randomly: Final = randomly
        fate = randomly.random()
        self._until_statement = randomly.randint(1, _STATEMENTS) if fate < 0.4 else -1
        self._until_commit = randomly.randint(1, _COMMITS) if fate > 0.75 else -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def execute(self, query: str, *arguments: Any) -> str:
        done: str = await self._do(self._session.execute, query, *arguments)
        if query.endswith("COMMIT"):
            self._until_commit -= 1
            if self._until_commit == 0 and await self._kills.end(self._session.get_server_pid()):
                self._kills.n_behind += 1
                raise asyncpg.ConnectionDoesNotExistError("the answer was lost")
        return done

    async def fetch(self, *arguments: Any) -> Any:
        return await self._do(self._session.fetch, *arguments)

    async def fetchval(self, *arguments: Any) -> Any:
        return await self._do(self._session.fetchval, *arguments)

    async def copy_to_table(self, *arguments: Any, **options: Any) -> Any:
        return await self._do(self._session.copy_to_table, *arguments, **options)

    async def copy_from_query(self, *arguments: Any, **options: Any) -> Any:
        return await self._do(self._session.copy_from_query, *arguments, **options)

    @contextlib.asynccontextmanager
    async def transaction(self, *, isolation: str) -> AsyncIterator[None]:
        assert isolation == "read_committed"
        await self.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        try:
            yield
        except BaseException:
            self._session.terminate()
            raise
        await self.execute("COMMIT")

    async def _do(
        self, statement: Callable[..., Awaitable[Any]], *arguments: Any, **options: Any
    ) -> Any:
        if self._randomly.random() < 0.1:
            await asyncio.sleep(self._randomly.uniform(0, 0.01))
        self._until_statement -= 1
        if self._until_statement == 0:
            self._kills.n_before += await self._kills.end(self._session.get_server_pid())
        return await statement(*arguments, **options)

"""A session beside which something happens between two of its statements: a fixed interleaving."""

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import groupby
from typing import Any, Final

from teltonika_processor.store.connection import Session

_PARTS: Final = {
    "count": "zones_change",
    "versions": "FROM public.zones ORDER",
    "limits": "SELECT gap_s",
    "partitions": "pg_inherits",
    "begin": "BEGIN",
    "lock": "SKIP LOCKED",
    "marks": "lower(r)",
    "fixes": "(-1)::smallint",
    "history": "t.end_t < m.at",
    "stored": "t.zone_version",
    "delete": "DELETE",
    "insert": "COPY timing_records",
    "commit": "COMMIT",
}
"""What a statement of each kind holds; one that holds two parts is of the first kind."""

READ: Final = ("marks", "fixes", "history", "count", "stored")
WRITE: Final = ("delete", "insert", "commit")

_STATEMENTS: Final = (
    *("execute", "fetch", "fetchrow", "fetchval"),
    *("copy_from_query", "copy_to_table"),
)


async def _nothing() -> None:
    pass


class Beside:
    """Does what the session does, and lets something happen before one of its statements.

    Args:
        session: Whose statements run.
        moment: The kind of the statement.
        happens: Is done once, before the first such statement begins.
        behind: Is done when that statement has ended instead.
    """

    def __init__(
        self,
        session: Session,
        moment: str = "",
        happens: Callable[[], Awaitable[object]] = _nothing,
        *,
        behind: bool = False,
    ) -> None:
        self._session: Final = session
        self._moment: Final = moment
        self._happens: Final = happens
        self._behind: Final = behind
        self._kinds: Final = list[str]()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        return partial(self._do, name, found) if name in _STATEMENTS else found

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the statements so far; several of one kind in a row are one."""
        return tuple(kind for kind, _ in groupby(self._kinds))

    async def _do(
        self, name: str, statement: Callable[..., Awaitable[Any]], of: str, *more: Any, **named: Any
    ) -> Any:
        kind = _kind(f"COPY {of}" if name == "copy_to_table" else of)
        is_now = kind == self._moment and kind not in self._kinds
        self._kinds.append(kind)
        if is_now and not self._behind:
            await self._happens()
        done = await statement(of, *more, **named)
        if is_now and self._behind:
            await self._happens()
        return done


def _kind(text: str) -> str:
    return next((kind for kind, part in _PARTS.items() if part in text), "another")

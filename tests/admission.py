"""What a keeper of the allow-list tells, for tests to wait for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from teltonika_processor.gateway.list_news import Listener
from teltonika_processor.gateway.list_news import News as Piece
from teltonika_processor.tasks.companions import companions

Told = TypeVar("Told")


class Keeper(Protocol):
    """Whatever keeps a list until it is cancelled."""

    async def run(self) -> Any: ...


class News:
    """What was told, in order.

    Attributes:
        removed: Devices that were named to be closed.
    """

    def __init__(self) -> None:
        self._told: asyncio.Queue[Piece] = asyncio.Queue()
        self.removed: list[int] = []

    def listener(self) -> Listener:
        return Listener(tell=self._told.put_nowait, removed=self.removed.extend)

    async def next(self, kind: type[Told], *, within_s: float = 20.0) -> Told:
        """The next that is told, which has to be of this kind."""
        async with asyncio.timeout(within_s):
            told = await self._told.get()
        assert isinstance(told, kind), told
        return told

    @property
    def is_empty(self) -> bool:
        """Whether nothing was told that was not taken."""
        return self._told.empty()


@asynccontextmanager
async def watched(make: Callable[[Listener], Keeper]) -> AsyncIterator[News]:
    """A keeper at work for the block, and what it tells; all of it has to be expected."""
    news = News()
    async with companions({"keeper": make(news.listener()).run()}):
        yield news
    assert news.is_empty

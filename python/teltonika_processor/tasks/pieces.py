"""Work that is done in pieces, so that the event loop serves others in between."""

import asyncio
from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")
P = TypeVar("P")


def _ignored(_: object) -> None:
    """Nobody wants the pieces."""


async def in_pieces(work: Generator[P, None, T], piece: Callable[[P], None] = _ignored) -> T:
    """Drive `work` to its end and return its value; the loop turns once after every piece.

    Args:
        work: Yields often enough.
        piece: Called with what it yields.
    """
    while True:
        try:
            done = next(work)
        except StopIteration as end:
            value: T = end.value
            return value
        piece(done)
        await asyncio.sleep(0)

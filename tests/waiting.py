"""Wait for the thing itself, with a deadline; never for an amount of time that should do."""

import asyncio
import time
from collections.abc import Awaitable, Callable

# Bound: looking costs little, and a test is late by half of this at most on average.
_LOOK_EVERY_S = 0.01


def eventually(fact: Callable[[], object], *, timeout_s: float = 20.0) -> None:
    """Return as soon as `fact()` is true.

    Raises:
        AssertionError: It was not true by the deadline; names what was last seen.
    """
    deadline = time.monotonic() + timeout_s
    while not (seen := fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout_s} s, last seen: {seen!r}")
        time.sleep(_LOOK_EVERY_S)


async def eventually_async(
    fact: Callable[[], Awaitable[object]], *, timeout_s: float = 20.0
) -> None:
    """Return as soon as `await fact()` is true.

    Raises:
        AssertionError: It was not true by the deadline; names what was last seen.
    """
    deadline = time.monotonic() + timeout_s
    while not (seen := await fact()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout_s} s, last seen: {seen!r}")
        await asyncio.sleep(_LOOK_EVERY_S)

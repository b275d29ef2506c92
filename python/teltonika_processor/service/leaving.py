"""Ending: what is waited for, and what is said to servers that may be away."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from teltonika_processor.errors import TeltonikaProcessorError

FAREWELL_S: Final = 1.0
"""What one farewell to a server may take."""


async def first_of(
    work: asyncio.Task[Any], asked: asyncio.Event, *, within_s: float | None = None
) -> bool:
    """Wait for the task, the event or the time; whether the task is still running."""
    waiting = asyncio.create_task(asked.wait(), name="asked")
    try:
        await asyncio.wait({work, waiting}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    return not work.done()


async def say_farewell(farewell: Callable[[], Awaitable[object]]) -> None:
    """Release or close something on a server that may be away; then it lapses by itself."""
    with contextlib.suppress(TeltonikaProcessorError, TimeoutError, OSError):
        async with asyncio.timeout(FAREWELL_S):
            await farewell()

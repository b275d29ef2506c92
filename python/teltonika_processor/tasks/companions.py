"""Tasks that run together, or beside something, and end with it."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Collection, Coroutine, Mapping
from typing import Any, Final

# A task that has not ended by then did not hear that it was cancelled.
_HEARD_S: Final = 0.1


@contextlib.asynccontextmanager
async def companions(works: Mapping[str, Coroutine[Any, Any, Any]]) -> AsyncIterator[None]:
    """Run `works` as tasks of these names while the block runs; one that fails ends the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work, name=name) for name, work in works.items()]
        try:
            yield
        finally:
            await end(tasks)


async def run_together(works: Mapping[str, Coroutine[Any, Any, Any]]) -> None:
    """Run `works` as tasks of these names until all have ended; one that fails ends the others.

    A task group would cancel them once, see `end`.

    Raises:
        BaseExceptionGroup: What the tasks raised.
    """
    tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await end(tasks)
        raised = [task.exception() for task in tasks if not task.cancelled()]
        errors = [error for error in raised if error is not None]
        if errors:
            raise BaseExceptionGroup("tasks that ran together failed", errors)


async def end(tasks: Collection[asyncio.Task[Any]], *, within_s: float = math.inf) -> None:
    """Cancel until all have ended, for `within_s` at most.

    Once is not enough: on Python 3.11 a time-out in a client's code that ends in the same turn of
    the loop swallows a cancellation, and so does a connection that is made in it.
    """
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + within_s
    while (pending := [task for task in tasks if not task.done()]) and clock() < give_up_at:
        for task in pending:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # we are ending as it is
            await asyncio.wait(pending, timeout=_HEARD_S)

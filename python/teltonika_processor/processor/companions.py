"""Tasks that run beside something and end with it."""

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

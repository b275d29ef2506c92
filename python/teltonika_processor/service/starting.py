"""Waiting for servers while a service starts, and being told to stop meanwhile."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from teltonika_processor.errors import TransientError
from teltonika_processor.events import Stage
from teltonika_processor.service.leaving import FAREWELL_S
from teltonika_processor.tasks.companions import end
from teltonika_processor.tasks.retry import StopRequested, Surroundings, until_done

T = TypeVar("T")


class UnreachableError(Exception):
    """A server was not reached within STARTUP_TIMEOUT_MS."""


class Starting:
    """The steps of a start.

    Args:
        limit_ms: STARTUP_TIMEOUT_MS; 0: as long as it takes.
        around: Log, clock and jitter.
        stop: Ends a step, whatever it waits for.
        began_s: When the process began, by the clock of `around`.
    """

    def __init__(
        self, limit_ms: int, around: Surroundings, stop: asyncio.Event, *, began_s: float
    ) -> None:
        self._limit_ms: Final = limit_ms
        self._around: Final = around
        self._stop: Final = stop
        self._give_up_at: Final = began_s + limit_ms / 1e3 if limit_ms else math.inf

    async def reach(self, stage: Stage, operation: Callable[[], Awaitable[T]]) -> T:
        """The result of a step that needs a server; tried until it is there.

        Only failed tries count against the limit: a long migration is no missing server.

        Raises:
            StopRequested: The service was told to stop.
            UnreachableError: The server was not there in time.
        """
        tries = until_done(
            stage, operation, self._around, stop=self._stop, give_up_at=self._give_up_at
        )
        try:
            return await self.unless_stopped(tries)
        except TransientError as error:
            server = "Postgres" if stage == "sink" else "Redis"
            limit = f"STARTUP_TIMEOUT_MS={self._limit_ms}"
            message = f"{server} was not reached within {limit}: {error}"
            raise UnreachableError(message) from error

    async def unless_stopped(self, step: Coroutine[Any, Any, T]) -> T:
        """The result of `step`, or StopRequested as soon as the service is told to stop."""
        running = asyncio.create_task(step, name="start")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise StopRequested
            return running.result()
        finally:
            for task in (running, stopping):
                task.add_done_callback(_look_at)
            await end((running, stopping), within_s=FAREWELL_S)


def _look_at(task: asyncio.Task[Any]) -> None:
    """Or the loop reports an error that nobody waits for any more, whenever it comes."""
    _ = task.cancelled() or task.exception()

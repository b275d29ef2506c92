"""Doing something until a server that is away has come back, and saying so."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from teltonika_processor.errors import TransientError
from teltonika_processor.events import Emit, RetryScheduled, RetrySucceeded, Stage
from teltonika_processor.tasks.backoff import Backoff

SAY_AGAIN_S: Final = 60.0
"""An outage is logged at its first failure and then this often."""

T = TypeVar("T")


class StopRequested(Exception):  # noqa: N818 -- states a fact; not an error of the family
    """The stop event was set while a server was away."""


def _nothing(*_: object) -> None:
    """Nobody listens."""


Guard = Callable[[Coroutine[Any, Any, None]], Coroutine[Any, Any, None]]


def _unguarded(work: Coroutine[Any, Any, None]) -> Coroutine[Any, Any, None]:
    return work


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the shell is given from outside.

    Attributes:
        emit: The log and the counters.
        clock: Seconds, monotonic.
        jitter: Uniform numbers in [0, 1).
        touch: Called whenever something happens, see ``progress``.
        retried: Called at each failure of a server with the stage and the error's cause, since the
            log tells an outage only now and then.
        guard: Wraps each task, so that a panic is recorded while the tasks beside it still run.
    """

    emit: Emit
    clock: Callable[[], float]
    jitter: Callable[[], float]
    touch: Callable[[], None] = _nothing
    retried: Callable[[Stage, str], None] = _nothing
    guard: Guard = _unguarded


async def until_done(
    stage: Stage,
    operation: Callable[[], Awaitable[T]],
    around: Surroundings,
    *,
    stop: asyncio.Event | None = None,
    give_up_at: float = math.inf,
) -> T:
    """Run `operation` until it does not raise TransientError; the wait between tries doubles.

    Raises:
        StopRequested: `stop` was given and is set while the operation fails.
        TransientError: The operation failed after `give_up_at` (by the given clock, in seconds).
    """
    outage = Outage(stage, around)
    while True:
        try:
            result = await operation()
        except TransientError as error:
            wait_s = outage.failed(error)
            left_s = give_up_at - around.clock()
            if left_s <= 0:
                raise
            wait_s = min(wait_s, left_s)
        else:
            outage.over()
            return result
        await _sleep(wait_s, stop)


async def _sleep(wait_s: float, stop: asyncio.Event | None) -> None:
    if stop is None:
        await asyncio.sleep(wait_s)
        return
    await sleep_unless(stop, wait_s)
    if stop.is_set():
        raise StopRequested


async def sleep_unless(stop: asyncio.Event, wait_s: float) -> None:
    """Sleep for `wait_s`, or until `stop` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await stop.wait()


class Outage:
    """A server being away, as the log tells it; behind `over` the next one.

    Args:
        stage: What is tried.
        around: Log, clock, randomness, and who counts failures.
    """

    def __init__(self, stage: Stage, around: Surroundings) -> None:
        self._stage: Final[Stage] = stage
        self._around: Final = around
        self._begin()

    def _begin(self) -> None:
        self._backoff = Backoff(self._around.jitter)
        self._since: float | None = None
        self._said_at = float("-inf")

    def failed(self, error: TransientError) -> float:
        """One more failure; the seconds to wait now."""
        self._around.touch()
        self._around.retried(self._stage, error.cause)
        now = self._around.clock()
        if self._since is None:
            self._since = now
        wait_s = self._backoff.next_s()
        if now - self._said_at >= SAY_AGAIN_S:
            self._said_at = now
            attempt = self._backoff.attempts
            self._around.emit(retry_scheduled(self._stage, error, attempt=attempt, wait_s=wait_s))
        return wait_s

    def over(self) -> None:
        """The operation succeeded."""
        if self._since is not None:
            self._around.emit(
                RetrySucceeded(
                    stage=self._stage,
                    attempts=self._backoff.attempts,
                    outage_s=round(self._around.clock() - self._since, 3),
                )
            )
            self._begin()


def retry_scheduled(
    stage: Stage, error: TransientError, *, attempt: int, wait_s: float
) -> RetryScheduled:
    """The event of a try that failed."""
    return RetryScheduled(
        stage=stage,
        attempt=attempt,
        wait_s=round(wait_s, 3),
        error_type=type(error).__name__,
        error=str(error),
    )

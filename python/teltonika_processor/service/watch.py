"""Looks at the servers, the group and the event loop once a second, for metrics and readiness."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.figures import FoldingFigures, GroupFigures, PartitionFigures, StateFigures
from teltonika_processor.metrics import Metrics
from teltonika_processor.service.health import Readiness

LOOK_EVERY_S: Final = 1.0

# At the partitions a session is opened for each look.
_LOOKS_PER_LOOK_AT_PARTITIONS: Final = 60

# Bound: an answer that takes longer is none. Above the time-outs that the questions bring along.
ANSWER_WITHIN_S: Final = 10.0

# How late a sleep of this length ends is the loop's lag.
_NAP_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked; each on a connection of its own, with a time-out of its own.

    Attributes:
        group_health: The group's figures; raises TransientError where Redis does not answer.
        partitions: The partitions' figures; a session is opened for it, so it is asked rarely.
        probe: None where Postgres can be written, else why not, as a sentence.
        in_flight: Entries in flight.
        folding: What is yet to be folded, which it says at any time.
        state: The device state, which says its figures at any time.
    """

    group_health: Callable[[], Awaitable[GroupFigures]]
    partitions: Callable[[], Awaitable[PartitionFigures]]
    probe: Callable[[], Awaitable[str | None]]
    in_flight: Callable[[], int]
    folding: FoldingFigures
    state: StateFigures


class Watch:
    """Asks, and tells metrics and readiness.

    The servers are asked side by side: one that is away must not make the other look so.

    Args:
        questions: What is asked.
        metrics: Gets the figures.
        readiness: Gets the facts.
        look_every_s: Seconds between two looks.
        answer_within_s: A question that takes longer counts as not answered.
    """

    def __init__(
        self,
        questions: Questions,
        metrics: Metrics,
        readiness: Readiness,
        *,
        look_every_s: float = LOOK_EVERY_S,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._questions: Final = questions
        self._metrics: Final = metrics
        self._readiness: Final = readiness
        self._look_every_s: Final = look_every_s
        self._answer_within_s: Final = answer_within_s
        self.group: GroupFigures | None = None

    def works(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What goes on until it is cancelled, by the names of the tasks.

        A watcher must not stop what it watches: whatever error of the family a question ends with
        becomes the reason why this process is not ready. Other errors are bugs.
        """
        return {
            "watch-redis": self._again_and_again(self._look_at_redis),
            "watch-postgres": self._again_and_again(self._look_at_postgres),
            "watch-partitions": self._watch_partitions(),
            "watch-inside": self._again_and_again(self._look_inside),
            "watch-loop": measure_lag(self._metrics.loop_late),
        }

    async def _again_and_again(self, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await look()
            self._publish()
            await asyncio.sleep(self._look_every_s)

    async def _look_at_redis(self) -> None:
        try:
            async with asyncio.timeout(self._answer_within_s):
                group = await self._questions.group_health()
        except (TeltonikaProcessorError, TimeoutError) as error:
            self.group = None
            self._readiness.redis_failed(_why(error))
        else:
            self.group = group
            self._readiness.redis_answered(group_exists=group.group_exists)
        self._metrics.group_seen(self.group)

    async def _look_at_postgres(self) -> None:
        try:
            async with asyncio.timeout(self._answer_within_s):
                why_not = await self._questions.probe()
        except (TeltonikaProcessorError, TimeoutError) as error:
            why_not = _why(error)
        self._readiness.postgres_answered(why_not)

    async def _watch_partitions(self) -> None:
        while True:
            await self._look_at_partitions()
            await asyncio.sleep(_LOOKS_PER_LOOK_AT_PARTITIONS * self._look_every_s)

    async def _look_at_partitions(self) -> None:
        partitions: PartitionFigures | None = None
        with contextlib.suppress(TeltonikaProcessorError, TimeoutError):
            async with asyncio.timeout(self._answer_within_s):
                partitions = await self._questions.partitions()
        self._metrics.partitions_seen(partitions)

    async def _look_inside(self) -> None:
        self._metrics.in_flight_seen(self._questions.in_flight())
        self._metrics.folding_seen(self._questions.folding)
        self._metrics.state_seen(self._questions.state)

    def _publish(self) -> None:
        publish(self._metrics, self._readiness)


async def measure_lag(late: Callable[[float], None]) -> None:
    """Say again and again by how many seconds a sleep of the loop ended late."""
    # Not the loop's own clock: uvloop's stands still while a callback runs.
    while True:
        due_s = time.monotonic() + _NAP_S
        await asyncio.sleep(_NAP_S)
        late(time.monotonic() - due_s)


def publish(metrics: Metrics, readiness: Readiness) -> None:
    """The metrics say what /readyz says."""
    metrics.servers_seen(
        redis=readiness.known("redis_reachable"),
        postgres=readiness.known("postgres_writable"),
        ready=readiness.is_ready,
    )


def _why(error: Exception) -> str:
    return "it did not answer in time." if isinstance(error, TimeoutError) else str(error)

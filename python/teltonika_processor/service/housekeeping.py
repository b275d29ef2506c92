"""What an instance does besides its entries: trimming, and sweeping up after instances that died.

Every instance does it; what another one has done already costs a look.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from teltonika_processor.errors import TransientError
from teltonika_processor.events import ConsumersReaped, Emit, StreamOversized, StreamTrimmed
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.consumers import REAP_IDLE_MS, reap
from teltonika_processor.stream.group import GroupNames
from teltonika_processor.stream.trimming import Trimmed, Trimmer
from teltonika_processor.tasks.ratelimit import RateLimit

TRIM_EVERY_S: Final = 1.0
SWEEP_EVERY_S: Final = 60.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chores:
    """What is done; each may raise TransientError and is then done again when it is next due.

    Attributes:
        trim: Remove acknowledged entries from the stream. None: not ours to do.
        forget: Forget what the hashes hold about entries that are gone; how many fields went.
        reap: Remove the names of dead consumers; those that went.
    """

    trim: Callable[[], Awaitable[Trimmed]] | None
    forget: Callable[[], Awaitable[int]]
    reap: Callable[[], Awaitable[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Pace:
    """Time: the clock in seconds, and how to wait."""

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


class Housekeeping:
    """Trims every second and sweeps every minute, at the start first."""

    def __init__(self, chores: Chores, emit: Emit, pace: Pace) -> None:
        self._chores: Final = chores
        self._emit: Final = emit
        self._pace: Final = pace
        self._lines: Final = RateLimit(burst=1, interval_s=SWEEP_EVERY_S)

    async def run(self) -> None:
        """Go on until cancelled; a server that is away is the reader's to speak of.

        Raises:
            TeltonikaProcessorError: What no waiting mends.
        """
        sweep_due_s = self._pace.clock()
        while True:
            if self._pace.clock() >= sweep_due_s:
                sweep_due_s = self._pace.clock() + SWEEP_EVERY_S
                await self._sweep()
            await self._trim()
            await self._pace.sleep(TRIM_EVERY_S)

    async def _trim(self) -> None:
        if self._chores.trim is None:
            return
        trimmed = await _unless_away(self._chores.trim)
        if trimmed is None:
            return
        if trimmed.n_removed:
            self._emit(StreamTrimmed(count=trimmed.n_removed))
        if trimmed.excess_is_needed and self._lines.admit(self._pace.clock()) is not None:
            self._emit(StreamOversized(bytes=trimmed.n_bytes, keep_bytes=trimmed.keep_bytes))

    async def _sweep(self) -> None:
        reaped = await _unless_away(self._chores.reap)
        if reaped:
            self._emit(ConsumersReaped(consumers=reaped))
        await _unless_away(self._chores.forget)


def redis_chores(
    control: RedisClient,
    names: GroupNames,
    trimmer: Trimmer,
    *,
    trims: bool,
    unix_ms: Callable[[], int],
) -> Chores:
    """The chores of the consumer `names.consumer`; without `trims` somebody else trims."""

    async def trim() -> Trimmed:
        return await trimmer.trim(unix_ms())

    async def reap_dead() -> tuple[str, ...]:
        return await reap(control, names, reap_idle_ms=REAP_IDLE_MS)

    return Chores(trim=trim if trims else None, forget=trimmer.forget_old, reap=reap_dead)


async def _unless_away(chore: Callable[[], Awaitable[T]]) -> T | None:
    try:
        return await chore()
    except TransientError:
        return None

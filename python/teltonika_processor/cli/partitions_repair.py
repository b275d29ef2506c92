"""Days of plausible rows in the default partition get their own: which, and what came of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from teltonika_processor.store.connection import Session
from teltonika_processor.store.partition import hindrance_of_day
from teltonika_processor.store.partition_changes import ensure_day
from teltonika_processor.store.partitions import PLAUSIBLE_MAX, partitions, plausible_days

_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """Plausible rows of one UTC day in the default partition.

    Attributes:
        day: Since 1970-01-01.
        rows: How many were counted.
        is_cut: Whether there may be more of them.
        why_not: None if they moved, or would move; else why not, as a sentence.
    """

    day: int
    rows: int
    is_cut: bool
    why_not: str | None


async def survey(session: Session) -> list[Found]:
    """What a repair would find; changes nothing."""

    async def look(day: int) -> str | None:
        del day
        return None

    return await _each_day(session, look)


async def repair(session: Session, *, patience_s: float) -> list[Found]:
    """Move them, day by day; a day whose locks are held is asked for again for `patience_s`."""

    async def move(day: int) -> str | None:
        give_up_at = time.monotonic() + patience_s
        while (why_not := await ensure_day(session, day)) is not None:
            if time.monotonic() + _PAUSE_S > give_up_at:
                return why_not
            await asyncio.sleep(_PAUSE_S)
        left = await plausible_days(session, day)
        if left and left[0][0] == day:
            return hindrance_of_day(await partitions(session), day)
        return None

    return await _each_day(session, move)


async def _each_day(session: Session, act: Callable[[int], Awaitable[str | None]]) -> list[Found]:
    found: list[Found] = []
    since = 0
    while page := await plausible_days(session, since):
        is_full = sum(rows for _, rows in page) >= PLAUSIBLE_MAX
        for day, rows in page:
            is_cut = is_full and day == page[-1][0]
            found.append(Found(day, rows, is_cut, await act(day)))
        since = page[-1][0] + 1
    return found

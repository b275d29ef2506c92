"""Taking old partitions away beside writers: tries that are short, pauses that are longer.

One partition at a time, since a detach locks everybody out: each try waits for its locks for 200 ms
at most, and writers get at least as long to themselves before the next one.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from teltonika_processor.store.connection import Session
from teltonika_processor.store.partition import Kind, Partition, due, left_over
from teltonika_processor.store.partition_changes import (
    Attempt,
    Holder,
    detach,
    holders,
    remove,
    take_turn,
)
from teltonika_processor.store.partitions import partitions, server_day, with_tables
from teltonika_processor.tasks.backoff import Backoff

_DAY_S: Final = 86_400

# Bound: writers get this much to themselves after a try, or as long as it took if that is more.
_PAUSE_S: Final = 0.05
_PAUSE_MAX_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.4

_ALTERED: Final = "it was attached or detached meanwhile: run the drop again"

# The two clocks run side by side but for the time that the question takes: who came just before a
# try may have come just after it, and have waited behind it.
_MARGIN_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long to go on where locks are not to be had, and the time.

    Attributes:
        patience_s: After so long without a success it is given up.
        clock: Seconds, monotonic.
        sleep: How to wait.
        jitter: Uniform numbers in [0, 1).
    """

    patience_s: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


@dataclass(slots=True)
class DropAccount:
    """What was done so far; kept by whoever asked, so that it outlives a failure.

    Attributes:
        dropped: Those that are gone, as they were before.
        left: Why the others are still there, by name.
        n_tries: How often the locks for a detach were asked for.
        longest_wait_s: The longest that anybody may have waited behind a try: from asking for the
            first lock to the answer that all are free again.
        gave_up: Whether the patience was over.
        holders: Who was in the way when it was given up.
    """

    dropped: list[Partition] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    n_tries: int = 0
    longest_wait_s: float = 0.0
    gave_up: bool = False
    holders: Sequence[Holder] = ()


async def due_now(session: Session, *, keep_days: int, unix_s: float) -> list[Partition]:
    """What may go: first what an earlier drop left over, then the oldest.

    Args:
        session: The owner's.
        keep_days: Whole days before today that stay.
        unix_s: Our clock. The earlier of the two todays counts, ours and the server's: a clock
            that is years ahead must not cost the log.
    """
    today = min(int(unix_s // _DAY_S), await server_day(session))
    found = await partitions(session)
    return [*left_over(found), *due(found, today=today, keep_days=keep_days)]


async def drop(
    session: Session,
    wanted: Sequence[Partition],
    pace: Pace,
    account: DropAccount,
    on_dropped: Callable[[Partition], None] = lambda _: None,
) -> bool:
    """Drop the `wanted`, noting in `account` what came of it; False if somebody else drops now.

    What was dropped since they were looked at is passed over; what was altered is left.

    Raises:
        Foreign errors that cost the session.
    """
    if not await take_turn(session):
        return False
    there = {partition.identity for partition in await partitions(session)}
    dropping = _Dropping(session, pace, account, on_dropped)
    await dropping.run([partition for partition in wanted if partition.identity in there])
    altered = [partition for partition in wanted if partition.identity not in there]
    for partition in await with_tables(session, altered):
        account.left[partition.name] = _ALTERED
    return True


@dataclass(frozen=True, slots=True)
class _Job:
    """A partition as it was, and as it is now."""

    was: Partition
    now: Partition


class _Dropping:
    """One partition after the other; those whose locks are held go to the end of the queue."""

    def __init__(
        self,
        session: Session,
        pace: Pace,
        account: DropAccount,
        on_dropped: Callable[[Partition], None],
    ) -> None:
        self._session: Final = session
        self._pace: Final = pace
        self._account: Final = account
        self._on_dropped: Final = on_dropped
        self._queue: Final[deque[_Job]] = deque()
        self._asked_s = 0.0

    async def run(self, wanted: Sequence[Partition]) -> None:
        self._queue.extend(_Job(partition, partition) for partition in wanted)
        give_up_at = self._pace.clock() + self._pace.patience_s
        backoff = self._new_backoff()
        while self._queue:
            job = self._queue.popleft()
            attempt, took_s = await self._timed(job.now)
            if attempt.why_not is None:
                self._succeeded(job, attempt)
                give_up_at = self._pace.clock() + self._pace.patience_s
                backoff = self._new_backoff()
                await self._pace.sleep(max(_PAUSE_S, took_s))
                continue
            if not attempt.may_succeed:
                self._account.left[job.was.name] = attempt.why_not
                continue
            self._queue.append(job)
            pause_s = max(took_s, backoff.next_s())
            if self._pace.clock() + pause_s > give_up_at:
                await self._give_up(attempt)
                return
            await self._pace.sleep(pause_s)

    def _new_backoff(self) -> Backoff:
        return Backoff(self._pace.jitter, base_s=_FIRST_PAUSE_S, cap_s=_PAUSE_MAX_S)

    async def _timed(self, partition: Partition) -> tuple[Attempt, float]:
        """One try; the seconds that others may have waited behind it."""
        self._asked_s = self._pace.clock()
        if partition.kind is Kind.DROPPED:
            return await remove(self._session, partition), 0.0  # nobody waits for that one
        attempt = await detach(self._session, partition)
        took_s = self._pace.clock() - self._asked_s
        self._account.n_tries += 1
        self._account.longest_wait_s = max(self._account.longest_wait_s, took_s)
        return attempt, took_s

    def _succeeded(self, job: _Job, attempt: Attempt) -> None:
        if attempt.partition is job.now:
            self._account.dropped.append(job.was)
            self._on_dropped(job.was)
        else:  # detached: the table is next
            self._queue.appendleft(_Job(job.was, attempt.partition))

    async def _give_up(self, attempt: Attempt) -> None:
        self._account.gave_up = True
        asked_s_ago = self._pace.clock() - self._asked_s + _MARGIN_S
        self._account.holders = await holders(self._session, attempt.partition, asked_s_ago)
        for job in self._queue:
            self._account.left[job.was.name] = attempt.why_not or ""

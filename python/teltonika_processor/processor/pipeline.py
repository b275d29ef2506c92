"""The loop: one task reads and decodes, one task a writer commits and acknowledges.

The queue between them holds one piece of work, so that the next batch is ready while others commit,
and a slow database stops the reading. A heartbeat keeps entries ours that are in flight for long.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.codec.native import DeviceState
from teltonika_processor.errors import TransientError
from teltonika_processor.events import EntriesRead, HeartbeatSent
from teltonika_processor.processor.aside import Aside
from teltonika_processor.processor.batch import BatchLimits, BatchPolicy
from teltonika_processor.processor.handover import Handover
from teltonika_processor.processor.judging import DeadLettering, Judge
from teltonika_processor.processor.ledger import Happened, Ledger
from teltonika_processor.processor.reading import EntryReader, Sources
from teltonika_processor.processor.regroup import Regroup
from teltonika_processor.processor.singles import Singles, Suspicion
from teltonika_processor.processor.work import Delivery, Totals
from teltonika_processor.processor.writing import AfterCommit, Memory, WorkFinisher
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.stream.claims import Claims
from teltonika_processor.stream.dead_letters import DeadLetters
from teltonika_processor.stream.entry import entry_id
from teltonika_processor.stream.suspects import Suspects
from teltonika_processor.tasks.companions import companions, run_together
from teltonika_processor.tasks.retry import StopRequested, Surroundings, until_done


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineConfig:
    """Bounds of the pipeline, in the units of their names."""

    batch: BatchLimits
    frame_max_bytes: int
    clock_ahead_max_ms: int
    claim_interval_s: float
    attempts_max: int
    suspect_deliveries: int


@dataclass(frozen=True, slots=True)
class Ends:
    """The two servers as the pipeline sees them, and who goes on behind a commit."""

    after: AfterCommit
    claims: Claims
    dead_letters: DeadLetters
    suspects: Suspects
    writers: Sequence[PositionWriter]


class Pipeline:
    """Reads the stream until told to stop.

    Args:
        ends: Group, claims, dead letters and one writer a task; opened and closed by the caller.
        state: Of the devices that sent last.
        config: Bounds.
        around: Log, clock in seconds, randomness.
        wall_clock_ms: Unix milliseconds, for the dead letters' ``failed_at_ms``.
    """

    def __init__(
        self,
        ends: Ends,
        state: DeviceState,
        config: PipelineConfig,
        around: Surroundings,
        wall_clock_ms: Callable[[], int],
    ) -> None:
        policy = BatchPolicy(config.batch)
        self._policy: Final = policy
        self._entries_wait = False
        self._ends: Final = ends
        self._around: Final = around
        self._aside: Final = Aside()
        self.ledger: Final = Ledger()
        self.totals: Final = Totals()
        self._handover: Final = Handover(policy, self.ledger, config.frame_max_bytes, around)
        group = ends.after.group
        regroup = Regroup(group, self.ledger, around)
        self._judge: Final = Judge(
            DeadLettering(ends.dead_letters, regroup, wall_clock_ms),
            self.ledger,
            self.totals,
            around,
        )
        self._finisher: Final = WorkFinisher(
            ends.after,
            self._judge,
            Memory(self.ledger, state, self._aside, self.totals),
            clock_ahead_max_ms=config.clock_ahead_max_ms,
            around=around,
        )
        sources = Sources(
            group,
            regroup,
            ends.claims,
            config.claim_interval_s,
            wall_clock_ms,
            forget_committed=state.clear,
        )
        self._reader: Final = EntryReader(sources, policy, self.ledger, self.totals, around)
        suspicion = Suspicion(group, ends.suspects, config.suspect_deliveries, config.attempts_max)
        self._singles: Final = Singles(suspicion, self._handover, self._judge, self.ledger, around)

    @property
    def breaker_is_open(self) -> bool:
        """Whether reading pauses, because many devices fail for a cause that is not theirs."""
        return self._judge.breaker.is_open

    @property
    def entries_wait(self) -> bool:
        """Whether the stream holds more than was read: the last read got all that it asked for.

        It costs no question, and it stays true while writers that are busy hold up the next read.
        """
        return self._entries_wait

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish what was read.

        Raises:
            ExceptionGroup: A ContractError or a bug in one of the tasks; all entries that were
                not acknowledged are still pending.
        """
        guard = self._around.guard
        works = {"reader": guard(self._read_until(stop))}
        for number, writer in enumerate(self._ends.writers, start=1):
            works[f"writer-{number}"] = guard(self._write_all(writer))
        async with companions({"heartbeat": guard(self._beat_forever())}):
            await run_together(works)
        for work in self._aside.take_all():
            self.ledger.record(work.ids(), Happened.GIVEN_BACK, now=self._around.clock())

    # Reading

    async def _read_until(self, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set():
                self._around.touch()
                await self._turn(stop)
        except StopRequested:
            pass  # what was read and not handed over is pending
        self._entries_wait = False  # not for us
        await self._handover.close(len(self._ends.writers))

    async def _turn(self, stop: asyncio.Event) -> None:
        if self.breaker_is_open:
            await self._singles.probe(self._reader.read_one, stop)
            return
        while (work := self._aside.due(now=self._around.clock())) is not None:
            await self._handover.enqueue(work)
        started = self._around.clock()
        delivery = await until_done(
            "read", lambda: self._reader.read(stop), self._around, stop=stop
        )
        self._entries_wait = len(delivery.entries) >= self._policy.read_count()
        if delivery.entries:
            self._tell(delivery, self._around.clock() - started)
            await self._take(delivery, stop)

    def _tell(self, delivery: Delivery, duration_s: float) -> None:
        self._around.emit(
            EntriesRead(
                source=delivery.source,
                count=len(delivery.entries),
                in_flight=len(self.ledger),
                duration_ms=round(duration_s * 1e3, 3),
            )
        )

    async def _take(self, delivery: Delivery, stop: asyncio.Event) -> None:
        """Hand the entries to the writers; those that were delivered too often one by one.

        What is left where the breaker opens meanwhile is pending under our name.
        """
        entries = delivery.entries
        if self._pauses():
            return
        if not delivery.redelivered:
            await self._handover.dispatch(entries, redelivered=False)
            return
        suspects = await self._singles.suspects_among(entries, stop)
        usual = [entry for entry in entries if entry_id(entry) not in suspects]
        if usual:
            await self._handover.dispatch(usual, redelivered=True)
        for entry in entries:
            if self._pauses():
                return
            if entry_id(entry) in suspects:
                await self._singles.try_alone(entry, stop)

    def _pauses(self) -> bool:
        """Whether the breaker is open; what was read is read again once it is not."""
        if self.breaker_is_open:
            self._reader.look_again()
        return self.breaker_is_open

    # Writing

    async def _write_all(self, writer: PositionWriter) -> None:
        while (work := await self._handover.take()) is not None:
            await self._finisher.finish(work, writer)
            self._handover.finished()

    async def _beat_forever(self) -> None:
        """Keep ours what is in flight for longer than a third of what makes it claimable."""
        interval_s = self._ends.claims.threshold_ms / 3e3
        while True:
            await asyncio.sleep(interval_s)
            late = self.ledger.in_flight_since(self._around.clock() - interval_s)
            if not late:
                continue
            try:
                kept = await self._ends.claims.keep(late)
            except TransientError:
                continue  # the reader says that Redis is away; twice more before they lapse
            self._around.emit(HeartbeatSent(entries=len(late), kept=kept))

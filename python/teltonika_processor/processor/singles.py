"""Entries that are tried one by one: those that may crash us, and probes of an open breaker."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.codec.native import decode_entries
from teltonika_processor.events import BreakerClosed, EntrySuspected, TrialBegun
from teltonika_processor.processor.handover import Handover
from teltonika_processor.processor.judging import Judge
from teltonika_processor.processor.ledger import Ledger
from teltonika_processor.processor.trial import Trial
from teltonika_processor.processor.work import Delivery, Outcome, Probe, Reject, Work
from teltonika_processor.stream.entry import RawEntry, entry_id
from teltonika_processor.stream.group import ConsumerGroup
from teltonika_processor.stream.suspects import Suspects
from teltonika_processor.tasks.ratelimit import RateLimit
from teltonika_processor.tasks.retry import Surroundings, sleep_unless, until_done

# While the breaker is open something is seen to happen this often.
_LOOK_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What makes an entry a suspect, and what convicts it.

    Attributes:
        group: Knows how often an entry was delivered.
        suspects: Knows the trials that never ended.
        deliveries_max: An entry delivered more often is tried alone.
        crashes_max: Trials that never ended, after which it is dead-lettered untouched.
    """

    group: ConsumerGroup
    suspects: Suspects
    deliveries_max: int
    crashes_max: int


class Singles:
    """Hands single entries to the writers while nothing else is in our hands."""

    def __init__(
        self,
        suspicion: Suspicion,
        handover: Handover,
        judge: Judge,
        ledger: Ledger,
        around: Surroundings,
    ) -> None:
        self._suspicion: Final = suspicion
        self._handover: Final = handover
        self._judge: Final = judge
        self._ledger: Final = ledger
        self._around: Final = around
        self._lines: Final = RateLimit.of_entries()

    async def suspects_among(
        self, entries: Sequence[RawEntry], stop: asyncio.Event
    ) -> dict[bytes, int]:
        """Those of redelivered `entries` that are to be tried alone, and how often they came."""
        deliveries = await self._deliveries(entries, stop)
        most = self._suspicion.deliveries_max
        ids = map(entry_id, entries)
        return {one: deliveries[one] for one in ids if deliveries.get(one, 0) > most}

    async def _deliveries(
        self, entries: Sequence[RawEntry], stop: asyncio.Event
    ) -> dict[bytes, int]:
        """How often those of our own pending entries came that lie between these, ascending."""
        # Ours in the range are these and what is in flight or failed before.
        count = len(entries) + len(self._ledger) + self._ledger.n_retries
        first, last = entry_id(entries[0]), entry_id(entries[-1])
        return await until_done(
            "read",
            lambda: self._suspicion.group.deliveries(first, last, count),
            self._around,
            stop=stop,
        )

    async def try_alone(self, entry: RawEntry, stop: asyncio.Event) -> None:
        """Try a suspect, so that a crash convicts this entry and no other.

        Raises:
            StopRequested: `stop` is set; the entry is pending.
        """
        suspects, suspect_id = self._suspicion.suspects, entry_id(entry)
        await self._handover.until_quiet(stop)
        # Others may have claimed it while it waited for its turn: one trial at a time.
        deliveries = (await self._deliveries([entry], stop)).get(suspect_id)
        if deliveries is None:
            return
        crashes = await until_done(
            "read", lambda: suspects.crashes(suspect_id), self._around, stop=stop
        )
        self._tell(suspect_id, deliveries, crashes)
        if crashes >= self._suspicion.crashes_max:
            await self._condemn(entry, crashes)
            return
        trial = Trial(suspects, suspect_id, crashes)
        await until_done("read", trial.begin, self._around, stop=stop)
        self._around.emit(TrialBegun(entry_id=suspect_id.decode(), trials=crashes + 1))
        await self._handover.dispatch([entry], redelivered=True, trial=trial)
        await self._handover.until_quiet(stop)

    def _tell(self, suspect_id: bytes, deliveries: int, crashes: int) -> None:
        suppressed = self._lines.admit(self._around.clock())
        if suppressed is not None:
            self._around.emit(
                EntrySuspected(
                    entry_id=suspect_id.decode(),
                    deliveries=deliveries,
                    trials=crashes,
                    suppressed=suppressed,
                )
            )

    async def _condemn(self, entry: RawEntry, crashes: int) -> None:
        """Dead-letter an entry without looking into it."""
        text = f"in hand alone in {crashes} processes that died"
        self._ledger.deliver([entry_id(entry)], now=self._around.clock())
        work = Work(
            batch_id=0,
            batch=decode_entries([[entry_id(entry), None]]),
            entries=[entry],
            rejects={0: Reject("crashed_processor", 0, text)},
            start=0,
            stop=1,
            redelivered=True,
        )
        await self._judge.judge(Outcome([work]))

    async def probe(self, read_one: Callable[[], Awaitable[Delivery]], stop: asyncio.Event) -> None:
        """While the breaker is open: every now and then one entry.

        Args:
            read_one: Reads another one, for when nothing that failed is pending any more.
            stop: Ends the waiting.

        Raises:
            StopRequested: `stop` is set.
        """
        breaker = self._judge.breaker
        wait_s = breaker.wait_s(now=self._around.clock())
        if wait_s > 0:
            await sleep_unless(stop, min(wait_s, _LOOK_EVERY_S))
            return
        await self._handover.until_quiet(stop)
        delivery, probe = await self._to_probe(read_one, stop), Probe()
        if delivery.entries:
            await self._handover.dispatch(
                delivery.entries, redelivered=delivery.redelivered, probe=probe
            )
            await self._handover.until_quiet(stop)
        n_probes = breaker.probes + 1
        open_s = breaker.probed(stored=probe.stored, now=self._around.clock())
        if open_s is not None:
            self._judge.candidates.clear()
            self._around.emit(BreakerClosed(open_s=round(open_s, 3), probes=n_probes))

    async def _to_probe(
        self, read_one: Callable[[], Awaitable[Delivery]], stop: asyncio.Event
    ) -> Delivery:
        """An entry that failed and is still pending under our name, else one not tried yet."""
        candidates = self._judge.candidates
        for entry in list(candidates):
            if self._ledger.in_flight(entry_id(entry)):
                continue  # it waits for its day's partition
            candidates.remove(entry)
            if await self._deliveries([entry], stop):
                candidates.append(entry)
                return Delivery("own", [entry])
        return await until_done("read", read_one, self._around, stop=stop)

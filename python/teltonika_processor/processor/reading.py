"""Reading: own pending entries first, then idle ones of others, then new ones."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.events import EntriesReclaimed, EntriesVanished, GroupRewound
from teltonika_processor.processor.batch import BatchPolicy
from teltonika_processor.processor.ledger import Ledger
from teltonika_processor.processor.regroup import Regroup
from teltonika_processor.processor.work import Delivery, Totals
from teltonika_processor.stream.claims import ClaimedPage, Claims
from teltonika_processor.stream.connection import GroupMissingError
from teltonika_processor.stream.entry import FIRST_ID, RawEntry, entry_id
from teltonika_processor.stream.group import BLOCK_MS, ConsumerGroup
from teltonika_processor.stream.ids import id_parts
from teltonika_processor.tasks.retry import Surroundings, sleep_unless

# Each look through our own pending entries is a delivery of what it looks at.
_PROBE_PAGE: Final = 16

_BEFORE_ALL: Final = (0, 0)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where entries come from."""

    group: ConsumerGroup
    regroup: Regroup
    claims: Claims
    claim_interval_s: float
    wall_clock_ms: Callable[[], int]
    # Called where entries come as new that were delivered before: Postgres may have lost them.
    forget_committed: Callable[[], None]


class EntryReader:
    """Where reading stands in the group.

    Invariant: an entry in flight is never returned again. Where Redis delivers one as new once more
    (the group was made anew, or its position was set back), its XACK may have come before that
    delivery, so our pending entries are looked through again once it has left the ledger.

    Entries that failed are pending too; they are skipped until they are claimed, which leaves the
    threshold of the claims between two attempts.
    """

    def __init__(
        self,
        sources: Sources,
        policy: BatchPolicy,
        ledger: Ledger,
        totals: Totals,
        around: Surroundings,
    ) -> None:
        self._group: Final = sources.group
        self._regroup: Final = sources.regroup
        self._claims: Final = sources.claims
        self._claim_interval_s: Final = sources.claim_interval_s
        self._policy: Final = policy
        self._ledger: Final = ledger
        self._totals: Final = totals
        self._around: Final = around
        self._wall_clock_ms: Final = sources.wall_clock_ms
        self._forget_committed: Final = sources.forget_committed
        # What comes as new comes behind everything that was delivered to anybody before.
        self._newest = _BEFORE_ALL
        # After a rewind, what is pending from before it lies ahead of what is new.
        self._caught_up_at = _BEFORE_ALL
        # None once our own pending entries are all seen.
        self._own_after: bytes | None = FIRST_ID
        self._claim_at = float("-inf")
        self._claimed_last = False
        self._delivered_twice: set[bytes] = set()

    async def read(self, stop: asyncio.Event) -> Delivery:
        """Entries that are not in flight, perhaps none; one read and no other once `stop` is set.

        Raises:
            StreamUnavailable: Call again; nothing was lost.
        """
        if self._delivered_twice and not self._ledger.holds_any(self._delivered_twice):
            self._delivered_twice.clear()
            self.look_again()
        return await self._healing(self._read_next(stop))

    async def read_one(self) -> Delivery:
        """One entry of our own pending ones that did not fail, else a new one; does not wait.

        Raises:
            StreamUnavailable: Call again; nothing was lost.
        """
        return await self._healing(self._read_next_one())

    async def _read_next_one(self) -> Delivery:
        while self._own_after is not None:
            entries = await self._read_own(self._own_after, _PROBE_PAGE)
            if entries:
                self._own_after = entry_id(entries[0])
                return Delivery("own", entries[:1])
        return Delivery("new", self._fresh(await self._group.read_new(1, block_ms=0)))

    async def _healing(self, reading: Coroutine[Any, Any, Delivery]) -> Delivery:
        try:
            delivery = await reading
        except GroupMissingError:
            self.look_again()
            await self._regroup.restore()
            raise
        except StreamUnavailable:
            self.look_again()
            raise
        self._regroup.is_there(() if delivery.redelivered else delivery.entries)
        if delivery.entries:
            self._note_ids(delivery)
        return delivery

    def _note_ids(self, delivery: Delivery) -> None:
        first, last = _id_of(delivery.entries[0]), _id_of(delivery.entries[-1])
        if delivery.source == "new" and first <= self._newest:
            self._caught_up_at = max(self._caught_up_at, self._newest)
            self._newest = last
            self._rewound(delivery.entries)
        elif delivery.source == "new" or last > self._caught_up_at:
            self._newest = max(self._newest, last)

    def _rewound(self, entries: list[RawEntry]) -> None:
        """These came as new although they, or newer ones, were delivered before."""
        self._forget_committed()
        self._around.emit(GroupRewound(first_id=entry_id(entries[0]).decode()))

    async def _read_next(self, stop: asyncio.Event) -> Delivery:
        if self._own_after is not None:
            return Delivery("own", await self._read_own(self._own_after, self._policy.read_count()))
        # A page and a new read in turn: neither a long list nor a busy stream starves the other.
        if self._claim_in_s() <= 0 and not self._claimed_last:
            self._claimed_last = True
            return Delivery("claimed", await self._claim())
        self._claimed_last = False
        return Delivery("new", self._fresh(await self._read_one_write(stop)))

    def look_again(self) -> None:
        """Entries may be pending under our name that are not in flight: read them next.

        A reply may have been lost on the way, or what was read was not handed over.
        """
        self._own_after = FIRST_ID

    # Own pending entries

    async def _read_own(self, after: bytes, count: int) -> list[RawEntry]:
        entries = await self._group.read_own(after, count)
        self._own_after = entry_id(entries[-1]) if entries else None
        return [entry for entry in entries if entry_id(entry) not in self._ledger]

    # Claims

    def _claim_in_s(self) -> float:
        return self._claim_at - self._around.clock()

    async def _claim(self) -> list[RawEntry]:
        count = self._policy.read_count()
        page = await self._claims.next_page(count, now_ms=self._wall_clock_ms())
        if page.vanished:
            self._tell_vanished(page)
        if page.ends_sweep:
            await self._end_sweep()
        fresh = self._not_in_flight(page.entries)
        if fresh:
            self._around.emit(EntriesReclaimed(count=len(fresh)))
        return fresh

    def _tell_vanished(self, page: ClaimedPage) -> None:
        """The letters were written by the script that claimed."""
        self._totals.entries += page.n_letters
        self._totals.dead_lettered += page.n_letters
        self._around.emit(
            EntriesVanished(
                count=len(page.vanished),
                first_id=page.vanished[0].decode(),
                claim_letters=page.n_letters,
            )
        )

    async def _end_sweep(self) -> None:
        now = self._around.clock()
        self._claim_at = now + self._claim_interval_s
        with contextlib.suppress(StreamUnavailable):
            await self._regroup.look()
            # What failed here and did not come back within two sweeps is in other hands.
            waits_s = self._claims.threshold_ms / 1e3 + 2 * self._claim_interval_s
            self._ledger.forget_retries(before=now - 2 * waits_s)

    # New entries

    def _fresh(self, entries: list[RawEntry]) -> list[RawEntry]:
        """Those that are not in flight; the others are looked for again once they are not."""
        fresh = self._not_in_flight(entries)
        if len(fresh) < len(entries):
            self._delivered_twice |= {*map(entry_id, entries)}.difference(map(entry_id, fresh))
        return fresh

    async def _read_one_write(self, stop: asyncio.Event) -> list[RawEntry]:
        """What is there, and of a trickle what comes until the next write is due."""
        entries = await self._group.read_new(self._policy.read_count(), block_ms=self._block_ms())
        wait_s = self._policy.wait_s(now=self._around.clock(), n_entries=len(entries))
        if not entries or wait_s <= 0:
            return entries
        await sleep_unless(stop, wait_s)
        if stop.is_set():
            return entries
        try:
            more = await self._read_more(len(entries))
        except StreamUnavailable:
            self.look_again()
            return entries
        if not more or _id_of(more[0]) > _id_of(entries[-1]):
            return entries + more
        # Rewound between the two reads. They are pending under our name by now and come again as
        # our own, which nothing takes for retransmissions.
        self._rewound(more)
        self._delivered_twice.update(map(entry_id, more))
        self.look_again()
        return entries

    async def _read_more(self, n_read: int) -> list[RawEntry]:
        more = max(1, self._policy.read_count() - n_read)
        return await self._group.read_new(more, block_ms=0)

    def _block_ms(self) -> int:
        """Until the next claim is due; in the middle of a sweep not at all."""
        return min(BLOCK_MS, round(max(0.0, self._claim_in_s()) * 1e3))

    def _not_in_flight(self, entries: list[RawEntry]) -> list[RawEntry]:
        if not self._ledger.knows_any(map(entry_id, entries)):
            return entries
        in_flight = self._ledger.in_flight
        return [entry for entry in entries if not in_flight(entry_id(entry))]


def _id_of(entry: RawEntry) -> tuple[int, int]:
    return id_parts(entry_id(entry)) or _BEFORE_ALL

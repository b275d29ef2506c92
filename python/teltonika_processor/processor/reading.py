"""Reading: own pending entries first, then idle ones of others, then new ones."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.events import (
    EntriesReclaimed,
    EntriesVanished,
    GroupCreated,
    GroupMissing,
)
from teltonika_processor.processor.batch import BatchPolicy
from teltonika_processor.processor.ledger import Ledger
from teltonika_processor.processor.retry import Surroundings, sleep_unless
from teltonika_processor.processor.work import Delivery
from teltonika_processor.stream.claims import Claims
from teltonika_processor.stream.connection import GroupMissingError
from teltonika_processor.stream.entry import FIRST_ID, RawEntry, entry_id
from teltonika_processor.stream.group import BLOCK_MS, ConsumerGroup


@dataclass(frozen=True, slots=True)
class Sources:
    """Where entries come from."""

    group: ConsumerGroup
    claims: Claims
    claim_interval_s: float


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
        around: Surroundings,
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self._group: Final = sources.group
        self._claims: Final = sources.claims
        self._claim_interval_s: Final = sources.claim_interval_s
        self._policy: Final = policy
        self._ledger: Final = ledger
        self._around: Final = around
        self._wall_clock_ms: Final = wall_clock_ms
        # None once our own pending entries are all seen.
        self._own_after: bytes | None = FIRST_ID
        self._claim_at = float("-inf")
        self._claimed_last = False
        self._delivered_twice: set[bytes] = set()
        self._group_is_missing = False

    async def read(self, stop: asyncio.Event) -> Delivery:
        """Entries that are not in flight, perhaps none; one read and no other once `stop` is set.

        Raises:
            StreamUnavailable: Call again; nothing was lost.
        """
        if self._delivered_twice and not self._ledger.holds_any(self._delivered_twice):
            self._delivered_twice.clear()
            self._look_again()
        try:
            delivery = await self._read_next(stop)
        except GroupMissingError:
            await self._restore_group()
            raise
        except StreamUnavailable:
            self._look_again()
            raise
        self._group_is_missing = False
        return delivery

    async def _read_next(self, stop: asyncio.Event) -> Delivery:
        if self._own_after is not None:
            return Delivery("own", await self._read_own(self._own_after))
        # A page and a new read in turn: neither a long list nor a busy stream starves the other.
        if self._claim_in_s() <= 0 and not self._claimed_last:
            self._claimed_last = True
            return Delivery("claimed", await self._claim())
        self._claimed_last = False
        return Delivery("new", await self._read_new(stop))

    def _look_again(self) -> None:
        """A reply may have been lost on the way: its entries are pending under our name."""
        self._own_after = FIRST_ID

    # Own pending entries

    async def _read_own(self, after: bytes) -> list[RawEntry]:
        entries = await self._group.read_own(after, self._policy.read_count())
        self._own_after = entry_id(entries[-1]) if entries else None
        return [entry for entry in entries if entry_id(entry) not in self._ledger]

    # Claims

    def _claim_in_s(self) -> float:
        return self._claim_at - self._around.clock()

    async def _claim(self) -> list[RawEntry]:
        count = self._policy.read_count()
        page = await self._claims.next_page(count, now_ms=self._wall_clock_ms())
        if page.ends_sweep:
            self._end_sweep()
        if page.vanished:
            first_id = page.vanished[0].decode()
            self._around.emit(EntriesVanished(count=len(page.vanished), first_id=first_id))
        fresh = self._not_in_flight(page.entries)
        if fresh:
            self._around.emit(EntriesReclaimed(count=len(fresh)))
        return fresh

    def _end_sweep(self) -> None:
        now = self._around.clock()
        self._claim_at = now + self._claim_interval_s
        # What failed here and did not come back within two sweeps is in other hands.
        waits_s = self._claims.threshold_ms / 1e3 + 2 * self._claim_interval_s
        self._ledger.forget_retries(before=now - 2 * waits_s)

    # New entries

    async def _read_new(self, stop: asyncio.Event) -> list[RawEntry]:
        entries = await self._read_one_write(stop)
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
        more = max(1, self._policy.read_count() - len(entries))
        try:
            return entries + await self._group.read_new(more, block_ms=0)
        except StreamUnavailable:
            self._look_again()
            return entries

    def _block_ms(self) -> int:
        """Until the next claim is due; in the middle of a sweep not at all."""
        return min(BLOCK_MS, round(max(0.0, self._claim_in_s()) * 1e3))

    def _not_in_flight(self, entries: list[RawEntry]) -> list[RawEntry]:
        if not self._ledger.knows_any(map(entry_id, entries)):
            return entries
        in_flight = self._ledger.in_flight
        return [entry for entry in entries if not in_flight(entry_id(entry))]

    # The group

    async def _restore_group(self) -> None:
        names = self._group.names
        if not self._group_is_missing:
            self._group_is_missing = True
            self._around.emit(GroupMissing(stream=names.stream, group=names.group))
        self._look_again()
        if await self._group.ensure():
            self._around.emit(GroupCreated(stream=names.stream, group=names.group))

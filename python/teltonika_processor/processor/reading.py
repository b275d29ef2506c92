"""Reading: own pending entries first, then new ones; none again while it is in flight."""

import asyncio
from typing import Final

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.events import GroupCreated, GroupMissing
from teltonika_processor.processor.batch import BatchPolicy
from teltonika_processor.processor.ledger import Ledger
from teltonika_processor.processor.retry import Surroundings
from teltonika_processor.stream.connection import GroupMissingError
from teltonika_processor.stream.entry import FIRST_ID, RawEntry, entry_id
from teltonika_processor.stream.group import ConsumerGroup


class EntryReader:
    """Where reading stands in the group.

    Invariant: an entry in flight is never returned again. Where Redis delivers one as new once more
    (the group was made anew, or its position was set back), its XACK may have come before that
    delivery, so our pending entries are looked through again once it has left the ledger.
    """

    def __init__(
        self, group: ConsumerGroup, policy: BatchPolicy, ledger: Ledger, around: Surroundings
    ) -> None:
        self._group: Final = group
        self._policy: Final = policy
        self._ledger: Final = ledger
        self._around: Final = around
        # None once our own pending entries are all seen.
        self._own_after: bytes | None = FIRST_ID
        self._delivered_twice: set[bytes] = set()
        self._group_is_missing = False

    async def read(self) -> tuple[list[RawEntry], bool]:
        """Entries that are not in flight, and whether they were delivered before.

        Raises:
            StreamUnavailable: Call again; nothing was lost.
        """
        if self._delivered_twice and not self._ledger.holds_any(self._delivered_twice):
            self._delivered_twice.clear()
            self._own_after = FIRST_ID
        try:
            own_after = self._own_after
            entries = await (self._read_new() if own_after is None else self._read_own(own_after))
        except GroupMissingError:
            await self._restore_group()
            raise
        except StreamUnavailable:
            self._look_again()
            raise
        self._group_is_missing = False
        return entries, own_after is not None

    def _look_again(self) -> None:
        """A reply may have been lost on the way: its entries are pending under our name."""
        self._own_after = FIRST_ID

    async def _read_own(self, after: bytes) -> list[RawEntry]:
        entries = await self._group.read_own(after, self._policy.read_count())
        self._own_after = entry_id(entries[-1]) if entries else None
        return [entry for entry in entries if entry_id(entry) not in self._ledger]

    async def _read_new(self) -> list[RawEntry]:
        entries = await self._read_one_write()
        fresh = [entry for entry in entries if entry_id(entry) not in self._ledger]
        if len(fresh) < len(entries):
            in_flight = set(map(entry_id, entries)).difference(map(entry_id, fresh))
            self._delivered_twice |= in_flight
        return fresh

    async def _read_one_write(self) -> list[RawEntry]:
        """What is there, and of a trickle what comes until the next write is due."""
        entries = await self._group.read_new(self._policy.read_count(), block=True)
        wait_s = self._policy.wait_s(now=self._around.clock(), n_entries=len(entries))
        if not entries or wait_s <= 0:
            return entries
        await asyncio.sleep(wait_s)
        more = max(1, self._policy.read_count() - len(entries))
        try:
            return entries + await self._group.read_new(more, block=False)
        except StreamUnavailable:
            self._look_again()
            return entries

    async def _restore_group(self) -> None:
        names = self._group.names
        if not self._group_is_missing:
            self._group_is_missing = True
            self._around.emit(GroupMissing(stream=names.stream, group=names.group))
        self._look_again()
        if await self._group.ensure():
            self._around.emit(GroupCreated(stream=names.stream, group=names.group))

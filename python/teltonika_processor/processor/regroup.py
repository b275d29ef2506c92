"""A consumer group that is gone: flushed, evicted, failed over. Who meets that makes it anew."""

import asyncio
import contextlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.events import EntriesVanished, GroupCreated, GroupMissing
from teltonika_processor.processor.ledger import Ledger
from teltonika_processor.stream.entry import RawEntry, entry_id
from teltonika_processor.stream.group import ConsumerGroup
from teltonika_processor.stream.ids import id_parts
from teltonika_processor.tasks.retry import Surroundings

_BEFORE_ALL: Final = (0, 0)


class Regroup:
    """Makes the group anew, says it once, and tells what went with the stream.

    Another instance may meet it first, and make the group before we miss it. But a stream counts
    what was ever added to it: one with less than we have seen is another one. One that lost its
    tail in a failover, and has caught up when it is looked at, is not told from the one before.

    Args:
        group: From id 0, since every write may be repeated.
        ledger: What was delivered before is pending nowhere.
        around: Log, clock in seconds.
    """

    def __init__(self, group: ConsumerGroup, ledger: Ledger, around: Surroundings) -> None:
        self._group: Final = group
        self._ledger: Final = ledger
        self._around: Final = around
        # The reader and the writers may meet it at once: what is lost is told once.
        self._one_at_a_time: Final = asyncio.Lock()
        self._is_missing = False
        # Of the stream as we know it: entries added when we looked, and entries that we read first.
        self._n_added = 0
        self._n_read = 0
        self._newest = _BEFORE_ALL
        # What failed and waited, pending, for its next try is still to be asked for.
        self._owes_report = False

    async def restore(self) -> None:
        """The group was seen to be missing.

        Raises:
            StreamUnavailable: Redis is away.
        """
        names = self._group.names
        if not self._is_missing:
            self._is_missing = True
            self._lose()
            self._around.emit(GroupMissing(stream=names.stream, group=names.group))
        if await self._group.ensure():
            self._around.emit(GroupCreated(stream=names.stream, group=names.group))
        async with self._one_at_a_time:
            await self._report_retries()

    def is_there(self, entries: Sequence[RawEntry]) -> None:
        """The group was seen to be there; these were read as new, in the order of their ids."""
        self._is_missing = False
        if not entries:
            return
        first, last = (id_parts(entry_id(entries[i])) or _BEFORE_ALL for i in (0, -1))
        # A group that was set back delivers what was read before: that is no more than there was.
        if first > self._newest:
            self._n_read += len(entries)
            self._newest = last

    async def look(self) -> None:
        """See whether the stream is another one by now.

        Raises:
            StreamUnavailable: Redis is away.
        """
        async with self._one_at_a_time:
            known = max(self._n_added, self._n_read)
            n_added = await self._group.n_added()
            if n_added < known:
                self._lose()
            self._n_added = n_added
            await self._report_retries()

    async def lost(self, ids: AbstractSet[bytes]) -> AbstractSet[bytes]:
        """Those of `ids`, in flight and no longer pending, that went with the stream.

        What cannot be asked now is not said to be lost.
        """
        if ids:
            with contextlib.suppress(StreamUnavailable):
                await self.look()
                return await self._group.lost(ids & set(self._ledger.orphans()))
        return frozenset()

    def _lose(self) -> None:
        self._ledger.group_lost(now=self._around.clock())
        self._n_added = self._n_read = 0
        self._newest = _BEFORE_ALL
        self._owes_report = True

    async def _report_retries(self) -> None:
        if not self._owes_report:
            return
        lost = await self._group.lost(self._ledger.retries())
        self._owes_report = False
        if lost:
            self._ledger.forget_gone(lost)
            self._around.emit(EntriesVanished(count=len(lost), first_id=min(lost).decode()))

"""A consumer group that is gone: flushed, evicted, failed over. Who meets that makes it anew."""

from collections.abc import Collection
from typing import Final

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.events import EntriesVanished, GroupCreated, GroupMissing
from teltonika_processor.processor.ledger import Ledger
from teltonika_processor.processor.retry import Surroundings
from teltonika_processor.stream.group import ConsumerGroup


class Regroup:
    """Makes the group anew, says it once, and tells the ledger.

    Args:
        group: From id 0, since every write may be repeated.
        ledger: What was delivered before is pending nowhere.
        around: Log, clock in seconds.
    """

    def __init__(self, group: ConsumerGroup, ledger: Ledger, around: Surroundings) -> None:
        self._group: Final = group
        self._ledger: Final = ledger
        self._around: Final = around
        self._is_missing = False

    async def gone(self, ids: Collection[bytes]) -> set[bytes]:
        """Those of the entries `ids` that the stream does not hold: they will not come again.

        What cannot be asked now is not said to be gone.
        """
        if not ids:
            return set()
        try:
            return await self._group.gone(ids)
        except StreamUnavailable:
            return set()

    async def restore(self) -> None:
        """The group was seen to be missing.

        Raises:
            StreamUnavailable: Redis is away.
        """
        names = self._group.names
        was_missing, self._is_missing = self._is_missing, True
        if not was_missing:
            self._ledger.group_lost(now=self._around.clock())
            self._around.emit(GroupMissing(stream=names.stream, group=names.group))
        if await self._group.ensure():
            self._around.emit(GroupCreated(stream=names.stream, group=names.group))
        if not was_missing:
            await self._report_retries()

    async def _report_retries(self) -> None:
        """What failed and waited, pending, for its next try may have gone with the stream."""
        gone = await self.gone(self._ledger.retries())
        if gone:
            self._ledger.forget_gone(gone)
            self._around.emit(EntriesVanished(count=len(gone), first_id=min(gone).decode()))

    def is_there(self) -> None:
        """The group was seen to be there."""
        self._is_missing = False

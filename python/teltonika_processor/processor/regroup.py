"""A consumer group that is gone: flushed, evicted, failed over. Who meets that makes it anew."""

from typing import Final

from teltonika_processor.events import GroupCreated, GroupMissing
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

    async def restore(self) -> None:
        """The group was seen to be missing.

        Raises:
            StreamUnavailable: Redis is away.
        """
        names = self._group.names
        if not self._is_missing:
            self._is_missing = True
            self._ledger.group_lost(now=self._around.clock())
            self._around.emit(GroupMissing(stream=names.stream, group=names.group))
        if await self._group.ensure():
            self._around.emit(GroupCreated(stream=names.stream, group=names.group))

    def is_there(self) -> None:
        """The group was seen to be there."""
        self._is_missing = False

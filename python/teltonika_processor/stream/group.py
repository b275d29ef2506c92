"""The consumer group: reading new entries and own pending ones, and XACK."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.stream.connection import GroupExistsError, RedisClient, execute
from teltonika_processor.stream.entry import FIRST_ID, RawEntry

BLOCK_MS: Final = 500
"""Bound: how long a read waits; a stop request is seen after this time at the latest."""


@dataclass(frozen=True, slots=True)
class GroupNames:
    """What is read and as whom."""

    stream: str
    group: str
    consumer: str


class ConsumerGroup:
    """One consumer's view of the group.

    `blocking` serves reads only, because a parked XREADGROUP holds its connection; `control`
    serves everything else.
    """

    def __init__(self, blocking: RedisClient, control: RedisClient, names: GroupNames) -> None:
        self._blocking: Final = blocking
        self._control: Final = control
        self.names: Final = names

    async def ensure(self) -> bool:
        """Create group and stream where they do not exist; True if the group was made.

        From id 0, never ``$``: what waits in the stream was acknowledged to devices.
        """
        names = self.names
        try:
            await execute(
                self._control, "XGROUP", "CREATE", names.stream, names.group, FIRST_ID, "MKSTREAM"
            )
        except GroupExistsError:
            return False
        return True

    async def last_delivered_id(self) -> str:
        """Where the group stands: the id after which new entries are read."""
        about = await about_group(self._control, self.names.stream, self.names.group)
        return (about[b"last-delivered-id"] if about else FIRST_ID).decode()

    async def read_new(self, count: int, *, block: bool) -> list[RawEntry]:
        """Up to `count` entries that no consumer has seen; with `block` waits up to BLOCK_MS."""
        wait = ("BLOCK", BLOCK_MS) if block else ()
        return await self._read(count, b">", wait)

    async def read_own(self, after: bytes, count: int) -> list[RawEntry]:
        """Up to `count` of our own pending entries with an id greater than `after`."""
        return await self._read(count, after, ())

    async def xack(self, ids: list[bytes]) -> int:
        """Acknowledge settled entries in one command; how many of them were still pending."""
        found: int = await execute(self._control, "XACK", self.names.stream, self.names.group, *ids)
        return found

    async def _read(
        self, count: int, from_id: bytes, wait: tuple[str | int, ...]
    ) -> list[RawEntry]:
        names = self.names
        reply = await execute(
            self._blocking,
            "XREADGROUP",
            "GROUP",
            names.group,
            names.consumer,
            "COUNT",
            count,
            *wait,
            "STREAMS",
            names.stream,
            from_id,
        )
        if not reply:
            return []
        entries: list[RawEntry] = reply[0][1]
        return entries


async def about_group(client: RedisClient, stream: str, group: str) -> dict[bytes, Any] | None:
    """What XINFO GROUPS says of one group of a stream that exists; None without such a group."""
    for reply in await execute(client, "XINFO", "GROUPS", stream):
        about = pairs_of(reply)
        if about[b"name"] == group.encode():
            return about
    return None


def pairs_of(reply: Sequence[Any]) -> dict[bytes, Any]:
    """Names and values in turn, as RESP2 writes a map."""
    return dict(zip(reply[::2], reply[1::2], strict=True))

"""The consumer group: reading new entries and own pending ones, and XACK."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.model import accounts_key, attempts_key, lettered_key, suspects_key
from teltonika_processor.stream.connection import (
    GroupExistsError,
    GroupMissingError,
    RedisClient,
    execute,
)
from teltonika_processor.stream.entry import FIRST_ID, RawEntry
from teltonika_processor.stream.ids import LUA_IDS

BLOCK_MS: Final = 500
"""Bound: how long a read waits; a stop request is seen after this time at the latest."""

# XACK says 1 to exactly one caller, so what it says is counted there and nowhere else.
# KEYS: stream, accounts, attempts, suspects. ARGV: group, whether to forget failures, entry ids.
_XACK: Final = b"""
local count = redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 3))
if count > 0 then redis.call('HINCRBY', KEYS[2], 'acknowledged', count) end
if ARGV[2] == '1' then
  redis.call('HDEL', KEYS[3], unpack(ARGV, 3))
  redis.call('HDEL', KEYS[4], unpack(ARGV, 3))
end
return count
"""

# KEYS: stream.
_ADDED: Final = (
    LUA_IDS
    + b"""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return map_of(redis.call('XINFO', 'STREAM', KEYS[1]))['entries-added']
"""
)

# An entry that has its letter is not lost, and several instances may have had it in their hands, so
# a loss is noted beside the letters: it is told to one caller.
# KEYS: stream, lettered. ARGV: entry ids.
_LOST: Final = b"""
local lost = {}
for i = 1, #ARGV do
  if #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) == 0
      and redis.call('HSETNX', KEYS[2], ARGV[i], 'lost') == 1 then
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
"""

# Bound: entries that one script looks at.
_LOST_PART: Final = 200

# Bound: a Lua call takes about 8,000 arguments.
_XACK_PART: Final = 5000


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

    async def read_new(self, count: int, *, block_ms: int) -> list[RawEntry]:
        """Up to `count` entries that no consumer has seen; waits up to `block_ms`, 0: not at all.

        Bound: BLOCK_MS, since 0 would be for ever in Redis and a parked read is never cancelled.
        """
        wait = ("BLOCK", min(block_ms, BLOCK_MS)) if block_ms > 0 else ()
        return await self._read(count, b">", wait)

    async def read_own(self, after: bytes, count: int) -> list[RawEntry]:
        """Up to `count` of our own pending entries with an id greater than `after`."""
        return await self._read(count, after, ())

    async def deliveries(self, first: bytes, last: bytes, count: int) -> dict[bytes, int]:
        """How often each of our own pending entries from id `first` to `last` was delivered.

        Empty where the group is gone: whoever reads makes it anew, so nobody may wait for it here.
        """
        names = self.names
        where = (names.stream, names.group, first, last, count, names.consumer)
        try:
            found = await execute(self._control, "XPENDING", *where)
        except GroupMissingError:
            return {}
        return {entry_id: times for entry_id, _, _, times in found}

    async def n_added(self) -> int:
        """Entries that were ever added to the stream; 0 where it does not exist.

        Raises:
            StreamUnavailable: Redis is away.
        """
        return int(await execute(self._control, "EVAL", _ADDED, 1, self.names.stream))

    async def lost(self, ids: Iterable[bytes]) -> set[bytes]:
        """Those of the entries `ids` that neither the stream nor a letter holds; each is told once.

        Raises:
            StreamUnavailable: Redis is away.
        """
        stream, lost, rest = self.names.stream, set[bytes](), list(ids)
        keys = (2, stream, lettered_key(stream))
        for first in range(0, len(rest), _LOST_PART):
            part = rest[first : first + _LOST_PART]
            lost.update(await execute(self._control, "EVAL", _LOST, *keys, *part))
        return lost

    async def xack(self, ids: Sequence[bytes], *, redelivered: bool = False) -> int:
        """Acknowledge settled entries; how many of them were still pending, which are counted.

        Args:
            ids: The entries.
            redelivered: They may have failed before: that is forgotten.
        """
        stream = self.names.stream
        keys = (stream, accounts_key(stream), attempts_key(stream), suspects_key(stream))
        count = 0
        for first in range(0, len(ids), _XACK_PART):
            part = ids[first : first + _XACK_PART]
            forget = int(redelivered)
            args = ("EVAL", _XACK, len(keys), *keys, self.names.group, forget, *part)
            count += await execute(self._control, *args)
        return count

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

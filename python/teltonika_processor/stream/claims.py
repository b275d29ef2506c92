"""Taking over pending entries of instances that died, and keeping our own while we work on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.model import (
    accounts_key,
    attempts_key,
    dead_letter_stream,
    lettered_key,
    suspects_key,
)
from teltonika_processor.stream.connection import RedisClient, execute
from teltonika_processor.stream.entry import RawEntry
from teltonika_processor.stream.group import GroupNames

# XAUTOCLAIM takes ids whose payload is gone off the pending entries list and tells only this once,
# so their letters are written by the same script. One that cannot be written is reported as
# vanished all the same. One that has a letter (the group was made anew since) is not lost.
# KEYS: stream, dead letters, attempts, suspects, accounts, lettered. ARGV: group, consumer, least
# idle ms, cursor, count, Unix ms, instance, text.
_CLAIM: Final = b"""
local vanished, letters = {}, 0
local page = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5])
for _, id in ipairs(page[3]) do
  if redis.call('HEXISTS', KEYS[6], id) == 0 then
    vanished[#vanished + 1] = id
    local attempts = (tonumber(redis.call('HGET', KEYS[3], id)) or 0) + 1
    local letter = redis.pcall('XADD', KEYS[2], '*', 'reason', 'payload_trimmed', 'error', ARGV[8],
      'offset', 0, 'attempts', attempts, 'source_id', id, 'failed_at_ms', ARGV[6],
      'instance', ARGV[7])
    if not letter.err then
      redis.call('HSET', KEYS[6], id, 'payload_trimmed')
      redis.call('HDEL', KEYS[3], id)
      redis.call('HDEL', KEYS[4], id)
      redis.call('HINCRBY', KEYS[5], 'dead_lettered', 1)
      letters = letters + 1
    end
  end
end
return {page[1], page[2], vanished, letters}
"""

# XCLAIM takes ids whose payload is gone off the pending entries list and does not tell, so they are
# left for XAUTOCLAIM, which does. KEYS: stream. ARGV: group, consumer, least idle ms, ids.
_KEEP: Final = b"""
local kept = 0
for i = 4, #ARGV do
  if #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) > 0 then
    kept = kept + #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[i], 'JUSTID')
  end
end
return kept
"""

_TRIMMED: Final = "the entry was trimmed from the stream while it was pending"
_CURSOR_START: Final = b"0-0"

# Bound: ids in one script.
_KEEP_PART: Final = 200


@dataclass(frozen=True, slots=True)
class ClaimedPage:
    """One step of a sweep over the group's pending entries.

    Attributes:
        entries: Ours now; their delivery counts rose by one.
        vanished: Ids whose payload was trimmed before they were settled or had a letter; they are
            dead-lettered as ``payload_trimmed``.
        ends_sweep: Whether the sweep came to the end of the list with this page.
        n_letters: How many letters of `vanished` could be written.
    """

    entries: list[RawEntry]
    vanished: list[bytes]
    ends_sweep: bool
    n_letters: int = 0


class Claims:
    """Claims page by page; the cursor is kept, since a page may be empty in the middle.

    Args:
        control: Connection without parked reads.
        names: Stream, group, and the consumer that claims.
        instance: Who writes letters of vanished payloads.
        threshold_ms: Entries idle for longer are claimed.
    """

    def __init__(
        self, control: RedisClient, names: GroupNames, *, instance: str, threshold_ms: int
    ) -> None:
        self._control: Final = control
        self._names: Final = names
        self._instance: Final = instance
        self.threshold_ms: Final = threshold_ms
        self._cursor = _CURSOR_START

    async def next_page(self, count: int, *, now_ms: int) -> ClaimedPage:
        """Claim up to `count` entries; Unix ms for the letters of those that vanished."""
        names, stream = self._names, self._names.stream
        keys = (
            stream,
            dead_letter_stream(stream),
            attempts_key(stream),
            suspects_key(stream),
            accounts_key(stream),
            lettered_key(stream),
        )
        cursor, entries, vanished, n_letters = await execute(
            self._control,
            "EVAL",
            _CLAIM,
            len(keys),
            *keys,
            names.group,
            names.consumer,
            self.threshold_ms,
            self._cursor,
            count,
            now_ms,
            self._instance,
            _TRIMMED,
        )
        self._cursor = cursor
        return ClaimedPage(entries, vanished, cursor == _CURSOR_START, n_letters)

    async def keep(self, ids: Sequence[bytes]) -> int:
        """Say that we work on these, so that nobody claims them; how many were idle for some time.

        An entry that was touched within a quarter of the threshold stays whose it is: woken from a
        freeze we must not take back what somebody claimed meanwhile.
        """
        names, kept = self._names, 0
        who = (names.group, names.consumer, self.threshold_ms // 4)
        for first in range(0, len(ids), _KEEP_PART):
            part = ids[first : first + _KEEP_PART]
            kept += await execute(self._control, "EVAL", _KEEP, 1, names.stream, *who, *part)
        return kept

"""Making pending entries of a dead instance claimable at once, and seeing where they go.

They must end with an instance that runs and works on them. Claiming them for anybody would not do
that: an instance looks through its own pending entries when it starts and after an outage, and
otherwise only at what it claims itself. So they stay whose they are, and their idle time is set to
a value at which every running instance claims them by its next look, within its CLAIM_INTERVAL_MS:
from then on all is as it ever is, with delivery counts, trials of suspects, failures and letters.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from teltonika_processor.model import consumer_lease_key, lettered_key
from teltonika_processor.stream.connection import GroupMissingError, RedisClient, execute
from teltonika_processor.stream.lease import LEASE_MS

CLAIMABLE_IDLE_MS: Final = 86_400_000
"""The most that CLAIM_THRESHOLD_MS may be: whatever it is to the instances, this is as idle."""

RELEASE_MAX: Final = 50_000
"""Bound: entries that are released and watched at once."""

# Bound: entries that one script looks at: a few milliseconds.
_PART: Final = 500

_POLL_S: Final = 0.1

# What was claimed is settled within milliseconds, or failed and is pending for its next try.
_SETTLE_S: Final = 1.0

# What PTTL says of a key that is not there.
_GONE: Final = -2

# The lease is looked at in the same script: an instance may have started meanwhile. JUSTID leaves
# the delivery count alone. XCLAIM takes an id whose payload is gone off the pending entries list
# and does not tell, so such ones are left to XAUTOCLAIM, which does.
# KEYS: stream, lease of the holder. ARGV: group, holder, least idle ms, idle ms to set, 1 if its
# lease does not matter, ids.
_RELEASE: Final = b"""
if ARGV[5] ~= '1' and redis.call('EXISTS', KEYS[2]) == 1 then return 'running' end
local became = {}
for i = 6, #ARGV do
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)[1]
  local what = 'released'
  if not row then
    what = 'not_pending'
  elseif row[2] ~= ARGV[2] then
    what = 'moved'
  elseif row[3] < tonumber(ARGV[3]) then
    what = 'not_idle'
  elseif #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) == 0 then
    what = 'payload_gone'
  else
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i],
      'IDLE', math.max(row[3], tonumber(ARGV[4])), 'JUSTID')
  end
  became[#became + 1] = what
end
return became
"""

# KEYS: stream, lettered. ARGV: group, ids.
_WHERE: Final = b"""
local found = {}
for i = 2, #ARGV do
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)[1]
  if row then
    found[i - 1] = {row[2], row[3]}
  else
    found[i - 1] = {redis.call('HGET', KEYS[2], ARGV[i]) or ''}
  end
end
return found
"""


class Release(Enum):
    """What became of one entry that was to be released."""

    RELEASED = "released"
    NOT_PENDING = "not_pending"
    MOVED = "moved"
    NOT_IDLE = "not_idle"
    PAYLOAD_GONE = "payload_gone"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where one entry is.

    Attributes:
        holder: Who holds it; None where it is not pending.
        idle_ms: Since when, or what a release set; 0 where it is not pending.
        letter: The reason of its dead letter; empty where it has none.
    """

    entry_id: str
    holder: str | None
    idle_ms: int = 0
    letter: str = ""

    @property
    def waits(self) -> bool:
        """Whether it is released, and nobody has claimed it yet."""
        return self.holder is not None and self.idle_ms >= CLAIMABLE_IDLE_MS


class Releases:
    """Releases entries of one group.

    Every method raises `StreamUnavailable` where Redis is away or there is no group, `ConfigError`
    where the user may not do this.
    """

    def __init__(self, client: RedisClient, stream: str, group: str) -> None:
        self._client: Final = client
        self._stream: Final = stream
        self._group: Final = group

    async def ids_of(self, holder: str, *, min_idle_ms: int) -> list[str]:
        """Ids of what `holder` holds and was idle for so long; RELEASE_MAX at most, by id."""
        ids: list[str] = []
        first = "-"
        while len(ids) < RELEASE_MAX:
            count = min(_PART, RELEASE_MAX - len(ids))
            where = (self._stream, self._group, "IDLE", min_idle_ms, first, "+", count)
            try:
                rows = await execute(self._client, "XPENDING", *where, _raw(holder))
            except GroupMissingError:
                return []
            ids += [row[0].decode() for row in rows]
            if len(rows) < count:
                break
            first = f"({ids[-1]}"
        return ids

    async def where(self, ids: Sequence[str]) -> list[Whereabouts]:
        """Where each of `ids` is, in their order."""
        found: list[Whereabouts] = []
        keys = (2, self._stream, lettered_key(self._stream))
        for first in range(0, len(ids), _PART):
            part = ids[first : first + _PART]
            replies = await execute(self._client, "EVAL_RO", _WHERE, *keys, self._group, *part)
            found += [_found(*pair) for pair in zip(part, replies, strict=True)]
        return found

    async def is_running(self, name: str) -> bool:
        """Whether somebody renews the lease of this name; takes up to 10 s to see that one lapses.

        A process that was killed leaves its lease behind for so long.
        """
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + 2 * LEASE_MS / 1e3
        key = consumer_lease_key(self._stream, self._group, name).encode(errors="surrogateescape")
        left_ms = LEASE_MS
        while clock() < give_up_at:
            before_ms, left_ms = left_ms, await execute(self._client, "PTTL", key)
            if left_ms == _GONE:
                return False
            if left_ms > before_ms or left_ms < 0:
                return True
            await asyncio.sleep(_POLL_S)
        return True

    async def release(
        self, holder: str, ids: Sequence[str], *, min_idle_ms: int, force: bool
    ) -> list[Release]:
        """Make those of `ids` that `holder` holds claimable at once; what became of each."""
        became: list[Release] = []
        lease = consumer_lease_key(self._stream, self._group, holder)
        keys = (2, self._stream, lease.encode(errors="surrogateescape"))
        asked = (self._group, _raw(holder), min_idle_ms, CLAIMABLE_IDLE_MS, int(force))
        for first in range(0, len(ids), _PART):
            part = ids[first : first + _PART]
            reply = await execute(self._client, "EVAL", _RELEASE, *keys, *asked, *part)
            words = [reply] * len(part) if isinstance(reply, bytes) else reply
            became += [Release(word.decode()) for word in words]
        return became

    async def until_claimed(self, ids: Sequence[str], *, timeout_s: float) -> list[Whereabouts]:
        """Wait until somebody has claimed each of `ids`, and a second more for them to settle.

        Where they are then.
        """
        clock = asyncio.get_running_loop().time
        give_up_at, pending, all_are_claimed = clock() + timeout_s, list(ids), False
        while pending and clock() < give_up_at:
            await asyncio.sleep(_POLL_S)
            found = [one for one in await self.where(pending) if one.holder is not None]
            pending = [one.entry_id for one in found]
            if not all_are_claimed and not any(one.waits for one in found):
                all_are_claimed, give_up_at = True, clock() + _SETTLE_S
        return await self.where(ids)


def _raw(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _found(entry_id: str, reply: list[Any]) -> Whereabouts:
    if len(reply) == 1:
        return Whereabouts(entry_id, None, letter=reply[0].decode())
    holder, idle_ms = reply
    return Whereabouts(entry_id, holder.decode(errors="surrogateescape"), idle_ms)

"""Trimming: acknowledged entries are kept for audit and replay, within a time and a size.

What a group has not been given, or has not acknowledged, stays, however far behind it is: a bound
of memory is for what nobody needs any more. Whole nodes of the stream go (about 100 entries or 4
KB each, as the server is configured), so a little more than asked for is kept.
"""

from dataclasses import dataclass
from typing import Final

from teltonika_processor.model import (
    MOVED_LETTER,
    attempts_key,
    dropped_key,
    lettered_key,
    replayed_key,
    suspects_key,
)
from teltonika_processor.stream.connection import RedisClient, execute
from teltonika_processor.stream.group import GroupNames
from teltonika_processor.stream.ids import LUA_IDS, id_parts

# False where nothing is pending.
_OLDEST_PENDING: Final = (
    LUA_IDS
    + b"""
local function oldest_pending(stream, group)
  return group['pending'] > 0 and redis.call('XPENDING', stream, group['name'])[2]
end
"""
)

# The smallest id that a group still needs: of each one its oldest pending entry and the first that
# it was not given, whichever is smaller (a group that was set back has undelivered entries below
# its pending ones). False where `ours` is not there: it will be made anew from id 0, so it needs
# everything, even if the groups of others have gone on.
_NEEDED: Final = (
    _OLDEST_PENDING
    + b"""
local function first_needed(stream, ours)
  if redis.call('EXISTS', stream) == 0 then return false end
  local needed, found = false, false
  for _, reply in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = map_of(reply)
    found = found or group['name'] == ours
    local needs = id_after(group['last-delivered-id'])
    local pending = oldest_pending(stream, group)
    if pending and is_below(pending, needs) then needs = pending end
    if not needed or is_below(needs, needed) then needed = needs end
  end
  return found and needed
end
"""
)

# One script, so that no group is set back or made between the look and the cut.
# KEYS: stream. ARGV: group, first id that is young enough to be kept, bytes to keep, most entries.
_TRIM: Final = (
    _NEEDED
    + b"""
local stream, keep_bytes, most = KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local needed = first_needed(stream, ARGV[1])
if not needed then return {0, redis.call('MEMORY', 'USAGE', stream) or 0} end
local cut = is_below(ARGV[2], needed) and ARGV[2] or needed
local removed = redis.call('XTRIM', stream, 'MINID', '~', cut, 'LIMIT', most)
local bytes = redis.call('MEMORY', 'USAGE', stream)
if bytes > keep_bytes then
  local share = redis.call('XLEN', stream) * (bytes - keep_bytes) / bytes
  local limit = math.min(math.ceil(share), most - removed)
  -- LIMIT 0 would be no limit.
  if limit > 0 then
    removed = removed + redis.call('XTRIM', stream, 'MINID', '~', needed, 'LIMIT', limit)
  end
  bytes = redis.call('MEMORY', 'USAGE', stream)
end
return {removed, bytes}
"""
)

# The id below which no entry is in the stream, so that none will be delivered, nor pending in any
# group; nil where there is no stream. KEYS: stream.
_FORGOTTEN: Final = (
    _OLDEST_PENDING
    + b"""
local stream = KEYS[1]
if redis.call('EXISTS', stream) == 0 then return false end
local about = map_of(redis.call('XINFO', 'STREAM', stream))
local first = about['recorded-first-entry-id']
if about['length'] == 0 then first = id_after(about['last-generated-id']) end
for _, reply in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local pending = oldest_pending(stream, map_of(reply))
  if pending and is_below(pending, first) then first = pending end
end
return first
"""
)

# Bound: entries that one call removes. A server serves nobody else during a call.
_ENTRIES_A_CALL: Final = 10_000

# Bound: calls of one trim, so 1 million entries: more than any instance reads in a second.
_CALLS_A_TRIM: Final = 100

# A node that is needed in part is kept whole; the server's default, and room for long entries.
_NODE_MAX_BYTES: Final = 64 * 1024

# Bound: fields of one hash that are looked at in one go, and pages of them in one minute.
_FIELDS_A_PAGE: Final = 1000
_PAGES_A_LOOK: Final = 20


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What one trim came to.

    Attributes:
        n_removed: Entries that went.
        n_bytes: Memory of the stream afterwards, as MEMORY USAGE estimates it.
        keep_bytes: What it was to be at most.
        excess_is_needed: It is larger, and nothing more may go: undelivered or pending.
    """

    n_removed: int
    n_bytes: int
    keep_bytes: int
    excess_is_needed: bool


class Trimmer:
    """Removes what every group has acknowledged and nobody wants to see again.

    Args:
        control: Connection without parked reads.
        names: The stream, and the group without which nothing is removed.
        keep_ms: Age up to which acknowledged entries are kept, by their ids.
        keep_bytes: Memory of the stream, as MEMORY USAGE estimates it with what the groups'
            pending entries take, above which acknowledged entries go sooner.
    """

    def __init__(
        self, control: RedisClient, names: GroupNames, *, keep_ms: int, keep_bytes: int
    ) -> None:
        self._control: Final = control
        self._names: Final = names
        self._keep_ms: Final = keep_ms
        self._keep_bytes: Final = keep_bytes
        stream = names.stream
        # Where the scan of each hash stands.
        self._cursors: Final = {
            attempts_key(stream): 0,
            suspects_key(stream): 0,
            lettered_key(stream): 0,
            dropped_key(stream): 0,
            replayed_key(stream): 0,
        }

    async def trim(self, now_ms: int) -> Trimmed:
        """Remove what is due at this Unix ms, in calls of bounded length.

        Raises:
            StreamUnavailable: Redis is away; what was removed until then was due.
            ConfigError: The key is no stream, or the user may not do this.
        """
        removed = found = n_bytes = 0
        is_over = False
        for _ in range(_CALLS_A_TRIM):
            found, n_bytes = await self._trim_some(now_ms)
            removed += found
            is_over = n_bytes > self._keep_bytes + _NODE_MAX_BYTES
            # A node that does not fit into the limit stays for the next call.
            if found == 0 or (found < _ENTRIES_A_CALL // 2 and not is_over):
                break
        return Trimmed(removed, n_bytes, self._keep_bytes, excess_is_needed=is_over and not found)

    async def forget_old(self) -> int:
        """Forget what the hashes hold about entries that are gone; how many fields went.

        Attempts, suspects, and letters that were written, dropped and replayed are kept by the id
        of their entry. They are needed while it is in the stream or pending, and grow without bound
        otherwise.
        A look is bounded; the next one goes on from there.

        Raises:
            StreamUnavailable: Redis is away.
            ConfigError: A key is of another type, or the user may not do this.
        """
        below = await execute(self._control, "EVAL", _FORGOTTEN, 1, self._names.stream)
        limit = id_parts(below) if below else None
        if limit is None:
            return 0
        return sum([await self._forget_below(limit, key) for key in self._cursors])

    async def _trim_some(self, now_ms: int) -> tuple[int, int]:
        """Entries that went, and bytes of the stream then."""
        names = self._names
        young = f"{max(0, now_ms - self._keep_ms)}-0"
        bounds = (young, self._keep_bytes, _ENTRIES_A_CALL)
        removed, n_bytes = await execute(
            self._control, "EVAL", _TRIM, 1, names.stream, names.group, *bounds
        )
        return removed, n_bytes

    async def _forget_below(self, limit: tuple[int, int], key: str) -> int:
        forgotten = 0
        for _ in range(_PAGES_A_LOOK):
            reply = await execute(
                self._control, "HSCAN", key, self._cursors[key], "COUNT", _FIELDS_A_PAGE
            )
            self._cursors[key], page = int(reply[0]), reply[1]
            # What is no id is not ours.
            old = [name for name in page if (_id_in(name) or limit) < limit]
            if old:
                forgotten += await execute(self._control, "HDEL", key, *old)
            if self._cursors[key] == 0:
                break
        return forgotten


def _id_in(name: bytes) -> tuple[int, int] | None:
    """The id that a field is kept by: an entry's, or that of a letter that was moved."""
    return id_parts(name.removeprefix(MOVED_LETTER.encode()))

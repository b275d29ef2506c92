"""Setting the consumer group back: what the stream still holds is delivered once more.

Harmless, since what is stored is a duplicate and what has its dead letter gets no second one; and
the way to bring back what Postgres lost. Never forward: that would skip entries.
"""

from dataclasses import dataclass
from typing import Final

from teltonika_processor.errors import ConfigError
from teltonika_processor.stream.clock import redis_clock_ms
from teltonika_processor.stream.connection import RedisClient, execute
from teltonika_processor.stream.ids import LUA_IDS

# KEYS: stream. ARGV: group, the id to stand at, whether to do it.
_REWIND: Final = (
    LUA_IDS
    + b"""
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
for _, reply in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local about = map_of(reply)
  if about['name'] == ARGV[1] then
    local stood_at = about['last-delivered-id']
    if not is_below(ARGV[2], stood_at) then return {stood_at, stood_at} end
    if ARGV[3] == '1' then redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[2]) end
    return {stood_at, ARGV[2]}
  end
end
return {}
"""
)


@dataclass(frozen=True, slots=True)
class Rewound:
    """Where the group stood, and where it stands now (or would); the same: nothing to do."""

    stood_at: str
    stands_at: str

    @property
    def is_change(self) -> bool:
        """Whether anything is delivered again."""
        return self.stood_at != self.stands_at


async def rewind(
    client: RedisClient, stream: str, group: str, to_id: str, *, dry_run: bool = False
) -> Rewound:
    """Let the group stand at `to_id`, if it stands behind that: later entries are read again.

    Raises:
        ConfigError: There is no such stream or group.
        StreamUnavailable: Redis is away.
    """
    found = await execute(client, "EVAL", _REWIND, 1, stream, group, to_id, int(not dry_run))
    if not found:
        raise ConfigError(f"the stream {stream} has no group {group}: are the names right?")
    stood_at, stands_at = (entry_id.decode() for entry_id in found)
    return Rewound(stood_at, stands_at)


async def id_before(client: RedisClient, seconds: int) -> str:
    """The id that entries had which were added so long ago, by the clock of Redis."""
    return f"{max(0, await redis_clock_ms(client) - seconds * 1000)}-0"

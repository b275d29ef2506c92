"""Names in the consumer group: ours when we leave, and those of instances that never came back.

Deleting a consumer deletes its pending entries with it, and then nobody ever gets them. So a name
goes only while nothing of it is pending, looked at and deleted in one script.
"""

from collections.abc import Sequence
from typing import Final

from teltonika_processor.model import consumer_lease_key
from teltonika_processor.stream.connection import RedisClient, execute
from teltonika_processor.stream.group import GroupNames, pairs_of
from teltonika_processor.stream.ids import LUA_IDS

REAP_IDLE_MS: Final = 60_000
"""A name idle for longer, with nothing pending and no lease, is dead. The lease lapses after 10 s;
an instance that was cut off for longer than this is put back into the group by its next read."""

# KEYS: stream. ARGV: group, consumer.
_REMOVE: Final = b"""
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

# KEYS: stream, then the lease of each name. ARGV: group, idle ms, then the names.
_REAP: Final = (
    LUA_IDS
    + b"""
local consumers = {}
for _, reply in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = map_of(reply)
  consumers[consumer['name']] = consumer
end
local reaped = {}
for i = 2, #KEYS do
  local consumer = consumers[ARGV[i + 1]]
  if consumer and consumer['pending'] == 0 and consumer['idle'] > tonumber(ARGV[2])
      and redis.call('EXISTS', KEYS[i]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])
    reaped[#reaped + 1] = consumer['name']
  end
end
return reaped
"""
)

# Bound: names that one script removes; the next minute removes more.
_NAMES_A_CALL: Final = 1000


async def remove_self(control: RedisClient, names: GroupNames) -> bool:
    """Take our name out of the group unless something of it is pending; whether it is gone.

    Raises:
        GroupMissingError: There is no such group.
        StreamUnavailable: Redis is away.
    """
    done = await execute(control, "EVAL", _REMOVE, 1, names.stream, names.group, names.consumer)
    return bool(done)


async def reap(
    control: RedisClient, names: GroupNames, *, reap_idle_ms: int = REAP_IDLE_MS
) -> tuple[str, ...]:
    """Take the names of dead consumers out of the group, never our own; those that went.

    Dead is who has nothing pending, was idle for longer than `reap_idle_ms` and holds no lease.
    The idle time alone says little: Redis 7.0 counts it from the last entry that was read.

    Raises:
        GroupMissingError: There is no such group.
        StreamUnavailable: Redis is away.
    """
    dead = await _seemingly_dead(control, names, reap_idle_ms)
    where = (names.stream, names.group)
    reaped = await reap_these(control, *where, dead, reap_idle_ms=reap_idle_ms)
    return tuple(name.decode(errors="replace") for name in reaped)


async def reap_these(
    control: RedisClient, stream: str, group: str, dead: Sequence[bytes], *, reap_idle_ms: int
) -> list[bytes]:
    """Take those of these names out of the group that are dead; those that went.

    Raises:
        As `reap`.
    """
    # A name may be of any bytes.
    prefix = consumer_lease_key(stream, group, "").encode()
    reaped: list[bytes] = []
    for first in range(0, len(dead), _NAMES_A_CALL):
        part = dead[first : first + _NAMES_A_CALL]
        keys = (1 + len(part), stream, *(prefix + name for name in part))
        reaped += await execute(control, "EVAL", _REAP, *keys, group, reap_idle_ms, *part)
    return reaped


async def _seemingly_dead(
    control: RedisClient, names: GroupNames, reap_idle_ms: int
) -> list[bytes]:
    """Names worth a closer look; the script looks again."""
    replies = await execute(control, "XINFO", "CONSUMERS", names.stream, names.group)
    found = map(pairs_of, replies)
    ours = names.consumer.encode()
    dead = [
        about[b"name"]
        for about in found
        if about[b"name"] != ours and about[b"pending"] == 0 and about[b"idle"] > reap_idle_ms
    ]
    return dead[:_NAMES_A_CALL]

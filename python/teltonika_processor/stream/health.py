"""How a consumer group does: how far behind it is, and how long its oldest entries have waited."""

from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.model import accounts_key, audit_key
from teltonika_processor.stream.audit_record import AUDIT_FIELDS, RecordedAudit, audit_of
from teltonika_processor.stream.connection import RedisClient, execute
from teltonika_processor.stream.ids import LUA_IDS, NO_ID, age_s, ms_of

# Everything in one script: one round trip, one moment, and no payload on the wire.
#
# Redis' own `lag` is NULL after XGROUP SETID, after XDEL and for a group that was made in the
# middle, and counts entries that were trimmed before they were read, for ever. So first the ids,
# which say whether there is any; then Redis' word, at most what the stream holds; then counting.
# KEYS: stream, accounts, the last audit. ARGV: group, most entries to count, fields of the audit.
_READ: Final = (
    LUA_IDS
    + b"""
local stream = KEYS[1]
if redis.call('EXISTS', stream) == 0 then return false end
local about = map_of(redis.call('XINFO', 'STREAM', stream))
local first, last = about['recorded-first-entry-id'], about['last-generated-id']
local length = about['length']
local accounts = redis.call('HMGET', KEYS[2], 'acknowledged', 'dead_lettered')
local reading = {about['entries-added'], length, redis.call('MEMORY', 'USAGE', stream),
  tonumber(accounts[1] or 0), tonumber(accounts[2] or 0), first, last,
  redis.call('HMGET', KEYS[3], unpack(ARGV, 3))}
local group = false
for _, reply in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local found = map_of(reply)
  if found['name'] == ARGV[1] then group = found end
end
if not group then return reading end

local delivered, lag, counted = group['last-delivered-id'], group['lag'], 0
if not is_below(delivered, last) then
  lag = 0
elseif lag then
  lag = math.min(lag, length)
else
  counted = #redis.call('XRANGE', stream, '(' .. delivered, '+', 'COUNT', ARGV[2])
  lag = -1
end
local undelivered, pending = '0-0', '0-0'
if lag ~= 0 then
  local next_one = redis.call('XRANGE', stream, '(' .. delivered, '+', 'COUNT', 1)[1]
  if next_one then undelivered = next_one[1] end
end
if group['pending'] > 0 then
  pending = redis.call('XPENDING', stream, ARGV[1])[2]
end
for _, value in ipairs({group['entries-read'] or 0, group['pending'], group['consumers'], lag,
    counted, delivered, undelivered, pending}) do
  reading[#reading + 1] = value
end
return reading
"""
)

# Bound: entries that are counted one by one where Redis does not know the lag.
_COUNT_MAX: Final = 500

# Where the group's part begins in the script's reply, and its word for a lag that is not known.
_GROUP_FIELDS_FROM: Final = 8
_NOT_KNOWN: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReading:
    """What Redis says of a stream at one moment; zero where it is not there."""

    added: int = 0
    entries: int = 0
    bytes: int = 0
    acknowledged: int = 0
    dead_lettered: int = 0
    first_id: str = NO_ID
    last_generated_id: str = NO_ID
    audit: RecordedAudit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReading:
    """What Redis says of a group at the same moment.

    Attributes:
        read: Entries that it was given; 0 where Redis does not know.
        pending: Those that are not acknowledged.
        consumers: Names in it.
        lag: Undelivered entries; None where only `counted` is known.
        counted: Undelivered entries that were counted, as many as were to be counted at most.
        last_delivered_id: After this one new entries are read.
        first_undelivered_id: Id of the oldest undelivered entry, or ``0-0``.
        first_pending_id: Id of the oldest pending entry, or ``0-0``.
    """

    read: int
    pending: int
    consumers: int
    lag: int | None
    counted: int
    last_delivered_id: str
    first_undelivered_id: str
    first_pending_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHealth:
    """How a consumer group does; all zero and ``0-0`` where stream or group are not there.

    Attributes:
        group_exists: Whether there is such a group.
        lag_entries: Entries that the group was not given yet. Exact but for one case: where Redis
            does not know it (after XGROUP SETID or XDEL, among others) and more than 500 entries
            wait, it is estimated from the ids, as if entries came evenly.
        lag_s: Seconds since the oldest of them was received into the stream.
        pending: Entries delivered and not acknowledged.
        oldest_pending_s: Seconds since the oldest of them was received into the stream, however
            often and whenever it was delivered.
        consumers: Names in the group.
        stream_entries: Entries that the stream holds, acknowledged ones that are kept among them.
        stream_bytes: Memory of the stream with its groups, as MEMORY USAGE estimates it.
        acknowledged: Settled entries that were acknowledged since the accounts were begun, by all
            instances; counted by the script that does it, hence each once.
        dead_lettered: Entries that were dead-lettered, likewise.
        first_id: The oldest entry of the stream.
        last_delivered_id: After this one new entries are read.
        last_generated_id: The newest entry that the stream ever had.
        audit: What the last recorded audit found; None where nobody has recorded one.
    """

    group_exists: bool
    lag_entries: int
    lag_s: float
    pending: int
    oldest_pending_s: float
    consumers: int
    stream_entries: int
    stream_bytes: int
    acknowledged: int
    dead_lettered: int
    first_id: str
    last_delivered_id: str
    last_generated_id: str
    audit: RecordedAudit | None


async def group_health(client: RedisClient, stream: str, group: str, *, now_ms: int) -> GroupHealth:
    """How `group` does at this Unix ms; one round trip.

    Raises:
        StreamUnavailable: Redis is away.
        ConfigError: The key is no stream, or the user may not do this.
    """
    whole, part = await read_group(client, stream, group)
    return health_of(whole, part, now_ms=now_ms)


def health_of(whole: StreamReading, part: GroupReading | None, *, now_ms: int) -> GroupHealth:
    """What the readings say at this Unix ms."""
    return GroupHealth(
        group_exists=part is not None,
        lag_entries=_lag(whole, part) if part else 0,
        lag_s=age_s(part.first_undelivered_id, now_ms=now_ms) if part else 0.0,
        pending=part.pending if part else 0,
        oldest_pending_s=age_s(part.first_pending_id, now_ms=now_ms) if part else 0.0,
        consumers=part.consumers if part else 0,
        stream_entries=whole.entries,
        stream_bytes=whole.bytes,
        acknowledged=whole.acknowledged,
        dead_lettered=whole.dead_lettered,
        first_id=whole.first_id,
        last_delivered_id=part.last_delivered_id if part else NO_ID,
        last_generated_id=whole.last_generated_id,
        audit=whole.audit,
    )


async def read_group(
    client: RedisClient, stream: str, group: str
) -> tuple[StreamReading, GroupReading | None]:
    """The stream, and the group or None, at one moment; zeros where the stream is not there.

    Raises:
        StreamUnavailable: Redis is away.
        ConfigError: The key is no stream, or the user may not do this.
    """
    keys = (stream, accounts_key(stream), audit_key(stream))
    found = await execute(client, "EVAL", _READ, len(keys), *keys, group, _COUNT_MAX, *AUDIT_FIELDS)
    if not found:
        return StreamReading(), None
    added, entries, n_bytes, acknowledged, dead_lettered, first, last, audit = found[
        :_GROUP_FIELDS_FROM
    ]
    whole = StreamReading(
        added=added,
        entries=entries,
        bytes=n_bytes,
        acknowledged=acknowledged,
        dead_lettered=dead_lettered,
        first_id=first.decode(),
        last_generated_id=last.decode(),
        audit=audit_of(audit),
    )
    return whole, _group_of(found[_GROUP_FIELDS_FROM:])


def _group_of(found: list[Any]) -> GroupReading | None:
    if not found:
        return None
    read, pending, consumers, lag, counted, *ids = found
    delivered, undelivered, first_pending = (entry_id.decode() for entry_id in ids)
    return GroupReading(
        read=read,
        pending=pending,
        consumers=consumers,
        lag=None if lag == _NOT_KNOWN else lag,
        counted=counted,
        last_delivered_id=delivered,
        first_undelivered_id=undelivered,
        first_pending_id=first_pending,
    )


def _lag(whole: StreamReading, group: GroupReading) -> int:
    if group.lag is not None:
        return group.lag
    if group.counted < _COUNT_MAX:
        return group.counted
    return max(group.counted, _estimate(whole, group.last_delivered_id))


def _estimate(whole: StreamReading, delivered: str) -> int:
    """Entries after `delivered`, if they came evenly between the first and the newest id."""
    first_ms, delivered_ms, last_ms = (
        ms_of(entry_id) for entry_id in (whole.first_id, delivered, whole.last_generated_id)
    )
    if last_ms <= first_ms:
        return whole.entries
    return min(whole.entries, whole.entries * (last_ms - delivered_ms) // (last_ms - first_ms))

"""The pending entries as an operator looks at them; nothing is changed."""

from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.model import attempts_key, suspects_key
from teltonika_processor.stream.connection import GroupMissingError, RedisClient, execute
from teltonika_processor.stream.letter import imei_text

# Bound: entries that one script looks at: a millisecond or two.
_PAGE: Final = 250

# Of an entry only its IMEI leaves Redis. KEYS: stream, attempts, suspects. ARGV: group, least idle
# ms, first id, most entries, and perhaps a consumer.
_LIST: Final = b"""
local query = {'XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[2], ARGV[3], '+', ARGV[4]}
if ARGV[5] then query[#query + 1] = ARGV[5] end
local found = {}
for i, row in ipairs(redis.call(unpack(query))) do
  local entry, imei = redis.call('XRANGE', KEYS[1], row[1], row[1])[1], ''
  local items = entry and entry[2] or {}
  for j = 1, #items, 2 do
    if items[j] == 'imei' then imei = items[j + 1] end
  end
  found[i] = {row[1], row[2], row[3], row[4], entry and 1 or 0, imei,
    tonumber(redis.call('HGET', KEYS[2], row[1]) or 0),
    tonumber(redis.call('HGET', KEYS[3], row[1]) or 0)}
end
return found
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEntry:
    """One entry that was delivered and not acknowledged.

    Attributes:
        consumer: Who holds it; bytes that are not UTF-8 as lone surrogates.
        imei: 15 digits; None where the field is missing or anything else, or the payload is gone.
        payload_gone: The entry was trimmed or deleted while it was pending.
        idle_ms: Since it was delivered, or kept by who works on it.
        deliveries: How often it was delivered.
        attempts: Failures seen on it.
        trials: Times that it was tried alone and the process died.
    """

    id: str
    consumer: str
    imei: str | None
    payload_gone: bool
    idle_ms: int
    deliveries: int
    attempts: int
    trials: int


async def pending_by_consumer(client: RedisClient, stream: str, group: str) -> dict[str, int]:
    """How many entries each consumer holds, by name; empty where there is no group.

    Raises:
        StreamUnavailable: Redis is away.
        ConfigError: The key is no stream, or the user may not do this.
    """
    try:
        _, _, _, holders = await execute(client, "XPENDING", stream, group)
    except GroupMissingError:
        return {}
    counts = ((name.decode(errors="surrogateescape"), int(count)) for name, count in holders or ())
    return dict(sorted(counts))


async def pending_entries(  # noqa: PLR0913 -- what to look at
    client: RedisClient,
    stream: str,
    group: str,
    *,
    consumer: str | None = None,
    min_idle_ms: int = 0,
    limit: int,
) -> list[PendingEntry]:
    """Up to `limit` pending entries by id, the oldest first; none where there is no group.

    Raises:
        As `pending_by_consumer`.
    """
    found: list[PendingEntry] = []
    keys = (3, stream, attempts_key(stream), suspects_key(stream))
    who = () if consumer is None else (consumer.encode(errors="surrogateescape"),)
    first = "-"
    while len(found) < limit:
        count = min(_PAGE, limit - len(found))
        asked = (group, min_idle_ms, first, count, *who)
        try:
            rows = await execute(client, "EVAL_RO", _LIST, *keys, *asked)
        except GroupMissingError:
            return found
        found += map(_entry_of, rows)
        if len(rows) < count:
            break
        first = f"({found[-1].id}"
    return found


def _entry_of(row: list[Any]) -> PendingEntry:
    entry_id, consumer, idle_ms, deliveries, has_payload, imei, attempts, trials = row
    return PendingEntry(
        id=entry_id.decode(),
        consumer=consumer.decode(errors="surrogateescape"),
        imei=imei_text(imei),
        payload_gone=not has_payload,
        idle_ms=idle_ms,
        deliveries=deliveries,
        attempts=attempts,
        trials=trials,
    )

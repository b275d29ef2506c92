"""What the last audit found, kept in Redis so that every instance can show it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

from teltonika_processor.model import audit_key
from teltonika_processor.stream.connection import execute, open_client

# KEYS: the hash. ARGV: at_ms, then the other fields and their values in turn.
# An audit that began earlier has seen less, whenever it ends. A time in the server's future stands
# for nothing: the clock was set back, and must not keep new audits out until then.
_RECORD: Final = b"""
local before = tonumber(redis.call('HGET', KEYS[1], 'at_ms') or '')
local now_ms = redis.call('TIME')[1] * 1000 + 1000
if before and before > tonumber(ARGV[1]) and before <= now_ms then return 0 end
redis.call('HSET', KEYS[1], 'at_ms', unpack(ARGV))
return 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAudit:
    """What an audit came to.

    Attributes:
        at_ms: Redis' Unix milliseconds when it began; what it says holds for the stream as of then.
        duration_ms: How long it took.
        entries: Entries that it looked at.
        records: Their AVL records.
        missing_entries: Those of the entries that nothing accounts for.
        missing_records: Their records that are not in `positions`.
        by: The host that looked.
    """

    at_ms: int
    duration_ms: int
    entries: int
    records: int
    missing_entries: int
    missing_records: int
    by: str

    @property
    def at_s(self) -> float:
        """Unix seconds."""
        return self.at_ms / 1e3


AUDIT_FIELDS: Final = tuple(field.name for field in fields(RecordedAudit))
"""Of the hash, in the order in which `audit_of` takes their values."""


def audit_of(values: Sequence[bytes | None]) -> RecordedAudit | None:
    """The audit that the hash tells of; None where there is none, or something else is in it."""
    *numbers, by = values
    found = [int(text) for text in numbers if text is not None and text.isdigit()]
    if len(found) < len(numbers):
        return None
    at_ms, duration_ms, entries, records, missing_entries, missing_records = found
    return RecordedAudit(
        at_ms=at_ms,
        duration_ms=duration_ms,
        entries=entries,
        records=records,
        missing_entries=missing_entries,
        missing_records=missing_records,
        by=(by or b"").decode("utf-8", "replace"),
    )


async def record_audit(url: str, stream: str, found: RecordedAudit) -> bool:
    """Keep what an audit of `stream` found; False: a later one is kept already.

    Raises:
        StreamUnavailable: Redis is away.
        ConfigError: The URL is wrong, or the user may not do this.
    """
    client = open_client(url, name="teltonika-processor/audit")
    others = [str(part) for name in AUDIT_FIELDS[1:] for part in (name, getattr(found, name))]
    try:
        kept = await execute(client, "EVAL", _RECORD, 1, audit_key(stream), found.at_ms, *others)
    finally:
        await client.aclose()
    return bool(kept)

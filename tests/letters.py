"""Dead letters as the processor writes them, for tests."""

from collections.abc import Mapping
from itertools import count

import redis

from telemetry import LETTERS, RECEIVED_MS

_numbers = count(1)


def add_letter(
    client: redis.Redis,
    fields: Mapping[str, bytes | str],
    reason: str = "crc_mismatch",
    *,
    error: str = "found 0x0001, computed 0x0002",
    offset: int = 62,
    source_id: str | None = None,
    failed_at_ms: int = RECEIVED_MS + 60_000,
) -> str:
    """Append one letter; its id."""
    ours: dict[str, bytes | str | int] = {
        "reason": reason,
        "error": error,
        "offset": offset,
        "attempts": 3,
        "source_id": source_id or f"{RECEIVED_MS}-{next(_numbers)}",
        "failed_at_ms": failed_at_ms,
        "instance": "one",
    }
    letter_id: bytes = client.xadd(LETTERS, {**fields, **ours})
    return letter_id.decode()

"""How values of the wire are written for people."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def time_text(unix_ms: int) -> str:
    """The time in UTC with milliseconds; a time beyond the year 9999 as its number."""
    try:
        time = _EPOCH + timedelta(milliseconds=unix_ms)
    except OverflowError:
        return f"{unix_ms} ms"
    return time.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00") + "Z"

"""Moments that somebody types, and moments as they are shown."""

from datetime import UTC, datetime
from typing import Final

import typer

ALWAYS: Final = "always"


def instant_of(text: str) -> datetime:
    """The moment that somebody typed, in ISO 8601 with its offset from UTC."""
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise typer.BadParameter(
        f"{text!r} is not a moment with its offset from UTC, such as 2026-05-03T14:00:00Z"
    )


def instant_text(instant: datetime | None, never: str = "-") -> str:
    """In UTC, as it can be typed again; `never` where there is none."""
    if instant is None:
        return never
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")

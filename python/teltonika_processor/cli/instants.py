"""Moments and spans of time as people type and read them: moments in UTC, with T and Z."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from teltonika_processor.cli.arguments import duration_s
from teltonika_processor.cli.confirmation import refuse

ALWAYS: Final = "always"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant_of(text: str) -> datetime:
    """The moment that somebody typed; without a zone of time it is UTC."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no moment such as 2026-05-03T14:00:00Z or 2026-05-03T16:00+02:00"
        ) from None


def instant_or_age_of(text: str) -> datetime:
    """A moment, or how long ago it was: 90s, 15min, 2h, 7d."""
    try:
        ago_s = duration_s(text)
    except typer.BadParameter:
        return instant_of(text)
    return datetime.now(UTC) - timedelta(seconds=ago_s)


Since = Annotated[
    datetime | None,
    typer.Option(
        parser=instant_or_age_of,
        metavar="INSTANT",
        help="From then on; or 15min, 2h, 7d: so long ago.",
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(
        parser=instant_or_age_of,
        metavar="INSTANT",
        help="Before then; or 15min, 2h, 7d: so long ago.",
    ),
]


def require_span(since: datetime | None, until: datetime | None) -> None:
    """Leave if no moment is between the two."""
    if since is not None and until is not None and until <= since:
        refuse("--until is not behind --since")


def instant_text(instant: datetime | None, never: str = "-") -> str:
    """In UTC, as it can be typed again and programs read it; `never` where there is none."""
    if instant is None:
        return never
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def crossing_text(unix_us: int | None) -> str:
    """As `instant_text`, with microseconds, also where they are 0: moments of crossings."""
    if unix_us is None:
        return "-"
    instant = _EPOCH + timedelta(microseconds=unix_us)
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")


def lap_text(duration_us: int | None) -> str:
    """A duration as timekeepers write it, to the nearest millisecond: 1:29.750, 1:02:03.004."""
    if duration_us is None:
        return "-"
    ms = round(duration_us / 1000)
    minutes, ms = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{ms / 1000:06.3f}"
    if hours:
        return f"{hours}:{minutes:02}:{seconds}"
    return f"{minutes}:{seconds}" if minutes else f"{ms / 1000:.3f}"


def seconds_text(duration_us: int | None) -> str:
    """Seconds with microseconds, for a spreadsheet; empty where there is no duration."""
    return "" if duration_us is None else f"{duration_us / 1e6:.6f}"

"""How values are written for people: times, ages, sizes, and text that others wrote. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# (below this many seconds, seconds in one, the unit)
_AGES: Final = ((60, 1, "s"), (3600, 60, "min"), (172_800, 3600, "h"), (float("inf"), 86_400, "d"))


def time_text(unix_ms: int) -> str:
    """The time in UTC with milliseconds, as it can be typed; beyond the year 9999 its number."""
    try:
        time = _EPOCH + timedelta(milliseconds=unix_ms)
    except OverflowError:
        return f"{unix_ms} ms"
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age_text(age_ms: int) -> str:
    """An age in its largest whole unit."""
    seconds = max(age_ms, 0) // 1000
    size, unit = next((size, unit) for below, size, unit in _AGES if seconds < below)
    return f"{seconds // size} {unit}"


def size_text(n_bytes: int) -> str:
    """Bytes in their largest binary unit, with three digits or so."""
    size, unit = float(n_bytes), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:,.1f} {unit}" if unit != "bytes" and size < 100 else f"{size:,.0f} {unit}"


def count_text(n: int, noun: str, nouns: str | None = None) -> str:
    """So many, in words: 1 entry, 1,200 entries; `nouns` where they are not `noun` and an s."""
    return f"{n:,} {noun if n == 1 else nouns or f'{noun}s'}"


def name_text(name: str | None) -> str:
    """A name that somebody gave, or - where there is none."""
    return "-" if name is None else printable(name)


def printable(text: str) -> str:
    """The text with control characters escaped: what a device sent steers no terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )

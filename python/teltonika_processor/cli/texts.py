"""How values are written for people."""

from typing import Final

from teltonika_processor.codec.texts import time_text

__all__ = ["age_text", "printable", "time_text"]

# (below this many seconds, seconds in one, the unit)
_AGES: Final = ((60, 1, "s"), (3600, 60, "min"), (172_800, 3600, "h"), (float("inf"), 86_400, "d"))


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


def printable(text: str) -> str:
    """The text with control characters escaped: what a device sent steers no terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )

"""A hexdump that people can find a fault in: the byte is marked, and the parts have names."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_WIDTH: Final = 16
_PRINTABLE: Final = range(0x20, 0x7F)


class Part(NamedTuple):
    """A named stretch of bytes: where it starts, and what it is."""

    start: int
    name: str


class Mark(NamedTuple):
    """The byte to look at, and what is wrong there."""

    offset: int
    text: str


def hexdump(
    content: bytes,
    *,
    mark: Mark | None = None,
    parts: Sequence[Part] = (),
    around: int | None = None,
) -> list[str]:
    """Lines of 16 bytes: offset, hex, text, and the parts that begin there.

    Args:
        content: What is dumped.
        mark: Shown in brackets and by a line of its own below; it may stand right behind the last
            byte, where something is missing.
        parts: Named where they start.
        around: Whole lines that hold this many bytes before and behind the mark (the start, if
            there is none); None for all. What is left out is said.
    """
    start, stop = _window(len(content), mark.offset if mark else 0, around)
    lines = [_left_out(start, "before")] if start else []
    for row in range(start, stop, _WIDTH):
        lines += _row(content, row, mark, parts)
    if stop < len(content):
        lines.append(_left_out(len(content) - stop, "after"))
    return lines


def _window(size: int, offset: int, around: int | None) -> tuple[int, int]:
    """First and last byte to show, whole lines; one line more if the mark is behind the last."""
    if around is None:
        return 0, max(size, 1) if offset < size or size % _WIDTH else size + 1
    offset = min(offset, size)
    start = max(offset - around, 0) // _WIDTH * _WIDTH
    stop = -(-(offset + around + 1) // _WIDTH) * _WIDTH
    return start, min(stop, max(size, offset + 1))


def _left_out(n_bytes: int, where: str) -> str:
    return f"{'...':>6}  {n_bytes:,} bytes {where}"


def _row(content: bytes, start: int, mark: Mark | None, parts: Sequence[Part]) -> Iterator[str]:
    row = content[start : start + _WIDTH]
    marked = mark.offset - start if mark and start <= mark.offset < start + _WIDTH else None
    text = "".join(chr(byte) if byte in _PRINTABLE else "." for byte in row)
    names = ", ".join(part.name for part in parts if start <= part.start < start + _WIDTH)
    yield f"{start:>6}  {_hex(row, marked)}  {text:<{_WIDTH}}  {names}".rstrip()
    if mark and marked is not None:
        yield f"{'':8}{'   ' * marked} ^^ byte {mark.offset}: {mark.text}"


def _hex(row: bytes, marked: int | None) -> str:
    """Two digits a byte with one character between them, so that brackets move nothing."""
    cells = [f"{byte:02x}" for byte in row] + ["  "] * (_WIDTH - len(row))
    between = [" "] * (_WIDTH + 1)
    if marked is not None:
        between[marked : marked + 2] = "[", "]"
    return between[0] + "".join(
        cell + after for cell, after in zip(cells, between[1:], strict=True)
    )

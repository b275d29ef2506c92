"""Where frames come from: arguments and lines in hex, a file, standard input."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_TEXT: Final = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\v\f\r")
_BINARY: Final = "a binary frame is read by --file, from standard input by --file /dev/stdin"
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")


class NotHexError(ValueError):
    """Input that should be hex and is not; the message says where."""


class Source(NamedTuple):
    """One frame and how the user finds it again: `argument 2`, `line 7`."""

    place: str
    frame: bytes


def read_frames(frames: Iterable[str] | None, file: Path | None) -> Iterator[Source]:
    """Every frame of the arguments; of `file`, hex a line or one in binary; of standard input.

    Raises:
        NotHexError: What should be hex is not.
    """
    if frames:
        return _of_texts("argument", frames)
    if file is None:
        return _of_texts("line", _lines_of_standard_input())
    content = file.read_bytes()
    if _TEXT.issuperset(content):
        return _of_texts("line", content.decode("ascii").splitlines())
    return iter([Source(file.name, content)])


def _lines_of_standard_input() -> Iterator[str]:
    try:
        yield from sys.stdin
    except UnicodeDecodeError:
        raise NotHexError(f"standard input is not text; {_BINARY}") from None


def _of_texts(unit: str, texts: Iterable[str]) -> Iterator[Source]:
    for number, text in enumerate(texts, start=1):
        if text.strip():
            place = f"{unit} {number}"
            yield Source(place, _bytes_of_hex(place, text))


def _bytes_of_hex(place: str, text: str) -> bytes:
    """Read hex in either case; white space may stand anywhere.

    Raises:
        NotHexError: Another character, or half a byte at the end.
    """
    for position, character in enumerate(text, start=1):
        if character not in _HEX_DIGITS and not character.isspace():
            found = f"{place}, character {position}: {character!r} is not a hex digit"
            raise NotHexError(found if character.isprintable() else f"{found}; {_BINARY}")
    digits = "".join(text.split())
    if len(digits) % 2:
        raise NotHexError(f"{place}: {len(digits)} hex digits, the last byte is half there")
    return bytes.fromhex(digits)

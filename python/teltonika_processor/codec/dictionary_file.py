"""Where dictionaries come from: the package's own file, and one of the user's over it."""

from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Final

from teltonika_processor.codec.dictionary import Dictionary, read_dictionary
from teltonika_processor.errors import ConfigError

_PACKAGED: Final = "avl_ids.csv"

# Bound: every one of 65,536 ids with a line of 250 characters.
_OVERLAY_MAX_BYTES: Final = 16 * 1024 * 1024


def load_dictionary(overlay: Path | None = None, *, setting: str = "") -> Dictionary:
    """The packaged dictionary; each row of `overlay` replaces the row of its id or is added.

    Args:
        overlay: A file like the packaged one; None for nothing.
        setting: What named the file, for errors.

    Raises:
        ConfigError: The file cannot be read; the text says where and what was expected.
    """
    if overlay is None:
        return _packaged()
    place = f"{setting} {overlay}".lstrip()
    return MappingProxyType({**_packaged(), **read_dictionary(_text_of(overlay, place), place)})


@cache
def _packaged() -> Dictionary:
    text = (files("teltonika_processor") / "codec" / _PACKAGED).read_text("utf-8")
    return MappingProxyType(read_dictionary(text, _PACKAGED))


def _text_of(file: Path, place: str) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(_OVERLAY_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{place}: {error.strerror}") from None
    if len(content) > _OVERLAY_MAX_BYTES:
        raise ConfigError(f"{place}: above {_OVERLAY_MAX_BYTES:,} bytes")
    try:
        return content.decode("utf-8-sig")  # spreadsheets put a mark in front
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{place}, line {line}: not UTF-8") from None

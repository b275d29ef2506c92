"""The file that a failed process leaves: bounded in size and number, free of secrets."""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from teltonika_processor.service.redaction import Hide

DUMPS_KEPT: Final = 10
"""Bound: the newest files that are kept in the directory, whoever wrote them."""

DUMP_MAX_BYTES: Final = 4 * 1024 * 1024
"""Bound: the sections below have bounds whose sum is less."""

_DUMP_FILES: Final = "panic-*.json"
_DUMP_TIME: Final = "%Y%m%dT%H%M%S.%fZ"

LIST_MAX_ITEMS: Final = 10_000
LIST_MAX_BYTES: Final = 512 * 1024
TEXT_MAX_BYTES: Final = 256 * 1024
ITEM_MAX_BYTES: Final = 16 * 1024

# Bound: one character is at most two escapes of six bytes in JSON.
_BYTES_PER_CHARACTER: Final = 12

# Bound: what is nested deeper than this is written as text.
_DEPTH: Final = 6

_Plain = None | bool | int | float | str | list[Any] | dict[str, Any]


def plain(value: object, hide: Hide, depth: int = _DEPTH) -> _Plain:
    """The value as JSON has it, with every text passed through `hide` and then bounded."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (bytes, bytearray)):
        return bounded_text(hide(value.decode("utf-8", "backslashreplace")), ITEM_MAX_BYTES)
    if depth and isinstance(value, Mapping):
        return {str(name): plain(item, hide, depth - 1) for name, item in value.items()}
    if depth and isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item, hide, depth - 1) for item in value]
    return bounded_text(hide(str(value)), ITEM_MAX_BYTES)


def bounded_text(text: str, max_bytes: int = TEXT_MAX_BYTES) -> str:
    """The text, or its beginning and end where JSON needs more bytes for it."""
    if len(text) <= max_bytes and _json_bytes(text) <= max_bytes:
        return text
    half = max_bytes // _BYTES_PER_CHARACTER // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def bounded_list(items: Sequence[Any], *, left_out: int = 0) -> dict[str, Any]:
    """The items that fit, each bounded too, and how many there were besides them.

    Args:
        items: The most important ones first.
        left_out: How many more there were before.
    """
    shown: list[Any] = []
    left_bytes = LIST_MAX_BYTES
    for item in items[:LIST_MAX_ITEMS]:
        fitting = _bounded_item(item)
        left_bytes -= _json_bytes(fitting)
        if left_bytes < 0:
            break
        shown.append(fitting)
    return {"left_out": left_out + len(items) - len(shown), "shown": shown}


def bounded_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as ``bounded_list`` makes them; all other values whole or cut as text."""
    bounded: dict[str, Any] = {}
    left_bytes = 2 * LIST_MAX_BYTES
    for name, value in facts.items():
        fitting = bounded_list(value) if isinstance(value, list) else _bounded_item(value)
        left_bytes -= _json_bytes(name) + _json_bytes(fitting)
        if left_bytes < 0:
            bounded["left_out"] = len(facts) - len(bounded)
            break
        bounded[name] = fitting
    return bounded


def _bounded_item(item: Any) -> Any:
    if _json_bytes(item) <= ITEM_MAX_BYTES:
        return item
    text = item if isinstance(item, str) else json.dumps(item)
    return bounded_text(text, ITEM_MAX_BYTES)


def _json_bytes(value: Any) -> int:
    """What it takes in the file, with the comma and the space before it."""
    return len(json.dumps(value)) + 2


@dataclass(frozen=True, slots=True)
class Dumps:
    """The dump files in a directory.

    Attributes:
        n_files: How many there are.
        newest_s: Unix time at which the newest one's process failed; None where there is none.
    """

    n_files: int
    newest_s: float | None


def dumps_in(directory: Path) -> Dumps:
    """The dump files that are kept; none where the directory is not there or may not be read."""
    names = sorted(path.name for path in directory.glob(_DUMP_FILES))
    return Dumps(len(names), max(filter(None, map(_time_in, names)), default=None))


def dump_name(at: datetime, process_id: int) -> str:
    """What the dump of a process is called; in the order of time."""
    return f"panic-{at.astimezone(UTC):{_DUMP_TIME}}-{process_id}.json"


def _time_in(name: str) -> float | None:
    """Unix time in the name: a copy of the file, or one that was put back, has another mtime."""
    with contextlib.suppress(ValueError):
        at = datetime.strptime(name.split("-")[1], _DUMP_TIME)  # noqa: DTZ007 -- it ends with Z
        return at.replace(tzinfo=UTC).timestamp()
    return None


def write_dump(directory: Path, name: str, text: str) -> Path:
    """Write the file whole or not at all, readable by its owner only, and drop the oldest ones.

    Raises:
        OSError: The directory or the file cannot be written.
    """
    # Only the last directory gets this mode: those above it are not ours.
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path, unfinished = directory / name, directory / f".{name}.part"
    unfinished.unlink(missing_ok=True)
    try:
        _write_new(unfinished, text.encode())
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    _prune(directory)
    return path.absolute()


def _write_new(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _prune(directory: Path) -> None:
    """Names begin with the time, so their order is that of age."""
    for old in sorted(directory.glob(_DUMP_FILES))[:-DUMPS_KEPT]:
        with contextlib.suppress(OSError):  # another instance was quicker, or it is not ours
            old.unlink()

"""The stream entry, version 1: the contract between gateway and processor.

The native decoder reads the fields; their names are exported by it, so that they exist once.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from operator import itemgetter
from typing import Any, Final, TypeAlias

from teltonika_processor.model import TELEMETRY_STREAM, dead_letter_stream

__all__ = [
    "FIRST_ID",
    "TELEMETRY_STREAM",
    "RawEntry",
    "bytes_of",
    "dead_letter_stream",
    "entry_id",
    "fields_of",
]

RawEntry: TypeAlias = list[Any]
"""``[id, [field, value, ...]]`` as XREADGROUP returns it, all bytes; the list of fields is None
where the payload was trimmed while the entry was pending."""

FIRST_ID: Final = b"0"
"""Before every entry: where a new group and a second look at own pending entries begin."""


entry_id: Final[Callable[[RawEntry], bytes]] = itemgetter(0)
"""The ``ms-seq`` id of an entry; in C, because it is asked of every one."""


def fields_of(entry: RawEntry) -> list[bytes]:
    """Names and values in turn, as they came; empty where the payload is gone."""
    found: list[bytes] | None = entry[1]
    return found or []


def bytes_of(entries: Iterable[RawEntry]) -> int:
    """Bytes of all names and values of `entries`."""
    return sum(map(len, chain.from_iterable(entry[1] or () for entry in entries)))

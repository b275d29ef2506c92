"""Devices in a file: one IMEI a line, and what is wrong with those that are none. Pure: no I/O."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from teltonika_processor.model import format_imei

# Bound: devices of one call.
LINES_MAX: Final = 1_000_000

_IMEI: Final = re.compile("[0-9]{15}")
_NAME_MAX: Final = 200
_SHOWN_MAX: Final = 60


@dataclass(slots=True)
class Lines:
    """What a file says.

    Attributes:
        names: Every device, and its name where the file gives one.
        faults: What is wrong, one sentence a line, each with its place.
    """

    names: dict[int, str | None] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def parse_lines(source: str, lines: Iterable[str]) -> Lines:
    """Read `IMEI` or `IMEI,name` from each line; blank ones and those that begin with # are none.

    Args:
        source: Name of the file, for the faults.
        lines: Its lines.
    """
    found = Lines()
    numbered = enumerate(lines, start=1)
    for number, line in islice(numbered, LINES_MAX):
        text = line.strip()
        if _is_none(text):
            continue
        for fault in _take(found, text):
            found.faults.append(f"{source}, line {number}: {fault}")
    for number, _ in islice(numbered, 1):
        found.faults.append(f"{source}, line {number}: more than {LINES_MAX:,} lines")
    return found


def imei_in(line: str) -> int | None:
    """The device of one line as `parse_lines` reads it; None where it has none. Names are ignored.

    Raises:
        ValueError: What is wrong with it.
    """
    text = line.strip()
    if _is_none(text):
        return None
    digits = text.partition(",")[0].rstrip()
    if not _IMEI.fullmatch(digits):
        raise ValueError(_no_imei(digits))
    return int(digits)


def name_fault(name: str) -> str | None:
    """What is wrong with a device's name."""
    if len(name) > _NAME_MAX:
        return f"a name has at most {_NAME_MAX} characters, this one {len(name)}"
    return None if name.isprintable() else f"the name {name!r} has a control character"


def has_check_digit(imei: int) -> bool:
    """Whether the last digit is what the others give (Luhn, 3GPP TS 23.003 annex B)."""
    digits = [int(digit) for digit in format_imei(imei)]
    return sum(digits[::2]) % 10 == -sum(map(_cross_sum, digits[1::2])) % 10


def _is_none(text: str) -> bool:
    return not text or text.startswith("#")


def _no_imei(digits: str) -> str:
    return f"{_shown(digits)} is not an IMEI, which is 15 digits"


def _take(found: Lines, text: str) -> Iterator[str]:
    """Note one line; what is wrong with it."""
    digits, _, name = (part.strip() for part in text.partition(","))
    if not _IMEI.fullmatch(digits):
        yield _no_imei(digits)
        return
    if name and (fault := name_fault(name)):
        yield fault
        return
    imei = int(digits)
    known = found.names.get(imei)
    if known and name and known != name:
        yield f"{digits} is {_shown(name)} here and {_shown(known)} in a line before"
        return
    found.names[imei] = name or known


def _cross_sum(digit: int) -> int:
    return sum(divmod(2 * digit, 10))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..")

"""What IO elements mean: names, widths, factors and units by IO id.

The same id means different things on different families of devices, and the width on the wire is
all that tells them apart. So where it contradicts the dictionary nothing is claimed: the raw value
is shown, and why. Source of the packaged dictionary: the column `source` of ``avl_ids.csv``.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final, Literal, NamedTuple, TypeAlias, cast, get_args

from teltonika_processor.errors import ConfigError

ElementType = Literal["unsigned", "signed", "hex", "ascii"]

# Widths of the groups that hold numbers: N1, N2, N4 and N8.
NUMBER_WIDTHS: Final = frozenset({1, 2, 4, 8})

COLUMNS: Final = ("id", "name", "bytes", "type", "multiplier", "unit", "description", "source")
"""Columns of a dictionary file."""

# Bound: 20 digits of a raw value times 18 of a multiplier.
_EXACT: Final = Context(prec=40)

_TEXT_MAX: Final = 1000
_MULTIPLIER: Final = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")
_NUMBER: Final = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IoElement:
    """One row of the dictionary.

    Attributes:
        width: Bytes of its value; None where that varies.
        multiplier: The raw value times this is in `unit`.
    """

    io_id: int
    name: str
    width: int | None
    type: ElementType
    multiplier: Decimal
    unit: str
    description: str
    source: str

    @property
    def is_number(self) -> bool:
        """Whether its value stands in a group of numbers, not among those of variable length."""
        return self.width in NUMBER_WIDTHS


Dictionary: TypeAlias = Mapping[int, IoElement]


class Meaning(NamedTuple):
    """What a raw value means; the name is empty where nothing can be claimed, and the note why."""

    name: str
    value: str
    unit: str
    note: str


def interpret(dictionary: Dictionary, io_id: int, width: int, raw: int | bytes) -> Meaning:
    """Name, value and unit of an element.

    Args:
        dictionary: The elements that are known.
        io_id: The id on the wire.
        width: Bytes of the value on the wire.
        raw: The value, unsigned; as bytes where of variable length, or of 16.
    """
    element = dictionary.get(io_id)
    if element is None:
        return Meaning("", _raw_text(raw), "", "not in the dictionary")
    contradiction = _contradiction(element, width, raw)
    if contradiction:
        return Meaning("", _raw_text(raw), "", contradiction)
    if isinstance(raw, bytes):
        return Meaning(element.name, _bytes_text(element, raw), element.unit, "")
    return Meaning(element.name, _number_text(element, raw), element.unit, "")


def read_dictionary(text: str, place: str) -> dict[int, IoElement]:
    """The elements in a dictionary file.

    Args:
        text: The file: CSV with a line of `COLUMNS`, in any order, and a line an element.
        place: Names the file in errors.

    Raises:
        ConfigError: A line cannot be read; the text says which, which column, and what is allowed.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    found: dict[int, IoElement] = {}
    try:
        _check_header(reader.fieldnames or (), place)
        for row in reader:
            element = _element_of(row, f"{place}, line {reader.line_num}")
            if element.io_id in found:
                where = f"{place}, line {reader.line_num}, column id"
                raise ConfigError(f"{where}: {element.io_id} stands on a line above already")
            found[element.io_id] = element
    except csv.Error as error:
        raise ConfigError(f"{place}, line {reader.line_num + 1}: {error}") from None
    return found


# Meanings.


def _contradiction(element: IoElement, width: int, raw: int | bytes) -> str:
    """How the wire contradicts the dictionary; empty where it does not."""
    on_wire = _width_text(width, is_number=isinstance(raw, int))
    if element.is_number == isinstance(raw, int) and element.width in {None, width}:
        return ""
    if raw == b"" and not element.is_number:
        return ""
    known = _width_text(element.width, is_number=element.is_number)
    return f"{on_wire}, the dictionary has {known}: another device family"


def _width_text(width: int | None, *, is_number: bool) -> str:
    if width is None:
        return "variable length"
    return f"width {width}" if is_number else f"length {width}"


def _number_text(element: IoElement, raw: int) -> str:
    assert element.width is not None, "a number has a width"  # noqa: S101 -- an invariant
    if element.type in {"hex", "ascii"}:
        return f"0x{raw:0{2 * element.width}x}"
    if element.type == "signed" and raw >= 1 << 8 * element.width - 1:
        raw -= 1 << 8 * element.width
    return format(_EXACT.multiply(Decimal(raw), element.multiplier), "f")


def _bytes_text(element: IoElement, raw: bytes) -> str:
    if element.type == "ascii" and raw.isascii():
        return raw.rstrip(b"\0").decode("ascii")
    return _raw_text(raw)


def _raw_text(raw: int | bytes) -> str:
    if isinstance(raw, int):
        return str(raw)
    return f"0x{raw.hex()}" if raw else "empty"


# Files.


def _check_header(columns: Sequence[str], place: str) -> None:
    if sorted(columns) != sorted(COLUMNS):
        found = ",".join(columns)
        raise ConfigError(f"{place}, line 1: {found!r}, expected {','.join(COLUMNS)}")


def _element_of(row: Mapping[str | None, str | None], place: str) -> IoElement:
    if None in row or None in row.values():
        raise ConfigError(f"{place}: another number of columns than the {len(COLUMNS)} of line 1")
    cells = _Cells(cast("Mapping[str, str]", row), place)
    type_ = cells.type()
    return IoElement(
        io_id=cells.io_id(),
        name=cells.text("name", required=True),
        width=cells.width(type_),
        type=type_,
        multiplier=cells.multiplier(),
        unit=cells.text("unit"),
        description=cells.text("description"),
        source=cells.text("source"),
    )


class _Cells:
    """The cells of one line; each refuses what it cannot hold."""

    def __init__(self, row: Mapping[str, str], place: str) -> None:
        self._row: Final = row
        self._place: Final = place

    def io_id(self) -> int:
        text = self._row["id"]
        if not _NUMBER.fullmatch(text) or int(text) > 0xFFFF:
            raise self._refused("id", "0 to 65535")
        return int(text)

    def text(self, column: str, *, required: bool = False) -> str:
        text = self._row[column].strip()
        if required and not text:
            raise self._refused(column, "a text")
        if len(text) > _TEXT_MAX or not text.isprintable():
            raise self._refused(column, f"at most {_TEXT_MAX} printable characters")
        return text

    def type(self) -> ElementType:
        text = self._row["type"]
        if text not in get_args(ElementType):
            raise self._refused("type", ", ".join(get_args(ElementType)))
        return cast("ElementType", text)

    def width(self, type_: ElementType) -> int | None:
        text = self._row["bytes"]
        if type_ in {"unsigned", "signed"}:
            if text not in set(map(str, NUMBER_WIDTHS)):
                raise self._refused("bytes", f"1, 2, 4 or 8 for {type_}")
            return int(text)
        if text == "variable":
            return None
        if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= 0xFFFF:
            raise self._refused("bytes", f"1 to 65535 or variable for {type_}")
        return int(text)

    def multiplier(self) -> Decimal:
        text = self._row["multiplier"]
        if not _MULTIPLIER.fullmatch(text) or not Decimal(text):
            raise self._refused("multiplier", "a decimal number such as 0.001, not 0")
        return Decimal(text)

    def _refused(self, column: str, expected: str) -> ConfigError:
        found = self._row[column][:60]
        return ConfigError(f"{self._place}, column {column}: {found!r}, expected {expected}")

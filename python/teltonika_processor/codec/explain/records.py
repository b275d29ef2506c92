"""The AVL records of a frame, field by field, with the names of their IO elements.

Source: Teltonika wiki, "Teltonika Data Sending Protocols".
"""

from typing import Final, NamedTuple

from teltonika_processor.codec.dictionary import Dictionary, interpret
from teltonika_processor.codec.explain.spans import CutError, Span, Walk
from teltonika_processor.codec.layouts import (
    CODEC_8,
    CODEC_8_WITH_SIXTEEN,
    LAYOUTS,
    Layout,
)
from teltonika_processor.texts import time_text

_PRIORITIES: Final = {0: "low", 1: "high", 2: "panic"}

# Source: vendor wiki, Codec 16.
_GENERATION_TYPES: Final = {
    0: "on exit",
    1: "on entrance",
    2: "on both",
    3: "reserved",
    4: "hysteresis",
    5: "on change",
    6: "eventual",
    7: "periodical",
}


class Records(NamedTuple):
    """The walk over the records of one frame.

    Attributes:
        cut: The field that does not fit; None where all records do.
        totals_agree: Whether each record states as many elements as its groups hold.
    """

    walk: Walk
    cut: CutError | None
    totals_agree: bool

    @property
    def is_certain(self) -> bool:
        """Whether the layout explains the bytes exactly, and nothing speaks against it."""
        return self.cut is None and not self.walk.left and self.totals_agree


class Place(NamedTuple):
    """Where the records stand, and how deep."""

    content: bytes
    start: int
    stop: int
    level: int


def walk_records(place: Place, codec_id: int, n_records: int, dictionary: Dictionary) -> Records:
    """Walk over `n_records` by the layout that explains them best.

    Nothing announces the 16-byte group of Codec 8. It is there where the documented layout does not
    fit exactly with every total equal to the sum of its groups, and the one with that group does.
    """
    documented = _walk_by(LAYOUTS[codec_id], place, n_records, dictionary)
    if codec_id != CODEC_8 or documented.is_certain:
        return documented
    with_sixteen = _walk_by(CODEC_8_WITH_SIXTEEN, place, n_records, dictionary)
    return with_sixteen if with_sixteen.is_certain else documented


def _walk_by(layout: Layout, place: Place, n_records: int, dictionary: Dictionary) -> Records:
    content, start, stop, level = place
    walk = _RecordWalk(Walk(content, start, stop, level=level), layout, dictionary)
    try:
        for index in range(n_records):
            walk.record(index)
    except CutError as cut:
        return Records(walk.fields, cut, walk.totals_agree)
    return Records(walk.fields, None, walk.totals_agree)


class _RecordWalk:
    """The fields of records in their order; every method raises `CutError`."""

    def __init__(self, fields: Walk, layout: Layout, dictionary: Dictionary) -> None:
        self.fields: Final = fields
        self.totals_agree = True
        self._layout: Final = layout
        self._dictionary: Final = dictionary
        self._names: Final[dict[int, str]] = {}  # of the elements of one record

    def record(self, index: int) -> None:
        fields, layout = self.fields, self._layout
        with fields.group(f"record {index}"):
            self._timestamp()
            self._named("priority", _PRIORITIES)
            with fields.group("GPS element"):
                self._gps_element()
            event_io_id = fields.unsigned(layout.event_id, "event IO id")
            event_index = len(fields.spans) - 1
            if layout.has_generation_type:
                self._named("generation type", _GENERATION_TYPES)
            self._names.clear()
            try:
                self._elements()
            finally:
                # Its element stands in the record, and tells by its width whether the name fits.
                name = self._names.get(event_io_id, "") if event_io_id else "none"
                fields.amend(event_index, note=name)

    def _timestamp(self) -> None:
        time_ms = int.from_bytes(self.fields.take(8, "timestamp"))
        self.fields.note(8, "timestamp", value=time_text(time_ms), raw=time_ms)

    def _named(self, field: str, names: dict[int, str]) -> None:
        number = int.from_bytes(self.fields.take(1, field))
        note = names.get(number, "not documented")
        self.fields.note(1, field, value=str(number), note=note, raw=number)

    def _gps_element(self) -> None:
        """Longitude precedes latitude on the wire; both and the altitude are signed."""
        fields = self.fields
        self._degrees("longitude")
        self._degrees("latitude")
        altitude_m = fields.signed(2, "altitude")
        fields.note(2, "altitude", value=str(altitude_m), unit="m", raw=altitude_m)
        fields.unsigned(2, "angle", unit="\N{DEGREE SIGN}")
        satellites = fields.unsigned(1, "satellites")
        if not satellites:
            fields.amend(-1, note="no fix")
        fields.unsigned(2, "speed", unit="km/h")

    def _degrees(self, field: str) -> None:
        degrees_e7 = self.fields.signed(4, field)
        sign, (whole, part) = "-" * (degrees_e7 < 0), divmod(abs(degrees_e7), 10_000_000)
        text = f"{sign}{whole}.{part:07d}"
        self.fields.note(4, field, value=text, unit="\N{DEGREE SIGN}", raw=degrees_e7)

    def _elements(self) -> None:
        fields, layout = self.fields, self._layout
        stated = fields.unsigned(layout.count, "number of elements")
        total_index, n_found = len(fields.spans) - 1, 0
        first_index = len(fields.spans)
        for width in (1, 2, 4, 8):
            n_found += self._group(f"{width}-byte elements", width)
        if layout.long_group == "sixteen":
            n_found += self._group("16-byte elements", 16)
        elif layout.long_group == "variable":
            n_found += self._group("variable-length elements", None)
        if n_found != stated:
            self.totals_agree = False
            fields.amend(total_index, note=f"its groups hold {n_found}; delimits nothing")
        _note_repeated(fields, first_index)

    def _group(self, field: str, width: int | None) -> int:
        fields = self.fields
        n_elements = fields.unsigned(self._layout.count, field)
        fields.level += 1
        for _ in range(n_elements):
            self._element(width)
        fields.level -= 1
        return n_elements

    def _element(self, width: int | None) -> None:
        """One span an element; where it is cut, one for each part of it that is there."""
        fields, start = self.fields, self.fields.at
        n_spans = len(fields.spans)
        io_id = fields.unsigned(self._layout.io_id, "IO id")
        n_bytes = fields.unsigned(2, f"length of IO {io_id}") if width is None else width
        value = fields.take(n_bytes, f"value of IO {io_id}")
        del fields.spans[n_spans:]
        raw = int.from_bytes(value) if n_bytes in {1, 2, 4, 8} and width else value
        meaning = interpret(self._dictionary, io_id, n_bytes, raw)
        self._names[io_id] = meaning.name
        fields.note(
            fields.at - start,
            f"IO {io_id} {meaning.name}".rstrip(),
            value=meaning.value,
            unit=meaning.unit,
            note=meaning.note,
            raw=raw,
            io_id=io_id,
        )


def _note_repeated(fields: Walk, first_index: int) -> None:
    """Of an id that stands twice in a record, the last value counts."""
    last: dict[int, int] = {}
    for index in range(first_index, len(fields.spans)):
        span: Span = fields.spans[index]
        if span.io_id is None:
            continue
        if span.io_id in last:
            above = last[span.io_id]
            notes = (fields.spans[above].note, "stands again below, which counts")
            fields.amend(above, note="; ".join(filter(None, notes)))
        last[span.io_id] = index

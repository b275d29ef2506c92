"""The IO elements that one simulated device is configured to send."""

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.simulate.models import (
    IGNITION,
    MOVEMENT,
    ODOMETER_MAX_M,
    OF_THE_DRIVE,
    SPEED,
    TOTAL_ODOMETER,
    TRIP_ODOMETER,
    VALUE_RANGES,
    Model,
)

CODEC_8: Final = 0x08
CODEC_8_EXTENDED: Final = 0x8E
CODEC_16: Final = 0x10

# IO ids by width in bytes. Source: vendor wiki, parameter tables of the FMB family.
_ONE_BYTE_IDS: Final = (
    *(239, 240, 21, 200, 69, 80, 1, 2, 3, 179, 180, 113, 30, 31, 32, 37, 48, 81, 82, 89),
    *(246, 247, 249, 250, 251, 252, 253, 254, 255, 237, 155, 156, 157),
)
_TWO_BYTE_IDS: Final = (
    *(181, 182, 66, 24, 205, 206, 67, 68, 9, 6, 13, 17, 18, 19, 36, 43, 84, 85, 25, 26, 27),
    *(28, 42, 49, 51, 60, 110, 115, 201, 203),
)
_IDS: Final = {
    1: _ONE_BYTE_IDS,
    2: _TWO_BYTE_IDS,
    4: (241, 199, 16, 12, 72, 73, 74, 75, 83, 87, 4, 5, 100, 102, 103, 105, 107),
    8: (11, 14, 78, 207, 238, 76, 77, 79, 71),
}
# Codec 8 has one byte for an id; the others have two.
_LONG_IDS: Final = {
    1: (263, 303, 317, 318, 380, 381, 383, 391),
    2: (270, 273, 276, 284, 327, 329, 10800, 10801, 10802, 10803),
    4: (304, 305, 389, 390, 402, 449, 636),
    8: (258, 259, 451, 452, 517),
}
_VARIABLE_IDS: Final = (256, 281, 387)
_WIDTHS: Final = (1, 2, 4, 8)
_WIDTH_WEIGHTS: Final = (9, 6, 3, 1)
_ELEMENTS_MIN: Final = 12
_ELEMENTS_MAX: Final = 25
# One element stays free, so that an event or a variable-length element keeps the total within 25.
_PROFILE_MAX: Final = _ELEMENTS_MAX - 1
# 8 % of all 8E records: those caused by the spare element, also 8 %, have none.
_VARIABLE_SHARE: Final = 0.087
_VALUE_CODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
# Time, priority, longitude, latitude, altitude, angle, satellites, speed.
_HEAD: Final = ">QBiihHBH"

Head = tuple[int, int, int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Codec:
    """How a codec writes the IO part: struct codes of ids and of counts.

    Source: protocol of each codec, vendor wiki "Teltonika Data Sending Protocols".
    """

    codec_id: int
    id_code: str
    count_code: str
    has_generation_type: bool = False
    has_variable: bool = False


CODECS: Final = {
    CODEC_8: Codec(CODEC_8, "B", "B"),
    CODEC_8_EXTENDED: Codec(CODEC_8_EXTENDED, "H", "H", has_variable=True),
    CODEC_16: Codec(CODEC_16, "H", "B", has_generation_type=True),
}


class IoProfile:
    """Elements with values that mostly repeat from record to record.

    Those of a model that say what the drive is like follow it instead.
    """

    def __init__(self, codec: Codec, rng: random.Random, model: Model | None = None) -> None:
        self._codec = codec
        self._rng = rng
        self._ranges = VALUE_RANGES if model else {}
        self._variable_ids: Sequence[int] = model.variable_ids if model else _VARIABLE_IDS
        by_width = _ids_of(model, codec) if model else _draw_ids(codec, rng)
        self._event_ids = by_width[1][:-1]
        # An element that is sent only when it causes the record.
        self._spare_id = by_width[1][-1]
        self._ones = [0] * (2 * len(self._event_ids))
        self._wider: list[int] = []
        # Where each value stands, its width, and its id.
        self._slots: list[tuple[list[int], int, int, int]] = []
        # Where the value of each element of the drive stands.
        self._of_drive: dict[int, tuple[list[int], int]] = {}
        self._follows_drive = model is not None
        self._fill(by_width)
        self._n_elements = len(self._slots) + len(self._of_drive)
        self._odometer_start_m = rng.randrange(ODOMETER_MAX_M) if model else 0
        self.drive(0, 0)
        counts = [len(self._event_ids), *(len(by_width[width]) for width in _WIDTHS[1:])]
        self._plain = _record_struct(codec, counts)
        self._with_spare = _record_struct(codec, [counts[0] + 1, *counts[1:]])

    def drive(self, speed_kmh: int, odometer_m: int) -> None:
        """It drives so fast, and has come so far since the start."""
        is_moving = int(speed_kmh > 0)
        told = (
            *((IGNITION, is_moving), (MOVEMENT, is_moving), (TRIP_ODOMETER, odometer_m)),
            (TOTAL_ODOMETER, self._odometer_start_m + odometer_m),
        )
        for io_id, value in told:
            self._set(io_id, value)

    def draw_event_id(self) -> int:
        """An element of this profile, as the cause of a record."""
        return self._rng.choice(self._event_ids)

    def encode(self, head: Head, event_io_id: int) -> bytes:
        """One AVL record with the present values."""
        return self._encode(head, event_io_id, self._plain, [])

    def encode_spare(self, head: Head) -> bytes:
        """One AVL record caused by an element that other records do not carry."""
        spare = [self._spare_id, self._rng.getrandbits(1)]
        return self._encode(head, self._spare_id, self._with_spare, spare)

    def change(self) -> None:
        """Let a third of the values move on."""
        random_unit = self._rng.random
        n_slots = len(self._slots)
        for _ in range(n_slots // 3):
            values, index, width, io_id = self._slots[int(random_unit() * n_slots)]
            values[index] = self._draw_value(io_id, width)

    def _encode(
        self, head: Head, event_io_id: int, layout: struct.Struct, spare: list[int]
    ) -> bytes:
        self._set(SPEED, head[-1])
        variable = b"" if spare else self._draw_variable()
        n_extra = 1 if spare or variable else 0
        generation = (self._rng.getrandbits(3),) if self._codec.has_generation_type else ()
        n_ones = (len(self._ones) + len(spare)) // 2
        record = layout.pack(
            *head,
            event_io_id,
            *generation,
            self._n_elements + n_extra,
            n_ones,
            *self._ones,
            *spare,
            *self._wider,
        )
        if not self._codec.has_variable:
            return record
        return record + (variable or b"\0\0")

    def _draw_variable(self) -> bytes:
        """Count, id, length and value of one variable-length element, or nothing."""
        if not self._codec.has_variable or self._rng.random() >= _VARIABLE_SHARE:
            return b""
        if not self._variable_ids:
            return b""
        io_id = self._rng.choice(self._variable_ids)
        value = f"{io_id}:{self._rng.getrandbits(68):017X}".encode()
        return struct.pack(">HHH", 1, io_id, len(value)) + value

    def _fill(self, by_width: dict[int, list[int]]) -> None:
        for position, io_id in enumerate(self._event_ids):
            self._add(self._ones, 2 * position, io_id, 1)
        for width in _WIDTHS[1:]:
            self._wider.append(len(by_width[width]))
            for io_id in by_width[width]:
                self._wider += [0, 0]
                self._add(self._wider, len(self._wider) - 2, io_id, width)

    def _add(self, values: list[int], index: int, io_id: int, width: int) -> None:
        if self._follows_drive and io_id in OF_THE_DRIVE:
            values[index : index + 2] = [io_id, 0]
            self._of_drive[io_id] = (values, index + 1)
            return
        values[index : index + 2] = [io_id, self._draw_value(io_id, width)]
        self._slots.append((values, index + 1, width, io_id))

    def _set(self, io_id: int, value: int) -> None:
        place = self._of_drive.get(io_id)
        if place is not None:
            values, index = place
            values[index] = value

    def _draw_value(self, io_id: int, width: int) -> int:
        if io_id in self._ranges:
            return self._rng.randint(*self._ranges[io_id])
        return _draw_value(width, self._rng)


def _ids_of(model: Model, codec: Codec) -> dict[int, list[int]]:
    """Ids by width that the codec can carry, the spare one-byte id at the end."""
    id_max = 0xFF if codec.id_code == "B" else 0xFFFF
    return {width: [one for one in ids if one <= id_max] for width, ids in model.ids.items()}


def _draw_ids(codec: Codec, rng: random.Random) -> dict[int, list[int]]:
    """Ids by width: 12-24 elements, at least one of a byte, and a spare one-byte id at the end."""
    pools = {
        width: _IDS[width] if codec.id_code == "B" else _IDS[width] + _LONG_IDS[width]
        for width in _WIDTHS
    }
    n_elements = rng.randint(_ELEMENTS_MIN, _PROFILE_MAX)
    widths = rng.choices(_WIDTHS, _WIDTH_WEIGHTS, k=n_elements - 1)
    wanted = {width: min(widths.count(width), len(pools[width])) for width in _WIDTHS}
    # The one element that is always of a byte, what the pools could not give, and the spare.
    wanted[1] += n_elements - sum(wanted.values()) + 1
    return {width: rng.sample(pools[width], wanted[width]) for width in _WIDTHS}


def _record_struct(codec: Codec, counts: Sequence[int]) -> struct.Struct:
    parts = [_HEAD, codec.id_code]
    if codec.has_generation_type:
        parts.append("B")
    parts.append(codec.count_code)
    for width, count in zip(_WIDTHS, counts, strict=True):
        parts += [codec.count_code, (codec.id_code + _VALUE_CODES[width]) * count]
    return struct.Struct("".join(parts))


def _draw_value(width: int, rng: random.Random) -> int:
    """A value of `width` bytes: mostly small, as sensors are; sometimes with the top bit set."""
    if width == 1:
        return rng.getrandbits(8) if rng.random() < 0.15 else rng.getrandbits(2)
    if rng.random() < 0.25:
        return rng.getrandbits(8 * width)
    return rng.getrandbits(6 * width)

"""What models of trackers send as they are delivered.

Source: vendor wiki, the AVL parameter table of each model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Model:
    """The elements of one model.

    Attributes:
        ids: IO ids by width in bytes (1, 2, 4, 8). The last one of a byte is sent only when it
            causes the record. What Codec 8 cannot name is left out there.
        variable_ids: Those of variable length, which Codec 8 Extended alone can carry.
    """

    ids: Mapping[int, Sequence[int]]
    variable_ids: Sequence[int] = ()


MODELS: Final[Mapping[str, Model]] = MappingProxyType(
    {
        "fmb120": Model(
            {
                1: (239, 240, 80, 21, 200, 69, 1, 179, 180, 252),
                2: (181, 182, 66, 24, 205, 206, 67, 68, 9, 6),
                4: (241, 199, 16),
                8: (11, 14, 78),
            }
        ),
        "fmb920": Model(
            {
                1: (239, 240, 80, 21, 200, 69, 1, 179, 246),
                2: (181, 182, 66, 24, 205, 206, 67, 68),
                4: (241, 199, 16),
                8: (),
            }
        ),
        "fmc003": Model(
            {
                1: (239, 240, 80, 21, 200, 69, 30, 31, 32, 37, 48, 253),
                2: (181, 182, 66, 24, 67, 68, 36, 42, 43, 49, 51),
                4: (241, 199, 16, 389),
                8: (11,),
            },
            variable_ids=(256, 281),
        ),
        "fmc650": Model(
            {
                1: (239, 240, 21, 69, 1, 2, 3, 179, 180, 253),
                2: (181, 182, 66, 67, 205, 206, 9, 245),
                4: (241, 16, 218, 222),
                8: (195, 196, 78),
            }
        ),
    }
)
"""By name, in small letters."""

_SWITCHES: Final = (1, 2, 3, 179, 180, 252, 246)

IGNITION: Final = 239
MOVEMENT: Final = 240
SPEED: Final = 24
"""In km/h, as in the GPS element."""
TOTAL_ODOMETER: Final = 16
"""In metres, since the device was made."""
TRIP_ODOMETER: Final = 199
"""In metres, of this drive."""
OF_THE_DRIVE: Final = frozenset({IGNITION, MOVEMENT, SPEED, TOTAL_ODOMETER, TRIP_ODOMETER})
"""Elements that say what the drive is like; nothing is drawn for them while it lasts."""

ODOMETER_MAX_M: Final = 250_000_000
"""Greatest total at the start of a drive."""

VALUE_RANGES: Final[Mapping[int, tuple[int, int]]] = MappingProxyType(
    {
        **dict.fromkeys(_SWITCHES, (0, 1)),
        6: (0, 12_000),
        9: (0, 12_000),
        21: (1, 5),
        30: (0, 2),
        31: (10, 90),
        32: (70, 105),
        36: (700, 4_500),
        37: (0, 130),
        42: (0, 1_000),
        43: (0, 100),
        48: (5, 100),
        49: (0, 50_000),
        51: (11_800, 14_600),
        66: (11_800, 14_600),
        67: (3_900, 4_200),
        68: (0, 400),
        69: (1, 1),
        80: (0, 5),
        181: (6, 30),
        182: (5, 20),
        200: (0, 2),
        205: (1, 65_535),
        206: (1, 65_535),
        241: (24_601, 24_603),
        245: (0, 24_000),
        253: (1, 3),
        389: (1, 900_000),
    }
)
"""What a sensor can say, by IO id: raw, least and greatest; other elements say anything.

Those of the drive are not among them.
"""

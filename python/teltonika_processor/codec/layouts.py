"""How the AVL codecs lay out their records: facts for whoever reads frames in Python.

Source: Teltonika wiki, "Teltonika Data Sending Protocols".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Transport = Literal["tcp", "udp"]

CODEC_8: Final = 0x08
CODEC_8_EXTENDED: Final = 0x8E
CODEC_16: Final = 0x10
COMMAND_CODECS: Final = frozenset({0x0C, 0x0D, 0x0E, 0x0F})


@dataclass(frozen=True, slots=True)
class Layout:
    """Widths in bytes of the fields that differ between the AVL codecs.

    `long_group`: what follows the 8-byte group: nothing, 16-byte values, or values with a length.
    """

    event_id: int
    count: int
    io_id: int
    has_generation_type: bool = False
    long_group: Literal["none", "sixteen", "variable"] = "none"


LAYOUTS: Final[Mapping[int, Layout]] = {
    CODEC_8: Layout(event_id=1, count=1, io_id=1),
    CODEC_8_EXTENDED: Layout(event_id=2, count=2, io_id=2, long_group="variable"),
    CODEC_16: Layout(event_id=2, count=1, io_id=2, has_generation_type=True),
}

# Source: some FM63xx units send a fifth group of 16-byte values in Codec 8, announced by nothing.
CODEC_8_WITH_SIXTEEN: Final = Layout(event_id=1, count=1, io_id=1, long_group="sixteen")

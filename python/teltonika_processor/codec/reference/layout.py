"""Records, and how the codecs lay them out: facts that decoder and encoder share.

Source: Teltonika wiki, "Teltonika Data Sending Protocols".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Transport = Literal["tcp", "udp"]

FRAME_MAX_BYTES: Final = 65_536

CODEC_8: Final = 0x08
CODEC_8_EXTENDED: Final = 0x8E
CODEC_16: Final = 0x10
COMMAND_CODECS: Final = frozenset({0x0C, 0x0D, 0x0E, 0x0F})


@dataclass(frozen=True, slots=True)
class AvlRecord:
    """One AVL record; values are those of the wire. `raw` views the caller's bytes."""

    recorded_at_ms: int
    priority: int
    longitude_e7: int
    latitude_e7: int
    altitude_m: int
    angle_deg: int
    satellites: int
    speed_kmh: int
    event_io_id: int
    generation_type: int | None
    io: Mapping[int, int | bytes]
    raw: memoryview


@dataclass(frozen=True, slots=True)
class AvlPacket:
    """The AVL packet of one frame."""

    codec_id: int
    records: tuple[AvlRecord, ...]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[AvlRecord]:
        return iter(self.records)


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


def crc16(data: bytes | bytearray | memoryview) -> int:
    """CRC-16/IBM (ARC: reflected 0xA001, initial 0) of `data`."""
    crc = 0
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC_TABLE: Final = tuple(_crc_of_byte(byte) for byte in range(256))

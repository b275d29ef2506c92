"""Records, bounds and the checksum: what decoder and encoder share.

Source: Teltonika wiki, "Teltonika Data Sending Protocols".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

FRAME_MAX_BYTES: Final = 65_536


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

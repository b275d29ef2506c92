"""Envelopes round encoded AVL records. Source: vendor wiki, "Teltonika Data Sending Protocols"."""

import struct
from collections.abc import Sequence
from typing import Final

from teltonika_processor.codec.native import crc16
from teltonika_processor.simulate.published import Transport

TCP_DATA_START: Final = 8
CRC_BYTES: Final = 4
FIRST_RECORD_OFFSET: Final = 2
"""In an AVL packet, behind codec id and number of data 1; a record starts with its time."""


def avl_packet(codec_id: int, records: Sequence[bytes]) -> bytes:
    """AVL packet of encoded records: codec id, number of data 1, records, number of data 2."""
    n_records = len(records)
    return b"".join((bytes((codec_id, n_records)), *records, bytes((n_records,))))


def tcp_frame(packet: bytes) -> bytes:
    """TCP frame of an AVL packet: preamble, length, packet, CRC."""
    return struct.pack(">II", 0, len(packet)) + packet + struct.pack(">I", crc16(packet))


def wrap(packet: bytes, transport: Transport) -> bytes:
    """What the gateway publishes of an AVL packet that came by `transport`."""
    return tcp_frame(packet) if transport == "tcp" else packet


def unwrap(frame: bytes, transport: Transport) -> bytes:
    """The AVL packet of a frame that `wrap` made."""
    return frame[TCP_DATA_START:-CRC_BYTES] if transport == "tcp" else frame

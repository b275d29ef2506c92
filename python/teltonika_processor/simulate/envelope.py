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


def handshake(imei: str) -> bytes:
    """What a device says first by TCP: length of the IMEI in two bytes, then its digits."""
    return struct.pack(">H", len(imei)) + imei.encode()


def channel_packet(imei: str, packet: bytes, *, packet_id: int, avl_packet_id: int) -> bytes:
    """Channel packet of UDP round an AVL packet.

    Args:
        imei: ASCII digits.
        packet: Codec id to number of data 2.
        packet_id: Two bytes.
        avl_packet_id: One byte.
    """
    # Source: vendor wiki; the third field is no packet type any more, and devices send 01.
    body = struct.pack(">HBB", packet_id, 1, avl_packet_id) + handshake(imei) + packet
    return struct.pack(">H", len(body)) + body

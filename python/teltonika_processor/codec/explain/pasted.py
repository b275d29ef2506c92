"""What people paste, which is not always a frame: a handshake, a ping, a whole datagram."""

from typing import Final

from teltonika_processor.codec.explain.datagrams import IMEI_BYTES, explain_datagram
from teltonika_processor.codec.explain.frames import Knowledge, explain_frame
from teltonika_processor.codec.explain.spans import Explanation, Walk
from teltonika_processor.codec.layouts import LAYOUTS, Transport

CHANNEL_HEAD_BYTES: Final = 23
"""Of a channel packet: length, packet id, packet type, AVL packet id, IMEI length, IMEI."""

_IMEI_LENGTH: Final = b"\x00\x0f"

# Devices and vendor examples use this one; as a preamble or a timestamp it makes no sense.
_PACKET_ID: Final = b"\xca\xfe"


def explain_pasted(content: bytes, transport: Transport, knowledge: Knowledge) -> Explanation:
    """Explain what cannot be mistaken as what it is, anything else as a frame of `transport`."""
    if content and not content.strip(b"\xff"):
        return _pings(content)
    if is_handshake(content):
        return _handshake(content)
    if content[2:4] == _PACKET_ID or _begins_like_a_channel_packet(content):
        return explain_datagram(content, knowledge)
    return explain_frame(content, transport, knowledge)


def hint(content: bytes, transport: Transport) -> str:
    """What a frame that does not decode may be instead; empty where nothing is known."""
    if is_handshake(content):
        return "this is an IMEI handshake, not a frame"
    if transport == "tcp" and is_channel_packet(content):
        return "this is a UDP channel packet: use --transport udp"
    if transport == "udp" and content[:4] == bytes(4):
        return "this looks like a TCP frame: use --transport tcp"
    if transport == "tcp" and _is_like_an_array(content):
        return "this looks like the AVL data array of UDP: use --transport udp"
    return ""


def is_channel_packet(content: bytes) -> bool:
    """Whether this is one whole channel packet."""
    right_length = int.from_bytes(content[:2]) == len(content) - 2
    return right_length and _begins_like_a_channel_packet(content)


def is_handshake(content: bytes) -> bool:
    """Whether this is what a device opens a TCP connection with: the length and its IMEI."""
    return content[:2] == _IMEI_LENGTH and _is_imei(content[2:])


def _begins_like_a_channel_packet(content: bytes) -> bool:
    return content[6:8] == _IMEI_LENGTH and _is_imei(content[8:CHANNEL_HEAD_BYTES])


def _is_like_an_array(content: bytes) -> bool:
    return len(content) > 2 and content[0] in LAYOUTS and content[1] == content[-1]


def _is_imei(text: bytes) -> bool:
    return len(text) == IMEI_BYTES and text.isdigit()


def _handshake(content: bytes) -> Explanation:
    walk = Walk(content, 0, len(content))
    walk.unsigned(2, "IMEI length", unit="bytes")
    imei = walk.octets(IMEI_BYTES, "IMEI").decode("ascii")
    walk.amend(-1, value=imei, note="")
    return Explanation("IMEI handshake, no frame", len(content), tuple(walk.spans), None)


def _pings(content: bytes) -> Explanation:
    walk = Walk(content, 0, len(content))
    while walk.left:
        walk.octets(1, "ping", note="keeps a connection open; no answer is expected")
    return Explanation("network ping, no frame", len(content), tuple(walk.spans), None)

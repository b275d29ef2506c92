"""The channel packets of a UDP datagram, byte by byte.

A channel packet is: length of what follows (2 bytes), packet id (2), packet type (1), AVL packet
id (1), IMEI length (2), IMEI (15), AVL data array. Source: Teltonika wiki, "Teltonika Data Sending
Protocols"; the packet type is that of older vendor documents.
"""

from typing import Final

from teltonika_processor.codec.explain.faults import Envelope, fault_of
from teltonika_processor.codec.explain.frames import Knowledge, refusal, walk_frame
from teltonika_processor.codec.explain.spans import CutError, Explanation, Fault, Walk
from teltonika_processor.errors import DecodeError

IMEI_BYTES: Final = 15


class _WrongError(Exception):
    """The last span is not what it must be."""

    def __init__(self, code: str, message: str, expected: str) -> None:
        super().__init__(code, message, expected)
        self.code: Final = code
        self.message: Final = message
        self.expected: Final = expected


def explain_datagram(datagram: bytes, knowledge: Knowledge) -> Explanation:
    """Explain the channel packets of a datagram, up to the first that is wrong.

    The fault is that of the native reader of datagrams, or of `decode_frame` for the array inside;
    offsets count from the start of the datagram.
    """
    walk = Walk(datagram, 0, len(datagram))
    fault, n_packets = None, 0
    while fault is None and (walk.left or not n_packets):
        fault = _channel_packet(walk, n_packets, knowledge)
        n_packets += 1
    walk.rest("not read", "")
    title = f"UDP datagram, {n_packets} channel packet(s)"
    return Explanation(title, len(datagram), tuple(walk.spans), fault)


def _channel_packet(walk: Walk, index: int, knowledge: Knowledge) -> Fault | None:
    end = walk.stop
    try:
        with walk.group(f"channel packet {index}"):
            _length(walk)
            _head(walk)
            return _array(walk, knowledge)
    except CutError as cut:
        message = f"a field of {cut.needed} byte(s), {cut.left} left for it"
        return _fault_at_last(walk, "truncated", message, f"{cut.needed} byte(s), the {cut.field}")
    except _WrongError as wrong:
        return _fault_at_last(walk, wrong.code, wrong.message, wrong.expected)
    finally:
        walk.rest("not read", "")
        walk.stop = end


def _length(walk: Walk) -> None:
    """The length field; what it encloses is where the walk stops."""
    declared, present = walk.unsigned(2, "packet length", unit="bytes"), walk.left
    if declared > present:
        message = f"length {declared} stated, {present} byte(s) present"
        expected = f"at most {present}, the bytes behind this field"
        raise _WrongError("channel_length_mismatch", message, expected)
    walk.stop = walk.at + declared


def _head(walk: Walk) -> None:
    packet_id = walk.octets(2, "packet id")
    walk.amend(-1, value=f"0x{packet_id.hex().upper()}", note="")
    walk.unsigned(1, "packet type")
    walk.unsigned(1, "AVL packet id")
    imei_length = walk.unsigned(2, "IMEI length", unit="bytes")
    # A field that is cut is told before one that is wrong.
    imei = walk.octets(IMEI_BYTES, "IMEI")
    if imei_length != IMEI_BYTES:
        del walk.spans[-1]
        walk.at -= IMEI_BYTES
        raise _bad_imei(imei_length, "00 0f, the length of an IMEI")
    if not imei.isdigit():
        raise _bad_imei(IMEI_BYTES, "15 ASCII digits")
    walk.amend(-1, value=imei.decode("ascii"), note="")


def _bad_imei(length: int, expected: str) -> _WrongError:
    message = f"{length} byte(s) that are not an IMEI, expected 15 ASCII digits"
    return _WrongError("bad_imei", message, expected)


def _array(walk: Walk, knowledge: Knowledge) -> Fault | None:
    start = walk.at
    error = refusal(walk.content[start : walk.stop], "udp", knowledge)
    if error is not None:
        error = DecodeError(error.code, start + error.offset, error.message)
    envelope: Envelope = walk_frame(walk, "udp", knowledge, error)
    return None if error is None else fault_of(error, envelope, walk.spans)


def _fault_at_last(walk: Walk, code: str, message: str, expected: str) -> Fault:
    last = len(walk.spans) - 1
    return Fault(code, walk.spans[last].start, message, expected, last)

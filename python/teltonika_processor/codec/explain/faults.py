"""What was expected where a frame is wrong, and which of its fields to look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from teltonika_processor.codec.explain.spans import CutError, Fault, Span
from teltonika_processor.codec.layouts import Transport
from teltonika_processor.errors import DecodeError

_TCP_HEAD_BYTES: Final = 8
_CRC_BYTES: Final = 4
_TCP_ENVELOPE_BYTES: Final = 12
_DATA_MIN_BYTES: Final = 3


@dataclass(slots=True)
class Envelope:
    """What the fields around the records say; as much of it as was read.

    Attributes:
        data_start: Where the data field starts.
        data_stop: Where it ends by its length, which may be behind the frame.
        crc: That of the data field.
        cut: The field of a record or message that does not fit.
    """

    transport: Transport
    n_bytes: int
    frame_max_bytes: int
    data_start: int = 0
    data_stop: int = 0
    codec_text: str = "no codec"
    number_of_data_1: int = 0
    crc: int = 0
    cut: CutError | None = None

    @property
    def ends_inside(self) -> bool:
        """Whether the frame ends inside its data field."""
        return self.n_bytes < self.data_stop


def fault_of(error: DecodeError, envelope: Envelope, spans: Sequence[Span]) -> Fault:
    """The decoder's error with what was expected, and the span to look at."""
    expected = _EXPECTED.get(error.code, _nothing)(envelope)
    span = _span_of(error, envelope, spans)
    return Fault(error.code, error.offset, error.message, expected, span)


def _span_of(error: DecodeError, envelope: Envelope, spans: Sequence[Span]) -> int:
    leaves = [index for index, span in enumerate(spans) if not span.is_group]
    if error.code == "truncated" and envelope.ends_inside:
        return leaves[-1]
    there = [index for index in leaves if spans[index].start == error.offset]
    # Where a field is missing, the one behind it starts at the same byte.
    return there[0 if error.code == "truncated" else -1]


# What was expected, by the code of the error.


def _preamble(_: Envelope) -> str:
    return "00 00 00 00, the preamble of a TCP frame"


def _length(envelope: Envelope) -> str:
    if envelope.transport == "udp":
        return f"at most {envelope.frame_max_bytes:,} bytes"
    largest = envelope.frame_max_bytes - _TCP_ENVELOPE_BYTES
    expected = f"{_DATA_MIN_BYTES} to {largest:,}, the bytes of the data field"
    present = envelope.n_bytes - _TCP_ENVELOPE_BYTES
    if _DATA_MIN_BYTES <= present <= largest:
        return f"{expected}; the frame that is here would have {present:,}"
    return expected


def _truncated(envelope: Envelope) -> str:
    if envelope.transport == "tcp":
        if envelope.n_bytes < _TCP_HEAD_BYTES:
            return "8 bytes, the preamble and the data field length"
        end = envelope.data_stop + _CRC_BYTES
        if envelope.n_bytes < end:
            return (
                f"{end - envelope.n_bytes:,} more byte(s): by its length the data field ends at "
                f"byte {envelope.data_stop:,}, the CRC-16 at byte {end:,}"
            )
    if envelope.cut is None:
        return "3 bytes at least: codec id, number of data 1, number of data 2"
    left = f"{envelope.cut.left:,} left for it before number of data 2"
    return f"{envelope.cut.needed:,} byte(s) of {envelope.cut.field}, {left}"


def _trailing(envelope: Envelope) -> str:
    n_data = envelope.data_stop - envelope.data_start
    if envelope.transport == "tcp" and envelope.n_bytes > envelope.data_stop + _CRC_BYTES:
        return f"the end of the frame, by its data field length of {n_data:,}"
    first = envelope.number_of_data_1
    return f"{first:02x}, number of data 2: as many records as number of data 1 says end here"


def _crc(envelope: Envelope) -> str:
    field = envelope.crc.to_bytes(4).hex(" ")
    return f"{field}, the CRC-16 of bytes {envelope.data_start} to {envelope.data_stop - 1:,}"


def _codec(_: Envelope) -> str:
    return "08, 8e or 10: the id of a codec of AVL records"


def _count(envelope: Envelope) -> str:
    place = envelope.data_start + 1
    return f"{envelope.number_of_data_1:02x}, the number of data 1 at byte {place}"


def _nothing(_: Envelope) -> str:
    return ""


_EXPECTED: Final = MappingProxyType[str, Callable[[Envelope], str]](
    {
        "bad_preamble": _preamble,
        "length_out_of_range": _length,
        "truncated": _truncated,
        "trailing_bytes": _trailing,
        "crc_mismatch": _crc,
        "not_avl": _codec,
        "unsupported_codec": _codec,
        "record_count_mismatch": _count,
    }
)

"""What can be said of a frame whatever is wrong with it: its envelope, and the records that decode.

Source: Teltonika wiki, "Teltonika Data Sending Protocols": preamble, data field length, data field
(codec id, number of data 1, AVL records, number of data 2), CRC-16.
"""

from dataclasses import dataclass
from typing import Final

from teltonika_processor.codec.hexdump import Part
from teltonika_processor.codec.layouts import Transport
from teltonika_processor.codec.native import AvlPacket, crc16, decode_frame
from teltonika_processor.errors import DecodeError

_HEADER_BYTES: Final = 8
_CRC_BYTES: Final = 4
_DATA_FIELD_MIN_BYTES: Final = 3
# Bound: the decoder takes no lower limit; an empty TCP frame has so many.
_FRAME_MIN_BYTES: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """The fields around the records; None where the frame ends before them.

    Attributes:
        n_bytes: Length of the frame.
        start: Where the data field starts.
        stop: Where it ends by its length, or the frame before that.
        data_length: Length of the data field as sent; None for UDP, which sends none.
        is_whole: Whether the data field has a length that can be, and all its bytes are there.
        crc_sent: The CRC that the frame carries; None for UDP, which carries none.
        crc_computed: The CRC of its data field, where there is one to compare with.
    """

    n_bytes: int
    start: int
    stop: int
    preamble: bytes | None
    data_length: int | None
    is_whole: bool
    codec_id: int | None
    number_of_data_1: int | None
    number_of_data_2: int | None
    crc_sent: int | None
    crc_computed: int | None


def anatomy_of(frame: bytes, transport: Transport) -> Anatomy:
    """Read the envelope of a TCP frame, or of an AVL data array as UDP carries it."""
    start = _HEADER_BYTES if transport == "tcp" else 0
    length = _unsigned(frame, 4, 4) if transport == "tcp" else len(frame)
    stop = min(start + (length or 0), len(frame))
    is_whole = _DATA_FIELD_MIN_BYTES <= (length or 0) <= len(frame) - start
    crc_sent = _unsigned(frame, stop, _CRC_BYTES) if transport == "tcp" and is_whole else None
    return Anatomy(
        n_bytes=len(frame),
        start=start,
        stop=stop,
        preamble=frame[:4] if transport == "tcp" else None,
        data_length=length if transport == "tcp" else None,
        is_whole=is_whole,
        codec_id=_unsigned(frame, start, 1),
        number_of_data_1=_unsigned(frame, start + 1, 1),
        number_of_data_2=_unsigned(frame, stop - 1, 1) if is_whole else None,
        crc_sent=crc_sent,
        crc_computed=None if crc_sent is None else crc16(frame[start:stop]),
    )


def decoded_part(frame: bytes, transport: Transport) -> AvlPacket | None:
    """The records that decode from the start of the data field on; None if it has no AVL codec.

    Length, CRC and counts are not believed: of a frame with a wrong CRC these may be all records,
    and some of them may be wrong.
    """
    anatomy = anatomy_of(frame, transport)
    if anatomy.codec_id is None:
        return None
    body = _records_of(frame, anatomy)
    packet = _first_records(anatomy.codec_id, 0, body)
    # One of the two counts may be the damaged byte.
    for count in range(1, max(anatomy.number_of_data_1 or 0, anatomy.number_of_data_2 or 0) + 1):
        longer = _first_records(anatomy.codec_id, count, body)
        if longer is None:
            break
        packet = longer
    return packet


def parts_of(frame: bytes, transport: Transport) -> list[Part]:
    """Names of the stretches of a frame, for the hexdump."""
    anatomy = anatomy_of(frame, transport)
    parts: list[Part] = []
    if transport == "tcp":
        parts += [Part(0, "preamble"), Part(4, "data field length")]
    parts += [Part(anatomy.start, "codec id"), Part(anatomy.start + 1, "number of data 1")]
    start = anatomy.start + 2
    for index, record in enumerate(decoded_part(frame, transport) or ()):
        parts.append(Part(start, f"record {index}"))
        start += len(record.raw)
    if anatomy.number_of_data_2 is not None:
        parts.append(Part(anatomy.stop - 1, "number of data 2"))
    if anatomy.crc_sent is not None:
        parts.append(Part(anatomy.stop, "CRC-16"))
    return [part for part in parts if part.start < len(frame)]


def _records_of(frame: bytes, anatomy: Anatomy) -> bytes:
    """The bytes in which the records stand, or what is there of them."""
    if anatomy.is_whole:
        return frame[anatomy.start + 2 : anatomy.stop - 1]
    return frame[anatomy.start + 2 :]


def _first_records(codec_id: int, count: int, body: bytes) -> AvlPacket | None:
    """The first `count` records of `body`; None if they do not decode.

    Without CRC, as UDP carries them; the decoder names the byte behind the last record.
    """
    try:
        return _packet(codec_id, count, body)
    except DecodeError as error:
        if error.code != "trailing_bytes":
            return None
        end = error.offset - 2
    try:
        return _packet(codec_id, count, body[:end])
    except DecodeError:
        return None


def _packet(codec_id: int, count: int, records: bytes) -> AvlPacket:
    array = bytes((codec_id, count)) + records + bytes((count,))
    return decode_frame(array, transport="udp", frame_max_bytes=max(len(array), _FRAME_MIN_BYTES))


def _unsigned(frame: bytes, start: int, width: int) -> int | None:
    field = frame[start : start + width]
    return int.from_bytes(field) if len(field) == width else None

"""One frame, byte by byte. What is wrong with it the decoder says; the walk says what is where.

Source: Teltonika wiki, "Teltonika Data Sending Protocols": preamble, data field length, data field
(codec id, number of data 1, AVL records, number of data 2), CRC-16; UDP carries the data field.
"""

from dataclasses import dataclass
from typing import Final

from teltonika_processor.codec.dictionary import Dictionary
from teltonika_processor.codec.explain.commands import walk_messages
from teltonika_processor.codec.explain.faults import Envelope, fault_of
from teltonika_processor.codec.explain.records import Place, walk_records
from teltonika_processor.codec.explain.spans import CutError, Explanation, Walk
from teltonika_processor.codec.layouts import COMMAND_CODECS, LAYOUTS, Transport
from teltonika_processor.codec.native import crc16, decode_frame
from teltonika_processor.errors import DecodeError

CODEC_NAMES: Final = {
    0x07: "Codec 7",
    0x08: "Codec 8",
    0x8E: "Codec 8 Extended",
    0x10: "Codec 16",
    0x0C: "Codec 12",
    0x0D: "Codec 13",
    0x0E: "Codec 14",
    0x0F: "Codec 15",
}

_DATA_START: Final = 8

# Their length says nothing of the bytes behind, so those are not read.
_UNFRAMED: Final = frozenset({"bad_preamble", "length_out_of_range"})


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What frames are read with: the names of IO elements, and the longest frame that is taken."""

    dictionary: Dictionary
    frame_max_bytes: int


def explain_frame(frame: bytes, transport: Transport, knowledge: Knowledge) -> Explanation:
    """Explain a whole TCP frame, or the AVL data array of UDP.

    The fault is that of `decode_frame`, with its code and offset.
    """
    error = refusal(frame, transport, knowledge)
    walk = Walk(frame, 0, len(frame))
    envelope = walk_frame(walk, transport, knowledge, error)
    return Explanation(
        title=f"{envelope.codec_text} over {transport.upper()}",
        n_bytes=len(frame),
        spans=tuple(walk.spans),
        fault=None if error is None else fault_of(error, envelope, walk.spans),
    )


def refusal(frame: bytes, transport: Transport, knowledge: Knowledge) -> DecodeError | None:
    """What the decoder says against a frame."""
    try:
        decode_frame(frame, transport=transport, frame_max_bytes=knowledge.frame_max_bytes)
    except DecodeError as error:
        return error
    return None


def walk_frame(
    walk: Walk, transport: Transport, knowledge: Knowledge, error: DecodeError | None
) -> Envelope:
    """Note everything from where `walk` is to where it stops; what the envelope said."""
    envelope = Envelope(transport, len(walk.content), knowledge.frame_max_bytes)
    envelope.data_start, envelope.data_stop = walk.at, walk.stop
    is_framed = error is None or error.code not in _UNFRAMED
    try:
        if transport == "tcp":
            _walk_tcp(walk, envelope, knowledge, is_framed=is_framed)
        elif is_framed:
            _walk_data_field(walk, envelope, knowledge)
    except CutError:
        pass  # noted, and nothing can follow
    walk.rest("not read" if not is_framed else "behind the frame", "")
    return envelope


def _walk_tcp(walk: Walk, envelope: Envelope, knowledge: Knowledge, *, is_framed: bool) -> None:
    walk.octets(4, "preamble")
    if not is_framed and any(walk.content[:4]):
        return
    length = walk.unsigned(4, "data field length", unit="bytes")
    if not is_framed:
        return
    envelope.data_start, envelope.data_stop = _DATA_START, _DATA_START + length
    behind, walk.stop = walk.stop, min(envelope.data_stop, walk.stop)
    _walk_data_field(walk, envelope, knowledge)
    walk.stop = behind
    sent = int.from_bytes(walk.take(4, "CRC-16"))
    envelope.crc = crc16(walk.content[envelope.data_start : envelope.data_stop])
    note = "" if sent == envelope.crc else f"its data gives 0x{envelope.crc:04X}"
    walk.note(4, "CRC-16", value=f"0x{sent:04X}", note=note, raw=sent)


def _walk_data_field(walk: Walk, envelope: Envelope, knowledge: Knowledge) -> None:
    """Codec id to number of data 2, as much of it as is there."""
    stop, is_whole = walk.stop, walk.stop == envelope.data_stop
    codec_id = walk.unsigned(1, "codec id")
    walk.amend(-1, value=f"0x{codec_id:02X}", note=CODEC_NAMES.get(codec_id, "unknown"))
    envelope.codec_text = CODEC_NAMES.get(codec_id, f"codec id 0x{codec_id:02X}")
    envelope.number_of_data_1 = walk.unsigned(1, "number of data 1")
    if is_whole and walk.left:
        walk.stop -= 1
        _walk_records(walk, codec_id, envelope, knowledge)
    elif not is_whole:
        _walk_records(walk, codec_id, envelope, knowledge)
        if envelope.cut is not None:
            raise envelope.cut
    walk.rest("not read", "")
    walk.stop = stop
    walk.unsigned(1, "number of data 2")


def _walk_records(walk: Walk, codec_id: int, envelope: Envelope, knowledge: Knowledge) -> None:
    if codec_id in COMMAND_CODECS:
        envelope.cut = walk_messages(walk, codec_id)
    elif codec_id in LAYOUTS:
        place = Place(walk.content, walk.at, walk.stop, walk.level)
        n_records = envelope.number_of_data_1
        records = walk_records(place, codec_id, n_records, knowledge.dictionary)
        envelope.cut = records.cut
        walk.spans += records.walk.spans
        walk.at = records.walk.at

"""What an explanation says of single frames; that it agrees with the decoder is a property."""

from typing import Any, Literal

import pytest

import teltonika_processor as tp
from documented import documented, documented_invalid
from strategies import tcp_frame
from teltonika_processor.codec.dictionary_file import load_dictionary
from teltonika_processor.codec.explain import (
    Explanation,
    Fault,
    Knowledge,
    Span,
    explain_datagram,
    explain_frame,
    explain_pasted,
    hint,
)

KNOWLEDGE = Knowledge(load_dictionary(), 65_536)
VECTORS = {v["id"]: bytes.fromhex(v["hex"]) for v in [*documented(), *documented_invalid()]}

CODEC_8E = VECTORS["c8e-tcp-1"]
IMEI = b"356307042441013"


def explain(frame: bytes, transport: Literal["tcp", "udp"] = "tcp") -> Explanation:
    return explain_frame(frame, transport, KNOWLEDGE)


def field(explanation: Explanation, name: str) -> Span:
    return next(span for span in explanation.spans if span.field == name)


def fault_of(explanation: Explanation) -> Fault:
    assert explanation.fault is not None
    return explanation.fault


def marked(explanation: Explanation) -> Span:
    return explanation.spans[fault_of(explanation).span]


def said(span: Span) -> tuple[Any, ...]:
    return (span.start, span.stop, span.level, span.field, span.value, span.unit, span.note)


# Whole frames.


def test_every_byte_of_a_documented_frame_has_its_field_value_unit_and_name() -> None:
    explanation = explain(CODEC_8E)
    assert explanation.title == "Codec 8 Extended over TCP"
    assert explanation.fault is None
    assert [said(span) for span in explanation.spans] == [
        (0, 4, 0, "preamble", "", "", ""),
        (4, 8, 0, "data field length", "74", "bytes", ""),
        (8, 9, 0, "codec id", "0x8E", "", "Codec 8 Extended"),
        (9, 10, 0, "number of data 1", "1", "", ""),
        (10, 81, 0, "record 0", "", "", ""),
        (10, 18, 1, "timestamp", "2019-06-10T11:36:32.000Z", "", ""),
        (18, 19, 1, "priority", "1", "", "high"),
        (19, 34, 1, "GPS element", "", "", ""),
        (19, 23, 2, "longitude", "0.0000000", "\N{DEGREE SIGN}", ""),
        (23, 27, 2, "latitude", "0.0000000", "\N{DEGREE SIGN}", ""),
        (27, 29, 2, "altitude", "0", "m", ""),
        (29, 31, 2, "angle", "0", "\N{DEGREE SIGN}", ""),
        (31, 32, 2, "satellites", "0", "", "no fix"),
        (32, 34, 2, "speed", "0", "km/h", ""),
        (34, 36, 1, "event IO id", "1", "", "Digital Input 1"),
        (36, 38, 1, "number of elements", "5", "", ""),
        (38, 40, 1, "1-byte elements", "1", "", ""),
        (40, 43, 2, "IO 1 Digital Input 1", "1", "", ""),
        (43, 45, 1, "2-byte elements", "1", "", ""),
        (45, 49, 2, "IO 17 Axis X", "29", "mG", ""),
        (49, 51, 1, "4-byte elements", "1", "", ""),
        (51, 57, 2, "IO 16 Total Odometer", "22949000", "", ""),
        (57, 59, 1, "8-byte elements", "2", "", ""),
        (59, 69, 2, "IO 11 ICCID1", "893700218", "", ""),
        (69, 79, 2, "IO 14 ICCID2", "500686954", "", ""),
        (79, 81, 1, "variable-length elements", "0", "", ""),
        (81, 82, 0, "number of data 2", "1", "", ""),
        (82, 86, 0, "CRC-16", "0x2994", "", ""),
    ]


def test_south_and_west_are_negative() -> None:
    frame = tp.encode_frame(
        [{"recorded_at_ms": 0, "longitude_e7": -1, "latitude_e7": -338_688_197, "altitude_m": -3}]
    )
    explanation = explain(frame)
    assert field(explanation, "longitude").value == "-0.0000001"
    assert field(explanation, "latitude").value == "-33.8688197"
    assert field(explanation, "altitude").value == "-3"


def test_a_generation_type_and_a_priority_have_their_words() -> None:
    record = {"recorded_at_ms": 0, "generation_type": 5, "priority": 7}
    explanation = explain(tp.encode_frame([record], codec_id=0x10))
    assert (field(explanation, "generation type").note) == "on change"
    assert (field(explanation, "priority").note) == "not documented"


def test_elements_of_variable_length_hold_text_or_hex() -> None:
    io = {256: b"WVWZZZ1JZ3W386752", 385: b"\x11", 4: 7}
    explanation = explain(tp.encode_frame([{"recorded_at_ms": 0, "io": io}]))
    assert field(explanation, "IO 256 VIN").value == "WVWZZZ1JZ3W386752"
    assert field(explanation, "IO 385 Beacon").value == "0x11"
    foreign = field(explanation, "IO 4")
    assert (foreign.value, foreign.note) == (
        "7",
        "width 1, the dictionary has width 4: another device family",
    )


def test_an_event_has_the_name_of_its_element_where_that_has_one() -> None:
    for io, note in (({4: (7, 4)}, "Pulse Counter Din1"), ({4: (7, 1)}, ""), ({}, "")):
        frame = tp.encode_frame([{"recorded_at_ms": 0, "event_io_id": 4, "io": io}])
        assert field(explain(frame), "event IO id").note == note
    assert field(explain(tp.encode_frame([{"recorded_at_ms": 0}])), "event IO id").note == "none"


def test_the_unannounced_16_byte_group_of_codec_8_is_found() -> None:
    record = {"recorded_at_ms": 0, "io": {1: 1, 132: bytes(range(16))}}
    explanation = explain(tp.encode_frame([record], codec_id=0x08))
    assert field(explanation, "16-byte elements").value == "1"
    assert field(explanation, "IO 132").raw == bytes(range(16))


def test_a_total_that_is_wrong_and_an_id_that_repeats_are_noted_and_no_fault() -> None:
    record = bytes(24) + bytes.fromhex("0000 0007 0002 0001 05 0001 06 0000 0000 0000 0000")
    explanation = explain(tcp_frame(b"\x8e\x01" + record + b"\x01"))
    assert explanation.fault is None
    assert field(explanation, "number of elements").note == "its groups hold 2; delimits nothing"
    notes = [span.note for span in explanation.spans if span.io_id == 1]
    assert notes == ["stands again below, which counts", ""]


# Commands.


def test_a_command_and_its_text_are_shown_of_a_frame_that_holds_no_records() -> None:
    explanation = explain(CODEC_12)
    fault = fault_of(explanation)
    assert (fault.code, fault.offset) == ("not_avl", 8)
    assert fault.expected == "08, 8e or 10: the id of a codec of AVL records"
    assert explanation.title == "Codec 12 over TCP"
    assert field(explanation, "type").note == "command"
    assert field(explanation, "text").value == "getinfo"


CODEC_12 = tcp_frame(b"\x0c\x01\x05\x00\x00\x00\x07getinfo\x01")


def test_codec_14_and_15_say_the_imei_and_13_and_15_the_time() -> None:
    packed = bytes.fromhex("0352093081452251")
    body = b"\x00\x00\x00\x12" + bytes.fromhex("5e930000") + packed + b"hello!"
    explanation = explain(tcp_frame(b"\x0f\x01\x06" + body + b"\x01"))
    assert field(explanation, "timestamp").value == "2020-04-12T11:48:16.000Z"
    assert field(explanation, "IMEI").value == "352093081452251"
    assert field(explanation, "text").value == "hello!"


def test_a_message_that_does_not_fit_is_noted() -> None:
    explanation = explain(tcp_frame(b"\x0c\x01\x05\x00\x00\x00\x63getinfo\x01"))
    assert field(explanation, "message").note == "7 of 99 bytes"


def test_codec_7_is_recognised_and_not_read() -> None:
    explanation = explain(tcp_frame(b"\x07\x01" + bytes(9) + b"\x01"))
    assert explanation.title == "Codec 7 over TCP"
    assert fault_of(explanation).code == "unsupported_codec"
    assert field(explanation, "not read").stop - field(explanation, "not read").start == 9


# Faults, and what was expected there.


def test_a_wrong_crc_leaves_everything_before_it_explained() -> None:
    explanation = explain(CODEC_8E[:-1] + b"\x95")
    assert fault_of(explanation)[:4] == (
        "crc_mismatch",
        82,
        "the frame carries 0x2995, its data gives 0x2994",
        "00 00 29 94, the CRC-16 of bytes 8 to 81",
    )
    assert marked(explanation).field == "CRC-16"
    assert field(explanation, "IO 17 Axis X").value == "29"


def test_counts_that_differ_are_told_with_the_place_of_the_first() -> None:
    data = CODEC_8E[8:-5] + b"\x02"
    explanation = explain(tcp_frame(data))
    assert fault_of(explanation).expected == "01, the number of data 1 at byte 9"
    assert marked(explanation).field == "number of data 2"


@pytest.mark.parametrize(
    ("frame", "expected", "marked_field"),
    [
        (b"\x00\x01" + CODEC_8E[2:], "00 00 00 00, the preamble of a TCP frame", "preamble"),
        (
            CODEC_8E[:4] + b"\x00\x00\xff\xff" + CODEC_8E[8:],
            "3 to 65,524, the bytes of the data field; the frame that is here would have 74",
            "data field length",
        ),
        (
            CODEC_8E[:40],
            "46 more byte(s): by its length the data field ends at byte 82, the CRC-16 at byte 86",
            "IO id",
        ),
        (
            CODEC_8E[:84],
            "2 more byte(s): by its length the data field ends at byte 82, the CRC-16 at byte 86",
            "CRC-16",
        ),
        (CODEC_8E[:6], "8 bytes, the preamble and the data field length", "data field length"),
        (
            CODEC_8E + b"\x00",
            "the end of the frame, by its data field length of 74",
            "behind the frame",
        ),
        (
            tcp_frame(CODEC_8E[8:20] + b"\x01"),
            "4 byte(s) of longitude, 1 left for it before number of data 2",
            "longitude",
        ),
        (
            tcp_frame(CODEC_8E[8:81] + b"\xab\xcd\x01"),
            "01, number of data 2: as many records as number of data 1 says end here",
            "not read",
        ),
        (
            tcp_frame(b"\x42\x01\x01"),
            "08, 8e or 10: the id of a codec of AVL records",
            "codec id",
        ),
    ],
)
def test_a_fault_says_what_was_expected_and_marks_the_field(
    frame: bytes, expected: str, marked_field: str
) -> None:
    explanation = explain(frame)
    assert fault_of(explanation).expected == expected
    assert marked(explanation).field == marked_field


def test_a_field_that_is_cut_says_how_much_of_it_is_there() -> None:
    explanation = explain(CODEC_8E[:21])
    assert (marked(explanation).field, marked(explanation).note) == ("longitude", "2 of 4 bytes")
    explanation = explain(CODEC_8E[:19])
    assert (marked(explanation).field, marked(explanation).note) == ("longitude", "missing")


# Datagrams.


ARRAY = CODEC_8E[8:-4]


def channel_packet(array: bytes, imei: bytes = IMEI, *, length: int | None = None) -> bytes:
    fields = b"\xca\xfe\x01\x05" + len(imei).to_bytes(2) + imei + array
    return (len(fields) if length is None else length).to_bytes(2) + fields


def test_a_datagram_is_explained_packet_by_packet() -> None:
    explanation = explain_datagram(2 * channel_packet(ARRAY), KNOWLEDGE)
    assert (explanation.title, explanation.fault) == ("UDP datagram, 2 channel packet(s)", None)
    assert said(field(explanation, "packet id")) == (2, 4, 1, "packet id", "0xCAFE", "", "")
    assert said(field(explanation, "IMEI")) == (8, 23, 1, "IMEI", "356307042441013", "", "")
    second = [span for span in explanation.spans if span.field == "codec id"][1]
    assert (second.start, second.level) == (2 * 23 + len(ARRAY), 1)


@pytest.mark.parametrize(
    ("datagram", "code", "offset", "expected"),
    [
        (b"", "truncated", 0, "2 byte(s), the packet length"),
        (b"\x00\x03\xca\xfe\x01", "truncated", 5, "1 byte(s), the AVL packet id"),
        (
            channel_packet(ARRAY, length=347),
            "channel_length_mismatch",
            0,
            "at most 95, the bytes behind this field",
        ),
        (channel_packet(b"", b"3563070424410131"), "bad_imei", 6, "00 0f, the length of an IMEI"),
        (channel_packet(ARRAY, b"35630704244101x"), "bad_imei", 8, "15 ASCII digits"),
        (
            channel_packet(ARRAY) + channel_packet(ARRAY[:-1] + b"\x02"),
            "record_count_mismatch",
            2 * 97 - 1,
            "01, the number of data 1 at byte 121",
        ),
    ],
)
def test_a_fault_of_a_datagram_counts_from_its_start(
    datagram: bytes, code: str, offset: int, expected: str
) -> None:
    explanation = explain_datagram(datagram, KNOWLEDGE)
    assert fault_of(explanation)[:2] == (code, offset)
    assert fault_of(explanation).expected == expected
    assert marked(explanation).start == offset


@pytest.mark.parametrize("name", ["c16-udp-1-as-printed", "c8-udp-fm3400-as-printed"])
def test_documented_datagrams_with_wrong_lengths_have_their_stated_fault(name: str) -> None:
    explanation = explain_pasted(VECTORS[name], "tcp", KNOWLEDGE)
    assert fault_of(explanation)[:2] == ("channel_length_mismatch", 0)


# What people paste.


def test_a_handshake_and_pings_are_told_apart_from_frames() -> None:
    handshake = explain_pasted(b"\x00\x0f" + IMEI, "tcp", KNOWLEDGE)
    assert (handshake.title, handshake.fault) == ("IMEI handshake, no frame", None)
    assert field(handshake, "IMEI").value == "356307042441013"
    pings = explain_pasted(b"\xff\xff", "tcp", KNOWLEDGE)
    assert [span.field for span in pings.spans] == ["ping", "ping"]
    assert pings.fault is None


def test_a_channel_packet_needs_no_word_on_its_transport() -> None:
    assert explain_pasted(channel_packet(ARRAY), "tcp", KNOWLEDGE).fault is None
    assert explain_pasted(ARRAY, "udp", KNOWLEDGE).fault is None


def test_what_is_of_the_other_transport_is_hinted_at() -> None:
    assert hint(ARRAY, "tcp") == ("this looks like the AVL data array of UDP: use --transport udp")
    assert hint(CODEC_8E, "udp") == "this looks like a TCP frame: use --transport tcp"
    assert hint(CODEC_8E, "tcp") == ""

"""`encode_frame`, native and reference: what is written, and what is refused instead of cut."""

from typing import Any

import pytest

import teltonika_processor as tp
from documented import documented
from teltonika_processor.codec import reference

BOTH = pytest.mark.parametrize("encoder", [tp, reference], ids=["native", "reference"])

# "c8-tcp-1", whose last two elements are wider than their values need.
DOCUMENTED = {
    "recorded_at_ms": 1560161086000,
    "priority": 1,
    "event_io_id": 1,
    "io": {21: 3, 1: 1, 66: 24079, 241: (24602, 4), 78: (0, 8)},
}


@BOTH
def test_a_documented_frame_comes_out_byte_for_byte(encoder: Any) -> None:
    (vector,) = [v for v in documented() if v["id"] == "c8-tcp-1"]
    assert encoder.encode_frame([DOCUMENTED], codec_id=0x08).hex() == vector["hex"]


@BOTH
def test_absent_fields_are_zero_and_codec_8_extended_is_the_default(encoder: Any) -> None:
    frame = encoder.encode_frame([{"recorded_at_ms": 1}], transport="udp")
    assert frame == b"\x8e\x01" + bytes(7) + b"\x01" + bytes(16 + 14) + b"\x01"


@BOTH
def test_integers_take_the_narrowest_group_that_holds_them(encoder: Any) -> None:
    io = {1: 0xFF, 2: 0x100, 3: 0xFFFF, 4: 0x1_0000, 5: 0xFFFF_FFFF, 6: 0x1_0000_0000}
    frame = encoder.encode_frame([{"recorded_at_ms": 0, "io": io}], codec_id=0x08, transport="udp")
    assert frame[2 + 24 + 2 : -1].hex(" ", -1) == " ".join(
        (
            *("01", "01 ff"),
            *("02", "02 01 00", "03 ff ff"),
            *("02", "04 00 01 00 00", "05 ff ff ff ff"),
            *("01", "06 00 00 00 01 00 00 00 00"),
        )
    )


@BOTH
def test_sixteen_bytes_in_codec_8_give_every_record_its_group(encoder: Any) -> None:
    records = [{"recorded_at_ms": 0, "io": {9: bytes(range(16))}}, {"recorded_at_ms": 0}]
    frame = encoder.encode_frame(records, codec_id=0x08, transport="udp")
    assert len(frame) == 3 + 31 + 17 + 31
    assert [dict(r.io) for r in tp.decode_frame(frame, transport="udp")] == [
        {9: bytes(range(16))},
        {},
    ]


@BOTH
@pytest.mark.parametrize(
    ("codec_id", "record"),
    [
        (0x08, {"io": {256: 1}}),
        (0x08, {"event_io_id": 256}),
        (0x08, {"io": {1: b"fifteen bytes.."}}),
        (0x08, {"generation_type": 7}),
        (0x8E, {"generation_type": 7}),
        (0x8E, {"io": {1: bytes(65_536)}}),
        (0x8E, {"io": {1: 1 << 64}}),
        (0x8E, {"io": {1: -1}}),
        (0x8E, {"io": {1: (256, 1)}}),
        (0x8E, {"io": {1: (1, 3)}}),
        (0x8E, {"altitude_m": 32_768}),
        (0x8E, {"longitude_e7": 1 << 31}),
        (0x8E, {"speed_kmh": 65_536}),
        (0x8E, {"satellites": 256}),
        (0x8E, {"recorded_at_ms": -1}),
        (0x10, {"io": {1: b"bytes"}}),
        (0x10, {"io": dict.fromkeys(range(256), 1)}),
        (0x10, {"generation_type": 256}),
    ],
)
def test_what_the_codec_cannot_carry_is_refused(
    codec_id: int, record: dict[str, Any], encoder: Any
) -> None:
    with pytest.raises(ValueError, match=r"."):
        encoder.encode_frame([{"recorded_at_ms": 0} | record], codec_id=codec_id)


@BOTH
def test_more_records_than_a_byte_counts_are_refused(encoder: Any) -> None:
    assert len(tp.decode_frame(encoder.encode_frame([{"recorded_at_ms": 0}] * 255))) == 255
    with pytest.raises(ValueError, match="256"):
        encoder.encode_frame([{"recorded_at_ms": 0}] * 256)


@BOTH
@pytest.mark.parametrize("codec_id", [0x00, 0x07, 0x0C])
def test_only_avl_codecs_are_encoded(codec_id: int, encoder: Any) -> None:
    with pytest.raises(ValueError, match="codec"):
        encoder.encode_frame([], codec_id=codec_id)


@BOTH
@pytest.mark.parametrize("record", [{}, {"recorded_at_ms": 0, "speed": 1}])
def test_a_missing_time_or_a_mistyped_field_is_a_type_error(
    record: dict[str, Any], encoder: Any
) -> None:
    with pytest.raises(TypeError):
        encoder.encode_frame([record])


@pytest.mark.parametrize("codec_id", [-1, 256, 1 << 70])
def test_a_codec_id_that_no_byte_holds_is_refused_with_what_is_expected(codec_id: int) -> None:
    message = rf"^codec_id is {codec_id}, expected 0x08, 0x8E or 0x10(\n|$)"
    with pytest.raises(ValueError, match=message):
        tp.encode_frame([], codec_id=codec_id)


def test_what_is_no_record_is_named() -> None:
    records: list[Any] = [{"recorded_at_ms": 0}, 1]
    message = "^record 1: <class 'int'> has no recorded_at_ms, expected an AvlRecord or a mapping$"
    with pytest.raises(TypeError, match=message):
        tp.encode_frame(records)


def test_an_io_value_that_is_no_pair_is_named() -> None:
    with pytest.raises(ValueError, match=r"^record 0: the value of IO id 9 is a tuple of 3, "):
        tp.encode_frame([{"recorded_at_ms": 0, "io": {9: (1, 2, 3)}}])

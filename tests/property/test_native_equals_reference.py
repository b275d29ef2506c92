"""Native decoder and plain-Python reference: same records, or same code at the same byte."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import teltonika_processor as tp
from strategies import (
    WireFrame,
    any_frames,
    damaged_frames,
    foreign_bytes,
    records,
    truncated_frames,
    valid_frames,
    wrap,
)
from teltonika_processor.codec import reference

FIELDS = (
    *("recorded_at_ms", "priority", "longitude_e7", "latitude_e7", "altitude_m", "angle_deg"),
    *("satellites", "speed_kmh", "event_io_id", "generation_type"),
)

COLUMNS = tuple(field for field in FIELDS if field != "generation_type")

# Two records with the 16-byte group that fit the documented layout too, but not with their totals.
AMBIGUOUS = WireFrame(
    bytes.fromhex(
        "08020000018bee272713000f14ce40209cbc83007f00160500240006041570c2453f9e3593000001a90000000000004a"
        "8001c575d5f1b3b7a67bf944b5b9bed042d9c70000018bee272afb000f177c1a20a36088006e0137090001000402eb04"
        "53ce0001db00008edd0001830000000000000000000000000000000002"
    ),
    "udp",
)


def fields_of(record: Any) -> tuple[Any, ...]:
    values = [getattr(record, name) for name in FIELDS]
    return (*values, dict(record.io), bytes(record.raw))


def outcome(decoder: Any, frame: WireFrame) -> tuple[Any, ...]:
    try:
        packet = decoder.decode_frame(frame.data, transport=frame.transport)
    except tp.DecodeError as error:
        return (error.code, error.offset)
    return (packet.codec_id, [fields_of(record) for record in packet])


def assert_same(frame: WireFrame) -> tuple[Any, ...]:
    native = outcome(tp, frame)
    assert native == outcome(reference, frame)
    return native


@given(valid_frames())
@example(AMBIGUOUS)
def test_valid_frames_give_the_same_records(frame: WireFrame) -> None:
    codec_or_code, _ = assert_same(frame)
    assert codec_or_code in {0x08, 0x8E, 0x10}


@settings(max_examples=600)
@given(damaged_frames())
def test_damaged_frames_give_the_same_code_and_offset(frame: WireFrame) -> None:
    assert_same(frame)


@settings(max_examples=300)
@given(truncated_frames())
def test_truncated_frames_give_the_same_code_and_offset(frame: WireFrame) -> None:
    assert_same(frame)


@settings(max_examples=200)
@given(foreign_bytes())
@example(WireFrame(b"", "tcp"))
@example(WireFrame(b"", "udp"))
@example(WireFrame(b"\x08", "udp"))
@example(WireFrame(b"\x08\x00", "udp"))
@example(WireFrame(b"\x07", "udp"))
@example(WireFrame(b"\x08\x00\x00", "udp"))
def test_foreign_bytes_give_the_same_code_and_offset(frame: WireFrame) -> None:
    assert_same(frame)


@given(valid_frames(), st.data())
def test_one_flipped_bit_of_a_tcp_frame_is_always_refused(
    frame: WireFrame, data: st.DataObject
) -> None:
    whole = frame.data if frame.transport == "tcp" else wrap(frame.data, "tcp").data
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = int.from_bytes(whole, "big") ^ (1 << bit)
    with pytest.raises(tp.DecodeError):
        tp.decode_frame(flipped.to_bytes(len(whole), "big"))


@given(st.lists(any_frames().filter(lambda frame: frame.transport == "tcp"), max_size=5))
def test_a_batch_gives_the_columns_of_its_frames_one_by_one(frames: list[WireFrame]) -> None:
    batch = tp.decode_batch([frame.data for frame in frames])
    outcomes = reference.decode_batch([frame.data for frame in frames])
    decoded = [o.records if isinstance(o, reference.AvlPacket) else () for o in outcomes]
    errors = [
        (index, error.code, error.offset)
        for index, error in enumerate(outcomes)
        if isinstance(error, tp.DecodeError)
    ]
    flat = [record for records_of_frame in decoded for record in records_of_frame]
    assert [reject[:3] for reject in batch.rejects()] == errors
    for name in COLUMNS:
        assert list(getattr(batch, name)) == [getattr(record, name) for record in flat]
    generation_types = [None if g < 0 else g for g in batch.generation_type]
    assert generation_types == [record.generation_type for record in flat]
    offsets = list(batch.record_offsets)
    n_records = [stop - start for start, stop in pairwise(offsets)]
    assert n_records == [len(records_of_frame) for records_of_frame in decoded]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec_id", [0x08, 0x8E, 0x10])
@settings(max_examples=50)
@given(st.data())
def test_both_encoders_write_the_same_bytes_and_both_decoders_read_them_back(
    codec_id: int, transport: Any, data: st.DataObject
) -> None:
    given_records = data.draw(st.lists(records(codec_id), max_size=4))
    frame = tp.encode_frame(given_records, codec_id=codec_id, transport=transport)
    assert frame == reference.encode_frame(given_records, codec_id=codec_id, transport=transport)
    read = tp.decode_frame(frame, transport=transport)
    assert [
        {name: getattr(record, name) for name in FIELDS} | {"io": dict(record.io)}
        for record in read
    ] == [record | {"io": values_of(record["io"])} for record in given_records]
    assert_same(WireFrame(frame, transport))


def values_of(io: dict[int, Any]) -> dict[int, int | bytes]:
    return {io_id: v[0] if isinstance(v, tuple) else v for io_id, v in io.items()}


@pytest.mark.parametrize("codec_id", [0x08, 0x8E, 0x10])
@settings(max_examples=50)
@given(st.data())
def test_a_decoded_packet_encodes_to_the_same_values(codec_id: int, data: st.DataObject) -> None:
    given_records = data.draw(st.lists(records(codec_id), max_size=4))
    read = tp.decode_frame(tp.encode_frame(given_records, codec_id=codec_id))
    again = tp.decode_frame(tp.encode_frame(read.records, codec_id=codec_id))
    assert [fields_of(record)[:-1] for record in again] == [fields_of(r)[:-1] for r in read]


@given(st.binary(max_size=300))
def test_both_crcs_agree(data: bytes) -> None:
    assert tp.crc16(data) == reference.crc16(data)

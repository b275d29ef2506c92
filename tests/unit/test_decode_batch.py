"""`decode_batch`: columns over the records of all frames, and one outcome per frame."""

import gc
import io
import itertools
import sys
from typing import Any

import pytest

import teltonika_processor as tp
from strategies import tcp_frame
from teltonika_processor.codec.native import CopyData, decode_entries

RECORD: dict[str, Any] = {
    "recorded_at_ms": 1_560_161_136_000,
    "priority": 1,
    "longitude_e7": -252_645_135,
    "latitude_e7": 546_990_336,
    "altitude_m": -13,
    "angle_deg": 359,
    "satellites": 12,
    "speed_kmh": 300,
    "event_io_id": 0,
    "generation_type": None,
    "io": {},
}


def record(**changes: Any) -> dict[str, Any]:
    return RECORD | changes


ONE = tp.encode_frame([record(io={21: 3, 66: 24079})])
TWO = tp.encode_frame([record(speed_kmh=1), record(speed_kmh=2, io={1: 2**64 - 1})])
SIXTEEN = tp.encode_frame([record(generation_type=7)], codec_id=0x10)
NO_RECORDS = tp.encode_frame([])
BAD_CRC = ONE[:-1] + bytes([ONE[-1] ^ 1])
COMMAND = tcp_frame(bytes.fromhex("0c010500000005676574696f01"))

FORMATS = {
    "reject_code": "B",
    "reject_offset": "I",
    "codec_id": "B",
    "imei": "q",
    "received_at_ms": "q",
    "record_offsets": "I",
    "recorded_at_ms": "Q",
    "priority": "B",
    "longitude_e7": "i",
    "latitude_e7": "i",
    "altitude_m": "h",
    "angle_deg": "H",
    "satellites": "B",
    "speed_kmh": "H",
    "event_io_id": "H",
    "generation_type": "h",
    "io_offsets": "I",
    "n_variable": "H",
    "io_id": "H",
    "io_value": "Q",
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_column_is_a_read_only_memoryview_of_its_documented_type(name: str) -> None:
    column = getattr(tp.decode_batch([ONE, TWO]), name)
    assert isinstance(column, memoryview)
    # On Linux "L" and "Q" are both 64 bits wide; the contract is sign and width.
    assert column.format in {FORMATS[name], {"q": "l", "Q": "L"}.get(FORMATS[name])}
    assert column.readonly
    assert column.c_contiguous


def test_a_batch_counts_frames_records_elements_and_rejects() -> None:
    batch = tp.decode_batch([ONE, TWO, BAD_CRC, NO_RECORDS])
    assert (batch.n_frames, batch.n_records, batch.n_elements, batch.n_rejected) == (4, 3, 3, 1)


def test_columns_hold_the_records_in_input_order() -> None:
    batch = tp.decode_batch([ONE, TWO, SIXTEEN])
    assert list(batch.recorded_at_ms) == [1_560_161_136_000] * 4
    assert list(batch.speed_kmh) == [300, 1, 2, 300]
    assert list(batch.longitude_e7) == [-252_645_135] * 4
    assert list(batch.latitude_e7) == [546_990_336] * 4
    assert list(batch.altitude_m) == [-13] * 4
    assert list(batch.angle_deg) == [359] * 4
    assert list(batch.satellites) == [12] * 4
    assert list(batch.priority) == [1] * 4
    assert list(batch.generation_type) == [-1, -1, -1, 7]
    assert list(batch.record_offsets) == [0, 1, 3, 4]


def test_elements_stand_by_record_with_unsigned_values() -> None:
    batch = tp.decode_batch([ONE, TWO])
    assert list(batch.io_offsets) == [0, 2, 2, 3]
    assert list(batch.io_id) == [21, 66, 1]
    assert list(batch.io_value) == [3, 24079, 2**64 - 1]


def test_a_variable_element_s_value_is_where_it_stands_in_its_frame() -> None:
    frame = tp.encode_frame([record(io={385: b"\x11\x22\x33"})])
    batch = tp.decode_batch([ONE, frame])
    offset, length = divmod(batch.io_value[2], 2**32)
    assert frame[offset : offset + length] == b"\x11\x22\x33"
    assert list(batch.n_variable) == [0, 1]


def test_a_bad_frame_between_good_ones_hurts_neither() -> None:
    alone, among = tp.decode_batch([ONE, TWO]), tp.decode_batch([ONE, BAD_CRC, COMMAND, TWO])
    assert list(among.record_offsets) == [0, 1, 1, 1, 3]
    for name in ("recorded_at_ms", "speed_kmh", "io_offsets", "io_id", "io_value"):
        assert list(getattr(among, name)) == list(getattr(alone, name))


def test_every_frame_has_an_outcome_and_rejects_say_where_and_why() -> None:
    batch = tp.decode_batch([ONE, BAD_CRC, COMMAND, NO_RECORDS])
    numbers = {code: number for number, code, _ in tp.error_catalogue()}
    assert list(batch.reject_code) == [0, numbers["crc_mismatch"], numbers["not_avl"], 0]
    assert list(batch.reject_offset) == [0, len(BAD_CRC) - 4, 8, 0]
    rejects = batch.rejects()
    assert [reject[:3] for reject in rejects] == [
        (1, "crc_mismatch", len(BAD_CRC) - 4),
        (2, "not_avl", 8),
    ]
    assert all(text for _, _, _, text in rejects)


def test_a_rejected_frame_keeps_the_codec_id_0_where_it_is_unknown() -> None:
    batch = tp.decode_batch([b"", ONE])
    assert list(batch.codec_id) == [0, 0x8E]


def test_frames_alone_know_neither_imei_nor_receive_time() -> None:
    batch = tp.decode_batch([ONE, BAD_CRC])
    assert list(batch.imei) == [0, 0]
    assert list(batch.received_at_ms) == [0, 0]


def test_an_empty_list_is_an_empty_batch() -> None:
    batch = tp.decode_batch([])
    assert (batch.n_frames, batch.n_records, batch.n_elements, batch.n_rejected) == (0, 0, 0, 0)
    assert list(batch.record_offsets) == [0]
    assert list(batch.io_offsets) == [0]
    assert batch.rejects() == []
    assert all(len(getattr(batch, name)) == 0 for name in ("recorded_at_ms", "io_id", "imei"))


def test_only_empty_frames_give_no_records_and_two_offsets() -> None:
    batch = tp.decode_batch([NO_RECORDS])
    assert (batch.n_records, batch.n_rejected) == (0, 0)
    assert list(batch.record_offsets) == [0, 0]


def test_a_column_outlives_its_batch() -> None:
    column = tp.decode_batch([TWO] * 100).speed_kmh
    gc.collect()
    assert list(column) == [1, 2] * 100


def test_a_frame_that_is_no_bytes_is_a_type_error() -> None:
    frames: list[Any] = [ONE, "00"]
    with pytest.raises(TypeError):
        tp.decode_batch(frames)


def test_the_limit_holds_for_each_frame() -> None:
    batch = tp.decode_batch([NO_RECORDS, TWO], frame_max_bytes=len(NO_RECORDS))
    assert [code for _, code, _, _ in batch.rejects()] == ["length_out_of_range"]


def test_udp_arrays_decode_with_their_transport() -> None:
    arrays = [frame[8:-4] for frame in (ONE, TWO)]
    batch = tp.decode_batch(arrays, transport="udp")
    assert (batch.n_records, batch.n_rejected) == (3, 0)


def test_chunks_cut_frames_by_records_and_never_leave_one_out() -> None:
    batch = tp.decode_batch([ONE, TWO, TWO, BAD_CRC, ONE])
    chunks = batch.chunks(3)
    assert chunks[0][0] == 0
    assert chunks[-1][1] == 5
    assert all(left[1] == right[0] for left, right in itertools.pairwise(chunks))
    offsets = list(batch.record_offsets)
    assert all(offsets[stop] - offsets[start] <= 3 for start, stop in chunks)


def test_a_frame_above_the_bound_of_a_chunk_is_a_chunk_of_its_own() -> None:
    assert tp.decode_batch([TWO, TWO]).chunks(1) == [(0, 1), (1, 2)]


def test_a_length_reserves_no_room_that_the_frames_do_not_fill() -> None:
    endless: Any = range(10**18)
    with pytest.raises(TypeError, match="frame 0 is <class 'int'>, expected bytes"):
        tp.decode_batch(endless)


@pytest.mark.parametrize("bound", [-1, 0, 14, 536_870_913, 1 << 70])
def test_a_limit_out_of_its_range_is_refused_with_the_range(bound: int) -> None:
    message = rf"^frame_max_bytes is {bound}, expected 15 to 536870912(\n|$)"
    with pytest.raises(ValueError, match=message):
        tp.decode_batch([], frame_max_bytes=bound)
    with pytest.raises(ValueError, match=message):
        tp.decode_frame(ONE, frame_max_bytes=bound)
    with pytest.raises(ValueError, match=message):
        decode_entries([], frame_max_bytes=bound)


def test_a_limit_that_is_no_integer_is_a_type_error() -> None:
    bound: Any = "65536"
    with pytest.raises(TypeError, match="frame_max_bytes"):
        tp.decode_batch([], frame_max_bytes=bound)


def test_a_negative_bound_of_a_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^max_records is -1, expected 0 to "):
        tp.decode_batch([ONE]).chunks(-1)


@pytest.mark.parametrize("kind", ["column", "copy"])
def test_a_writable_view_is_refused_and_leaves_the_owner_alone(kind: str) -> None:
    batch = tp.decode_batch([ONE])
    exporter: Any = batch.speed_kmh.obj if kind == "column" else copy_of_one()
    before = sys.getrefcount(exporter)
    with pytest.raises(TypeError, match="read-write"):
        io.BytesIO(b"0").readinto(exporter)
    assert sys.getrefcount(exporter) == before


def copy_of_one() -> CopyData:
    entry = [b"1700000000000-0", [b"imei", b"356307042441013", b"frame", ONE]]
    return decode_entries([entry]).rows().copy_positions()

"""`decode_frame`: what the records of one frame are made of."""

import ctypes
import pickle
from typing import Any

import pytest

import teltonika_processor as tp
from strategies import tcp_frame

# Codec 8, one record at 2019-06-10T10:05:36Z, no fix, elements 21 and 1 (1 byte) and 66 (2 bytes).
DOCUMENTED = bytes.fromhex(
    "000000000000002808010000016b40d9ad8001000000000000000000000000000000"
    "0103021503010101425e100000010000f22a"
)
RAW_START, RAW_STOP = 10, 47

HEAD = bytes.fromhex(
    "0000016b40d9ad80"  # 2019-06-10T10:05:36Z
    "02"  # priority
    "f0f0f0f1"  # longitude -25.2645135
    "9d7ab5c0"  # latitude -165.2902464: out of range, and not the decoder's business
    "fff3"  # altitude -13
    "0168"  # angle 360
    "0c"  # satellites
    "012c"  # speed 300
)


def codec_8e(*records: bytes) -> bytes:
    count = bytes([len(records)])
    return tcp_frame(b"\x8e" + count + b"".join(records) + count)


def only_record(frame: bytes, **options: Any) -> tp.AvlRecord:
    (record,) = tp.decode_frame(frame, **options)
    return record


def address_of(view: bytes | memoryview) -> int:
    # ctypes' own from_buffer refuses what is read-only; `buf` is the first field of a Py_buffer.
    buffer = (ctypes.c_ssize_t * 32)()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), buffer, 0)
    address = buffer[0]
    ctypes.pythonapi.PyBuffer_Release(buffer)
    return address


def test_raw_is_the_record_s_bytes_at_the_caller_s_address() -> None:
    raw = only_record(DOCUMENTED).raw
    assert bytes(raw) == DOCUMENTED[RAW_START:RAW_STOP]
    assert address_of(raw) == address_of(DOCUMENTED) + RAW_START


def test_raw_is_read_only_bytes() -> None:
    raw = only_record(DOCUMENTED).raw
    assert isinstance(raw, memoryview)
    assert raw.readonly
    assert (raw.format, raw.itemsize, raw.ndim) == ("B", 1, 1)


def test_raw_outlives_record_packet_and_the_caller_s_name() -> None:
    frame = bytes(bytearray(DOCUMENTED))
    raw = only_record(frame).raw
    del frame
    assert bytes(raw) == DOCUMENTED[RAW_START:RAW_STOP]


def test_every_field_of_the_head_has_its_sign_and_unit() -> None:
    io_part = bytes.fromhex("01ff 0000 0000 0000 0000 0000 0000")
    record = only_record(codec_8e(HEAD + io_part))
    assert record.recorded_at_ms == 1560161136000
    assert record.priority == 2
    assert record.longitude_e7 == -252645135
    assert record.latitude_e7 == -1652902464
    assert record.altitude_m == -13
    assert record.angle_deg == 360
    assert record.satellites == 12
    assert record.speed_kmh == 300
    assert record.event_io_id == 0x01FF
    assert record.generation_type is None
    assert dict(record.io) == {}


def test_integers_of_io_elements_are_unsigned_in_every_width() -> None:
    io_part = bytes.fromhex(
        "0000 00040001 0001 ff0001 0002 ffff0001 0003 ffffffff0001 ffff ffffffffffffffff0000"
    )
    io = only_record(codec_8e(HEAD + io_part)).io
    assert dict(io) == {1: 0xFF, 2: 0xFFFF, 3: 0xFFFF_FFFF, 0xFFFF: 0xFFFF_FFFF_FFFF_FFFF}


def test_variable_elements_are_bytes_even_of_length_0_and_1() -> None:
    io_part = bytes.fromhex(
        "0000 0003 0000 0000 0000 0000 0003 0181 0000 0182 0001 11 0183 0002 abcd"
    )
    io = only_record(codec_8e(HEAD + io_part)).io
    assert dict(io) == {385: b"", 386: b"\x11", 387: b"\xab\xcd"}


def test_sixteen_byte_elements_of_codec_8_are_bytes() -> None:
    value = bytes(range(16))
    io_part = bytes.fromhex("00 01 00 00 00 00 01 09") + value
    record = only_record(tcp_frame(b"\x08\x01" + HEAD + io_part + b"\x01"))
    assert dict(record.io) == {9: value}
    assert bytes(record.raw) == HEAD + io_part


def test_generation_type_is_a_number_in_codec_16_only() -> None:
    io_part = bytes.fromhex("0000 07 00 00 00 00 00")
    record = only_record(tcp_frame(b"\x10\x01" + HEAD + io_part + b"\x01"))
    assert record.generation_type == 7
    assert only_record(DOCUMENTED).generation_type is None


def test_a_timestamp_with_the_top_bit_is_unsigned() -> None:
    head = b"\xff" * 8 + HEAD[8:]
    record = only_record(codec_8e(head + bytes(14)))
    assert record.recorded_at_ms == 0xFFFF_FFFF_FFFF_FFFF


def test_records_of_equal_time_all_stay_in_their_order() -> None:
    first, second = HEAD + bytes(14), HEAD + b"\x00\x01" + bytes(12)
    packet = tp.decode_frame(codec_8e(first, second, first))
    assert [record.event_io_id for record in packet] == [0, 1, 0]
    assert [bytes(record.raw) for record in packet.records] == [first, second, first]


def test_the_stated_total_of_elements_is_not_trusted() -> None:
    io_part = bytes.fromhex("0000 ffff 0001 0001 05 0000 0000 0000 0000")
    assert dict(only_record(codec_8e(HEAD + io_part)).io) == {1: 5}


def test_a_frame_without_records_is_valid_and_empty() -> None:
    packet = tp.decode_frame(codec_8e())
    assert packet.codec_id == 0x8E
    assert packet.records == ()
    assert len(packet) == 0
    assert list(packet) == []


def test_a_udp_array_has_no_envelope() -> None:
    array = DOCUMENTED[8:-4]
    assert bytes(only_record(array, transport="udp").raw) == DOCUMENTED[RAW_START:RAW_STOP]


@pytest.mark.parametrize("frame", ["00", bytearray(DOCUMENTED), memoryview(DOCUMENTED), None, 0])
def test_anything_but_bytes_is_a_type_error(frame: Any) -> None:
    with pytest.raises(TypeError):
        tp.decode_frame(frame)


def test_another_transport_is_a_value_error() -> None:
    transport: Any = "serial"
    with pytest.raises(ValueError, match="serial"):
        tp.decode_frame(DOCUMENTED, transport=transport)


@pytest.mark.parametrize("limit", [0, 14, (512 << 20) + 1])
def test_a_limit_out_of_range_is_a_value_error(limit: int) -> None:
    with pytest.raises(ValueError, match="frame_max_bytes"):
        tp.decode_frame(DOCUMENTED, frame_max_bytes=limit)


def test_a_frame_above_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    assert len(tp.decode_frame(DOCUMENTED, frame_max_bytes=len(DOCUMENTED))) == 1
    with pytest.raises(tp.DecodeError) as refusal:
        tp.decode_frame(DOCUMENTED, frame_max_bytes=len(DOCUMENTED) - 1)
    assert (refusal.value.code, refusal.value.offset) == ("length_out_of_range", 4)


def test_a_decode_error_says_what_where_and_survives_pickling() -> None:
    with pytest.raises(tp.DecodeError) as refusal:
        tp.decode_frame(DOCUMENTED[:-1] + b"\x2b")
    error = refusal.value
    assert isinstance(error, ValueError)
    assert str(error).startswith("crc_mismatch at byte 48: ")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own bytes
    assert (copy.code, copy.offset, str(copy)) == ("crc_mismatch", 48, str(error))

import pytest

import teltonika_processor as tp
from telemetry import BASE_MS, record
from teltonika_processor.codec.anatomy import anatomy_of, decoded_part, parts_of

TIMES = [BASE_MS, BASE_MS + 1_000, BASE_MS + 2_000]
CODECS = [0x08, 0x8E, 0x10]


def frame_of(codec_id: int = 0x8E) -> bytes:
    return tp.encode_frame([record(time_ms) for time_ms in TIMES], codec_id=codec_id)


def array_of(codec_id: int = 0x8E) -> bytes:
    records = [record(time_ms) for time_ms in TIMES]
    return tp.encode_frame(records, codec_id=codec_id, transport="udp")


def times_in(frame: bytes) -> list[int]:
    packet = decoded_part(frame, "tcp")
    return [] if packet is None else [item.recorded_at_ms for item in packet]


def flipped(frame: bytes, index: int) -> bytes:
    return frame[:index] + bytes([frame[index] ^ 0x04]) + frame[index + 1 :]


def test_the_envelope_of_a_good_frame() -> None:
    frame = frame_of()
    found = anatomy_of(frame, "tcp")
    assert (found.preamble, found.data_length) == (bytes(4), len(frame) - 12)
    assert (found.codec_id, found.number_of_data_1, found.number_of_data_2) == (0x8E, 3, 3)
    assert found.crc_sent == found.crc_computed == int.from_bytes(frame[-4:])


def test_a_wrong_crc_is_told_beside_the_right_one() -> None:
    frame = frame_of()
    found = anatomy_of(flipped(frame, len(frame) - 1), "tcp")
    assert found.crc_computed == int.from_bytes(frame[-4:])
    assert found.crc_sent == int.from_bytes(frame[-4:]) ^ 0x04


def test_an_avl_data_array_has_neither_length_nor_crc() -> None:
    array = array_of()
    found = anatomy_of(array, "udp")
    assert (found.preamble, found.data_length, found.crc_sent) == (None, None, None)
    assert (found.start, found.stop) == (0, len(array))
    assert (found.codec_id, found.number_of_data_1, found.number_of_data_2) == (0x8E, 3, 3)


@pytest.mark.parametrize("size", range(11))
def test_the_beginning_of_a_frame_is_read_as_far_as_it_goes(size: int) -> None:
    found = anatomy_of(frame_of()[:size], "tcp")
    assert found.preamble == bytes(min(size, 4))
    assert (found.data_length is None) == (size < 8)
    assert found.codec_id == (0x8E if size > 8 else None)
    assert found.number_of_data_1 == (3 if size > 9 else None)
    assert (found.number_of_data_2, found.crc_sent) == (None, None)


@pytest.mark.parametrize("codec_id", CODECS)
def test_all_records_of_a_frame_with_a_wrong_crc_are_read(codec_id: int) -> None:
    frame = frame_of(codec_id)
    assert times_in(flipped(frame, len(frame) - 1)) == TIMES


@pytest.mark.parametrize("codec_id", CODECS)
@pytest.mark.parametrize("n_whole", [0, 1, 2, 3])
def test_the_records_before_the_end_of_a_cut_frame_are_read(codec_id: int, n_whole: int) -> None:
    packet = decoded_part(frame_of(codec_id), "tcp")
    assert packet is not None
    end = 10 + sum(len(item.raw) for item in packet.records[:n_whole])
    assert times_in(frame_of(codec_id)[:end]) == TIMES[:n_whole]
    if n_whole:
        assert times_in(frame_of(codec_id)[: end - 1]) == TIMES[: n_whole - 1]


@pytest.mark.parametrize("index", [9, -5])
def test_either_count_may_be_the_damaged_one(index: int) -> None:
    frame = frame_of()
    assert times_in(flipped(frame, index % len(frame))) == TIMES


def test_no_more_records_are_read_than_are_announced() -> None:
    # Zero bytes behind the frame would pass for records.
    assert times_in(frame_of()[:-5] + bytes(400)) == TIMES
    array = array_of()
    packet = decoded_part(array[:-1] + bytes(400) + b"\x03", "udp")
    assert packet is not None
    assert len(packet) == 3


@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_length_that_cannot_be_places_no_field(length: int) -> None:
    frame = frame_of()
    damaged = frame[:4] + length.to_bytes(4) + frame[8:]
    found = anatomy_of(damaged, "tcp")
    assert (found.data_length, found.is_whole) == (length, False)
    assert (found.number_of_data_2, found.crc_sent) == (None, None)
    assert times_in(damaged) == TIMES


def test_another_codec_has_no_records() -> None:
    assert decoded_part(bytes.fromhex("00000000000000030c01010000abcd"), "tcp") is None
    assert decoded_part(b"", "tcp") is None
    assert decoded_part(b"", "udp") is None


def test_parts_are_named_where_they_start() -> None:
    frame = frame_of()
    packet = decoded_part(frame, "tcp")
    assert packet is not None
    n = len(packet.records[0].raw)
    assert [tuple(part) for part in parts_of(frame, "tcp")] == [
        (0, "preamble"),
        (4, "data field length"),
        (8, "codec id"),
        (9, "number of data 1"),
        (10, "record 0"),
        (10 + n, "record 1"),
        (10 + 2 * n, "record 2"),
        (10 + 3 * n, "number of data 2"),
        (11 + 3 * n, "CRC-16"),
    ]
    assert len(frame) == 15 + 3 * n


def test_parts_that_are_not_there_have_no_name() -> None:
    assert [part.name for part in parts_of(frame_of()[:5], "tcp")] == [
        "preamble",
        "data field length",
    ]
    assert parts_of(b"", "udp") == []

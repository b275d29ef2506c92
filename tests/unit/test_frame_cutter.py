"""`FrameCutter`: the bytes of a TCP connection to its units."""

import gc
import sys
from typing import Any

import psutil
import pytest

from documented import avl_vectors, documented, documented_invalid
from strategies import tcp_frame
from teltonika_processor.codec.native import (
    UNIT_AVL,
    UNIT_COMMAND,
    UNIT_DAMAGED,
    UNIT_FOREIGN,
    UNIT_HANDSHAKE,
    UNIT_LOST,
    UNIT_PING,
    FrameCutter,
)

FRAME_MAX_BYTES = 4096
HANDSHAKE = b"\x00\x0f356307042441013"
EMPTY = bytes.fromhex("00000000 00000003 080000 0000c281")
GETINFO = bytes.fromhex("000000000000000f0c010500000007676574696e666f0100004312")
PING = b"\xff"

AVL = [v for v in avl_vectors() if v["transport"] == "tcp"]
COMMANDS = [v for v in documented() if v["transport"] == "command"]
HANDSHAKES = [v for v in documented() if v["expect"].get("kind") == "imei"]
CRC_MISMATCHES = [v for v in documented_invalid() if v["expect"]["code"] == "crc_mismatch"]

Unit = tuple[int, bytes, int]


def by_id(vector: dict[str, Any]) -> str:
    return str(vector["id"])


def new_cutter() -> FrameCutter:
    return FrameCutter(frame_max_bytes=FRAME_MAX_BYTES)


def identified() -> FrameCutter:
    cutter = new_cutter()
    cutter.feed(HANDSHAKE)
    return cutter


def fed(*reads: bytes) -> list[Unit]:
    cutter = new_cutter()
    return [unit for read in reads for unit in cutter.feed(read)]


def frame_of_length(n_bytes: int) -> bytes:
    return tcp_frame(b"\x8e\x01" + bytes(n_bytes - 15) + b"\x01")


def test_the_kinds_are_numbered() -> None:
    assert (UNIT_PING, UNIT_HANDSHAKE, UNIT_AVL, UNIT_COMMAND) == (0, 1, 2, 3)
    assert (UNIT_DAMAGED, UNIT_FOREIGN, UNIT_LOST) == (4, 5, 6)


@pytest.mark.parametrize("vector", HANDSHAKES, ids=by_id)
def test_a_documented_handshake_gives_its_digits(vector: dict[str, Any]) -> None:
    imei = vector["expect"]["imei"].encode()
    assert fed(bytes.fromhex(vector["hex"])) == [(UNIT_HANDSHAKE, imei, 0)]


@pytest.mark.parametrize("vector", AVL, ids=by_id)
def test_a_documented_avl_frame_gives_the_count_that_answers_it(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["hex"])
    expected = (UNIT_AVL, frame, vector["expect"]["record_count"])
    assert identified().feed(frame) == [expected]
    assert expected[2].to_bytes(4, "big").hex() == vector["expect"]["ack_hex"]


@pytest.mark.parametrize("vector", COMMANDS, ids=by_id)
def test_a_documented_command_frame_gives_its_codec(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["hex"])
    assert identified().feed(frame) == [(UNIT_COMMAND, frame, vector["expect"]["codec_id"])]


@pytest.mark.parametrize("vector", CRC_MISMATCHES, ids=by_id)
def test_a_documented_frame_with_a_wrong_crc_is_damaged(vector: dict[str, Any]) -> None:
    frame = bytes.fromhex(vector["hex"])
    assert identified().feed(frame + EMPTY) == [(UNIT_DAMAGED, frame, frame[9]), (2, EMPTY, 0)]


@pytest.mark.parametrize(
    ("data_field", "number"),
    [
        ("07 02 00 02", 2),  # Codec 7
        ("00 03 03", 3),  # no codec at all
        ("8e 02 01", 2),  # counts that differ
        ("8e ff 0000 ff", 255),  # records that are cut
    ],
)
def test_a_frame_whose_crc_is_good_is_avl_whatever_it_holds(data_field: str, number: int) -> None:
    frame = tcp_frame(bytes.fromhex(data_field))
    assert identified().feed(frame) == [(UNIT_AVL, frame, number)]


def test_upper_crc_bytes_that_are_not_zero_are_damage() -> None:
    frame = EMPTY[:-4] + b"\x01\x00" + EMPTY[-2:]
    assert identified().feed(frame) == [(UNIT_DAMAGED, frame, 0)]


def test_a_conversation_comes_in_its_order_from_one_read_or_byte_by_byte() -> None:
    damaged = EMPTY[:-1] + b"\x00"
    sent = PING + HANDSHAKE + PING + PING + EMPTY + GETINFO + PING + damaged + EMPTY
    expected = [
        (UNIT_PING, b"", 1),
        (UNIT_HANDSHAKE, b"356307042441013", 0),
        (UNIT_PING, b"", 2),
        (UNIT_AVL, EMPTY, 0),
        (UNIT_COMMAND, GETINFO, 0x0C),
        (UNIT_PING, b"", 1),
        (UNIT_DAMAGED, damaged, 0),
        (UNIT_AVL, EMPTY, 0),
    ]
    assert fed(sent) == expected
    expected[2:3] = [(UNIT_PING, b"", 1)] * 2
    assert fed(*(bytes([byte]) for byte in sent)) == expected


def test_one_whole_frame_comes_back_as_the_object_that_was_fed() -> None:
    cutter = identified()
    frame = frame_of_length(600)
    [(_, value, _)] = cutter.feed(frame)
    assert value is frame
    cutter.feed(frame[:1])
    [(_, value, _), _] = cutter.feed(frame[1:] + frame)
    assert value == frame
    assert value is not frame


def test_what_is_not_whole_is_buffered() -> None:
    cutter = new_cutter()
    assert (cutter.feed(b""), cutter.n_buffered) == ([], 0)
    assert (cutter.feed(HANDSHAKE[:5]), cutter.n_buffered) == ([], 5)
    assert len(cutter.feed(HANDSHAKE[5:] + EMPTY + EMPTY[:9])) == 2
    assert cutter.n_buffered == 9
    assert (cutter.feed(EMPTY[9:]), cutter.n_buffered) == ([(UNIT_AVL, EMPTY, 0)], 0)


def test_a_frame_before_the_handshake_is_given() -> None:
    assert fed(EMPTY + HANDSHAKE)[0] == (UNIT_AVL, EMPTY, 0)


def test_a_frame_of_the_limit_is_whole_and_a_longer_one_is_lost_by_its_length_alone() -> None:
    frame = frame_of_length(FRAME_MAX_BYTES)
    assert identified().feed(frame) == [(UNIT_AVL, frame, 1)]
    too_long = frame_of_length(FRAME_MAX_BYTES + 1)
    cutter = identified()
    assert cutter.feed(too_long[:8]) == [(UNIT_LOST, b"length_out_of_range", 21)]
    assert cutter.n_buffered == 0


@pytest.mark.parametrize(
    ("reads", "code", "offset"),
    [
        ([b"\x00\x0e"], b"length_out_of_range", 0),
        ([b"\x00\x10"], b"length_out_of_range", 0),
        ([b"\x01\x01\x2f\x00"], b"length_out_of_range", 0),
        ([b"SSH-2.0-x\r\n"], b"length_out_of_range", 0),
        ([PING, b"\x00\x0f35630704244101x"], b"bad_imei", 3),
        ([HANDSHAKE, HANDSHAKE], b"bad_preamble", 17),
        ([HANDSHAKE, EMPTY, PING, b"\x00\x01"], b"bad_preamble", 33),
        ([HANDSHAKE, b"GET / HTTP/1.1\r\n"], b"bad_preamble", 17),
        ([HANDSHAKE, EMPTY, bytes(7) + b"\x02"], b"length_out_of_range", 36),
    ],
)
def test_lost_framing_says_why_and_where_from_the_first_byte_of_the_connection(
    reads: list[bytes], code: bytes, offset: int
) -> None:
    assert fed(*reads)[-1] == (UNIT_LOST, code, offset)
    assert fed(b"".join(reads))[-1] == (UNIT_LOST, code, offset)


@pytest.mark.parametrize(
    ("first", "client"),
    [
        (b"GET ", b"http"),
        (b"POST /x HTTP/1.1\r\n", b"http"),
        (b"OPTIONS ", b"http"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"http"),
        (b"\x16\x03\x01\x02\x00\x01\x00", b"tls"),
        (b"\x0f\x00\x2f\x09localhost\x63\xdd\x01\x01\x00", b"minecraft"),
        (b"\x00\x00\x00\x05\x00\x01\x43\x83\xba\xe9\x7a\x21\x00\x00\x00\x00", b"dual_cam"),
    ],
)
def test_a_foreign_client_is_named_once_and_the_rest_is_dropped(
    first: bytes, client: bytes
) -> None:
    cutter = new_cutter()
    assert cutter.feed(first + HANDSHAKE) == [(UNIT_FOREIGN, client, 0)]
    assert cutter.feed(HANDSHAKE + EMPTY) == []
    assert cutter.n_buffered == 0
    assert fed(*(bytes([byte]) for byte in first)) == [(UNIT_FOREIGN, client, 0)]


def test_a_method_that_is_not_whole_is_waited_for() -> None:
    cutter = new_cutter()
    assert (cutter.feed(b"DELET"), cutter.n_buffered) == ([], 5)
    assert cutter.feed(b"X") == [(UNIT_LOST, b"length_out_of_range", 0)]


def test_nothing_follows_lost_framing() -> None:
    cutter = new_cutter()
    assert cutter.feed(b"\x01\x02" + HANDSHAKE) == [(UNIT_LOST, b"length_out_of_range", 0)]
    assert cutter.feed(HANDSHAKE) == []
    assert cutter.n_buffered == 0


@pytest.mark.parametrize("frame_max_bytes", [14, 0, -1, 536_870_913, 2**70])
def test_a_limit_out_of_its_range_is_refused_with_the_range(frame_max_bytes: int) -> None:
    with pytest.raises(ValueError, match=f"is {frame_max_bytes}, expected 15 to 536870912"):
        FrameCutter(frame_max_bytes=frame_max_bytes)


@pytest.mark.parametrize("data", [bytearray(EMPTY), memoryview(EMPTY), "text", None])
def test_only_bytes_are_fed(data: Any) -> None:
    with pytest.raises(TypeError):
        new_cutter().feed(data)


def test_a_read_full_of_pings_is_one_unit() -> None:
    assert new_cutter().feed(PING * 10_000) == [(UNIT_PING, b"", 10_000)]


def test_an_idle_connection_costs_a_hundred_bytes_and_a_split_frame_leaves_none() -> None:
    cutter = identified()
    assert sys.getsizeof(cutter) <= 112
    frame = frame_of_length(2000)
    process = psutil.Process()

    def split_frames(n: int) -> int:
        cutters = [identified() for _ in range(1000)]
        for cutter in cutters * n:
            cutter.feed(frame[:1500])
            assert cutter.feed(frame[1500:]) == [(UNIT_AVL, frame, 1)]
        gc.collect()
        return int(process.memory_info().rss)

    before = split_frames(2)
    assert split_frames(20) - before < 1 << 20

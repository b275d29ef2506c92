"""`channel_packets`: the channel packets of a UDP datagram, and what answers them."""

from typing import Any

import pytest

from documented import CHANNEL_HEADER_BYTES, documented, documented_invalid
from teltonika_processor.codec.native import ChannelPacket, channel_packets

UDP = [v for v in documented() if v["transport"] == "udp"]
REFUSED = [v for v in documented_invalid() if v["expect"]["code"] == "channel_length_mismatch"]

# 26 bytes: an empty Codec 8 AVL packet from IMEI 352093086403655.
HEAD = bytes.fromhex("0018 cafe 01 05 000f 333532303933303836343033363535")
PACKET = HEAD + b"\x08\x00\x00"


def by_id(vector: dict[str, Any]) -> str:
    return str(vector["id"])


def refusals(datagram: bytes) -> list[tuple[str | None, int]]:
    return [(packet.reject, packet.offset) for packet in channel_packets(datagram)]


@pytest.mark.parametrize("vector", UDP, ids=by_id)
def test_a_documented_datagram_is_read_and_answered_as_stated(vector: dict[str, Any]) -> None:
    datagram = bytes.fromhex(vector["hex"])
    stated = vector["expect"]
    [packet] = channel_packets(datagram)
    assert packet.imei == stated["udp"]["imei"]
    assert packet.packet_id == stated["udp"]["packet_id"]
    assert packet.avl_packet_id == stated["udp"]["avl_packet_id"]
    assert packet.codec_id == stated["codec_id"]
    assert packet.n_data == stated["record_count"]
    assert packet.avl_packet == datagram[CHANNEL_HEADER_BYTES:]
    assert (packet.reject, packet.offset) == (None, 23)
    assert packet.reply(packet.n_data).hex() == stated["ack_hex"]


@pytest.mark.parametrize("vector", REFUSED, ids=by_id)
def test_a_documented_datagram_with_a_wrong_length_is_rejected(vector: dict[str, Any]) -> None:
    assert refusals(bytes.fromhex(vector["hex"])) == [("channel_length_mismatch", 0)]


def test_the_reply_echoes_both_ids() -> None:
    [packet] = channel_packets(b"\x00\x18\x12\x34\x01\xfe" + PACKET[6:])
    assert packet.reply(0) == bytes.fromhex("0005 1234 01 fe 00")
    assert packet.reply(255) == bytes.fromhex("0005 1234 01 fe ff")
    for out_of_range in (-1, 256):
        with pytest.raises(OverflowError):
            packet.reply(out_of_range)


def test_several_channel_packets_of_one_datagram_are_read() -> None:
    packets = channel_packets(PACKET * 4)
    assert [packet.offset for packet in packets] == [23, 49, 75, 101]
    assert {packet.avl_packet for packet in packets} == {b"\x08\x00\x00"}


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (b"", [("truncated", 0)]),
        (b"\x00", [("truncated", 0)]),
        (PACKET[:10], [("channel_length_mismatch", 0)]),
        (PACKET + b"\x00", [(None, 23), ("truncated", 26)]),
        (PACKET.replace(b"\x00\x0f", b"\x00\x0e"), [("bad_imei", 6)]),
        (PACKET.replace(b"655", b"65x") + PACKET, [("bad_imei", 8), (None, 49)]),
        (bytes(60_000), [("truncated", 2)]),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    datagram: bytes, expected: list[tuple[str | None, int]]
) -> None:
    assert refusals(datagram) == expected


def test_a_rejected_channel_packet_claims_nothing() -> None:
    [packet] = channel_packets(b"\x00\x00")
    assert (packet.imei, packet.packet_id, packet.avl_packet_id) == (None, 0, 0)
    assert (packet.avl_packet, packet.n_data, packet.codec_id) == (b"", 0, 0)


@pytest.mark.parametrize(
    ("avl_packet", "codec_id", "n_data"),
    [(b"", 0, 0), (b"\x8e", 0x8E, 0), (b"\x8e\x05", 0x8E, 5)],
)
def test_an_avl_packet_too_short_for_a_field_has_0_there(
    avl_packet: bytes, codec_id: int, n_data: int
) -> None:
    length = (len(HEAD) - 2 + len(avl_packet)).to_bytes(2, "big")
    [packet] = channel_packets(length + HEAD[2:] + avl_packet)
    assert (packet.codec_id, packet.n_data, packet.reject) == (codec_id, n_data, None)


def test_a_channel_packet_is_frozen() -> None:
    [packet] = channel_packets(PACKET)
    assert isinstance(packet, ChannelPacket)
    with pytest.raises(AttributeError):
        packet.imei = "1"  # type: ignore[misc] -- frozen


@pytest.mark.parametrize("datagram", [bytearray(PACKET), "text", None])
def test_only_bytes_are_read(datagram: Any) -> None:
    with pytest.raises(TypeError):
        channel_packets(datagram)

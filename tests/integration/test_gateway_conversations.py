"""The gateway as devices meet it: the vendor's documented conversations, byte by byte."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
import redis

from devices import Device, channel_packet, damaged, datagrams, handshake, numbered
from documented import CHANNEL_HEADER_BYTES, documented
from processes import Gateway
from scraped import answer, figures
from servers import new_redis
from strategies import tcp_frame
from teltonika_processor.embedded import EmbeddedRedis
from waiting import eventually

STREAM: Final = "telemetry:teltonika"
RESPONSES: Final = "telemetry:teltonika:responses"
LETTERS: Final = "telemetry:teltonika:dlq"

FRAMES: Final = [
    v for v in documented() if v["transport"] == "tcp" and "record_count" in v["expect"]
]
COMMANDS: Final = [v for v in documented() if v["transport"] == "command"]
HANDSHAKES: Final = [v for v in documented() if v["expect"].get("kind") == "imei"]
DATAGRAMS: Final = [v for v in documented() if v["transport"] == "udp"]
C8_TCP_1: Final = bytes.fromhex(FRAMES[0]["hex"])


def by_id(vector: dict[str, Any]) -> str:
    return str(vector["id"])


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with new_redis(tcp=True, appendfsync="always") as started:
        yield started


@pytest.fixture(scope="module")
def gateway(server: EmbeddedRedis) -> Iterator[Gateway]:
    with Gateway(server.url()) as started:
        assert started.tcp_port
        yield started
        assert started.terminate() == 0


@pytest.fixture
def stream(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """The server's client; the streams are empty at first."""
    with redis.Redis.from_url(server.url()) as client:
        client.flushall()
        yield client


def entries(stream: redis.Redis, key: str = STREAM) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in stream.xrange(key)]


def frames(stream: redis.Redis, key: str = STREAM) -> list[bytes]:
    return [fields[b"frame"] for fields in entries(stream, key)]


# The vendor's document


def test_there_are_documented_vectors_of_every_kind() -> None:
    assert [len(found) for found in (HANDSHAKES, FRAMES, DATAGRAMS, COMMANDS)] == [3, 11, 4, 11]


@pytest.mark.parametrize("vector", HANDSHAKES, ids=by_id)
def test_a_documented_handshake_is_answered_as_stated(
    gateway: Gateway, vector: dict[str, Any]
) -> None:
    with Device(gateway.tcp_port, None) as device:
        device.send(bytes.fromhex(vector["hex"]))
        assert device.receive(1).hex() == vector["expect"]["accept_hex"]
        assert device.hears_nothing()


@pytest.mark.parametrize("vector", FRAMES, ids=by_id)
def test_a_documented_frame_is_in_the_stream_and_answered_as_stated(
    gateway: Gateway, stream: redis.Redis, vector: dict[str, Any]
) -> None:
    frame = bytes.fromhex(vector["hex"])
    with Device(gateway.tcp_port) as device:
        device.send(frame)
        assert device.receive(4).hex() == vector["expect"]["ack_hex"]
        assert frames(stream) == [frame]


def test_all_documented_frames_on_one_connection_byte_by_byte(
    gateway: Gateway, stream: redis.Redis
) -> None:
    sent = [bytes.fromhex(vector["hex"]) for vector in FRAMES]
    with Device(gateway.tcp_port) as device:
        for frame in sent:
            for at in range(len(frame)):
                device.send(frame[at : at + 1])
        expected = "".join(vector["expect"]["ack_hex"] for vector in FRAMES)
        assert device.receive(4 * len(FRAMES)).hex() == expected
    assert frames(stream) == sent


def test_all_documented_frames_behind_the_handshake_in_one_write(
    gateway: Gateway, stream: redis.Redis
) -> None:
    sent = [bytes.fromhex(vector["hex"]) for vector in FRAMES]
    with Device(gateway.tcp_port, None) as device:
        device.send(b"\xff" + handshake() + b"\xff\xff".join(sent) + b"\xff")
        expected = "01" + "".join(vector["expect"]["ack_hex"] for vector in FRAMES)
        assert device.receive(1 + 4 * len(FRAMES)).hex() == expected
    assert frames(stream) == sent


@pytest.mark.parametrize("vector", COMMANDS, ids=by_id)
def test_a_documented_command_frame_goes_to_the_responses_without_a_reply(
    gateway: Gateway, stream: redis.Redis, vector: dict[str, Any]
) -> None:
    frame = bytes.fromhex(vector["hex"])
    with Device(gateway.tcp_port) as device:
        device.send(frame + C8_TCP_1)
        # Had the command been answered, its answer would come first.
        assert device.receive(4).hex() == "00000001"
        assert device.hears_nothing()
    assert (frames(stream, RESPONSES), frames(stream)) == ([frame], [C8_TCP_1])


@pytest.mark.parametrize("vector", DATAGRAMS, ids=by_id)
def test_a_documented_datagram_is_in_the_stream_and_answered_as_stated(
    gateway: Gateway, stream: redis.Redis, vector: dict[str, Any]
) -> None:
    datagram = bytes.fromhex(vector["hex"])
    with datagrams(gateway.udp_port) as sender:
        sender.send(datagram)
        assert sender.recv(100).hex() == vector["expect"]["ack_hex"]
    (entry,) = entries(stream)
    assert entry[b"imei"].decode() == vector["expect"]["udp"]["imei"]
    assert (entry[b"frame"], entry[b"transport"]) == (datagram[CHANNEL_HEADER_BYTES:], b"udp")


@pytest.mark.parametrize("host", ["::1", "127.0.0.1"])
def test_devices_come_by_ipv6_and_by_ipv4_where_it_listens_on_both(
    server: EmbeddedRedis, host: str
) -> None:
    with Gateway(server.url(), INGEST_HOST="::") as both:
        with Device(both.tcp_port, host=host) as device:
            assert device.delivers(C8_TCP_1) == 1
        with datagrams(both.udp_port, host) as sender:
            sender.send(channel_packet(b"\x08\x00\x00", number=7))
            assert sender.recv(100).hex() == "0005cafe010700"


def test_each_channel_packet_of_a_datagram_is_answered(
    gateway: Gateway, stream: redis.Redis
) -> None:
    empty, three = b"\x08\x00\x00", b"\x8e\x03" + bytes(5) + b"\x03"
    datagram = channel_packet(empty, number=1) + channel_packet(three, 352093081452251, number=2)
    with datagrams(gateway.udp_port) as sender:
        sender.send(datagram)
        assert sorted(sender.recv(100).hex() for _ in range(2)) == [
            "0005cafe010100",
            "0005cafe010203",
        ]
    assert [(one[b"imei"], one[b"frame"]) for one in entries(stream)] == [
        (b"356307042441013", empty),
        (b"352093081452251", three),
    ]


def test_a_channel_packet_of_an_unknown_codec_is_answered_as_by_tcp(
    gateway: Gateway, stream: redis.Redis
) -> None:
    with datagrams(gateway.udp_port) as sender:
        sender.send(channel_packet(b"\x00\x03\x03", number=9))
        assert sender.recv(100).hex() == "0005cafe010903"
    assert frames(stream) == [b"\x00\x03\x03"]


def test_a_command_by_udp_goes_to_the_responses_without_an_answer(
    gateway: Gateway, stream: redis.Redis
) -> None:
    command, avl_packet = bytes.fromhex("0c010500000007676574696e666f01"), b"\x08\x00\x00"
    with datagrams(gateway.udp_port) as sender:
        sender.send(channel_packet(command, number=1) + channel_packet(avl_packet, number=2))
        assert sender.recv(100).hex() == "0005cafe010200"
    assert (frames(stream, RESPONSES), frames(stream)) == ([command], [avl_packet])


def test_a_datagram_that_is_none_gets_no_answer_and_is_counted(
    gateway: Gateway, stream: redis.Redis
) -> None:
    before = figures(gateway)
    wrong_length = b"\x01\x5b" + channel_packet(b"\x08\x00\x00")[2:]
    with datagrams(gateway.udp_port) as sender:
        for junk in (b"", b"\x00", b"hello", wrong_length, bytes(65_000)):
            sender.send(junk)
        sender.send(channel_packet(b"\x08\x00\x00", number=9))
        assert sender.recv(100).hex() == "0005cafe010900"
    assert frames(stream) == [b"\x08\x00\x00"]
    after = figures(gateway)
    assert after["gateway_datagrams_total"] - before["gateway_datagrams_total"] == 6
    mismatch = "gateway_channel_packets_refused_total{reason=channel_length_mismatch}"
    assert after[mismatch] - before[mismatch] >= 1


# Entries


def test_an_entry_has_the_fields_of_version_1_and_no_other(
    gateway: Gateway, stream: redis.Redis
) -> None:
    before_ms = time.time_ns() // 1_000_000
    with Device(gateway.tcp_port, 1_234_567_890_123) as device:
        assert device.delivers(C8_TCP_1) == 1
        assert device.delivers(numbered(7)) == 1
    first, second = entries(stream)
    received_at_ms = int(first.pop(b"received_at_ms"))
    assert before_ms <= received_at_ms <= time.time_ns() // 1_000_000
    connection = first.pop(b"connection")
    assert first == {
        b"imei": b"001234567890123",
        b"frame": C8_TCP_1,
        b"v": b"1",
        b"transport": b"tcp",
        b"gateway": b"gateway-1",
    }
    assert second[b"connection"] == connection
    with Device(gateway.tcp_port) as device:
        device.delivers(C8_TCP_1)
    assert entries(stream)[2][b"connection"] not in {connection, b""}


def test_frames_that_the_processor_will_dead_letter_are_published_and_answered(
    gateway: Gateway, stream: redis.Redis
) -> None:
    # Counts that differ, no codec at all, Codec 7, records that are not there, bytes behind them.
    contents = ("8e0201", "000303", "07020002", "8eff0000ff", "08000001")
    sent = [tcp_frame(bytes.fromhex(content)) for content in contents]
    with Device(gateway.tcp_port) as device:
        assert [device.delivers(frame) for frame in sent] == [2, 3, 2, 255, 0]
    assert frames(stream) == sent


def test_a_frame_of_the_greatest_length_is_taken_and_a_longer_one_ends_the_connection(
    gateway: Gateway, stream: redis.Redis
) -> None:
    longest = tcp_frame(b"\x8e\x01" + bytes(4096 - 15) + b"\x01")
    assert len(longest) == 4096
    with Device(gateway.tcp_port) as device:
        assert device.delivers(longest) == 1
        device.send(b"\x00\x00\x00\x00\x00\x00\x0f\xf5")
        assert device.rest() == b""
    assert frames(stream) == [longest]


# Damage


def test_a_damaged_frame_gets_no_reply_and_the_link_is_kept(
    gateway: Gateway, stream: redis.Redis
) -> None:
    with Device(gateway.tcp_port) as device:
        device.send(damaged(C8_TCP_1) + numbered(1, 9))
        assert device.reply() == 9
    assert frames(stream) == [numbered(1, 9)]
    assert not stream.exists(LETTERS)


def test_the_third_time_a_damaged_frame_is_a_dead_letter_and_answered(
    gateway: Gateway, stream: redis.Redis
) -> None:
    poison = damaged(numbered(1, 2))
    with Device(gateway.tcp_port, 352093081452251) as device:
        device.send(poison)
        device.send(poison)
        device.send(poison)
        assert device.reply() == 2
        assert device.delivers(numbered(3)) == 1
    (letter,) = entries(stream, LETTERS)
    assert int(letter.pop(b"received_at_ms")) <= int(letter.pop(b"failed_at_ms"))
    assert letter.pop(b"connection")
    assert letter == {
        b"imei": b"352093081452251",
        b"frame": poison,
        b"v": b"1",
        b"transport": b"tcp",
        b"gateway": b"gateway-1",
        b"reason": b"poison_frame",
        b"error": b"the CRC is wrong, and the same bytes came 3 times in a row",
        b"offset": b"19",
        b"attempts": b"3",
        b"source_id": b"0-0",
        b"instance": b"gateway-1",
    }
    quarantined = gateway.wait_for("frame.quarantined")
    assert (quarantined["imei"], quarantined["size_bytes"]) == ("352093081452251", 23)
    assert quarantined["transport"] == "tcp"


# Peers of every kind


@pytest.mark.parametrize(
    ("first", "client"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http"),
        (bytes.fromhex("16030102000100"), "tls"),
        (b"\x0f\x00\x2f\x09localhost\x63\xdd\x01\x01\x00", "minecraft"),
        (bytes.fromhex("0000000500014383bae97a2100000000"), "dual_cam"),
    ],
)
def test_a_foreign_client_is_closed_without_a_word_and_counted(
    gateway: Gateway, first: bytes, client: str
) -> None:
    name = f"gateway_foreign_clients_total{{client={client}}}"
    before = figures(gateway)[name]
    with Device(gateway.tcp_port, None) as stranger:
        stranger.send(first)
        assert stranger.rest() == b""
    assert figures(gateway)[name] == before + 1


@pytest.mark.parametrize(
    ("opening", "ending"),
    [
        (C8_TCP_1, "no_handshake"),
        (b"\x00\x0e12345678901234", "bad_handshake"),
        (b"\x01\x01\x2f\x00", "bad_handshake"),
        (b"\x00\x0f35630704244101x", "bad_handshake"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "bad_handshake"),
    ],
)
def test_what_is_no_handshake_is_closed_without_a_word_and_counted(
    gateway: Gateway, stream: redis.Redis, opening: bytes, ending: str
) -> None:
    name = f"gateway_connections_ended_total{{reason={ending}}}"
    before = figures(gateway)[name]
    with Device(gateway.tcp_port, None) as stranger:
        stranger.send(opening)
        assert stranger.rest() == b""
    assert figures(gateway)[name] == before + 1
    assert not stream.exists(STREAM)


def test_a_device_that_shuts_its_half_of_the_connection_gets_what_it_waits_for(
    gateway: Gateway,
) -> None:
    with Device(gateway.tcp_port) as device:
        device.send(numbered(1, 3) + numbered(2, 4))
        device.socket.shutdown(socket.SHUT_WR)
        assert device.rest().hex() == "0000000300000004"


def test_the_newer_connection_of_a_device_is_served_and_the_older_closed(
    gateway: Gateway, stream: redis.Redis
) -> None:
    name = "gateway_connections_ended_total{reason=superseded}"
    before = figures(gateway)[name]
    with Device(gateway.tcp_port) as older:
        assert older.delivers(numbered(1)) == 1
        with Device(gateway.tcp_port) as newer:
            assert older.rest() == b""
            assert newer.delivers(numbered(2, 2)) == 2
    assert figures(gateway)[name] == before + 1
    assert frames(stream) == [numbered(1), numbered(2, 2)]


def test_many_connections_of_one_device_at_once_end_but_for_one(gateway: Gateway) -> None:
    devices = [Device(gateway.tcp_port, None) for _ in range(50)]
    for device in devices:
        device.send(handshake())
    open_phases = "gateway_connections{phase=open}"
    eventually(lambda: figures(gateway)[open_phases] == 1)
    eventually(lambda: sum(one.hears_nothing() for one in devices) == 0)
    for device in devices:
        device.close()
    eventually(lambda: figures(gateway)[open_phases] == 0)


# Numbers


def test_the_pages_say_how_the_gateway_stands(server: EmbeddedRedis) -> None:
    with Gateway(server.url()) as gateway:
        port = gateway.tcp_port
        assert answer(gateway, "/livez")[0] == 200
        assert answer(gateway, "/readyz") == (200, "ok\n")
        with Device(port, 352093081452251) as device, Device(port, None) as silent:
            device.send(b"\xff" + numbered(1, 2))
            assert device.reply() == 2
            device.send(damaged(numbered(2)) + bytes.fromhex(COMMANDS[0]["hex"]))
            assert device.delivers(numbered(3)) == 1
            found = figures(gateway)
            assert silent.hears_nothing()
        expected = {
            "gateway_connections_accepted_total": 2,
            "gateway_connections{phase=opening}": 1,
            "gateway_connections{phase=waiting}": 0,
            "gateway_connections{phase=open}": 1,
            "gateway_connections{phase=held}": 0,
            "gateway_connections{phase=leaving}": 0,
            "gateway_frames_durable_total{stream=telemetry}": 2,
            "gateway_frames_durable_total{stream=responses}": 1,
            "gateway_frames_durable_total{stream=dead_letters}": 0,
            "gateway_replies_total": 2,
            "gateway_pings_total": 1,
            "gateway_damaged_frames_total": 1,
            "gateway_repeated_frames_total": 0,
            "gateway_unknown_fates_total": 0,
            "gateway_datagrams_total": 0,
            "gateway_received_bytes_total": 17 + 1 + 3 * 23 + len(COMMANDS[0]["hex"]) // 2,
            "gateway_sent_bytes_total": 1 + 4 + 4,
            "gateway_in_flight_bytes": 0,
            "gateway_appends_open": 1,
            "gateway_ready": 1,
            "gateway_append_duration_seconds_count": found["gateway_append_batch_entries_count"],
            "gateway_append_batch_entries_sum": 3,
        }
        assert {name: found[name] for name in expected} == expected
        status = json.loads(answer(gateway, "/status")[1])
        assert (status["ready"], status["failings"], status["appends_open"]) == (True, [], True)
        assert status["about"]["stream"] == STREAM
        assert status["about"]["gateway"] == "gateway-1"
        assert status["accounts"]["frames"] == 3
        assert status["accounts"]["replies"] == 2
        settings = status["settings"]
        assert settings["HTTP_PORT"] == gateway.wait_for("http.started")["port"]
        assert settings["INGEST_TCP_PORT"] == gateway.tcp_port
        total = settings["INGEST_CONNECTIONS_MAX"]
        assert settings["INGEST_CONNECTIONS_PER_ADDRESS_MAX"] == 3 * total // 4
        assert settings["INGEST_UNAUTHENTICATED_MAX"] == max(total // 8, min(256, total - 1))
        assert gateway.terminate() == 0
        stopped = gateway.wait_for("gateway.stopped")
        assert (stopped["connections"], stopped["frames"], stopped["replies"]) == (2, 3, 2)

"""A reply says that the frame is durable: with Redis killed, frozen, full, or set otherwise."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Final

import pytest
import redis

from devices import Device, channel_packet, datagrams, numbered
from fault.stand import frozen
from processes import Gateway
from replication import follow
from scraped import answer, figures
from servers import new_redis
from teltonika_processor.embedded import EmbeddedRedis
from waiting import eventually

STREAM: Final = "telemetry:teltonika"
OTHER: Final = 352093081452251

# A reply is overdue after 5 s in any case; here a connection is closed before.
HOLD: Final = {"INGEST_HOLD_MS": "700"}


@pytest.fixture
def admin(own_redis: EmbeddedRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own_redis.url()) as client:
        yield client


@pytest.fixture
def gateway(own_redis: EmbeddedRedis) -> Iterator[Gateway]:
    with Gateway(own_redis.url(), **HOLD) as started:
        assert started.tcp_port
        yield started


def stored(admin: redis.Redis) -> list[bytes]:
    return [fields[b"frame"] for _, fields in admin.xrange(STREAM)]


def again_and_again(port: int, frame: bytes, imei: int = OTHER) -> int:
    """What a device is answered that sends its frame on one connection after the other."""
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        with Device(port, imei) as device:
            device.send(frame)
            if reply := device.receive(4):
                return int.from_bytes(reply)
    raise AssertionError("no reply within 30 s")


# At the start


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("appendfsync everysec", "Redis has appendfsync everysec."),
        ("appendfsync no", "Redis has appendfsync no."),
        ("appendonly no", "Redis has appendonly no."),
        ("no-appendfsync-on-rewrite yes", "Redis has no-appendfsync-on-rewrite yes."),
    ],
)
def test_a_redis_that_promises_less_is_refused_with_both_remedies(
    own_redis: EmbeddedRedis, admin: redis.Redis, setting: str, found: str
) -> None:
    admin.config_set(*setting.split())
    with Gateway(own_redis.url()) as refused:
        assert refused.exit_code() == 78
        failed = refused.wait_for("service.failed")
    assert failed["error"].startswith(f"INGEST_DURABILITY=fsync: {found}")
    assert "CONFIG SET appendonly yes, CONFIG SET appendfsync always" in failed["error"]
    assert "choose INGEST_DURABILITY=memory" in failed["error"]
    assert "gateway.started" not in [event["event"] for event in refused.events]


@pytest.mark.parametrize("setting", ["appendfsync everysec", "appendonly no"])
def test_memory_has_to_be_chosen_and_is_served(
    own_redis: EmbeddedRedis, admin: redis.Redis, setting: str
) -> None:
    admin.config_set(*setting.split())
    with Gateway(own_redis.url(), INGEST_DURABILITY="memory") as gateway:
        with Device(gateway.tcp_port) as device:
            assert device.delivers(numbered(1, 3)) == 3
        assert gateway.wait_for("gateway.started")["durability"] == "memory"
        assert gateway.terminate() == 0
    assert stored(admin) == [numbered(1, 3)]


def test_replicas_that_are_not_there_are_waited_for(own_redis: EmbeddedRedis) -> None:
    """A replica may come; nobody is let in before."""
    with Gateway(
        own_redis.url(), INGEST_DURABILITY="replicated:1", STARTUP_TIMEOUT_MS="2500"
    ) as gateway:
        stopped = gateway.wait_for("appends.stopped")
        assert stopped["error"] == "Redis: 0 of 1 replicas answered in time"
        assert gateway.exit_code() == 75


def test_redis_away_at_the_start_is_waited_for(own_redis: EmbeddedRedis) -> None:
    own_redis.stop()
    with Gateway(own_redis.url()) as gateway:
        gateway.wait_for("appends.stopped")
        assert answer(gateway, "/readyz")[0] == 503
        assert answer(gateway, "/livez")[0] == 200
        own_redis.start()
        with Device(gateway.tcp_port) as device:
            assert device.delivers(numbered(1, 3)) == 3
        assert answer(gateway, "/readyz")[0] == 200


def test_redis_away_for_longer_than_the_startup_timeout_ends_it(own_redis: EmbeddedRedis) -> None:
    own_redis.stop()
    with Gateway(own_redis.url(), STARTUP_TIMEOUT_MS="300") as gateway:
        assert gateway.exit_code() == 75
        error = gateway.wait_for("service.failed")["error"]
    assert error.startswith("not ready within STARTUP_TIMEOUT_MS=300: Redis takes no frames: ")


def test_a_stop_while_it_waits_for_redis_ends_it_in_order(own_redis: EmbeddedRedis) -> None:
    own_redis.stop()
    with Gateway(own_redis.url()) as gateway:
        gateway.wait_for("appends.stopped")
        assert gateway.terminate(5.0) == 0


# Killed


def kill_before(redis_server: EmbeddedRedis, device: Device, frame: bytes) -> None:
    redis_server.kill()
    device.send(frame)


def kill_in_flight(redis_server: EmbeddedRedis, device: Device, frame: bytes) -> None:
    """The frame is on its way to a server that does not look any more."""
    assert redis_server.pid is not None
    os.kill(redis_server.pid, signal.SIGSTOP)
    device.send(frame)
    assert device.hears_nothing()
    redis_server.kill()


def kill_between(redis_server: EmbeddedRedis, device: Device, frame: bytes) -> None:
    """After a frame was answered, and before the next."""
    assert device.delivers(numbered(99, 9)) == 9
    redis_server.kill()
    device.send(frame)


@pytest.mark.parametrize("kill", [kill_before, kill_in_flight, kill_between])
def test_with_redis_killed_nothing_is_answered_and_everything_after_it_is_back(
    own_redis: EmbeddedRedis,
    admin: redis.Redis,
    gateway: Gateway,
    kill: Callable[[EmbeddedRedis, Device, bytes], None],
) -> None:
    frame = numbered(1, 3)
    with Device(gateway.tcp_port) as device:
        assert device.delivers(numbered(7, 7)) == 7
        kill(own_redis, device, frame)
        assert device.rest() == b""
    stopped = gateway.wait_for("appends.stopped")
    assert stopped["error_type"] == "StreamUnavailable"
    eventually(lambda: answer(gateway, "/readyz")[0] == 503)
    assert answer(gateway, "/readyz")[1].startswith("Redis takes no frames: Redis: ")
    assert answer(gateway, "/livez")[0] == 200
    assert figures(gateway)["gateway_appends_open"] == 0
    own_redis.start()
    gateway.wait_for("appends.resumed")
    with Device(gateway.tcp_port) as device:
        assert device.delivers(frame) == 3
    assert answer(gateway, "/readyz")[0] == 200
    assert {numbered(7, 7), frame} <= set(stored(admin))
    assert gateway.terminate() == 0


def test_an_idle_connection_outlives_redis(own_redis: EmbeddedRedis, gateway: Gateway) -> None:
    with Device(gateway.tcp_port) as device:
        own_redis.kill()
        gateway.wait_for("appends.stopped")
        device.send(b"\xff")
        own_redis.start()
        gateway.wait_for("appends.resumed")
        assert device.delivers(numbered(1, 3)) == 3


def test_with_redis_away_a_device_is_let_in_and_waits(
    own_redis: EmbeddedRedis, admin: redis.Redis
) -> None:
    """Its frame was not sent, so it goes out when Redis is back, and is answered then."""
    with Gateway(own_redis.url()) as gateway:
        port = gateway.tcp_port
        own_redis.kill()
        gateway.wait_for("appends.stopped")
        with Device(port) as device:
            device.send(numbered(1, 3))
            eventually(lambda: figures(gateway)["gateway_in_flight_bytes"] > 0)
            assert device.hears_nothing()
            own_redis.start()
            assert device.reply() == 3
    assert stored(admin) == [numbered(1, 3)]


def test_what_was_not_sent_is_withdrawn_with_its_connection(
    own_redis: EmbeddedRedis, admin: redis.Redis, gateway: Gateway
) -> None:
    """The device sends it again anyway."""
    port = gateway.tcp_port
    own_redis.kill()
    gateway.wait_for("appends.stopped")
    for number in range(20):
        with Device(port, OTHER + number) as device:
            device.send(numbered(number))
    ended = "gateway_connections_ended_total{reason=not_durable}"
    eventually(lambda: figures(gateway)[ended] == 20)
    assert figures(gateway)["gateway_in_flight_bytes"] == 0
    own_redis.start()
    gateway.wait_for("appends.resumed")
    with Device(port) as device:
        assert device.delivers(numbered(100, 3)) == 3
    assert stored(admin) == [numbered(100, 3)]


def test_datagrams_are_not_answered_while_redis_is_away(
    own_redis: EmbeddedRedis, gateway: Gateway
) -> None:
    refused = "gateway_channel_packets_refused_total{reason=not_durable}"
    with datagrams(gateway.udp_port) as sender:
        own_redis.kill()
        gateway.wait_for("appends.stopped")
        sender.send(channel_packet(b"\x08\x00\x00", number=1))
        eventually(lambda: figures(gateway)[refused] == 1)
        own_redis.start()
        gateway.wait_for("appends.resumed")
        sender.send(channel_packet(b"\x08\x00\x00", number=2))
        assert sender.recv(100).hex() == "0005cafe010200"


@pytest.mark.slow
def test_a_datagram_that_could_not_be_sent_in_time_is_withdrawn_and_never_answered(
    admin: redis.Redis, own_redis: EmbeddedRedis, gateway: Gateway
) -> None:
    packets = [channel_packet(b"\x08\x01\x01", number=number) for number in range(8)]
    with datagrams(gateway.udp_port) as sender:
        with frozen(own_redis.pid):
            for number, packet in enumerate(packets, start=1):
                sender.send(packet)
                eventually(lambda n=number: figures(gateway)["gateway_datagrams_total"] == n)
            # Four batches are sent, of one each; the others wait.
            gateway.wait_for("appends.stopped")
            eventually(lambda: figures(gateway)["gateway_unknown_fates_total"] == 8)
            assert figures(gateway)["gateway_in_flight_bytes"] == 0
        gateway.wait_for("appends.resumed")
        sender.send(channel_packet(b"\x08\x00\x00", number=100))
        assert sender.recv(100).hex() == "0005cafe016400"
    assert figures(gateway)["gateway_replies_total"] == 1
    assert len(stored(admin)) == 5


def test_datagrams_above_half_of_the_bytes_in_flight_are_not_taken(
    own_redis: EmbeddedRedis,
) -> None:
    """Nothing holds a sender of datagrams back, so what is too much is dropped and counted."""
    refused = "gateway_channel_packets_refused_total{reason=in_flight_full}"
    with Gateway(own_redis.url(), INGEST_IN_FLIGHT_MAX_BYTES="65536") as gateway:
        packet = channel_packet(b"\x8e\x01" + bytes(1000) + b"\x01")
        with datagrams(gateway.udp_port) as sender:
            with frozen(own_redis.pid):
                for _ in range(100):
                    sender.send(packet)
                eventually(lambda: figures(gateway)[refused] > 0)
                assert 32_768 < figures(gateway)["gateway_in_flight_bytes"] < 35_000
            assert sender.recv(100).hex() == "0005cafe010501"
        assert gateway.terminate() == 0


# Frozen


def test_with_redis_frozen_connections_are_closed_after_the_hold_and_nothing_is_answered(
    own_redis: EmbeddedRedis, admin: redis.Redis, gateway: Gateway
) -> None:
    with Device(gateway.tcp_port) as device, Device(gateway.tcp_port, OTHER) as idle:
        with frozen(own_redis.pid):
            began = time.monotonic()
            device.send(numbered(1) + numbered(2))
            assert device.rest() == b""
            assert 0.7 <= time.monotonic() - began < 4.0
        # Redis answered before its time was over, so those that are there go on.
        assert idle.delivers(numbered(3, 3)) == 3
        with Device(gateway.tcp_port) as device_again:
            assert device_again.delivers(numbered(1, 5)) == 5
    ended = "gateway_connections_ended_total{reason=not_durable}"
    assert figures(gateway)[ended] == 1
    assert set(stored(admin)) == {numbered(1), numbered(2), numbered(3, 3), numbered(1, 5)}


@pytest.mark.slow
def test_a_redis_that_is_frozen_for_longer_than_a_reply_may_take_is_left(
    own_redis: EmbeddedRedis, gateway: Gateway
) -> None:
    with frozen(own_redis.pid):
        with Device(gateway.tcp_port) as device:
            device.send(numbered(1))
            assert device.rest() == b""
        stopped = gateway.wait_for("appends.stopped")
        assert stopped["error"] == "Redis: no reply within 5 s"
    gateway.wait_for("appends.resumed")
    with Device(gateway.tcp_port) as device:
        assert device.delivers(numbered(1, 3)) == 3


# Out of memory, and set otherwise


def test_with_redis_out_of_memory_nothing_is_answered_until_it_has_room(
    admin: redis.Redis, gateway: Gateway
) -> None:
    with Device(gateway.tcp_port) as device:
        assert device.delivers(numbered(1)) == 1
        admin.config_set("maxmemory", "1")
        device.send(numbered(2))
        assert device.rest() == b""
    stopped = gateway.wait_for("appends.stopped")
    assert "used memory > 'maxmemory'" in stopped["error"]
    assert stored(admin) == [numbered(1)]
    with Device(gateway.tcp_port) as device:
        device.send(numbered(3))
        assert device.rest() == b""
    admin.config_set("maxmemory", "0")
    gateway.wait_for("appends.resumed")
    with Device(gateway.tcp_port) as device:
        assert device.delivers(numbered(2, 4)) == 4
    assert stored(admin) == [numbered(1), numbered(2, 4)]
    assert gateway.terminate() == 0


def test_a_promise_that_redis_does_not_keep_after_a_reconnect_stops_the_replies_not_the_process(
    admin: redis.Redis, gateway: Gateway
) -> None:
    admin.config_set("appendfsync", "everysec")
    cut_gateway(admin)
    gateway.wait_for("appends.stopped", lambda event: "everysec" in event["error"])
    with Device(gateway.tcp_port) as device:
        device.send(numbered(1))
        assert device.rest() == b""
    admin.config_set("appendfsync", "always")
    gateway.wait_for("appends.resumed")
    assert again_and_again(gateway.tcp_port, numbered(1, 3)) == 3


def cut_gateway(admin: redis.Redis) -> None:
    """The server ends the connections of the gateway."""
    for client in admin.client_list():
        if client["name"].startswith("teltonika-processor/gateway"):
            admin.client_kill_filter(_id=client["id"])


def test_an_address_that_becomes_a_replica_is_not_answered_for(
    admin: redis.Redis, gateway: Gateway
) -> None:
    with Device(gateway.tcp_port) as device:
        admin.replicaof("127.0.0.1", "1")
        device.send(numbered(1))
        assert device.rest() == b""
    admin.replicaof("NO", "ONE")
    gateway.wait_for("appends.resumed")
    assert again_and_again(gateway.tcp_port, numbered(1, 3)) == 3


# In replicas


@pytest.fixture
def replica(own_redis: EmbeddedRedis) -> Iterator[EmbeddedRedis]:
    with new_redis(tcp=True) as server:
        follow(server, own_redis)
        yield server


@pytest.fixture
def replicated(own_redis: EmbeddedRedis, replica: EmbeddedRedis) -> Iterator[Gateway]:
    assert replica.pid
    with Gateway(own_redis.url(), INGEST_DURABILITY="replicated:1") as started:
        yield started


def test_what_was_answered_is_in_the_replica_when_its_master_is_killed(
    own_redis: EmbeddedRedis, replica: EmbeddedRedis, replicated: Gateway
) -> None:
    with Device(replicated.tcp_port) as device:
        for number in range(50):
            assert device.delivers(numbered(number)) == 1
        own_redis.kill()
    with redis.Redis.from_url(replica.url()) as client:
        assert stored(client) == [numbered(number) for number in range(50)]


def test_what_the_replica_does_not_have_is_not_answered(
    admin: redis.Redis, replica: EmbeddedRedis, replicated: Gateway
) -> None:
    with Device(replicated.tcp_port) as device:
        assert device.delivers(numbered(1)) == 1
        with frozen(replica.pid):
            device.send(numbered(2))
            assert "0 of 1 replicas" in replicated.wait_for("appends.stopped")["error"]
            assert device.hears_nothing()
        replicated.wait_for("appends.resumed")
        assert device.rest() == b""
    assert again_and_again(replicated.tcp_port, numbered(2, 3)) == 3
    assert set(stored(admin)) == {numbered(1), numbered(2), numbered(2, 3)}


# Told to stop


@pytest.fixture
def holding(own_redis: EmbeddedRedis) -> Iterator[Gateway]:
    """A gateway with a frame in flight to a Redis that is frozen."""
    settings = {"DRAIN_TIMEOUT_MS": "3000", "WRITE_TIMEOUT_MS": "1000", "INGEST_HOLD_MS": "60000"}
    with Gateway(own_redis.url(), **settings) as gateway:
        port = gateway.tcp_port
        with frozen(own_redis.pid), Device(port) as device:
            device.send(numbered(1))
            eventually(lambda: figures(gateway)["gateway_in_flight_bytes"] > 0)
            yield gateway
            assert device.rest() == b""


def test_a_stop_with_redis_frozen_ends_with_the_drain_and_says_that_work_is_left(
    holding: Gateway,
) -> None:
    began = time.monotonic()
    assert holding.terminate() == 73
    assert 3.0 <= time.monotonic() - began < 5.0
    assert holding.wait_for("gateway.draining")["in_flight_frames"] == 1


def test_a_second_stop_is_immediate(holding: Gateway) -> None:
    holding.signal(signal.SIGTERM)
    holding.wait_for("gateway.draining")
    began = time.monotonic()
    holding.signal(signal.SIGTERM)
    assert holding.exit_code() == 73
    assert time.monotonic() - began < 2.0

"""Kill the gateway, or Redis, whenever it hurts: what was acknowledged is in the stream."""

import errno
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Final

import psutil
import pytest
import redis

from devices import Device, numbered
from fault.proxy import Direction, Moment, Proxy
from fault.stand import frozen
from fault.trackers import Trackers, assert_all_acknowledged_is_stored, stored
from processes import Gateway
from scraped import figures
from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.embedded.server import free_port
from waiting import eventually

N_DEVICES: Final = 40
HOLD: Final = {"INGEST_HOLD_MS": "1000"}
MIB: Final = 1 << 20


@pytest.fixture
def client(own_redis: EmbeddedRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own_redis.url()) as opened:
        yield opened


@pytest.fixture
def port() -> int:
    """The same for a gateway and for the one that takes its place."""
    return free_port()


def new_gateway(url: str, port: int, **settings: str) -> Gateway:
    return Gateway(url, INGEST_TCP_PORT=str(port), **HOLD, **settings)


def let_pass(trackers: Trackers, n_more: int) -> None:
    """Until so many more frames were acknowledged."""
    least = len(trackers.acknowledged) + n_more
    eventually(lambda: len(trackers.acknowledged) >= least, timeout_s=30.0)


@pytest.mark.slow
@pytest.mark.parametrize("pipelined", [1, 5])
def test_what_a_killed_gateway_acknowledged_is_stored(
    own_redis: EmbeddedRedis, client: redis.Redis, port: int, pipelined: int
) -> None:
    """Killed several times, at moments that nobody chose."""
    rng = random.Random(pipelined)
    with Trackers(port, N_DEVICES, pipelined=pipelined) as trackers:
        for _ in range(4):
            with new_gateway(own_redis.url(), port) as gateway:
                let_pass(trackers, rng.randint(1, 700))
                gateway.kill()
        with new_gateway(own_redis.url(), port) as gateway:
            let_pass(trackers, 5 * N_DEVICES)
            trackers.stop()
            assert gateway.terminate() == 0
    assert_all_acknowledged_is_stored(trackers, client)


@pytest.mark.slow
@pytest.mark.parametrize("pipelined", [1, 5])
def test_what_was_acknowledged_before_redis_was_killed_is_stored(
    own_redis: EmbeddedRedis, client: redis.Redis, port: int, pipelined: int
) -> None:
    """Its log is written before each reply, so a kill costs nothing that was acknowledged."""
    rng = random.Random(pipelined)
    with (
        new_gateway(own_redis.url(), port) as gateway,
        Trackers(port, N_DEVICES, pipelined=pipelined) as trackers,
    ):
        for _ in range(4):
            let_pass(trackers, rng.randint(1, 700))
            own_redis.kill()
            own_redis.start()
        let_pass(trackers, 5 * N_DEVICES)
        trackers.stop()
        assert gateway.terminate() == 0
    assert_all_acknowledged_is_stored(trackers, client)


@pytest.mark.slow
def test_with_redis_frozen_now_and_then_every_reply_is_to_a_frame_that_is_stored(
    own_redis: EmbeddedRedis, client: redis.Redis, port: int
) -> None:
    """Connections are closed by their hold; devices come again with the same frames."""
    with (
        new_gateway(own_redis.url(), port) as gateway,
        Trackers(port, N_DEVICES, pipelined=3) as trackers,
    ):
        for _ in range(3):
            let_pass(trackers, 300)
            with frozen(own_redis.pid), Device(port) as device:
                device.send(numbered(1))
                assert device.rest() == b""
        let_pass(trackers, 300)
        trackers.stop()
        assert gateway.terminate() == 0
    assert_all_acknowledged_is_stored(trackers, client, others=1)


@pytest.mark.slow
def test_with_the_wire_to_redis_cut_at_any_byte_every_reply_is_to_its_own_frame(
    own_redis: EmbeddedRedis, client: redis.Redis, port: int
) -> None:
    rng = random.Random(7)
    with Proxy(own_redis.port) as wire:
        url = wire.through(own_redis.url(over_tcp=True))
        with (
            new_gateway(url, port) as gateway,
            Trackers(port, N_DEVICES, pipelined=5) as trackers,
        ):
            for _ in range(15):
                let_pass(trackers, rng.randint(1, 400))
                direction = rng.choice(list(Direction))
                wire.cut_after(rng.randint(1, 20_000), direction)
                eventually(lambda direction=direction: wire._left[direction] == 0)
                wire.heal()
            let_pass(trackers, 5 * N_DEVICES)
            trackers.stop()
            assert gateway.terminate() == 0
            unknown = gateway.wait_for("gateway.stopped")["unknown_fates"]
    assert unknown > 0
    assert_all_acknowledged_is_stored(trackers, client)


@pytest.mark.slow
def test_two_that_say_they_are_the_same_device_are_each_answered_for_its_own_frames(
    own_redis: EmbeddedRedis, client: redis.Redis, port: int
) -> None:
    """They end each other's connections all the time."""
    n_devices = 10
    with (
        new_gateway(own_redis.url(), port) as gateway,
        Trackers(port, n_devices, pipelined=2, series=1) as one,
        Trackers(port, n_devices, pipelined=2, series=2) as other,
    ):
        let_pass(one, 300)
        let_pass(other, 300)
        one.stop()
        other.stop()
        ended = figures(gateway)["gateway_connections_ended_total{reason=superseded}"]
        assert ended > 20
        assert gateway.terminate() == 0
    assert_all_acknowledged_is_stored(one, client, others=other.n_sent)
    assert_all_acknowledged_is_stored(other, client, others=one.n_sent)


@pytest.mark.slow
def test_with_redis_away_the_memory_of_the_gateway_is_bounded(
    own_redis: EmbeddedRedis, port: int
) -> None:
    """Devices push some hundred MB of frames; what is not taken waits in the kernel."""
    bounded = {"INGEST_IN_FLIGHT_MAX_BYTES": str(MIB), "INGEST_FRAMES_PER_SECOND_MAX": "100000"}
    backlog = b"".join(numbered(number) for number in range(100_000))
    with new_gateway(own_redis.url(), port, **bounded) as gateway, ExitStack() as closing:
        assert gateway.tcp_port == port
        devices = [
            closing.enter_context(Device(port, 352093081452000 + number)) for number in range(60)
        ]
        process = psutil.Process(gateway.pid)
        before = process.memory_info().rss
        own_redis.kill()
        gateway.wait_for("appends.stopped")
        for device in devices:
            device.socket.setblocking(False)
            with suppress(BlockingIOError, ConnectionError):
                for _ in range(100):
                    device.socket.send(backlog)
        ended = "gateway_connections_ended_total{reason=not_durable}"
        eventually(lambda: figures(gateway)[ended] == len(devices))
        # 64 MiB of entries are held at most, and as much again for their frames and callers.
        assert process.memory_info().rss - before < 250 * MIB
        assert figures(gateway)["gateway_in_flight_bytes"] == 0
        own_redis.start()
        gateway.wait_for("appends.resumed")
        with Device(port, 352093081459999) as device:
            assert device.delivers(numbered(1, 3)) == 3
        assert gateway.terminate() == 0


# At each step of one frame

FRAME: Final = numbered(4711, 9)

Arm = Callable[[Proxy, Callable[[], object]], None]


def not_wholly_sent(wire: Proxy, kill: Callable[[], object]) -> None:
    """The last byte of the frame is not with Redis."""
    wire.on(FRAME, Direction.TO_SERVER, kill)


def sent(wire: Proxy, kill: Callable[[], object]) -> None:
    """Redis has the whole command."""
    wire.on(FRAME, Direction.TO_SERVER, kill, moment=Moment.AFTER)


def replied(wire: Proxy, kill: Callable[[], object]) -> None:
    """Redis has replied, and the gateway does not know."""
    asked = wire.note(FRAME, Direction.TO_SERVER)
    wire.on(b"-", Direction.TO_CLIENT, kill, after=asked)


@pytest.mark.parametrize("arm", [not_wholly_sent, sent, replied])
def test_a_gateway_killed_at_this_step_answers_nothing_and_the_next_takes_the_frame(
    own_redis: EmbeddedRedis, client: redis.Redis, port: int, arm: Arm
) -> None:
    with Proxy(own_redis.port) as wire:
        url = wire.through(own_redis.url(over_tcp=True))
        with new_gateway(url, port) as gateway:
            assert gateway.tcp_port == port
            with Device(port) as device:
                arm(wire, lambda: os.kill(gateway.pid, signal.SIGKILL))
                device.send(FRAME)
                assert device.rest() == b""
    with new_gateway(own_redis.url(), port) as gateway, Device(gateway.tcp_port) as device:
        assert device.delivers(FRAME) == 9
    assert stored(client)[FRAME] in {1, 2}


@pytest.mark.parametrize("arm", [not_wholly_sent, sent])
def test_redis_killed_at_this_step_leaves_the_frame_unanswered_until_it_is_stored(
    own_redis: EmbeddedRedis, client: redis.Redis, port: int, arm: Arm
) -> None:
    with Proxy(own_redis.port) as wire:
        url = wire.through(own_redis.url(over_tcp=True))
        with new_gateway(url, port) as gateway:
            assert gateway.tcp_port == port
            with Device(port) as device:
                arm(wire, wire.unheard(own_redis.kill))
                device.send(FRAME)
                assert device.rest() == b""
            own_redis.start()
            gateway.wait_for("appends.resumed")
            with Device(port) as device:
                assert device.delivers(FRAME) == 9
    assert stored(client)[FRAME] in {1, 2}


def test_a_connection_to_redis_that_is_cut_is_not_answered_for(
    own_redis: EmbeddedRedis, client: redis.Redis, port: int
) -> None:
    """The append is done, and its reply lost: the device sends it again."""
    with Proxy(own_redis.port) as wire:
        url = wire.through(own_redis.url(over_tcp=True))
        with new_gateway(url, port) as gateway:
            assert gateway.tcp_port == port
            with Device(port) as device:
                wire.on(FRAME, Direction.TO_SERVER, wire.cut_clients, moment=Moment.AFTER)
                device.send(FRAME)
                assert device.rest() == b""
            gateway.wait_for("appends.resumed")
            with Device(port) as device:
                assert device.delivers(FRAME) == 9
    assert stored(client)[FRAME] == 2


# Told to stop


@pytest.mark.slow
def test_a_stop_under_load_answers_what_is_in_flight_and_ends_with_0(
    own_redis: EmbeddedRedis, client: redis.Redis, port: int
) -> None:
    short = {"DRAIN_TIMEOUT_MS": "3000", "WRITE_TIMEOUT_MS": "1000"}
    with Trackers(port, N_DEVICES, pipelined=2) as trackers:
        for _ in range(2):
            with new_gateway(own_redis.url(), port, **short) as gateway:
                let_pass(trackers, 500)
                assert gateway.terminate() == 0
                stopped = gateway.wait_for("gateway.stopped")
                assert stopped["in_flight_frames"] == stopped["unknown_fates"] == 0
                assert stopped["replies"] == stopped["frames"]
        with new_gateway(own_redis.url(), port) as gateway:
            let_pass(trackers, 5 * N_DEVICES)
            trackers.stop()
            assert gateway.terminate() == 0
    assert_all_acknowledged_is_stored(trackers, client)
    # Nothing was sent twice to the stream unless its device had to send it again.
    assert sum(stored(client).values()) <= trackers.n_sent + 3 * 2 * N_DEVICES


def test_idle_devices_are_closed_one_after_the_other_and_served_until_then(
    own_redis: EmbeddedRedis, port: int
) -> None:
    n_devices = 40
    short = {"DRAIN_TIMEOUT_MS": "4000", "WRITE_TIMEOUT_MS": "1000"}
    with new_gateway(own_redis.url(), port, **short) as gateway, ExitStack() as closing:
        assert gateway.tcp_port == port
        devices = [
            closing.enter_context(Device(port, 352093081452000 + number))
            for number in range(n_devices)
        ]
        gateway.signal(signal.SIGTERM)
        gateway.wait_for("gateway.draining")
        began = time.monotonic()
        eventually(lambda: is_refused(port))
        gone_at: dict[int, float] = {}
        while len(gone_at) < n_devices:
            for number, device in enumerate(devices):
                if number not in gone_at and not is_served(device):
                    gone_at[number] = time.monotonic() - began
        assert gateway.exit_code() == 0
        # Over half of the drain's time: two seconds.
        quarters = [sum(at < limit for at in gone_at.values()) for limit in (0.6, 1.1, 1.6, 2.6)]
        assert quarters[-1] == n_devices
        assert 0 < quarters[0] < 25
        assert quarters[0] < quarters[1] < quarters[2] <= n_devices


def is_refused(port: int) -> bool:
    """Whether nobody listens."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def is_served(device: Device) -> bool:
    """Whether a frame is answered; False once the gateway has ended the connection."""
    try:
        device.send(numbered(1, 3))
        return device.receive(4) == b"\x00\x00\x00\x03"
    except ConnectionError:
        return False

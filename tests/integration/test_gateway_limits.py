"""What each limit protects: whoever floods the gateway, honest devices are served."""

import contextlib
import json
import resource
import socket
import time
from collections.abc import Iterator
from typing import Final

import psutil
import pytest

from devices import Device, channel_packet, datagrams, handshake, honest_device, numbered
from processes import Gateway
from scraped import answer, figures
from servers import new_redis
from teltonika_processor.embedded import EmbeddedRedis
from waiting import eventually

IMEI: Final = 356307042441013

ACCEPTED: Final = "gateway_connections_accepted_total"
OPENING: Final = "gateway_connections{phase=opening}"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with new_redis(tcp=True, appendfsync="always") as started:
        yield started


def n_ended(gateway: Gateway, reason: str) -> int:
    return int(figures(gateway)[f"gateway_connections_ended_total{{reason={reason}}}"])


def n_descriptors(gateway: Gateway) -> int:
    return int(psutil.Process(gateway.pid).num_fds())


@contextlib.contextmanager
def silent(port: int, count: int) -> Iterator[list[Device]]:
    """Connections that say nothing."""
    with contextlib.ExitStack() as closing:
        yield [closing.enter_context(Device(port, None)) for _ in range(count)]


# At the start


@pytest.mark.parametrize(
    ("setting", "kind"),
    [("INGEST_TCP_PORT", socket.SOCK_STREAM), ("INGEST_UDP_PORT", socket.SOCK_DGRAM)],
)
def test_a_port_that_is_taken_is_refused_by_the_name_of_its_setting(
    server: EmbeddedRedis, setting: str, kind: socket.SocketKind
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        with Gateway(server.url(), **{setting: str(port)}) as refused:
            assert refused.exit_code() == 78
            error = refused.wait_for("service.failed")["error"]
    assert error == f"{setting}: cannot listen on 127.0.0.1:{port}: Address already in use"


def allow_few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))


def test_too_few_descriptors_for_the_connections_are_refused(server: EmbeddedRedis) -> None:
    with Gateway(server.url(), first=allow_few_descriptors) as refused:
        assert refused.exit_code() == 78
        error = refused.wait_for("service.failed")["error"]
    assert error == (
        "INGEST_CONNECTIONS_MAX is 16000 and takes 16064 file descriptors, but this process may "
        "have 200: raise the limit (LimitNOFILE, ulimit -n), or lower it"
    )


def allow_descriptors_if_asked_for() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200))


def test_the_limit_of_descriptors_is_raised_as_far_as_needed(server: EmbeddedRedis) -> None:
    with Gateway(
        server.url(),
        first=allow_descriptors_if_asked_for,
        INGEST_CONNECTIONS_MAX="100",
        INGEST_CONNECTIONS_PER_ADDRESS_MAX="100",
        INGEST_UNAUTHENTICATED_MAX="99",
    ) as gateway:
        started = gateway.wait_for("gateway.started")
        assert (started["connections_max"], started["descriptors_max"]) == (100, 164)
        with silent(started["tcp_port"], 98), Device(started["tcp_port"]) as device:
            assert device.delivers(numbered(1)) == 1
            assert figures(gateway)[OPENING] == 98


# Connections


def test_a_connection_above_the_total_is_closed_and_the_others_are_served(
    server: EmbeddedRedis,
) -> None:
    with (
        Gateway(
            server.url(),
            INGEST_CONNECTIONS_MAX="20",
            INGEST_CONNECTIONS_PER_ADDRESS_MAX="20",
            INGEST_UNAUTHENTICATED_MAX="19",
        ) as gateway,
        Device(gateway.tcp_port) as device,
        silent(gateway.tcp_port, 19) as others,
    ):
        eventually(lambda: figures(gateway)[OPENING] == 19)
        for _ in range(30):
            with Device(gateway.tcp_port, None) as refused:
                assert refused.rest() == b""
        assert device.delivers(numbered(1)) == 1
        assert n_ended(gateway, "connections_full") == 30
        others[0].close()
        eventually(lambda: figures(gateway)[OPENING] == 18)
        with Device(gateway.tcp_port, 352093081452251) as admitted:
            assert admitted.delivers(numbered(1)) == 1


def test_a_connection_above_the_limit_of_its_address_is_closed(server: EmbeddedRedis) -> None:
    with Gateway(
        server.url(), INGEST_CONNECTIONS_MAX="100", INGEST_CONNECTIONS_PER_ADDRESS_MAX="5"
    ) as gateway:
        port = gateway.tcp_port
        with contextlib.ExitStack() as closing:
            held = [
                closing.enter_context(Device(port, IMEI + number, source="127.0.0.2"))
                for number in range(5)
            ]
            with Device(port, None, source="127.0.0.2") as refused:
                assert refused.rest() == b""
            with Device(port, 352093081452251, source="127.0.0.3") as other:
                assert other.delivers(numbered(1)) == 1
            assert [device.delivers(numbered(2)) for device in held] == [1] * 5
            assert n_ended(gateway, "address_full") == 1


def test_whoever_holds_connections_without_a_handshake_pushes_out_its_own(
    server: EmbeddedRedis,
) -> None:
    with Gateway(
        server.url(), INGEST_CONNECTIONS_MAX="400", INGEST_UNAUTHENTICATED_MAX="10"
    ) as gateway:
        with honest_device(gateway.tcp_port) as took, silent(gateway.tcp_port, 200) as devices:
            eventually(lambda: figures(gateway)[OPENING] == 10)
            eventually(lambda: n_ended(gateway, "handshakes_full") == 190)
            assert devices[0].rest() == b""
            assert devices[-1].hears_nothing()
            assert n_descriptors(gateway) < 60
            for number in range(20):
                with Device(gateway.tcp_port, 352093081452251 + number) as device:
                    assert device.delivers(numbered(number)) == 1
        assert len(took) > 20


def test_a_burst_of_connections_that_push_each_other_out_leaves_nothing_behind(
    server: EmbeddedRedis,
) -> None:
    """They come in one instant, so that many are pushed out while they begin."""
    with Gateway(
        server.url(), INGEST_CONNECTIONS_MAX="400", INGEST_UNAUTHENTICATED_MAX="10"
    ) as gateway:
        port, before = gateway.tcp_port, n_descriptors(gateway)
        for number in range(1, 5):
            burst = [socket.socket() for _ in range(300)]
            for one in burst:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            eventually(lambda wanted=300 * number: figures(gateway)[ACCEPTED] == wanted)
            for one in burst:
                one.close()
            eventually(lambda: figures(gateway)[OPENING] == 0)
        eventually(lambda: n_descriptors(gateway) == before)
        assert n_ended(gateway, "handshakes_full") > 100
        # What is left of a connection would keep the drain waiting, and its place.
        assert sum(json.loads(answer(gateway, "/status")[1])["connections"].values()) == 0
        assert gateway.terminate() == 0
    (stopped,) = [event for event in gateway.events if event["event"] == "gateway.stopped"]
    (draining,) = [event for event in gateway.events if event["event"] == "gateway.draining"]
    assert (draining["connections"], stopped["exit_code"]) == (0, 0)


def test_an_address_that_connects_without_end_leaves_the_others_their_turn(
    server: EmbeddedRedis,
) -> None:
    """It holds nothing, so no limit of connections counts it, and it fills the kernel's queue."""
    with (
        Gateway(
            server.url(),
            INGEST_ACCEPTS_PER_SECOND_MAX="20",
            INGEST_CONNECTIONS_PER_ADDRESS_MAX="20",
        ) as gateway,
        contextlib.ExitStack() as closing,
    ):
        port = gateway.tcp_port
        flood = [closing.enter_context(Device(port, None, source="127.0.0.2")) for _ in range(500)]
        with Device(port, 352093081452251, source="127.0.0.3") as honest:
            assert honest.delivers(numbered(1)) == 1
        for one in flood:
            one.close()
        assert n_ended(gateway, "address_full") + n_ended(gateway, "address_too_fast") > 400


def test_slow_handshakes_are_closed_in_time_whatever_they_send(server: EmbeddedRedis) -> None:
    """Slowloris: pings and a byte of the handshake now and then."""
    with (
        Gateway(server.url(), INGEST_HANDSHAKE_TIMEOUT_MS="700") as gateway,
        honest_device(gateway.tcp_port),
        silent(gateway.tcp_port, 100) as devices,
    ):
        for said in (b"\xff", b"\xff", b"\x00", b"\x0f", b"3", b"5", b"\x36"):
            for device in devices:
                with contextlib.suppress(ConnectionError):
                    device.send(said)
        assert [device.rest() for device in devices] == [b""] * 100
        assert n_ended(gateway, "handshake_timeout") == 100
        assert figures(gateway)[OPENING] == 0
        assert n_descriptors(gateway) < 60


def test_a_herd_is_accepted_at_a_pace_and_nobody_is_sent_away(server: EmbeddedRedis) -> None:
    with Gateway(server.url(), INGEST_ACCEPTS_PER_SECOND_MAX="100") as gateway:
        port = gateway.tcp_port
        began = time.monotonic()
        with silent(port, 100) as herd:
            for number, device in enumerate(herd):
                device.send(handshake(IMEI + number) + numbered(number))
            assert [device.receive(5) for device in herd] == [b"\x01\x00\x00\x00\x01"] * 100
            assert 0.8 <= time.monotonic() - began < 10.0


def test_a_device_that_sends_datagrams_without_end_leaves_the_others_theirs(
    server: EmbeddedRedis,
) -> None:
    empty = b"\x08\x00\x00"
    with (
        Gateway(server.url(), INGEST_FRAMES_PER_SECOND_MAX="0.5") as gateway,
        datagrams(gateway.udp_port) as sender,
    ):
        for number in range(5):
            sender.send(channel_packet(empty, IMEI, number=number))
            assert sender.recv(100)[5] == number
        for number in range(5, 20):
            sender.send(channel_packet(empty, IMEI, number=number))
        sender.send(channel_packet(empty, 352093081452251, number=20))
        assert sender.recv(100)[5] == 20
        refused = "gateway_channel_packets_refused_total{reason=too_fast}"
        assert figures(gateway)[refused] == 15


@pytest.mark.parametrize("leave", [Device.close, Device.reset], ids=["close", "reset"])
def test_a_flood_of_connections_leaves_nothing_behind(server: EmbeddedRedis, leave: object) -> None:
    with Gateway(server.url()) as gateway:
        port = gateway.tcp_port
        with honest_device(gateway.tcp_port) as took:
            before = n_descriptors(gateway)
            for number in range(1500):
                stranger = Device(port, None)
                if number % 3 == 1:
                    stranger.send(handshake(IMEI + 1 + number % 5))
                elif number % 3 == 2:
                    stranger.send(handshake(IMEI + 1) + numbered(number)[: number % 23])
                leave(stranger)  # type: ignore[operator] # a method
            eventually(lambda: figures(gateway)["gateway_connections_accepted_total"] == 1501)
            eventually(lambda: n_descriptors(gateway) == before)
        assert len(took) > 20
        assert gateway.terminate() == 0
        levels = {event["level"] for event in gateway.events}
        assert levels <= {"info", "warning"}, gateway.output


def test_where_descriptors_run_out_connections_wait_and_are_served_when_there_are_some(
    server: EmbeddedRedis,
) -> None:
    with Gateway(server.url(), INGEST_CONNECTIONS_MAX="100") as gateway:
        port = gateway.tcp_port
        with Device(port) as device:
            assert device.delivers(numbered(1)) == 1
            few = n_descriptors(gateway) + 2
            psutil.Process(gateway.pid).rlimit(psutil.RLIMIT_NOFILE, (few, 200))
            with silent(port, 10) as waiting:
                for number, one in enumerate(waiting):
                    one.send(handshake(352093081452251 + number))
                failed = gateway.wait_for("accept.failed")
                assert failed["error"] == "Too many open files"
                assert device.delivers(numbered(2)) == 1
                psutil.Process(gateway.pid).rlimit(psutil.RLIMIT_NOFILE, (200, 200))
                assert [one.receive(1) for one in waiting] == [b"\x01"] * 10
        assert gateway.terminate() == 0

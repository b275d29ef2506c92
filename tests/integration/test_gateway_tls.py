"""The TLS listener: the same conversations, and a certificate that is replaced while it runs."""

import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest

from devices import Device, handshake, numbered
from fault.stand import frozen
from processes import Gateway
from scraped import figures
from servers import new_redis
from strategies import tcp_frame
from teltonika_processor.embedded import EmbeddedRedis
from tls_proxy import AUTHORITY
from waiting import eventually

TLS: Final = AUTHORITY.parent
ENDED: Final = "gateway_connections_ended_total"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with new_redis(tcp=True, appendfsync="always") as started:
        yield started


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Where the operator keeps certificate and key, in one file."""
    path = tmp_path / "gateway.pem"
    write(path, "server")
    return path


@pytest.fixture
def gateway(server: EmbeddedRedis, chain: Path) -> Iterator[Gateway]:
    with Gateway(server.url(), INGEST_TLS_PORT="0", INGEST_TLS_CERT_FILE=str(chain)) as started:
        assert started.tls_port
        yield started


def write(path: Path, name: str) -> None:
    """Put certificate and key of this name there, as one does: at once."""
    new = path.with_suffix(".new")
    new.write_text((TLS / f"{name}.pem").read_text() + (TLS / f"{name}.key").read_text())
    new.replace(path)


def trusting(name: str = "authority") -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(TLS / f"{name}.pem"))


def is_trusted(port: int, context: ssl.SSLContext) -> bool:
    """Whether a device that trusts this is served."""
    try:
        with Device(port, tls=context) as device:
            return device.delivers(numbered(1, 3)) == 3
    except ssl.SSLCertVerificationError:
        return False


def test_a_conversation_by_tls_is_that_of_plain_tcp(gateway: Gateway) -> None:
    with Device(gateway.tls_port, None, tls=trusting()) as device:
        device.send(b"\xff" + handshake() + numbered(1, 3) + numbered(2, 4))
        assert device.receive(9).hex() == "010000000300000004"
        for byte in numbered(3, 5):
            device.send(bytes([byte]))
        assert device.reply() == 5
        with Device(gateway.tcp_port) as newer:
            assert device.rest() == b""
            assert newer.delivers(numbered(4)) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_are_spoken(gateway: Gateway, version: ssl.TLSVersion) -> None:
    context = trusting()
    context.minimum_version = context.maximum_version = version
    with Device(gateway.tls_port, tls=context) as device:
        assert device.delivers(numbered(1, 3)) == 3


@pytest.mark.slow
def test_a_renewed_certificate_is_used_from_the_next_connection_and_a_broken_one_is_not(
    gateway: Gateway, chain: Path
) -> None:
    port = gateway.tls_port
    with Device(port, 352093081452251, tls=trusting()) as old:
        chain.write_text("no certificate\n")
        eventually(lambda: is_trusted(port, trusting()) and said(gateway, "certificate.unreadable"))
        assert is_trusted(port, trusting())
        write(chain, "renewed")
        eventually(lambda: is_trusted(port, trusting("renewed")))
        assert not is_trusted(port, trusting())
        assert said(gateway, "certificate.replaced") == [str(chain)]
        # Who is there stays there.
        assert old.delivers(numbered(2)) == 1


def said(gateway: Gateway, name: str) -> list[str]:
    return [event["path"] for event in gateway.events if event["event"] == name]


def test_without_a_usable_certificate_it_does_not_start(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    path = tmp_path / "gateway.pem"
    certificate = (TLS / "server.pem").read_text()
    for content, why in (
        (None, "No such file or directory"),
        ("no certificate\n", "no certificate in PEM in it"),
        (certificate, "no private key in it, and INGEST_TLS_KEY_FILE is not set"),
        (
            certificate + (TLS / "encrypted.key").read_text(),
            "the private key is encrypted: store it without a passphrase",
        ),
    ):
        if content is not None:
            path.write_text(content)
        with Gateway(server.url(), INGEST_TLS_PORT="0", INGEST_TLS_CERT_FILE=str(path)) as refused:
            assert refused.exit_code() == 78
            error = refused.wait_for("service.failed")["error"]
        assert error.startswith(f"INGEST_TLS_CERT_FILE: {path}: {why}")


def test_peers_that_speak_no_tls_are_closed_and_leave_nothing_behind(gateway: Gateway) -> None:
    port, process = gateway.tls_port, psutil.Process(gateway.pid)
    with Device(port, tls=trusting()) as honest:
        assert honest.delivers(numbered(1)) == 1
        before = process.num_fds()
        for first in (
            handshake() + numbered(1),
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\xff\xff",
        ):
            with Device(port, None) as stranger:
                stranger.send(first + bytes(2000))
                stranger.rest()
        for _ in range(50):
            Device(port, None).reset()
            with Device(port, None) as gone:
                gone.send(b"\x16\x03\x01\x02\x00\x01")
        eventually(lambda: figures(gateway)["gateway_connections_accepted_total"] == 104)
        eventually(lambda: process.num_fds() == before)
        assert honest.delivers(numbered(2, 9)) == 9
        counted = figures(gateway)
    # An honest one is open; the others never came so far.
    assert counted["gateway_connections{phase=opening}"] == 0
    assert counted["gateway_connections_accepted_total"] == 104
    assert counted[f"{ENDED}{{reason=tls_failed}}"] == 3
    assert counted[f"{ENDED}{{reason=closed_by_device}}"] == 100
    failures = [event for event in gateway.events if event["event"] == "tls.failed"]
    assert [event["address"] for event in failures] == ["127.0.0.1"] * 3
    assert failures[1]["error"] == "HTTP_REQUEST"
    assert gateway.terminate() == 0
    assert {event["level"] for event in gateway.events} <= {"info", "warning"}, gateway.output
    assert not any("no effect" in line for line in gateway.output)


def test_whoever_begins_tls_and_does_not_end_it_pushes_out_its_own(
    server: EmbeddedRedis, chain: Path
) -> None:
    with (
        Gateway(
            server.url(),
            INGEST_TLS_PORT="0",
            INGEST_TLS_CERT_FILE=str(chain),
            INGEST_CONNECTIONS_MAX="400",
            INGEST_UNAUTHENTICATED_MAX="10",
        ) as gateway,
        contextlib.ExitStack() as closing,
    ):
        port = gateway.tls_port
        held = [closing.enter_context(Device(port, None)) for _ in range(200)]
        held[-1].send(b"\x16\x03\x01\x02\x00\x01")
        eventually(lambda: figures(gateway)[f"{ENDED}{{reason=handshakes_full}}"] == 190)
        assert figures(gateway)["gateway_connections{phase=opening}"] == 10
        assert psutil.Process(gateway.pid).num_fds() < 60
        assert [device.rest() for device in held[:190]] == [b""] * 190
        with Device(port, tls=trusting()) as device:
            assert device.delivers(numbered(1)) == 1
    assert not any("exception" in line.lower() for line in gateway.output), gateway.output


def test_tls_is_a_part_of_the_time_for_the_handshake(server: EmbeddedRedis, chain: Path) -> None:
    with (
        Gateway(
            server.url(),
            INGEST_TLS_PORT="0",
            INGEST_TLS_CERT_FILE=str(chain),
            INGEST_HANDSHAKE_TIMEOUT_MS="500",
        ) as gateway,
        Device(gateway.tls_port, None) as silent,
        Device(gateway.tls_port, None, tls=trusting()) as unnamed,
    ):
        assert (silent.rest(), unnamed.rest()) == (b"", b"")
        assert figures(gateway)[f"{ENDED}{{reason=handshake_timeout}}"] == 2
        assert figures(gateway)["gateway_connections{phase=opening}"] == 0


def test_a_stop_does_not_wait_for_tls_that_is_under_way(gateway: Gateway) -> None:
    with Device(gateway.tls_port, None) as begun:
        eventually(lambda: figures(gateway)["gateway_connections{phase=opening}"] == 1)
        assert gateway.terminate() == 0
        assert begun.rest() == b""
    (stopped,) = [event for event in gateway.events if event["event"] == "gateway.stopped"]
    assert stopped["duration_s"] < 20


def tcp_port(gateway: Gateway) -> int:
    return gateway.tcp_port


def tls_port(gateway: Gateway) -> int:
    return gateway.tls_port


@pytest.mark.parametrize("port_of", [tcp_port, tls_port])
def test_a_connection_that_is_not_read_holds_little(
    server: EmbeddedRedis, gateway: Gateway, port_of: Callable[[Gateway], int]
) -> None:
    """Redis is away: each device goes on sending until nobody takes its bytes any more."""
    n_devices, process = 20, psutil.Process(gateway.pid)
    context = trusting() if port_of is tls_port else None
    with contextlib.ExitStack() as closing:
        devices = [
            closing.enter_context(Device(port_of(gateway), 352093081450000 + number, tls=context))
            for number in range(n_devices)
        ]
        before = process.memory_info().rss
        closing.enter_context(frozen(server.pid))
        for device in devices:
            push(device)
        held = (process.memory_info().rss - before) / n_devices
        assert held < 200_000


def push(device: Device) -> None:
    """Send until nothing is taken any more."""
    device.socket.settimeout(0.05)
    frame = tcp_frame(b"\x8e\x01" + bytes(1200) + b"\x01")
    with contextlib.suppress(TimeoutError):
        while True:
            device.send(frame)


def test_a_device_that_ends_its_half_is_closed_in_order(
    server: EmbeddedRedis, gateway: Gateway
) -> None:
    """TLS has no halves: who says goodbye is gone, whatever is in flight."""
    with Device(gateway.tls_port, tls=trusting()) as device, frozen(server.pid):
        device.send(numbered(1, 3))
        eventually(lambda: figures(gateway)["gateway_in_flight_bytes"] > 0)
        assert isinstance(device.socket, ssl.SSLSocket)
        device.socket.unwrap()
    eventually(lambda: figures(gateway)["gateway_connections{phase=open}"] == 0)
    assert gateway.terminate() == 0
    assert not any("no effect" in line for line in gateway.output), gateway.output


def test_a_stop_says_goodbye_by_tls(gateway: Gateway) -> None:
    with Device(gateway.tls_port, tls=trusting()) as device:
        assert device.delivers(numbered(1)) == 1
        gateway.signal(15)  # type: ignore[arg-type] # SIGTERM
        assert device.rest() == b""
    assert gateway.exit_code() == 0

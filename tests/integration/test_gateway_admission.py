"""Who is let in by a running gateway: as `devices` says, or a file, and changed without restart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from commands import own_environment, run_command
from conftest import migrate
from devices import Device, channel_packet, datagrams, handshake, numbered
from processes import Gateway
from scraped import answer, figures
from servers import new_redis
from telemetry import fetch
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from waiting import eventually

IMEI: Final = 356307042441013
OTHER: Final = 352093081452251
UNKNOWN: Final = 352093086403655

BY_TABLE: Final = {"INGEST_ADMISSION": "postgres", "INGEST_ADMISSION_RELOAD_MS": "1000"}


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with new_redis(tcp=True, appendfsync="always") as started:
        yield started


@pytest.fixture
def gateway(server: EmbeddedRedis, migrated_database: str) -> Iterator[Gateway]:
    """One that lets IMEI in."""
    order(migrated_database, "allow", IMEI)
    with Gateway(server.url(), DATABASE_URL=migrated_database, **BY_TABLE) as started:
        assert started.tcp_port
        yield started


def order(dsn: str, what: str, imei: int) -> None:
    """``teltonika-processor device allow`` and the like."""
    environment = own_environment(DATABASE_URL=dsn)
    done = run_command("device", what, str(imei), "--yes", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def first_answer(port: int, imei: int) -> bytes:
    """What the handshake is answered with; nothing if the connection is closed without a word."""
    with Device(port, None) as device:
        device.send(handshake(imei))
        return device.receive(1)


def in_devices(dsn: str) -> dict[int, bool]:
    return {row["imei"]: row["allowed"] for row in fetch(dsn, "SELECT imei, allowed FROM devices")}


def test_who_is_on_the_list_is_served_and_who_is_not_is_refused_and_recorded(
    gateway: Gateway, migrated_database: str
) -> None:
    port = gateway.tcp_port
    assert first_answer(port, IMEI) == b"\x01"
    assert first_answer(port, UNKNOWN) == b"\x00"
    # For a while it is closed without a word.
    assert first_answer(port, UNKNOWN) == b""
    eventually(lambda: in_devices(migrated_database) == {IMEI: True, UNKNOWN: False})
    refused = gateway.wait_for("device.refused")
    assert (refused["imei"], refused["why"]) == (str(UNKNOWN), "not_allowed")
    found = figures(gateway)
    assert found["gateway_connections_ended_total{reason=not_allowed}"] == 1
    assert found["gateway_connections_ended_total{reason=throttled}"] == 1
    assert found["gateway_allowed_devices"] == 1


def test_a_device_that_an_operator_allows_is_let_in_soon_though_it_was_refused(
    gateway: Gateway, migrated_database: str
) -> None:
    port = gateway.tcp_port
    assert first_answer(port, UNKNOWN) == b"\x00"
    order(migrated_database, "allow", UNKNOWN)
    eventually(lambda: first_answer(port, UNKNOWN) == b"\x01", timeout_s=5.0)
    with Device(port, UNKNOWN) as device:
        assert device.delivers(numbered(1, 3)) == 3


def test_a_device_that_an_operator_denies_is_ended_soon(
    gateway: Gateway, migrated_database: str
) -> None:
    port = gateway.tcp_port
    order(migrated_database, "allow", OTHER)
    eventually(lambda: first_answer(port, OTHER) == b"\x01")
    with Device(port, IMEI) as denied, Device(port, OTHER) as other:
        assert denied.delivers(numbered(1)) == 1
        order(migrated_database, "deny", IMEI)
        assert denied.rest() == b""
        assert first_answer(port, IMEI) == b"\x00"
        assert other.delivers(numbered(2)) == 1
    assert figures(gateway)["gateway_connections_ended_total{reason=no_longer_allowed}"] == 1


def test_a_datagram_of_an_unknown_device_is_not_answered_and_recorded(
    gateway: Gateway, migrated_database: str
) -> None:
    empty = b"\x08\x00\x00"
    with datagrams(gateway.udp_port) as sender:
        sender.send(
            channel_packet(empty, UNKNOWN, number=1) + channel_packet(empty, IMEI, number=2)
        )
        assert sender.recv(100).hex() == "0005cafe010200"
        eventually(lambda: in_devices(migrated_database) == {IMEI: True, UNKNOWN: False})
        order(migrated_database, "allow", UNKNOWN)

        def is_answered() -> bool:
            sender.settimeout(0.05)
            sender.send(channel_packet(empty, UNKNOWN, number=3))
            try:
                return sender.recv(100).hex() == "0005cafe010300"
            except TimeoutError:
                return False

        eventually(is_answered, timeout_s=5.0)


def test_with_postgres_away_the_last_list_goes_on(
    server: EmbeddedRedis, own_postgres: EmbeddedPostgres
) -> None:
    migrate(own_postgres.dsn())
    order(own_postgres.dsn(), "allow", IMEI)
    with Gateway(server.url(), DATABASE_URL=own_postgres.dsn(), **BY_TABLE) as gateway:
        port = gateway.tcp_port
        with Device(port, IMEI) as device:
            own_postgres.kill()
            told = gateway.wait_for("admission.unreadable")
            assert told["meanwhile"] == "the last list goes on"
            assert device.delivers(numbered(1)) == 1
        assert first_answer(port, IMEI) == b"\x01"
        assert first_answer(port, UNKNOWN) == b"\x00"
        assert answer(gateway, "/readyz")[0] == 200
        own_postgres.start()
        gateway.wait_for("admission.readable")
        eventually(lambda: UNKNOWN in in_devices(own_postgres.dsn()))
        order(own_postgres.dsn(), "allow", UNKNOWN)
        eventually(lambda: first_answer(port, UNKNOWN) == b"\x01", timeout_s=5.0)
        assert gateway.terminate() == 0


def test_with_postgres_away_at_the_start_nobody_is_let_in_until_a_list_was_read(
    server: EmbeddedRedis, own_postgres: EmbeddedPostgres
) -> None:
    migrate(own_postgres.dsn())
    order(own_postgres.dsn(), "allow", IMEI)
    own_postgres.stop()
    with Gateway(server.url(), DATABASE_URL=own_postgres.dsn(), **BY_TABLE) as gateway:
        told = gateway.wait_for("admission.unreadable")
        assert told["meanwhile"] == "devices wait until there is a list"
        unlisted = (503, "No list of allowed devices was read yet.\n")
        eventually(lambda: answer(gateway, "/readyz") == unlisted)
        assert "gateway.started" not in [event["event"] for event in gateway.events]
        own_postgres.start()
        assert first_answer(gateway.tcp_port, IMEI) == b"\x01"


def test_postgres_away_for_longer_than_the_startup_timeout_ends_it(
    server: EmbeddedRedis, own_postgres: EmbeddedPostgres
) -> None:
    own_postgres.stop()
    settings = {"DATABASE_URL": own_postgres.dsn(), "STARTUP_TIMEOUT_MS": "500", **BY_TABLE}
    with Gateway(server.url(), **settings) as gateway:
        assert gateway.exit_code() == 75
        error = gateway.wait_for("service.failed")["error"]
    assert error == (
        "not ready within STARTUP_TIMEOUT_MS=500: No list of allowed devices was read yet."
    )


def test_a_database_without_our_tables_is_refused(server: EmbeddedRedis, database: str) -> None:
    with Gateway(server.url(), DATABASE_URL=database, **BY_TABLE) as gateway:
        assert gateway.exit_code() == 76


def test_a_list_in_a_file_is_read_again_when_it_changes(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    path = tmp_path / "fleet.txt"
    path.write_text(f"# the fleet\n{IMEI}\n")
    with Gateway(server.url(), INGEST_ADMISSION=f"file:{path}") as gateway:
        port = gateway.tcp_port
        with Device(port, IMEI) as device:
            assert first_answer(port, UNKNOWN) == b"\x00"
            path.write_text(f"{IMEI}\nno number\n")
            assert "no number" in gateway.wait_for("admission.unreadable")["error"]
            assert device.delivers(numbered(1)) == 1
            path.write_text(f"{UNKNOWN}\n")
            assert device.rest() == b""
        eventually(lambda: first_answer(port, UNKNOWN) == b"\x01")
        replaced = gateway.wait_for("admission.replaced", lambda event: event["removed"] == 1)
        assert (replaced["allowed"], replaced["added"]) == (1, 1)


@pytest.mark.parametrize("content", [None, "no number\n"])
def test_a_file_that_is_no_list_is_refused_at_the_start(
    server: EmbeddedRedis, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "fleet.txt"
    if content is not None:
        path.write_text(content)
    with Gateway(server.url(), INGEST_ADMISSION=f"file:{path}") as refused:
        assert refused.exit_code() == 78
        assert str(path) in refused.wait_for("service.failed")["error"]

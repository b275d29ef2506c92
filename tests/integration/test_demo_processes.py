"""The processes of the demo: what they are told, and what is said when one does not serve."""

import contextlib
import re
import socket
from collections.abc import Iterator

import pytest

from teltonika_processor.cli.demo_processes import (
    LOOPBACK,
    DemoError,
    Gateway,
    Servers,
    Service,
    Services,
)
from teltonika_processor.embedded import EmbeddedRedis


@pytest.fixture
def durable_redis() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(appendfsync="always") as server:
        yield server


async def test_a_service_that_does_not_start_is_told_with_its_last_words() -> None:
    service = Service(
        "gateway", "ingest", started="gateway.started", settings={"INGEST_DURABILITY": "none"}
    )
    with contextlib.closing(service):
        service.spawn()
        told = r"gateway ended with exit code 78; its last words:\n  .*INGEST_DURABILITY"
        with pytest.raises(DemoError, match=re.compile(told, re.DOTALL)):
            await service.ready()


async def test_a_gateway_that_is_killed_comes_back_on_its_ports(
    durable_redis: EmbeddedRedis, migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGEST_TCP_PORT", "1")
    monkeypatch.setenv("INGEST_ADMISSION", "file:/nowhere")
    gateway = Gateway(Servers(durable_redis.url(), migrated_database), devices=3)
    with contextlib.closing(gateway):
        gateway.spawn()
        await gateway.ready()
        before = gateway.address
        gateway.kill()
        with pytest.raises(DemoError, match="gateway ended with exit code -9"):
            Services(gateway, []).check_alive()
        await gateway.restart()
        assert gateway.address == before
        with socket.create_connection((LOOPBACK, before.tcp_port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert client.recv(1) == b""
        assert await Services(gateway, []).stop() == {"gateway": 0}

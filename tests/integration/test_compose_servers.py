"""The servers of compose.yaml: its own commands, secrets and health checks on real ones."""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as blocking_redis

from compose import GATEWAY, ROOT, SERVICES
from servers import new_postgres, run_in_own_loop, runs_on_old_servers
from telemetry import fetch
from teltonika_processor.embedded.installs import system_redis, wheel_redis
from teltonika_processor.stream.connection import open_client
from teltonika_processor.stream.durability import Durability, check_durability
from teltonika_processor.stream.server_checks import Doubt, check_server
from waiting import eventually


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("secrets")
    subprocess.run([ROOT / "scripts" / "secrets.sh", directory], capture_output=True, check=True)
    return directory


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@pytest.fixture
def url(secrets: Path, tmp_path: Path) -> Iterator[str]:
    """REDIS_URL of the secrets, for a server that was started as the service `redis` is."""
    program = system_redis() if runs_on_old_servers() else wheel_redis()
    if program is None:
        pytest.skip("redis-server is not on this machine")
    port = free_port()
    words = [word.replace("/run/secrets", str(secrets)) for word in SERVICES["redis"]["command"]]
    place = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    with subprocess.Popen([program, *words[1:], *place], stdout=subprocess.DEVNULL) as server:
        url = (secrets / "redis_url").read_text().strip().replace("redis:6379", f"127.0.0.1:{port}")
        try:
            eventually(lambda: answers(url))
            yield url
        finally:
            server.terminate()


def answers(url: str) -> bool:
    try:
        with blocking_redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except blocking_redis.ConnectionError:
        return False


async def doubts_about(url: str) -> list[Doubt]:
    client = open_client(url, name="test")
    try:
        return await check_server(client, block_ms=500, command_timeout_s=5.0)
    finally:
        await client.aclose()


def test_the_processors_have_no_doubt_about_redis(url: str) -> None:
    assert run_in_own_loop(doubts_about(url)) == []


async def ask_for(durability: str, url: str) -> None:
    client = open_client(url, name="test")
    try:
        await check_durability(client, Durability.of(durability), vouched=False)
    finally:
        await client.aclose()


def test_redis_keeps_what_the_gateway_promises(url: str) -> None:
    run_in_own_loop(ask_for(GATEWAY["environment"]["INGEST_DURABILITY"], url))


def test_redis_wants_the_password(url: str) -> None:
    without = re.sub(r"//.*@", "//", url)
    with (
        blocking_redis.Redis.from_url(without) as client,
        pytest.raises(blocking_redis.AuthenticationError),
    ):
        client.ping()


def test_the_health_check_of_redis_uses_the_password_of_the_secrets(
    url: str, secrets: Path, tmp_path: Path
) -> None:
    shell, command = SERVICES["redis"]["healthcheck"]["test"]
    assert shell == "CMD-SHELL"
    # A client that asks with the variable that the check sets, in place of valkey-cli.
    client = tmp_path / "valkey-cli"
    client.write_text(
        f'#!/bin/sh\nprintf "AUTH $REDISCLI_AUTH\\r\\nPING\\r\\nQUIT\\r\\n" | '
        f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{url.rpartition(':')[2].partition('/')[0]}; "
        "cat >&3; cat <&3'\n"
    )
    client.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    right = command.replace("/run/secrets", str(secrets))
    wrong = command.replace("/run/secrets/redis_conf", "/dev/null")
    assert subprocess.run(["sh", "-c", right], env=environment, check=False).returncode == 0
    assert subprocess.run(["sh", "-c", wrong], env=environment, check=False).returncode == 1


def test_postgres_takes_the_settings_of_its_command() -> None:
    program, *words = SERVICES["postgres"]["command"]
    assert program == "postgres"
    assert set(words[::2]) == {"-c"}
    settings = dict(word.split("=", 1) for word in words[1::2])
    with new_postgres(settings=settings) as server:
        for name, value in settings.items():
            (row,) = fetch(server.dsn(), "SELECT current_setting($1) AS value", name)
            assert row["value"] == value

"""A password is in nothing that leaves a process: its log, its answers, its dump, its errors.

`Processor` and `run_command` demand it of all that they start; here are the ways in which it might.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest

from acl_redis import AclRedis
from commands import COMMAND, own_environment, run_command
from processes import Processor
from secret import AWKWARD, SECRET, demand_no_secret, forms_of
from servers import new_postgres, new_redis, run_sql
from telemetry import BASE_MS, IMEI, STREAM, Telemetry, entry, frame_at
from teltonika_processor.cli.app import SUBCOMMANDS
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from teltonika_processor.embedded.server import free_port
from teltonika_processor.store.positions import PositionWriter
from waiting import eventually

# Named by commands; every test may read it.
ZONES = str(Path(__file__).parents[1] / "vectors" / "zones.geojson")

DEBUG = {
    "LOG_LEVEL": "debug",
    "STARTUP_TIMEOUT_MS": "1000",
    "INGEST_TCP_PORT": "0",
    "INGEST_UDP_PORT": "0",
    "INGEST_CONNECTIONS_MAX": "500",
}

# With whatever they need to get as far as a server.
COMMANDS = {
    "migrate": [["migrate"], ["migrate", "--check"]],
    "audit": [["audit"], ["audit", "--json"], ["audit", "--record"]],
    "doctor": [["doctor"], ["doctor", "--json"]],
    "status": [["status", "--sample", "0"], ["status", "--sample", "0", "--json"]],
    "consumers": [["consumers", "list"], ["consumers", "reap", "--yes"]],
    "pending": [["pending", "list", "--json"], ["pending", "claim", "1-1", "--yes"]],
    "group": [["group", "rewind", "--all", "--yes"]],
    "partitions": [
        ["partitions", "list"],
        ["partitions", "drop", "--older-than", "3", "--yes"],
        ["partitions", "repair", "--yes"],
    ],
    "zones": [
        ["zones", "list"],
        ["zones", "show", "pit"],
        ["zones", "export"],
        ["zones", "disable", "pit", "--yes"],
        ["zones", "check", ZONES],
        ["zones", "import", ZONES, "--yes"],
    ],
    "sessions": [["sessions", "list"], ["sessions", "remove", "x", "--yes"]],
    "timing": [["timing", "show"], ["timing", "laps", "--session", "x"], ["timing", "limits"]],
    "explain": [["explain", "1-1"]],
    "health": [["health"], ["health", "--ready", "--json"]],
    "dlq": [["dlq", "list"], ["dlq", "show", "1-1"], ["dlq", "replay", "--all", "--yes"]],
    "device": [
        ["device", "list"],
        ["device", "show", str(IMEI), "--timeout", "0.1"],
        ["device", "allow", str(IMEI), "--yes"],
        ["device", "deny", str(IMEI), "--yes"],
        ["device", "rehydrate", str(IMEI), "--timeout", "0.1"],
        ["device", "forget", str(IMEI), "--yes"],
    ],
    "config": [["config", "show"], ["config", "show", "--json"], ["config", "check", "--strict"]],
    "run": [["run"]],
    "simulate": [["simulate", "--verify", "--port", "1", "--duration", "1s", "--drain", "0"]],
    "ingest": [["ingest"]],
}
WITHOUT_SETTINGS = {"decode", "demo"}


def break_write_and_tell() -> None:
    """`first` of a processor: an error of a library's repeats the address."""

    async def write(*_arguments: object, **_named: object) -> None:
        raise RuntimeError(f"cannot write to {os.environ['DATABASE_URL']}")

    PositionWriter.write = write  # type: ignore[method-assign,assignment]


@pytest.fixture
def database_url(own_postgres: EmbeddedPostgres) -> str:
    """By a role whose password has all that an address must encode."""
    sql_password = AWKWARD.replace("'", "''")
    run_sql(own_postgres.dsn(), f"CREATE ROLE fleet SUPERUSER LOGIN PASSWORD '{sql_password}'")
    encoded = quote(AWKWARD, safe="")
    return f"postgresql://fleet:{encoded}@127.0.0.1:{own_postgres.port}/postgres"


@pytest.fixture
def redis_address(own_redis: EmbeddedRedis) -> str:
    return own_redis.url(over_tcp=True)


@pytest.fixture
def telemetry(own_redis: EmbeddedRedis) -> Iterator[Telemetry]:
    telemetry = Telemetry(own_redis.url())
    yield telemetry
    telemetry.close()


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int, int]]:
    """Of a Redis, of a Postgres, and of nobody."""
    with new_redis(tcp=True) as redis, new_postgres(tcp=True) as postgres:
        yield redis.port, postgres.port, free_port()


def answers(processor: Processor) -> str:
    """Every page that is served."""
    started = processor.wait_for("http.started")
    pages = ""
    for path in ("/status", "/metrics", "/livez", "/readyz", "/none"):
        connection = HTTPConnection(started["host"], started["port"], timeout=10)
        connection.request("GET", path)
        response = connection.getresponse()
        pages += f"{response.headers}\n{response.read().decode()}"
        connection.close()
    return pages


def test_what_is_looked_for_is_found_in_every_form() -> None:
    for form in forms_of(SECRET):
        with pytest.raises(AssertionError, match="printed a password"):
            demand_no_secret(f"before{form}after", "a test")


def test_a_processor_whose_servers_go_away(
    telemetry: Telemetry,
    own_redis: EmbeddedRedis,
    own_postgres: EmbeddedPostgres,
    redis_address: str,
    database_url: str,
) -> None:
    with Processor(redis_address, database_url, settings=DEBUG) as processor:
        processor.wait_for("consumer.started")
        telemetry.publish([entry(frame_at(BASE_MS)), entry(frame_at(BASE_MS)[:-1])])
        eventually(lambda: telemetry.client.xpending(STREAM, "processor")["pending"] == 1)
        demand_no_secret(answers(processor), "HTTP")
        own_postgres.kill()
        telemetry.publish([entry(frame_at(BASE_MS + 1000))])
        processor.wait_for("retry.scheduled", lambda e: "Postgres" in e["error"])
        own_redis.kill()
        processor.wait_for("retry.scheduled", lambda e: "Redis" in e["error"])
        demand_no_secret(answers(processor), "HTTP")
        processor.terminate()
    demand_no_secret("".join(processor.output), "the log")


def test_a_panic_whose_error_holds_the_address(
    telemetry: Telemetry, redis_address: str, database_url: str, tmp_path: Path
) -> None:
    settings = {**DEBUG, "PANIC_DUMP_DIR": str(tmp_path)}
    with Processor(
        redis_address, database_url, settings=settings, first=break_write_and_tell
    ) as processor:
        processor.wait_for("consumer.started")
        telemetry.publish([entry(frame_at(BASE_MS))])
        assert processor.exit_code() == 70
    log = "".join(processor.output)
    assert "cannot write to ***" in log
    (dump,) = tmp_path.iterdir()
    assert json.loads(dump.read_text())["error"]["message"] == "cannot write to ***"
    demand_no_secret(log + dump.read_text(), "a panic")


def test_every_command_is_tried() -> None:
    assert COMMANDS.keys() | WITHOUT_SETTINGS == set(SUBCOMMANDS)


@pytest.mark.parametrize("arguments", [a for some in COMMANDS.values() for a in some], ids=" ".join)
def test_a_command_with_the_wrong_password_or_no_server(
    ports: tuple[int, int, int], arguments: list[str]
) -> None:
    redis, postgres, nobody = ports
    wrong, right = quote(f"{AWKWARD}!", safe=""), SECRET
    for redis_login, redis_port, postgres_port in (
        (wrong, redis, postgres),
        (right, redis, postgres),
        (right, nobody, nobody),
    ):
        addresses = {
            "REDIS_URL": f"redis://:{redis_login}@127.0.0.1:{redis_port}/0",
            "DATABASE_URL": f"postgresql://postgres:{wrong}@127.0.0.1:{postgres_port}/postgres",
        }
        done = run_command(*arguments, environment=own_environment(**DEBUG, **addresses))
        assert done.returncode in {0, 1, 2, 75, 76, 78}, done.stderr
        demand_no_secret(done.stdout + done.stderr, " ".join(arguments))


def test_a_wrong_password_of_a_user_of_redis() -> None:
    with AclRedis(old=False) as server:
        url = server.url_of("operator", f"{SECRET}-wrong")
        done = run_command("dlq", "list", environment=own_environment(REDIS_URL=url))
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("REDIS_URL: Redis refuses this user: ")


def test_the_stack_of_a_bug_in_a_command(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        "from teltonika_processor.cli import config\n"
        "def broken(*_):\n"
        "    raise RuntimeError(os.environ['DATABASE_URL'])\n"
        "config.check_settings = broken\n"
    )
    url = f"postgresql://u:{quote(AWKWARD, safe='')}@h/d"
    environment = own_environment(DATABASE_URL=url)
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*COMMAND, "config", "check"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 70
    assert "RuntimeError: ***" in done.stderr
    demand_no_secret(done.stdout + done.stderr, "the stack")

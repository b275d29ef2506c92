"""`teltonika-processor status`, run as a person runs it, beside real processors."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from commands import COMMAND, own_environment, run_command
from letters import add_letter
from processes import Processor
from servers import run_sql
from telemetry import BASE_MS, STREAM, Telemetry, entry, frame_at, locked
from teltonika_processor.embedded import EmbeddedRedis
from terminal import Terminal
from waiting import eventually

NOBODY = "redis://127.0.0.1:1/0"
AWAY_DSN = "postgresql://postgres@127.0.0.1:1/nothing"


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


def status(
    redis_url: str, dsn: str, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    environment = own_environment(REDIS_URL=redis_url, DATABASE_URL=dsn, **settings)
    return run_command("status", "--sample", "0.2", *arguments, environment=environment)


def codes(told: subprocess.CompletedProcess[str]) -> list[str]:
    return [finding["code"] for finding in json.loads(told.stdout)["findings"]]


def test_a_service_that_has_settled_everything_is_healthy(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    with Processor(redis_url, migrated_database) as processor:
        telemetry.publish([entry(frame_at(BASE_MS + i)) for i in range(20)])
        eventually(telemetry.settled)
        people = status(redis_url, migrated_database)
        told = status(redis_url, migrated_database, "--json")
        assert processor.terminate() == 0
    assert (people.returncode, people.stderr) == (0, "")
    shown = people.stdout.splitlines()
    assert shown[0] == "healthy"
    assert shown[3] == "group      processor: lag 0 entries, pending 0"
    assert shown[4] == "totals     20 acknowledged, 0 dead-lettered"
    assert shown[6].startswith("consumers  one  running      pending 0, idle ")
    assert "audit      none recorded: teltonika-processor audit --record" in shown
    assert len(shown) == 15
    assert told.returncode == 0
    found: dict[str, Any] = json.loads(told.stdout)
    assert (found["healthy"], found["findings"]) == (True, [])
    assert found["group"]["acknowledged_entries"] == 20
    assert found["rates"]["over_s"] >= 0.2
    assert [(c["consumer"], c["running"]) for c in found["consumers"]] == [("one", True)]
    assert found["postgres"]["schema_fault"] == ""


def test_before_the_first_start_it_says_what_is_missing(redis_url: str, database: str) -> None:
    told = status(redis_url, database, "--json")
    assert told.returncode == 1
    assert codes(told) == ["no_instance", "no_group", "schema"]


def test_on_a_schema_that_is_older_the_rest_is_shown(
    redis_url: str, migrated_database: str
) -> None:
    run_sql(migrated_database, "DROP FUNCTION positions_default_plausible")
    forget = "DELETE FROM teltonika_migrations WHERE name = '0004_default_plausible'"
    run_sql(migrated_database, forget)
    told = status(redis_url, migrated_database, "--json")
    assert told.returncode == 1
    assert "schema" in codes(told)
    found = json.loads(told.stdout)["postgres"]["partitions"]
    assert (found["partitions"], found["plausible_rows"]) == (2, None)


def test_what_a_killed_instance_holds_and_dead_letters_are_findings(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    with Processor(redis_url, migrated_database) as processor:
        processor.wait_for("consumer.started")
        with locked(migrated_database, "positions"):
            telemetry.publish([entry(frame_at(BASE_MS))])
            eventually(lambda: telemetry.pending() == 1)
            processor.kill()
    telemetry.client.delete(f"{STREAM}:consumer:processor:one")
    add_letter(telemetry.client, entry(b""), "truncated")
    told = status(redis_url, migrated_database)
    assert told.returncode == 1
    assert told.stdout.splitlines()[:3] == [
        "no instance is running",
        "one is not running and holds 1 pending entry",
        "1 dead letter (truncated 1)",
    ]


def test_a_server_that_is_away_is_said_and_the_other_one_shown(
    redis_url: str, migrated_database: str
) -> None:
    told = status(NOBODY, migrated_database)
    assert (told.returncode, told.stderr) == (75, "")
    assert told.stdout.startswith("Redis is away: ")
    assert "schema fits" in told.stdout
    told = status(redis_url, AWAY_DSN)
    assert told.returncode == 75
    assert told.stdout.startswith("Postgres is away: ")
    assert "redis      " in told.stdout
    both = status(NOBODY, AWAY_DSN, "--json")
    assert both.returncode == 75
    assert codes(both) == ["redis_away", "postgres_away"]


def test_wrong_settings_and_names_have_codes_of_their_own(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    assert status("http://127.0.0.1/", migrated_database).returncode == 78
    assert status(redis_url, migrated_database.replace("_test", "_none")).returncode == 76
    telemetry.client.set(STREAM, "something else")
    told = status(redis_url, migrated_database)
    assert told.returncode == 78
    assert "REDIS_TELEMETRY_STREAM" in told.stdout


def test_on_a_terminal_it_is_watched_until_ctrl_c_whatever_the_servers_do(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    environment = own_environment(REDIS_URL=own_redis.url(), DATABASE_URL=migrated_database)
    with Terminal("status", "--watch", "--interval", "0.2", environment=environment) as terminal:
        terminal.wait_for("no instance is running")
        terminal.wait_for("/s acknowledged")
        own_redis.kill()
        shown = terminal.wait_for("Redis went away")
        assert "Redis is away" in shown
        assert "schema fits" in shown
        own_redis.start()
        shown = terminal.wait_for("Redis is back after")
        assert "no instance is running" in shown
        assert terminal.interrupt() == 130
    assert terminal.screen_is_left
    assert "Traceback" not in terminal.output


def test_without_a_terminal_the_watch_prints_an_object_a_line(
    own_redis: EmbeddedRedis, migrated_database: str
) -> None:
    environment = own_environment(REDIS_URL=own_redis.url(), DATABASE_URL=migrated_database)
    watching = subprocess.Popen(
        [*COMMAND, "status", "--watch", "--json", "--interval", "0.2"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        second = json.loads(watching.stdout.readline())
        own_redis.kill()
        lines = iter(watching.stdout.readline, "")
        assert next(found for found in map(json.loads, lines) if found["redis"]["error"])
        own_redis.start()
        assert next(found for found in map(json.loads, lines) if not found["redis"]["error"])
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130
    finally:
        watching.kill()
        watching.communicate()
    assert (first["rates"], second["rates"]["added_per_s"]) == (None, 0)


def test_in_a_pipe_the_watch_prints_a_block_each_time(
    redis_url: str, migrated_database: str
) -> None:
    environment = own_environment(REDIS_URL=redis_url, DATABASE_URL=migrated_database)
    reader, writer = os.pipe()
    watching = subprocess.Popen(
        [*COMMAND, "status", "--watch", "--interval", "0.2"], env=environment, stdout=writer
    )
    os.close(writer)
    with os.fdopen(reader) as printed:
        for _ in range(2):
            block = list(iter(printed.readline, "\n"))
            assert block[0] == "no instance is running\n"
            assert block[-1] == "           no standby\n"
    # Whoever read has gone, and typer ends a command that writes to nobody with 1.
    assert watching.wait(30) == 1


def test_on_a_terminal_one_look_is_coloured(redis_url: str, migrated_database: str) -> None:
    environment = own_environment(REDIS_URL=redis_url, DATABASE_URL=migrated_database)
    with Terminal("status", "--sample", "0", environment=environment) as terminal:
        terminal.wait_for("no standby")
    assert "\x1b[1;31mno instance is running" in terminal.output
    assert "not known yet" in terminal.output


def test_connections_of_status_are_named(redis_url: str, migrated_database: str) -> None:
    environment = own_environment(REDIS_URL=redis_url, DATABASE_URL=migrated_database)
    arguments = ("status", "--watch", "--interval", "0.2")
    with (
        redis.Redis.from_url(redis_url) as client,
        Terminal(*arguments, environment=environment) as terminal,
    ):
        terminal.wait_for("no instance is running")
        names = [about["name"] for about in client.client_list()]
        assert terminal.interrupt() == 130
    assert "teltonika-processor/status" in names

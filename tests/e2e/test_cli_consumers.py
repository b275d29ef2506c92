"""`teltonika-processor consumers`, run as a person runs it."""

import json
import subprocess
from collections.abc import Iterator

import pytest
import redis

from commands import own_environment, run_command
from processes import Processor
from telemetry import BASE_MS, GROUP, STREAM, Telemetry, entry, frame_at
from terminal import Terminal
from waiting import eventually


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def group(client: redis.Redis) -> redis.Redis:
    """A group with a dead consumer, one that holds an entry, and one with a lease."""
    client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    for name in ("alive", "dead"):
        client.xgroup_createconsumer(STREAM, GROUP, name)
    client.xadd(STREAM, {"frame": "f"})
    client.xreadgroup(GROUP, "holds", {STREAM: ">"})
    client.set(f"{STREAM}:consumer:{GROUP}:alive", "somebody", px=60_000)
    eventually(lambda: all(c["idle"] > 5 for c in client.xinfo_consumers(STREAM, GROUP)))
    return client


def consumers(redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("consumers", *arguments, environment=own_environment(REDIS_URL=redis_url))


def names_in(client: redis.Redis) -> set[str]:
    return {about["name"].decode() for about in client.xinfo_consumers(STREAM, GROUP)}


def test_without_a_group_nobody_is_listed(redis_url: str) -> None:
    told = consumers(redis_url, "list")
    assert (told.returncode, told.stdout) == (0, "0 consumers in processor, 0 running\n")
    assert consumers(redis_url, "list", "--json").stdout == ""
    told = consumers(redis_url, "reap", "--yes")
    assert (told.returncode, told.stdout) == (0, "nothing to remove\n")


def test_running_instances_are_listed_as_such(redis_url: str, migrated_database: str) -> None:
    telemetry = Telemetry(redis_url)
    with Processor(redis_url, migrated_database) as processor:
        telemetry.publish([entry(frame_at(BASE_MS))])
        eventually(telemetry.settled)
        told = consumers(redis_url, "list")
        objects = consumers(redis_url, "list", "--json")
        refused = consumers(redis_url, "reap", "one", "--idle", "0", "--yes")
        assert processor.terminate() == 0
    telemetry.close()
    head, headings, row = told.stdout.splitlines()
    assert head == "1 consumer in processor, 1 running"
    assert headings.split()[:3] == ["consumer", "running", "pending"]
    assert row.split()[:4] == ["one", "yes", "0", "-"]
    (found,) = map(json.loads, objects.stdout.splitlines())
    assert (found["consumer"], found["running"], found["pending_entries"]) == ("one", True, 0)
    assert (refused.returncode, refused.stderr) == (
        1,
        "one is running: an instance holds its lease\n",
    )


def test_only_the_dead_go_and_who_holds_entries_is_named(
    redis_url: str, group: redis.Redis
) -> None:
    advice = (
        "holds holds 1 pending entry, which would go with it; first: "
        "teltonika-processor pending claim --from holds\n"
    )
    tried = consumers(redis_url, "reap", "--idle", "1", "--dry-run")
    assert (tried.returncode, tried.stdout) == (0, "would remove 1 consumer: dead\n")
    assert names_in(group) == {"alive", "dead", "holds"}
    told = consumers(redis_url, "reap", "--idle", "1", "--yes")
    assert (told.returncode, told.stdout) == (0, "removed 1 consumer: dead\n")
    assert tried.stderr == told.stderr == advice
    assert names_in(group) == {"alive", "holds"}
    assert group.xpending(STREAM, GROUP)["pending"] == 1


def test_a_named_one_that_cannot_go_is_told_why(redis_url: str, group: redis.Redis) -> None:
    names = ("alive", "dead", "holds", "nobody")
    told = consumers(redis_url, "reap", "--idle", "1", "--yes", *names)
    assert (told.returncode, told.stdout) == (1, "removed 1 consumer: dead\n")
    missing, alive, holds = told.stderr.splitlines()
    assert missing == "nobody is not in the group"
    assert alive == "alive is running: an instance holds its lease"
    assert holds.startswith("holds holds 1 pending entry")
    assert names_in(group) == {"alive", "holds"}


def test_in_json_a_reaping_says_who_goes_and_who_stays(redis_url: str, group: redis.Redis) -> None:
    arguments = ("reap", "--idle", "1", "--json", "alive", "dead", "nobody")
    tried = consumers(redis_url, *arguments, "--dry-run")
    expected = {
        "dry_run": True,
        "consumers": ["dead"],
        "removed": [],
        "left": [
            {"consumer": "nobody", "why": "is not in the group"},
            {"consumer": "alive", "why": "is running: an instance holds its lease"},
        ],
    }
    assert (tried.returncode, json.loads(tried.stdout)) == (1, expected)
    assert "dead" in names_in(group)
    told = consumers(redis_url, *arguments, "--yes")
    expected |= {"dry_run": False, "removed": ["dead"]}
    assert (told.returncode, json.loads(told.stdout)) == (1, expected)
    assert names_in(group) == {"alive", "holds"}
    nothing = consumers(redis_url, "reap", "--json", "--yes")
    about = json.loads(nothing.stdout)
    assert (about["dry_run"], about["consumers"], about["removed"]) == (False, [], [])


def test_one_that_was_active_lately_stays(redis_url: str, group: redis.Redis) -> None:
    told = consumers(redis_url, "reap", "dead", "--yes")
    assert (told.returncode, told.stdout) == (1, "nothing to remove\n")
    assert told.stderr.startswith("dead was idle for ")
    assert told.stderr.endswith(" ms only: --idle is 60,000\n")
    assert "dead" in names_in(group)


def test_without_a_terminal_and_without_yes_nothing_is_removed(
    redis_url: str, group: redis.Redis
) -> None:
    told = consumers(redis_url, "reap", "--idle", "1")
    assert (told.returncode, told.stdout) == (2, "")
    assert names_in(group) == {"alive", "dead", "holds"}


def test_on_a_terminal_the_list_is_a_table(redis_url: str, group: redis.Redis) -> None:
    environment = own_environment(REDIS_URL=redis_url)
    with Terminal("consumers", "list", environment=environment) as terminal:
        shown = terminal.wait_for("└")
    assert "3 consumers in processor, 1 running" in shown
    assert "┃" in shown
    assert names_in(group) == {"alive", "dead", "holds"}


@pytest.mark.parametrize(
    ("answer", "code", "left"),
    [("n", 1, {"alive", "dead", "holds"}), ("y", 0, {"alive", "holds"})],
)
def test_on_a_terminal_it_asks_first(
    redis_url: str, group: redis.Redis, answer: str, code: int, left: set[str]
) -> None:
    environment = own_environment(REDIS_URL=redis_url)
    arguments = ("consumers", "reap", "dead", "--idle", "1")
    with Terminal(*arguments, environment=environment) as terminal:
        terminal.wait_for("remove 1 consumer: dead? [y/N]: ")
        terminal.answer(answer)
        assert terminal.exit_code() == code
    said = "removed 1 consumer: dead" if code == 0 else "nothing was changed"
    assert said in terminal.output
    assert names_in(group) == left


@pytest.mark.parametrize("arguments", [["list"], ["reap", "--yes"]], ids=" ".join)
def test_exit_codes_of_a_redis_that_is_away_and_of_wrong_settings(arguments: list[str]) -> None:
    assert consumers("redis://127.0.0.1:1", *arguments).returncode == 75
    assert consumers("http://127.0.0.1:1", *arguments).returncode == 78

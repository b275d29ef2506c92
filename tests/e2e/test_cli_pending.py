"""`teltonika-processor pending`, run as a person runs it, beside real processors."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from audited import assert_clean
from commands import own_environment, run_command
from processes import Processor
from telemetry import (
    BASE_MS,
    GROUP,
    IMEI,
    STREAM,
    Key,
    Telemetry,
    entry,
    frame_at,
    locked,
    stored_keys,
)
from terminal import Terminal
from waiting import eventually

# Without the command nothing is claimed while a test runs.
SETTINGS = {"CLAIM_THRESHOLD_MS": "600000", "CLAIM_INTERVAL_MS": "500", "STREAM_TRIM": "false"}


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


def pending(redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = own_environment(REDIS_URL=redis_url, CLAIM_INTERVAL_MS="500")
    return run_command("pending", *arguments, environment=environment)


def deliver(telemetry: Telemetry, consumer: str, count: int) -> list[str]:
    """Entries that are pending under a name that nobody runs under."""
    telemetry.client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    ids = telemetry.publish([entry(frame_at(BASE_MS + i)) for i in range(count)])
    telemetry.client.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=count)
    return [entry_id.decode() for entry_id in ids]


def kill_with_entries(
    telemetry: Telemetry, redis_url: str, dsn: str, name: str, count: int
) -> list[str]:
    """Have an instance killed with -9 in the middle of writing `count` entries; their ids."""
    settings = {**SETTINGS, "REDIS_CONSUMER_NAME": name}
    with Processor(redis_url, dsn, settings=settings) as processor:
        processor.wait_for("consumer.started")
        with locked(dsn, "positions"):
            ids = telemetry.publish([entry(frame_at(BASE_MS + i)) for i in range(count)])
            eventually(lambda: telemetry.pending() == count)
            processor.kill()
    return [entry_id.decode() for entry_id in ids]


# Listing


def test_nothing_is_pending_before_there_is_a_group(redis_url: str) -> None:
    told = pending(redis_url, "list")
    assert (told.returncode, told.stdout) == (0, "0 pending in telemetry:teltonika\n")
    assert pending(redis_url, "list", "--json").stdout == ""


def test_the_list_counts_by_consumer_and_has_a_line_an_entry(
    telemetry: Telemetry, redis_url: str
) -> None:
    ids = deliver(telemetry, "dead", 3)
    telemetry.client.hset(f"{STREAM}:attempts", ids[1], 2)
    telemetry.client.hset(f"{STREAM}:suspects", ids[1], 1)
    telemetry.client.xdel(STREAM, ids[2])
    told = pending(redis_url, "list")
    head, headings, *rows = told.stdout.splitlines()
    assert head == "3 pending in telemetry:teltonika (dead 3)"
    assert headings.split() == [
        *("id", "consumer", "device", "idle", "deliveries", "attempts", "trials")
    ]
    cells = [row.split() for row in rows]
    assert [row[:3] for row in cells[:2]] == [
        [ids[0], "dead", str(IMEI)],
        [ids[1], "dead", str(IMEI)],
    ]
    assert [row[-3:] for row in cells] == [["1", "0", "0"], ["1", "2", "1"], ["1", "0", "0"]]
    assert "(payload gone)" in rows[2]


def test_the_list_is_cut_at_its_limit_and_says_so(telemetry: Telemetry, redis_url: str) -> None:
    ids = deliver(telemetry, "dead", 5)
    told = pending(redis_url, "list", "--limit", "2")
    assert told.stdout.splitlines()[-1] == "3 more; --limit 5 shows all"
    told = pending(redis_url, "list", "--limit", "4", "--consumer", "dead", "--json")
    objects = [json.loads(line) for line in told.stdout.splitlines()]
    assert [found["id"] for found in objects] == ids[:4]
    assert told.stderr == "1 more; --limit 5 shows all\n"
    assert {key: objects[0][key] for key in ("consumer", "imei", "deliveries")} == {
        "consumer": "dead",
        "imei": str(IMEI),
        "deliveries": 1,
    }
    told = pending(redis_url, "list", "--limit", "2", "--min-idle", "1")
    assert told.stdout.splitlines()[-1] == "there are more; a larger --limit shows them"
    assert len(pending(redis_url, "list", "--min-idle", "600000").stdout.splitlines()) == 1


def test_on_a_terminal_the_list_is_a_table(telemetry: Telemetry, redis_url: str) -> None:
    (first,) = deliver(telemetry, "dead", 1)
    environment = own_environment(REDIS_URL=redis_url)
    with Terminal("pending", "list", environment=environment) as terminal:
        shown = terminal.wait_for("└")
    assert first in shown
    assert "┃" in shown


# Claiming


def test_the_entries_of_a_killed_instance_are_with_the_other_one_at_once(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    ids = kill_with_entries(telemetry, redis_url, migrated_database, "two", 50)
    with Processor(redis_url, migrated_database, settings=SETTINGS) as processor:
        processor.wait_for("consumer.started")
        began_s = time.monotonic()
        told = pending(redis_url, "claim", "--from", "two", "--yes")
        took_s = time.monotonic() - began_s
        assert (told.returncode, told.stdout) == (0, "50 entries: 50 settled\n"), told.stderr
        claimed = [e["count"] for e in processor.events if e["event"] == "entries.reclaimed"]
        assert processor.terminate() == 0
    # Its lease of 10 s has to lapse, and a look is taken every half second.
    assert took_s < 20
    assert sum(claimed) == 50
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS + i) for i in range(50)]
    assert assert_clean(redis_url, migrated_database)["terms"]["stored"] == 50
    assert telemetry.client.xlen(f"{STREAM}:dlq") == 0
    assert len(ids) == 50


def test_single_entries_are_claimed_by_their_ids_and_the_others_stay(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    ids = deliver(telemetry, "dead", 3)
    with Processor(redis_url, migrated_database, settings=SETTINGS) as processor:
        processor.wait_for("consumer.started")
        told = pending(redis_url, "claim", ids[1], "--yes", "--json")
        assert told.returncode == 0, told.stderr
        assert json.loads(told.stdout) == {
            "dry_run": False,
            "entries": 1,
            "by_holder": {"dead": 1},
            "released": 1,
            "settled": 1,
            "dead_lettered": {},
            "held": {},
            "waiting": 0,
            "hindered": {},
        }
        assert processor.terminate() == 0
    left = telemetry.client.xpending_range(STREAM, GROUP, "-", "+", 10)
    assert [found["message_id"].decode() for found in left] == [ids[0], ids[2]]
    assert [found["times_delivered"] for found in left] == [1, 1]
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS + 1)]


def test_what_cannot_be_stored_ends_in_the_dead_letters(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    telemetry.client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    telemetry.publish([entry(frame_at(BASE_MS)[:-1])])
    telemetry.client.xreadgroup(GROUP, "dead", {STREAM: ">"})
    settings = {**SETTINGS, "MAX_ATTEMPTS": "1"}
    with Processor(redis_url, migrated_database, settings=settings) as processor:
        processor.wait_for("consumer.started")
        told = pending(redis_url, "claim", "--from", "dead", "--yes")
        assert processor.terminate() == 0
    assert told.returncode == 0
    assert told.stdout.startswith("1 entry: 1 dead-lettered (")


def test_a_running_instance_keeps_its_entries_and_force_has_failed_ones_tried_again(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    with Processor(redis_url, migrated_database, settings=SETTINGS) as processor:
        processor.wait_for("consumer.started")
        (entry_id,) = telemetry.publish([entry(frame_at(BASE_MS)[:-1])])
        processor.wait_for("frame.rejected", lambda event: event["attempts"] == 1)
        refused = pending(redis_url, "claim", "--from", "one", "--yes")
        by_id = pending(redis_url, "claim", entry_id.decode(), "--yes")
        forced = pending(redis_url, "claim", entry_id.decode(), "--yes", "--force")
        processor.wait_for("frame.rejected", lambda event: event["attempts"] == 2)
        assert processor.terminate() == 0
    assert refused.returncode == by_id.returncode == 1
    assert refused.stderr == (
        "one is running, and works on its 1 entry itself; --force has them tried again all the "
        "same\n"
    )
    assert by_id.stderr == (
        f"{entry_id.decode()} is held by an instance that runs; --force has it tried again all "
        "the same\n"
    )
    assert (forced.returncode, forced.stdout) == (0, "1 entry: 1 held by one\n")


def test_with_nobody_running_they_wait_for_the_next_start(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    deliver(telemetry, "dead", 2)
    told = pending(redis_url, "claim", "--from", "dead", "--yes")
    assert (told.returncode, told.stdout) == (1, "2 entries: 2 not claimed yet\n")
    assert told.stderr == "no instance is running: the next one that starts claims them\n"
    with Processor(redis_url, migrated_database, settings=SETTINGS) as processor:
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert len(stored_keys(migrated_database)) == 2


def test_a_frozen_instance_alone_does_not_claim_and_the_wait_ends(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    deliver(telemetry, "dead", 1)
    with Processor(redis_url, migrated_database, settings=SETTINGS) as processor:
        processor.wait_for("consumer.started")
        processor.signal(signal.SIGSTOP)
        told = pending(redis_url, "claim", "--from", "dead", "--yes", "--wait", "0.3")
        processor.signal(signal.SIGCONT)
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert (told.returncode, told.stdout) == (1, "1 entry: 1 not claimed yet\n")
    assert told.stderr.startswith("not claimed within 0.3 s: they are with the next look")


def test_an_entry_whose_payload_is_gone_is_left_to_the_instances(
    telemetry: Telemetry, redis_url: str
) -> None:
    (entry_id,) = deliver(telemetry, "dead", 1)
    telemetry.client.xdel(STREAM, entry_id)
    told = pending(redis_url, "claim", entry_id, "--yes")
    assert (told.returncode, told.stdout) == (1, "0 entries: nothing was released\n")
    assert told.stderr.startswith(f"{entry_id} has no payload any more")
    assert telemetry.pending() == 1


def test_what_is_not_pending_and_what_is_not_idle_is_said(
    telemetry: Telemetry, redis_url: str
) -> None:
    (entry_id,) = deliver(telemetry, "dead", 1)
    told = pending(redis_url, "claim", "1-1", entry_id, "--min-idle", "600000", "--yes")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.splitlines() == [
        "1-1 is not pending",
        f"{entry_id} was not idle for as long as --min-idle",
    ]
    told = pending(redis_url, "claim", "--from", "nobody", "--yes")
    assert (told.returncode, told.stdout) == (0, "nothing is pending of nobody\n")


def test_a_dry_run_changes_nothing(telemetry: Telemetry, redis_url: str) -> None:
    (entry_id,) = deliver(telemetry, "dead", 1)
    told = pending(redis_url, "claim", "--from", "dead", "--dry-run")
    assert (told.returncode, told.stdout) == (0, "would have 1 entry (dead 1) claimed\n")
    told = pending(redis_url, "claim", "--from", "dead", "--dry-run", "--json")
    assert (told.returncode, json.loads(told.stdout)) == (
        0,
        {
            "dry_run": True,
            "entries": 1,
            "by_holder": {"dead": 1},
            "released": 0,
            "settled": 0,
            "dead_lettered": {},
            "held": {},
            "waiting": 0,
            "hindered": {},
        },
    )
    (left,) = telemetry.client.xpending_range(STREAM, GROUP, entry_id, entry_id, 1)
    assert left["time_since_delivered"] < 60_000


def test_on_a_terminal_it_asks_first(telemetry: Telemetry, redis_url: str) -> None:
    deliver(telemetry, "dead", 2)
    environment = own_environment(REDIS_URL=redis_url)
    with Terminal("pending", "claim", "--from", "dead", environment=environment) as terminal:
        terminal.wait_for("have 2 entries (dead 2) claimed now? [y/N]: ")
        terminal.answer("n")
        assert terminal.exit_code() == 1
    assert "nothing was changed" in terminal.output
    left = telemetry.client.xpending_range(STREAM, GROUP, "-", "+", 10)
    assert all(found["time_since_delivered"] < 60_000 for found in left)


@pytest.mark.parametrize(
    "arguments",
    [
        ["claim", "--yes"],
        ["claim", "--from", "dead", "1-1", "--yes"],
        ["claim", "1-x", "--yes"],
        ["claim", "--from", "dead"],
        ["list", "--limit", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_refused(redis_url: str, arguments: list[str]) -> None:
    told = pending(redis_url, *arguments)
    assert (told.returncode, told.stdout) == (2, "")


@pytest.mark.parametrize(
    "arguments", [["list"], ["claim", "--from", "dead", "--yes"], ["claim", "1-1", "--yes"]],
    ids=" ".join,
)  # fmt: skip
def test_exit_codes_of_a_redis_that_is_away_and_of_wrong_settings(arguments: list[str]) -> None:
    assert pending("redis://127.0.0.1:1", *arguments).returncode == 75
    assert pending("http://127.0.0.1:1", *arguments).returncode == 78

"""`group rewind` as an operator runs it, after Postgres lost what it had stored."""

import json
from collections.abc import Iterator

import pytest

from audited import assert_clean, run_audit
from commands import own_environment, run_command
from processes import Processor
from servers import run_sql
from telemetry import BASE_MS, GROUP, IMEI, STREAM, Telemetry, entry, frame_at, stored_keys
from waiting import eventually


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


def rewind(redis_url: str, *arguments: str) -> tuple[int, str, str]:
    environment = own_environment(REDIS_URL=redis_url)
    done = run_command("group", "rewind", *arguments, environment=environment)
    return done.returncode, done.stdout, done.stderr


def frames(n_frames: int) -> list[dict[str, bytes | str]]:
    """Of two devices, two records a frame."""
    return [
        entry(frame_at(BASE_MS + i * 1000, BASE_MS + i * 1000 + 500), imei=IMEI + i % 2)
        for i in range(n_frames)
    ]


def test_running_instances_store_again_what_was_lost_and_nothing_twice(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    """Among the lost are the last frames of each device, which an instance remembers."""
    ids = telemetry.publish(frames(20))
    with Processor(redis_url, migrated_database) as processor:
        processor.wait_for("consumer.started")
        eventually(telemetry.settled)
        before = stored_keys(migrated_database)
        run_sql(migrated_database, f"DELETE FROM positions WHERE imei = {IMEI}")
        assert run_audit(redis_url, migrated_database).exit_code == 1
        code, out, err = rewind(redis_url, "--all", "--yes")
        moved = f"{ids[-1].decode()} to 0-0"
        assert (code, out, err) == (0, f"the group was rewound from {moved}\n", "")
        processor.wait_for("group.rewound", lambda event: event["first_id"] == ids[0].decode())
        eventually(telemetry.settled)
        assert_clean(redis_url, migrated_database)
        assert processor.terminate() == 0
    assert stored_keys(migrated_database) == before
    assert len(before) == 40


def test_what_another_instance_read_again_and_left_is_stored_by_who_claims_it(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    """The survivor remembers these very frames as committed, and never sees them come as new."""
    telemetry.publish(frames(20))
    claims = {"WRITE_TIMEOUT_MS": "100", "CLAIM_THRESHOLD_MS": "400", "CLAIM_INTERVAL_MS": "50"}
    with Processor(redis_url, migrated_database, settings=claims) as processor:
        processor.wait_for("consumer.started")
        eventually(telemetry.settled)
        before = stored_keys(migrated_database)
        run_sql(migrated_database, "DELETE FROM positions")
        leaving = telemetry.client.pipeline(transaction=True)
        leaving.xgroup_setid(STREAM, GROUP, "0")
        leaving.xreadgroup(GROUP, "killed", {STREAM: ">"}, count=400)
        leaving.execute()
        processor.wait_for("entries.reclaimed")
        eventually(telemetry.settled)
        assert_clean(redis_url, migrated_database)
        assert processor.terminate() == 0
    assert stored_keys(migrated_database) == before
    assert len(before) == 40


def test_the_group_is_never_set_forward(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    ids = telemetry.publish(frames(3))
    with Processor(redis_url, migrated_database) as processor:
        processor.wait_for("consumer.started")
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    ids += telemetry.publish(frames(3))
    stands = ids[2].decode()
    expected = (0, f"nothing to rewind: the group stands at {stands}\n", "")
    assert rewind(redis_url, "--after", ids[5].decode(), "--yes") == expected
    assert rewind(redis_url, "--since", "0s", "--yes") == expected
    code, out, _ = rewind(redis_url, "--after", ids[0].decode(), "--dry-run")
    assert (code, out) == (0, f"would rewind the group from {stands} to {ids[0].decode()}\n")
    code, out, _ = rewind(redis_url, "--after", ids[0].decode(), "--dry-run", "--json")
    planned = {"stood_at": stands, "stands_at": ids[0].decode(), "done": False}
    assert (code, json.loads(out)) == (0, {"dry_run": True, **planned})
    assert rewind(redis_url, "--after", ids[2].decode(), "--yes") == expected
    code, out, _ = rewind(redis_url, "--since", "1h", "--yes", "--json")
    answer = json.loads(out)
    assert (code, answer["stood_at"], answer["done"]) == (0, stands, True)
    assert answer["dry_run"] is False
    hour_ms = int(stands.partition("-")[0]) - 3_600_000
    assert 0 <= int(answer["stands_at"].removesuffix("-0")) - hour_ms < 60_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --since AGE, or --after ID, or --all: one of the three\n"),
        (
            ("--all", "--since", "1h"),
            "give --since AGE, or --after ID, or --all: one of the three\n",
        ),
        (("--after", "$"), "'$' is not an id such as 1790000000000-0\n"),
        (("--all",), "there is no terminal to ask on: give --yes to rewind, or --dry-run\n"),
    ],
)
def test_wrong_usage_ends_with_2(redis_url: str, arguments: tuple[str, ...], message: str) -> None:
    assert rewind(redis_url, *arguments) == (2, "", message)


def test_a_stream_or_group_that_is_not_there_is_named(telemetry: Telemetry, redis_url: str) -> None:
    missing = "the stream telemetry:teltonika has no group processor: are the names right?\n"
    assert rewind(redis_url, "--all", "--yes") == (78, "", missing)
    telemetry.publish(frames(1))
    assert rewind(redis_url, "--all", "--yes") == (78, "", missing)

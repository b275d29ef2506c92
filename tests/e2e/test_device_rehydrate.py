"""`device rehydrate` as an operator runs it, against processors that run."""

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from commands import own_environment, run_command
from processes import Processor
from telemetry import BASE_MS, IMEI, Telemetry, entry, fetch, frame_at
from waiting import eventually

STRANGER = 356307042441999


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


def rehydrate(redis_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = own_environment(REDIS_URL=redis_url)
    return run_command("device", "rehydrate", *arguments, environment=environment)


def test_every_running_instance_reloads_the_device(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    with Processor(redis_url, migrated_database) as first:
        first.wait_for("consumer.started")
        telemetry.publish([entry(frame_at(BASE_MS))])
        eventually(telemetry.settled)
        with Processor(redis_url, migrated_database) as second:
            second.wait_for("consumer.started")
            eventually(lambda: telemetry.client.pubsub_numsub(CHANNEL)[0][1] == 2)
            known = rehydrate(redis_url, f"{IMEI}")
            stranger = rehydrate(redis_url, f"{STRANGER}", "--json")
            done = second.wait_for("device.rehydrated")
            assert second.terminate() == 0
        assert first.terminate() == 0
    assert (known.returncode, known.stderr) == (0, "")
    assert known.stdout.splitlines() == [
        "one: rehydrated, from last_position (was held)",
        "one-2: rehydrated, from last_position (was not held)",
    ]
    assert (done["imei"], done["was_held"], done["found"]) == (str(IMEI), False, True)
    assert stranger.returncode == 0
    answer = {"ok": True, "was_held": False, "found": False, "error": ""}
    assert json.loads(stranger.stdout) == {
        "answers": [{"instance": "one", **answer}, {"instance": "one-2", **answer}],
        "silent": [],
        "all_did": True,
    }


CHANNEL = "telemetry:teltonika:control"


def test_a_fix_that_an_operator_took_back_is_replaced_by_the_next_one(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    with Processor(redis_url, migrated_database) as processor:
        telemetry.publish([entry(frame_at(BASE_MS + 60_000))])
        eventually(telemetry.settled)
        fetch(migrated_database, "DELETE FROM last_position")
        eventually(lambda: telemetry.client.pubsub_numsub(CHANNEL)[0][1] == 1)
        told = rehydrate(redis_url, f"{IMEI}")
        telemetry.publish([entry(frame_at(BASE_MS))])
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    assert told.stdout == "one: rehydrated, not in last_position (was held)\n"
    (row,) = fetch(migrated_database, "SELECT recorded_at FROM last_position")
    assert row["recorded_at"].timestamp() * 1000 == BASE_MS


def test_a_frozen_instance_is_named_and_fails_the_command(
    telemetry: Telemetry, redis_url: str, migrated_database: str
) -> None:
    with Processor(redis_url, migrated_database) as processor:
        processor.wait_for("consumer.started")
        eventually(lambda: telemetry.client.pubsub_numsub(CHANNEL)[0][1] == 1)
        processor.signal(signal.SIGSTOP)
        told = rehydrate(redis_url, f"{IMEI}", "--timeout", "0.5")
        processor.signal(signal.SIGCONT)
        assert processor.terminate() == 0
    assert (told.returncode, told.stdout) == (1, "one: no answer within 0.5 s\n")


def test_nobody_running_fails_the_command(redis_url: str) -> None:
    told = rehydrate(redis_url, f"{IMEI}")
    assert (told.returncode, told.stdout) == (1, "no instance is running\n")


@pytest.mark.parametrize("imei", ["35630704244101", "3563070424410130", "35630704244101x"])
def test_what_is_no_imei_is_refused(redis_url: str, imei: str) -> None:
    told = rehydrate(redis_url, imei)
    assert (told.returncode, told.stdout) == (2, "")
    assert "15 digits" in told.stderr


def test_a_server_that_is_not_there_and_a_bad_setting_have_codes_of_their_own() -> None:
    assert rehydrate("redis://127.0.0.1:1", f"{IMEI}").returncode == 75
    assert rehydrate("http://127.0.0.1:1", f"{IMEI}").returncode == 78

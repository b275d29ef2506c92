"""A bug anywhere ends the process with 70, everything pending, and what it knew in a file.

What kills it outright leaves nothing but the deliveries and the trials that Redis counts.
"""

import json
import signal
from pathlib import Path

import pytest

from commands import own_environment, run_command
from fault.fleet import Fleet, Sending, published
from fault.patched import BREAKS, POISON_DEVICES, break_audit, die_of_poison
from fault.stand import COUNTING, Stand
from telemetry import BASE_MS, STREAM, frame_at
from waiting import eventually

# Bound: a loop that does not converge fails and does not run for ever.
STARTS_MAX = 30


@pytest.mark.parametrize("broken", BREAKS)
def test_a_bug_in(stand: Stand, tmp_path: Path, broken: str) -> None:
    fleet = Fleet(seed=40)
    dump_dir = {"PANIC_DUMP_DIR": str(tmp_path)}
    with stand.processor(first=BREAKS[broken], **dump_dir) as processor:
        processor.wait_for("consumer.started")
        if broken != "the lease":
            stand.publish(fleet.entries(100))
        assert processor.exit_code() == 70
        failed = processor.wait_for("service.failed")
        dumped = processor.wait_for("panic.dumped")
    assert "injected" in failed["error"]
    (dump,) = tmp_path.iterdir()
    assert (dumped["path"], oct(dump.stat().st_mode)) == (str(dump), "0o100600")
    assert "injected" in dump.read_text()
    assert json.loads(dump.read_text())
    eventually(lambda: not processor.running)
    stand.publish(fleet.entries(50))
    stand.finish(fleet)


@pytest.mark.parametrize("broken", ["a writer", "the native decoder", "the ledger"])
def test_nothing_is_acknowledged_after_a_bug_in(stand: Stand, tmp_path: Path, broken: str) -> None:
    fleet = Fleet(seed=41)
    stand.publish(fleet.entries(100))
    settings = {"BATCH_FRAMES": "400", "PANIC_DUMP_DIR": str(tmp_path)}
    with stand.processor(first=BREAKS[broken], **settings) as processor:
        assert processor.exit_code() == 70
    (group,) = stand.telemetry.client.xinfo_groups(STREAM)
    assert group["pending"] == group["entries-read"] > 0
    stand.finish(fleet)


@pytest.mark.slow
def test_good_entries_that_were_in_flight_through_twenty_crashes_land(stand: Stand) -> None:
    """Five deliveries in company, then each of five poisoned entries takes three trials alone."""
    fleet = Fleet(seed=42)
    stand.publish([fleet.entry(poisoned(device)) for device in POISON_DEVICES])
    # Behind them, so that they are in hand whenever one of those is.
    stand.publish(fleet.entries(8))
    settings = {**COUNTING, "SUSPECT_DELIVERIES": "5"}
    codes = []
    while not codes or codes[-1] == -signal.SIGKILL:
        assert len(codes) <= STARTS_MAX
        with stand.processor(first=die_of_poison, **settings) as processor:
            eventually(lambda one=processor: not one.running or stand.telemetry.settled())
            codes.append(processor.terminate())
    assert codes == [-signal.SIGKILL] * 20 + [0]
    stand.assert_balanced(fleet)


def poisoned(device: int) -> Sending:
    frame = published(device, frame_at(BASE_MS), [BASE_MS])
    return Sending(frame.fields("test"), (), "crashed_processor")


def test_a_bug_in_a_command_is_not_told_as_a_finding(stand: Stand) -> None:
    addresses = {"REDIS_URL": stand.redis_url, "DATABASE_URL": stand.dsn}
    done = run_command("audit", environment=own_environment(**addresses), first=break_audit)
    assert (done.returncode, done.stdout) == (70, "")
    assert "RuntimeError: injected" in done.stderr

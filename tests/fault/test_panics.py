"""A bug anywhere ends the process with 70, everything pending, and what it knew in a file.

What kills it outright leaves nothing but the deliveries and the trials that Redis counts.
"""

import json
import signal
import sys
from pathlib import Path

import pytest

from fault.fleet import Fleet, Sending, published
from fault.patched import BREAKS, POISON, POISON_DEVICES
from fault.stand import COUNTING, QUICK, Stand
from processes import Processor
from telemetry import BASE_MS, frame_at
from waiting import eventually

PATCHED = Path(__file__).with_name("patched.py")

# Bound: a loop that does not converge fails and does not run for ever.
STARTS_MAX = 30


@pytest.mark.parametrize("broken", BREAKS)
def test_a_bug_in(stand: Stand, tmp_path: Path, broken: str) -> None:
    fleet = Fleet(seed=40)
    settings = {**QUICK, "REDIS_CONSUMER_NAME": "one", "PANIC_DUMP_DIR": str(tmp_path)}
    program = (sys.executable, PATCHED, broken)
    with Processor(stand.redis_url, stand.dsn, settings=settings, program=program) as processor:
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
    ids = stand.publish(fleet.entries(100))
    settings = {**QUICK, "BATCH_FRAMES": "400", "PANIC_DUMP_DIR": str(tmp_path)}
    program = (sys.executable, PATCHED, broken)
    with Processor(stand.redis_url, stand.dsn, settings=settings, program=program) as processor:
        assert processor.exit_code() == 70
        reads = [event for event in processor.events if event["event"] == "entries.read"]
    delivered = sum(read["count"] for read in reads)
    assert 0 < delivered <= len(ids)
    assert stand.telemetry.pending() == delivered
    stand.finish(fleet)


@pytest.mark.slow
def test_good_entries_that_were_in_flight_through_twenty_crashes_land(stand: Stand) -> None:
    """Five deliveries in company, then each of five poisoned entries takes three trials alone."""
    fleet = Fleet(seed=42)
    stand.publish([fleet.entry(poisoned(device)) for device in POISON_DEVICES])
    # Behind them, so that they are in hand whenever one of those is.
    stand.publish(fleet.entries(8))
    settings = {**QUICK, **COUNTING, "SUSPECT_DELIVERIES": "5", "REDIS_CONSUMER_NAME": "one"}
    program = (sys.executable, PATCHED, POISON)
    codes = []
    while not codes or codes[-1] == -signal.SIGKILL:
        assert len(codes) <= STARTS_MAX
        with Processor(stand.redis_url, stand.dsn, settings=settings, program=program) as processor:
            eventually(lambda one=processor: not one.running or stand.telemetry.settled())
            codes.append(processor.terminate())
    assert codes == [-signal.SIGKILL] * 20 + [0]
    stand.assert_balanced(fleet)


def poisoned(device: int) -> Sending:
    frame = published(device, frame_at(BASE_MS), [BASE_MS])
    return Sending(frame.fields("test"), (), "crashed_processor")

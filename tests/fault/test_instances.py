"""Several instances on one group: shares, deaths, freezes and deploys."""

import time
from collections import Counter
from contextlib import ExitStack

import pytest

from fault.fleet import Fleet, Mixture
from fault.proxy import Direction
from fault.stand import QUICK, Stand, frozen
from processes import Processor
from telemetry import GROUP, STREAM, Telemetry
from waiting import eventually

NAMES = ("one", "two", "three", "four")
UNDAMAGED = Mixture(damaged=0.0)
WAIT_S = (int(QUICK["CLAIM_THRESHOLD_MS"]) + int(QUICK["CLAIM_INTERVAL_MS"])) / 1e3


def started(stack: ExitStack, stand: Stand, names: tuple[str, ...]) -> list[Processor]:
    """Instances that read, straight at the servers: proxies would be the slowest part."""
    settings = {**QUICK, "BATCH_FRAMES": "10", "COMMIT_INTERVAL_MS": "0"}
    running = [
        stack.enter_context(
            Processor(
                stand.redis_url, stand.dsn, settings={**settings, "REDIS_CONSUMER_NAME": name}
            )
        )
        for name in names
    ]
    for processor in running:
        processor.wait_for("consumer.started")
    return running


def pending_of(telemetry: Telemetry, name: str) -> int:
    consumers = telemetry.client.xinfo_consumers(STREAM, GROUP)
    return sum(int(one["pending"]) for one in consumers if one["name"].decode() == name)


@pytest.mark.parametrize("n_instances", [2, 4])
def test_each_takes_its_share(stand: Stand, n_instances: int) -> None:
    fleet = Fleet(seed=2, mixture=UNDAMAGED)
    with ExitStack() as stack:
        running = started(stack, stand, NAMES[:n_instances])
        stand.publish(fleet.entries(10_500))
        stand.drain(*running)
        batches = Counter(
            name
            for name, processor in zip(NAMES, running, strict=False)
            for event in processor.events
            if event["event"] == "batch.decoded"
        )
    share = batches.total() / n_instances
    assert batches.total() >= 1000
    assert {
        name: round(n / share, 2) for name, n in batches.items() if abs(n / share - 1) > 0.2
    } == {}
    stand.assert_balanced(fleet)


def test_what_a_killed_instance_held_is_taken_over_in_time(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Fleet(seed=3, mixture=UNDAMAGED)
    with ExitStack() as stack:
        doomed, survivor = started(stack, stand, NAMES[:2])
        with frozen(survivor.pid):
            stand.publish(fleet.entries(2000))
            doomed.wait_for("batch.decoded")
            doomed.kill()
        killed_at = time.monotonic()
        held = pending_of(stand.telemetry, "one")
        eventually(lambda: pending_of(stand.telemetry, "one") == 0)
        eventually(stand.telemetry.settled)
        took_s = time.monotonic() - killed_at
        with capsys.disabled():
            print(f"failover took {took_s:.2f} s of {WAIT_S} s + 1 s")  # noqa: T201
        stand.drain(survivor)
    assert held > 0
    assert took_s <= WAIT_S + 1.0, f"failover took {took_s:.2f} s"
    stand.assert_balanced(fleet)


def test_an_instance_frozen_between_batches_changes_nothing_when_it_wakes(stand: Stand) -> None:
    fleet = Fleet(seed=4)
    with stand.reading("one") as sleeper:
        trap = stand.postgres_wire.on(b"BEGIN ISOLATION", Direction.TO_SERVER)
        stand.publish(fleet.entries(400))
        trap.wait()
        with frozen(sleeper.pid), stand.reading("two") as other:
            trap.release()
            other.wait_for("entries.reclaimed")
            eventually(stand.telemetry.settled)
            stand.drain(other)
        stand.publish(fleet.entries(100))
        stand.drain(sleeper)
    stand.assert_balanced(fleet)


def test_an_instance_frozen_in_the_middle_of_copy_holds_nobody_up(stand: Stand) -> None:
    """Its session keeps its locks, and no time-out of the server's fires in a COPY."""
    fleet = Fleet(seed=5, mixture=UNDAMAGED)
    with stand.reading("one") as sleeper:
        # The last bytes of the rows are held on the wire, so the session stays in COPY.
        trap = stand.postgres_wire.on(b"PGCOPY\n", Direction.TO_SERVER)
        stand.publish(fleet.entries(40))
        trap.wait()
        with frozen(sleeper.pid):
            settings = {**QUICK, "REDIS_CONSUMER_NAME": "two"}
            with Processor(stand.redis_url, stand.dsn, settings=settings) as other:
                other.wait_for("consumer.started")
                began = time.monotonic()
                eventually(stand.telemetry.settled)
                took_s = time.monotonic() - began
                stand.drain(other)
            trap.release()
        stand.drain(sleeper)
    # Claimed after the threshold, then at most one write deadline for what the frozen one locks.
    assert took_s <= WAIT_S + 1.0 + 2 * int(QUICK["WRITE_TIMEOUT_MS"]) / 1e3
    stand.assert_balanced(fleet)


def test_a_rolling_restart_under_load_loses_and_doubles_nothing(stand: Stand) -> None:
    fleet = Fleet(seed=6)
    with ExitStack() as stack:
        running = dict(zip(NAMES[:3], started(stack, stand, NAMES[:3]), strict=True))
        for name in NAMES[:3]:
            stand.publish(fleet.entries(1500))
            running[name].wait_for("batch.decoded")
            assert running[name].terminate() == 0
            (running[name],) = started(stack, stand, (name,))
        stand.drain(*running.values())
        consumers = stand.telemetry.client.xinfo_consumers(STREAM, GROUP)
    assert consumers == []
    stand.assert_balanced(fleet)

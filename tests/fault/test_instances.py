"""Several instances on one group: shares, deaths, freezes and deploys."""

import time
from collections import Counter
from contextlib import ExitStack

import pytest

from fault.fleet import Fleet, Mixture
from fault.proxy import Direction
from fault.stand import QUICK, Stand, frozen
from fault.wire import COPY_ALMOST_DONE, ENTRIES
from processes import Processor
from telemetry import GROUP, STREAM, Telemetry, fetch, locked, stored_keys
from waiting import eventually

NAMES = ("one", "two", "three", "four")
UNDAMAGED = Mixture(damaged=0.0)
WAIT_S = (int(QUICK["CLAIM_THRESHOLD_MS"]) + int(QUICK["CLAIM_INTERVAL_MS"])) / 1e3
DEADLINE_S = 2 * int(QUICK["WRITE_TIMEOUT_MS"]) / 1e3

# The first comes after a third to two thirds of the threshold, the fifth after more than the whole.
BEATS = 5


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


def has_read_all(stand: Stand) -> bool:
    """Whether every entry was given to somebody."""
    (group,) = stand.telemetry.client.xinfo_groups(STREAM)
    whole = stand.telemetry.client.xinfo_stream(STREAM)
    return bool(group["last-delivered-id"] == whole["last-generated-id"])


def transactions_of(stand: Stand, name: str) -> list[tuple[str, bool]]:
    """State of each session of an instance with an open transaction; whether that wrote."""
    rows = fetch(
        stand.dsn,
        "SELECT state, backend_xid IS NOT NULL AS wrote FROM pg_stat_activity "
        "WHERE application_name = 'teltonika-processor/' || $1 AND xact_start IS NOT NULL",
        name,
    )
    return [(row["state"], row["wrote"]) for row in rows]


def kept_by(processor: Processor) -> list[int]:
    """How many entries each heartbeat kept."""
    return [e["kept"] for e in processor.events if e["event"] == "heartbeat.sent"]


def pending_ids(telemetry: Telemetry, name: str | None = None) -> set[bytes]:
    """Ids that are pending under one name, or under any."""
    rows = telemetry.client.xpending_range(STREAM, GROUP, "-", "+", 10_000, consumername=name)
    return {row["message_id"] for row in rows}


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
        held = pending_ids(stand.telemetry, "one")
        # Of its entries alone: the rest of the backlog is no matter of failover.
        eventually(lambda: held.isdisjoint(pending_ids(stand.telemetry)))
        took_s = time.monotonic() - killed_at
        with capsys.disabled():
            print(f"failover took {took_s:.2f} s of {WAIT_S} s + 1 s")  # noqa: T201
        stand.drain(survivor)
    assert held
    assert took_s <= WAIT_S + 1.0, f"failover took {took_s:.2f} s"
    stand.assert_balanced(fleet)


def test_an_instance_frozen_between_batches_changes_nothing_when_it_wakes(stand: Stand) -> None:
    """Entries are given to it and it has no transaction open: they wait, and nobody else does."""
    fleet = Fleet(seed=4)
    with stand.reading("one") as sleeper:
        stand.publish(fleet.entries(100))
        eventually(stand.telemetry.settled)
        given = stand.redis_wire.on(ENTRIES, Direction.TO_CLIENT)
        stand.publish(fleet.entries(40))
        given.wait()
        with frozen(sleeper.pid):
            assert pending_of(stand.telemetry, "one") > 0
            assert transactions_of(stand, "one") == []
            with stand.reading("two") as other:
                sent_at = time.monotonic()
                stand.publish(fleet.entries(60))
                eventually(lambda: has_read_all(stand) and pending_of(stand.telemetry, "two") == 0)
                own_s = time.monotonic() - sent_at
                eventually(stand.telemetry.settled)
                took_s = time.monotonic() - sent_at
                stand.drain(other)
            told = {event["event"] for event in other.events}
        stored = stored_keys(stand.dsn)
        given.release()
        # It writes again what it was given, and hears that nothing of it is its own any more.
        sleeper.wait_for("entries.xacked", lambda event: event["count"] == 0)
        assert stored_keys(stand.dsn) == stored
        stand.publish(fleet.entries(100))
        stand.drain(sleeper)
    assert own_s <= DEADLINE_S, f"new entries took {own_s:.2f} s"
    assert took_s <= WAIT_S + 1.0 + DEADLINE_S, f"failover took {took_s:.2f} s"
    assert "entries.reclaimed" in told
    assert told & {"retry.scheduled", "sessions.ended", "batch.set_aside"} == set()
    stand.assert_balanced(fleet)


def test_an_instance_frozen_in_the_middle_of_copy_holds_nobody_up(stand: Stand) -> None:
    """Its session keeps the keys that it inserted, and no timeout of the server's fires there."""
    fleet = Fleet(seed=5, mixture=Mixture(damaged=0.0, records_max=200))
    # In the stream before anybody reads, so that one read brings them all and one COPY writes them.
    stand.publish(fleet.entries(16))
    almost_done = stand.postgres_wire.on(COPY_ALMOST_DONE, Direction.TO_SERVER)
    with stand.processor("one") as sleeper:
        almost_done.wait()
        with frozen(sleeper.pid):
            eventually(lambda: transactions_of(stand, "one") == [("active", True)])
            (decoded,) = [e for e in sleeper.events if e["event"] == "batch.decoded"]
            assert decoded["records"] > 1000
            with stand.reading("two") as other:
                began = time.monotonic()
                assert other.wait_for("sessions.ended")["count"] == 1
                eventually(stand.telemetry.settled)
                took_s = time.monotonic() - began
                assert transactions_of(stand, "one") == []
                stand.drain(other)
            stored = stored_keys(stand.dsn)
        almost_done.release()
        sleeper.wait_for("entries.xacked", lambda event: event["count"] == 0)
        assert stored_keys(stand.dsn) == stored
        stand.drain(sleeper)
    assert took_s <= WAIT_S + 1.0 + DEADLINE_S, f"failover took {took_s:.2f} s"
    stand.assert_balanced(fleet)


def test_an_instance_that_takes_long_keeps_its_entries(stand: Stand) -> None:
    """The table is locked for longer than the threshold; the heartbeat says who works on them."""
    fleet = Fleet(seed=7, mixture=UNDAMAGED)
    # It does not look for entries to claim, or it would find its own and keep them that way.
    with stand.reading("one", CLAIM_INTERVAL_MS="60000") as owner:
        # Its devices and days are known: what waits is the write.
        stand.publish(fleet.entries(60))
        eventually(stand.telemetry.settled)
        with locked(stand.dsn, "positions"):
            stand.publish(fleet.entries(40))
            eventually(lambda: pending_of(stand.telemetry, "one") == 40)
            delivered_at = time.monotonic()
            with stand.reading("two") as other:
                owner.wait_for("heartbeat.sent", lambda _: len(kept_by(owner)) >= BEATS)
                waited_s = time.monotonic() - delivered_at
                assert pending_of(stand.telemetry, "one") == 40
                assert "entries.reclaimed" not in {event["event"] for event in other.events}
                # While the table is still locked, so that it leaves with nothing in hand.
                assert other.terminate() == 0
        stand.drain(owner)
        stopped = owner.wait_for("consumer.stopped")
    assert waited_s > WAIT_S + 1.0
    assert max(kept_by(owner)) == 40
    assert "entries.reclaimed" not in {event["event"] for event in owner.events}
    assert stopped["duplicates"] == 0
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

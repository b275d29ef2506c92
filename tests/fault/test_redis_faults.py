"""Redis is killed, flushed, paused, trimmed or cut off: nothing lost, or the loss is reported."""

from collections.abc import Callable
from typing import Final
from urllib.request import urlopen

import pytest

from audited import assert_clean
from fault.fleet import (
    Fleet,
    assert_nothing_is_counted,
    assert_same,
    in_stream,
    letters_by_source,
)
from fault.proxy import Direction, Moment, Proxy
from fault.stand import Stand, frozen
from fault.wire import COMMIT, COPY_BEGUN, JUDGE, XACK
from processes import Processor
from telemetry import GROUP, STREAM, Telemetry, stored_keys
from waiting import eventually

PREFIX: Final = "teltonika_processor_"

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT

KILLED_AT: Final = {
    "a read": (b"XREADGROUP", Moment.AFTER),
    "an XACK that it does not get": (XACK, Moment.BEFORE),
    "an XACK that it gets": (XACK, Moment.AFTER),
    "a dead letter that it does not get": (JUDGE, Moment.BEFORE),
    "a dead letter that it gets": (JUDGE, Moment.AFTER),
}


@pytest.mark.parametrize("stage", KILLED_AT)
def test_redis_killed_at(stand: Stand, stage: str) -> None:
    fleet = Fleet(seed=20)
    pattern, moment = KILLED_AT[stage]
    with stand.reading() as processor:
        stand.publish(fleet.entries(200))
        killed = stand.redis_wire.on(pattern, TO_SERVER, stand.redis.kill, moment=moment, nth=2)
        killed.wait()
        processor.wait_for("retry.scheduled")
        stand.redis.start()
        stand.publish(fleet.entries(50))
        stand.drain(processor)
    stand.assert_balanced(fleet)


def test_redis_restarted_in_order_brings_back_the_stream_and_what_was_pending(
    stand: Stand,
) -> None:
    fleet = Fleet(seed=27)
    with stand.reading() as processor:
        held = stand.postgres_wire.on(COMMIT, TO_SERVER)
        stand.publish(fleet.entries(100))
        held.wait()
        before = stand.telemetry.pending()
        stand.redis.stop()
        held.release()
        assert processor.wait_for("retry.scheduled")["error_type"] == "StreamUnavailable"
        stand.redis.start()
        assert 0 < stand.telemetry.pending() <= before
        stand.publish(fleet.entries(50))
        stand.drain(processor)
    stand.assert_balanced(fleet)


def test_a_group_that_was_destroyed_is_made_anew_and_reads_from_the_beginning(
    stand: Stand,
) -> None:
    fleet = Fleet(seed=21)
    with stand.reading() as processor:
        held = stand.postgres_wire.on(COMMIT, TO_SERVER)
        stand.publish(fleet.entries(100))
        held.wait()
        stand.telemetry.client.xgroup_destroy(STREAM, GROUP)
        held.release()
        processor.wait_for("group.missing")
        eventually(lambda: stand.telemetry.client.xinfo_groups(STREAM))
        stand.publish(fleet.entries(100))
        stand.drain(processor)
    assert_same(stored_keys(stand.dsn), [key for one in fleet.sendings for key in one.keys])
    assert stand.telemetry.pending() == 0
    codes = codes_in_stream(fleet, stand.telemetry)
    # What had its letter before was read once more, so there may be two of it.
    assert set(letters_by_source(stand.telemetry)) == set(codes.items())
    assert_clean(stand.redis_url, stand.dsn)


def test_a_flush_loses_what_was_not_delivered_and_nothing_else(stand: Stand) -> None:
    """What was pending is in our hands, so it is stored; what is sent afterwards lands."""
    fleet = Fleet(seed=22)
    with stand.reading() as processor:
        held = stand.postgres_wire.on(COMMIT, TO_SERVER)
        stand.publish(fleet.entries(200))
        held.wait()
        with frozen(processor.pid):
            undelivered = stand.publish(fleet.entries(50))
            (group,) = stand.telemetry.client.xinfo_groups(STREAM)
            lost = undelivered_in_stream(stand.telemetry, group["last-delivered-id"])
            assert set(lost) >= set(undelivered)
            assert group["pending"] > 0
            before = codes_in_stream(fleet, stand.telemetry)
            pending = stand.telemetry.client.xpending_range(STREAM, GROUP, "-", "+", 1000)
            stand.telemetry.client.flushall()
        held.release()
        processor.wait_for("group.missing")
        stand.publish(fleet.entries(100))
        stand.drain(processor)
    stored = [one for n, one in enumerate(fleet.sendings) if n not in set(lost.values())]
    assert_same(stored_keys(stand.dsn), [key for one in stored for key in one.keys])
    after = codes_in_stream(fleet, stand.telemetry)
    letters = letters_by_source(stand.telemetry)
    assert [pair for pair in letters if pair[0] not in before] == sorted(after.items())
    assert [pair for pair in letters if pair[0] in before and pair not in before.items()] == []
    # Of those that were pending and cannot be stored each has its letter or is reported as lost.
    unstorable = {one["message_id"] for one in pending} & before.keys()
    assert unstorable
    vanished = sum(
        event["count"] for event in processor.events if event["event"] == "entries.vanished"
    )
    assert len(unstorable & {source for source, _ in letters}) + vanished == len(unstorable)
    assert stand.telemetry.pending() == 0
    assert_nothing_is_counted(stand.telemetry)
    assert_clean(stand.redis_url, stand.dsn)


@pytest.mark.slow
def test_a_pause_longer_than_every_timeout_is_waited_for(stand: Stand) -> None:
    fleet = Fleet(seed=23)
    with stand.reading() as processor:
        stand.publish(fleet.entries(100))
        stand.telemetry.client.execute_command("CLIENT", "PAUSE", 6500, "ALL")
        assert processor.wait_for("retry.scheduled")["error_type"] == "StreamUnavailable"
        stand.publish(fleet.entries(50))
        stand.drain(processor)
    stand.assert_balanced(fleet)


@pytest.mark.slow
def test_a_redis_frozen_for_longer_than_every_timeout_is_waited_for(stand: Stand) -> None:
    fleet = Fleet(seed=24)
    with stand.reading() as processor:
        stand.publish(fleet.entries(100))
        with frozen(stand.redis.pid):
            assert processor.wait_for("retry.scheduled")["error_type"] == "StreamUnavailable"
        stand.drain(processor)
    stand.assert_balanced(fleet)


def refuse_and_cut(wire: Proxy) -> None:
    wire.refuse()
    wire.cut()


BREAKING: Final[dict[str, Callable[[Proxy], None]]] = {
    "cut": Proxy.cut,
    "refused": refuse_and_cut,
    "half open": Proxy.half_open,
    "silent to us": lambda wire: wire.stall(TO_CLIENT),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", BREAKING)
def test_a_line_to_redis_that_is(stand: Stand, how: str) -> None:
    fleet = Fleet(seed=25)
    with stand.reading() as processor:
        stand.publish(fleet.entries(100))
        broken = stand.redis_wire.on(
            XACK, TO_SERVER, lambda: BREAKING[how](stand.redis_wire), moment=Moment.AFTER
        )
        broken.wait()
        assert processor.wait_for("retry.scheduled")["error_type"] == "StreamUnavailable"
        stand.redis_wire.heal()
        stand.publish(fleet.entries(50))
        stand.drain(processor)
    stand.assert_balanced(fleet)


@pytest.mark.parametrize("finder", ["one", "two"])
def test_a_stream_trimmed_under_pending_entries_is_reported_to_the_id(
    stand: Stand, finder: str
) -> None:
    """By the instance's successor, which looks for its own, or by another one that claims them."""
    fleet = Fleet(seed=26)
    # One writer, so that nothing is committed beside what is held.
    with stand.reading("one", WRITERS="1", BATCH_FRAMES="100") as processor:
        held = stand.postgres_wire.on(COPY_BEGUN, TO_SERVER)
        stand.publish(fleet.entries(100))
        held.wait()
        eventually(lambda: stand.telemetry.pending() == 100)
        processor.kill()
        held.release()
    pending = stand.telemetry.client.xpending_range(STREAM, GROUP, "-", "+", 200)
    stand.telemetry.client.xtrim(STREAM, maxlen=0)
    later = stand.publish(fleet.entries(100))
    with stand.reading(finder) as processor:
        eventually(stand.telemetry.settled)
        eventually(lambda: scraped(processor, "entries_vanished_total") == 100)
        stand.drain(processor)
    vanished = [event for event in processor.events if event["event"] == "entries.vanished"]
    assert sum(event["count"] for event in vanished) == 100
    assert pending[0]["message_id"].decode() in {event["first_id"] for event in vanished}
    codes = [fleet.sendings[100 + i].code for i in range(100)]
    letters = [(entry["message_id"], "payload_trimmed") for entry in pending]
    letters += [(entry_id, code) for entry_id, code in zip(later, codes, strict=True) if code]
    assert letters_by_source(stand.telemetry) == sorted(letters)
    expected = [key for sending in fleet.sendings[100:] for key in sending.keys]
    assert_same(stored_keys(stand.dsn), expected)
    assert_nothing_is_counted(stand.telemetry)
    assert_clean(stand.redis_url, stand.dsn)


def scraped(processor: Processor, metric: str) -> float:
    """The value that an instance reports at /metrics."""
    port = processor.wait_for("http.started")["port"]
    with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        lines = page.read().decode().splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(f"{PREFIX}{metric} ")]
    return float(value)


def codes_in_stream(fleet: Fleet, telemetry: Telemetry) -> dict[bytes, str]:
    """Every entry that the stream holds and that must have a letter, and its code."""
    codes = {id_: fleet.sendings[number].code for id_, number in in_stream(telemetry).items()}
    return {entry_id: code for entry_id, code in codes.items() if code}


def undelivered_in_stream(telemetry: Telemetry, last_delivered_id: bytes) -> dict[bytes, int]:
    """Every entry behind this one, and its number."""
    entries = in_stream(telemetry)
    return {entry_id: n for entry_id, n in entries.items() if follows(entry_id, last_delivered_id)}


def follows(entry_id: bytes, other: bytes) -> bool:
    first, second = (tuple(map(int, one.split(b"-"))) for one in (entry_id, other))
    return first > second

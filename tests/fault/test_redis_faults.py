"""Redis is killed, flushed, paused, trimmed or cut off: nothing lost, or the loss is reported."""

from collections.abc import Callable
from typing import Final

import pytest

from fault.fleet import Fleet, assert_same, in_stream, letters_by_source
from fault.proxy import Direction, Moment, Proxy
from fault.stand import Stand, frozen
from fault.wire import COMMIT, COPY_BEGUN, JUDGE, XACK
from telemetry import GROUP, STREAM, stored_keys
from waiting import eventually

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
    stored = set(stored_keys(stand.dsn))
    assert stored == {key for sending in fleet.sendings for key in sending.keys}
    assert len(stored_keys(stand.dsn)) == len(stored)


def test_what_is_sent_after_a_flush_lands_and_nothing_is_made_up(stand: Stand) -> None:
    fleet = Fleet(seed=22)
    with stand.reading() as processor:
        held = stand.postgres_wire.on(COMMIT, TO_SERVER)
        stand.publish(fleet.entries(200))
        held.wait()
        stand.telemetry.client.flushall()
        held.release()
        processor.wait_for("group.missing")
        stand.publish(fleet.entries(100))
        stand.drain(processor)
    later = {key for sending in fleet.sendings[200:] for key in sending.keys}
    every = {key for sending in fleet.sendings for key in sending.keys}
    stored = stored_keys(stand.dsn)
    assert len(stored) == len(set(stored))
    assert later <= set(stored) <= every
    entries = in_stream(stand.telemetry)
    damaged = [(entry_id, fleet.sendings[n].code) for entry_id, n in entries.items()]
    ours = [pair for pair in letters_by_source(stand.telemetry) if pair[0] in entries]
    assert ours == sorted(pair for pair in damaged if pair[1])


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


def test_a_stream_trimmed_under_pending_entries_is_reported_to_the_id(stand: Stand) -> None:
    fleet = Fleet(seed=26)
    with stand.reading() as processor:
        held = stand.postgres_wire.on(COPY_BEGUN, TO_SERVER)
        stand.publish(fleet.entries(100))
        held.wait()
        eventually(lambda: stand.telemetry.pending() == 100)
        processor.kill()
        held.release()
    pending = stand.telemetry.client.xpending_range(STREAM, GROUP, "-", "+", 200)
    stand.telemetry.client.xtrim(STREAM, maxlen=0)
    later = stand.publish(fleet.entries(100))
    with stand.reading() as processor:
        stand.drain(processor)
    codes = [fleet.sendings[100 + i].code for i in range(100)]
    letters = [(entry["message_id"], "payload_trimmed") for entry in pending]
    letters += [(entry_id, code) for entry_id, code in zip(later, codes, strict=True) if code]
    assert letters_by_source(stand.telemetry) == sorted(letters)
    expected = [key for sending in fleet.sendings[100:] for key in sending.keys]
    assert_same(stored_keys(stand.dsn), expected)

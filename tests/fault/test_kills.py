"""kill -9 at every stage of a batch, hit by watching the wire: nothing lost, nothing twice."""

import dataclasses
import signal
from collections.abc import Callable
from typing import Final

import pytest

from fault.fleet import Fleet, Mixture
from fault.proxy import Direction, Moment, Watch
from fault.stand import COUNTING, Stand
from fault.wire import BEGIN, COMMIT, COPY_ALMOST_DONE, COPY_ANSWER, ENTRIES, JUDGE, XACK
from telemetry import fetch

TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT


Trap = Callable[[Stand], Watch]


def in_redis(pattern: bytes, direction: Direction) -> Trap:
    return lambda stand: stand.redis_wire.on(pattern, direction)


def in_postgres(pattern: bytes, direction: Direction) -> Trap:
    """In the transaction of a batch: other statements pass."""

    def trap(stand: Stand) -> Watch:
        begun = stand.postgres_wire.note(BEGIN, TO_SERVER)
        return stand.postgres_wire.on(pattern, direction, after=begun)

    return trap


def unanswered(pattern: bytes) -> Trap:
    """Redis does what it is told, and nobody hears of it."""

    def trap(stand: Stand) -> Watch:
        wire = stand.redis_wire
        return wire.on(pattern, TO_SERVER, lambda: wire.stall(TO_CLIENT), moment=Moment.AFTER)

    return trap


STAGES: Final[dict[str, Trap]] = {
    "entries on their way to us": in_redis(ENTRIES, TO_CLIENT),
    "entries read, nothing written": lambda stand: stand.postgres_wire.on(BEGIN, TO_SERVER),
    "in the middle of COPY": in_postgres(COPY_ALMOST_DONE, TO_SERVER),
    "COPY done": in_postgres(COPY_ANSWER, TO_CLIENT),
    "before COMMIT": in_postgres(COMMIT, TO_SERVER),
    "committed, and not told": in_postgres(COMMIT, TO_CLIENT),
    "before XACK": in_redis(XACK, TO_SERVER),
    "acknowledged, and not told": unanswered(XACK),
    "before a dead letter": in_redis(JUDGE, TO_SERVER),
    "dead letter written, and not told": unanswered(JUDGE),
}


@pytest.mark.parametrize("stage", STAGES)
def test_kill_9_at(stand: Stand, stage: str) -> None:
    fleet = Fleet(seed=1)
    with stand.reading() as processor:
        trap = STAGES[stage](stand)
        stand.publish(fleet.entries(200))
        trap.wait()
        processor.kill()
        trap.release()
    stand.redis_wire.heal()
    assert stand.telemetry.pending() > 0
    stand.finish(fleet)


@pytest.mark.parametrize("stage", ["before a dead letter", "dead letter written, and not told"])
def test_kill_9_while_a_failure_is_counted(stand: Stand, stage: str) -> None:
    """Counted or not, it is tried until it has failed three times, and nothing stays counted."""
    fleet = Fleet(seed=4)
    with stand.reading(**COUNTING) as processor:
        trap = STAGES[stage](stand)
        stand.publish(fleet.entries(60))
        trap.wait()
        processor.kill()
        trap.release()
    stand.redis_wire.heal()
    stand.finish(fleet, **COUNTING)
    assert {letter[b"attempts"] for letter in stand.telemetry.letters()} == {b"3"}


@pytest.mark.parametrize("stage", ["in the middle of COPY", "committed, and not told"])
def test_a_surviving_instance_takes_over_from_one_killed(stand: Stand, stage: str) -> None:
    fleet = Fleet(seed=2, mixture=Mixture(duplicated=True))
    with stand.reading("one") as first:
        trap = STAGES[stage](stand)
        stand.publish(fleet.entries(100))
        trap.wait()
        # The other takes longer to start than a write may take: by then this one would have given
        # up what the wire holds, written it again by another session, and nothing would be left.
        first.signal(signal.SIGSTOP)
        assert stand.telemetry.pending() > 0
        with stand.reading("two") as second:
            first.kill()
            trap.release()
            stand.publish(fleet.entries(100))
            second.wait_for("entries.reclaimed")
            stand.drain(second)
    stand.assert_balanced(fleet)


@pytest.mark.parametrize(
    ("pattern", "direction"),
    [
        (b"CREATE TABLE public.positions", TO_SERVER),
        (COMMIT, TO_SERVER),
        (COMMIT, TO_CLIENT),
    ],
)
def test_kill_9_during_a_migration_leaves_it_to_the_next_start(
    stand: Stand, empty_database: str, pattern: bytes, direction: Direction
) -> None:
    stand = dataclasses.replace(stand, dsn=empty_database)
    fleet = Fleet(seed=3)
    stand.publish(fleet.entries(50))
    trap = stand.postgres_wire.on(pattern, direction)
    with stand.processor() as processor:
        trap.wait()
        processor.kill()
        trap.release()
    stand.finish(fleet)
    steps = fetch(empty_database, "SELECT name FROM teltonika_migrations ORDER BY applied_at")
    assert [row["name"] for row in steps] == [
        "0001_spine",
        "0002_day_partitions",
        "0003_io_elements",
        "0004_default_plausible",
        "0005_default_current_sessions",
        "0006_timing",
        "0007_sessions",
        "0008_limits_marked",
    ]

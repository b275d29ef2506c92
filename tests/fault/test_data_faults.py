"""Bad data among good: only the culprit suffers."""

from typing import Final

import pytest

from audited import assert_clean
from fault.fleet import (
    REFUSED,
    Fleet,
    Mixture,
    assert_nothing_is_counted,
    letters_by_source,
    n_letters,
    refuse_a_value,
)
from fault.proxy import Direction
from fault.stand import COUNTING, Stand, frozen
from fault.wire import JUDGE
from telemetry import BASE_MS, IMEI, Key, entry, frame_at, stored_keys
from waiting import eventually

N_FRAMES: Final = 400
PER_FRAME: Final = 5

CULPRITS: Final = {
    "the first": (0,),
    "in the middle": (200,),
    "the last": (399,),
    "many": tuple(range(3, 400, 20)),
}


ONE_WRITE: Final = {
    "BATCH_FRAMES": "400",
    "WRITE_TIMEOUT_MS": "5000",
    "CLAIM_THRESHOLD_MS": "20000",
}


def times_of(frame: int) -> list[int]:
    return [BASE_MS + (frame * PER_FRAME + k) * 1000 for k in range(PER_FRAME)]


@pytest.mark.parametrize("where", CULPRITS)
def test_of_2000_records_only_the_frame_with_the_refused_value_suffers(
    stand: Stand, where: str
) -> None:
    refuse_a_value(stand.dsn)
    culprits = CULPRITS[where]
    frames = [
        frame_at(*times_of(i), speed_kmh=4711 if i in culprits else 40) for i in range(N_FRAMES)
    ]
    ids = stand.publish([dict(entry(frame)) for frame in frames])
    with stand.reading(**ONE_WRITE) as processor:
        stand.drain(processor)
        reads = [event for event in processor.events if event["event"] == "entries.read"]
    # In one pass: nothing was read again.
    assert sum(read["count"] for read in reads) == N_FRAMES
    good = [i for i in range(N_FRAMES) if i not in culprits]
    assert stored_keys(stand.dsn) == [Key(IMEI, time_ms) for i in good for time_ms in times_of(i)]
    letters = letters_by_source(stand.telemetry)
    assert letters == sorted((ids[i], REFUSED) for i in culprits)
    assert (stand.telemetry.settled(), stand.telemetry.pending()) == (True, 0)
    assert_nothing_is_counted(stand.telemetry)
    assert_clean(stand.redis_url, stand.dsn)


def test_damage_duplicates_and_refusals_together_balance_between_two_instances(
    stand: Stand,
) -> None:
    refuse_a_value(stand.dsn)
    fleet = Fleet(seed=30, mixture=Mixture(refused_every=2000, duplicated=True))
    with stand.reading("one", **COUNTING) as first, stand.reading("two", **COUNTING) as second:
        stand.publish(fleet.entries(1500))
        stand.drain(first, second)
    stand.assert_balanced(fleet)
    codes = {sending.code for sending in fleet.sendings}
    assert len(codes) == 14
    assert REFUSED in codes


def test_a_fleet_of_nothing_but_damage_is_all_dead_letters(stand: Stand) -> None:
    fleet = Fleet(seed=31, mixture=Mixture(damaged=1.0))
    with stand.reading() as processor:
        stand.publish(fleet.entries(300))
        eventually(lambda: n_letters(stand.telemetry) == 300)
        stand.drain(processor)
    stand.assert_balanced(fleet)


@pytest.mark.parametrize("attempts", ["1", "3"])
def test_an_instance_frozen_before_its_verdict_writes_no_second_letter_and_counts_nothing(
    stand: Stand, attempts: str
) -> None:
    fleet = Fleet(seed=32, mixture=Mixture(damaged=1.0))
    settings = {**COUNTING, "MAX_ATTEMPTS": attempts}
    with stand.reading("one", **settings) as sleeper:
        verdict = stand.redis_wire.on(JUDGE, Direction.TO_SERVER)
        stand.publish(fleet.entries(20))
        verdict.wait()
        with frozen(sleeper.pid), stand.reading("two", **settings) as other:
            other.wait_for("entries.reclaimed")
            stand.drain(other)
            assert n_letters(stand.telemetry) == 20
        verdict.release()
        # What it says now is about entries that are no longer pending.
        sleeper.wait_for(
            "entries.judged", lambda event: (event["dead_lettered"], event["kept"]) == ({}, {})
        )
        stand.drain(sleeper)
    stand.assert_balanced(fleet)

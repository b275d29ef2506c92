"""Trackers get their turns evenly over the period, and make records of that time."""

from teltonika_processor.simulate.outbox import Parcel
from teltonika_processor.simulate.schedule import Pace, Schedule
from teltonika_processor.simulate.tracker import FleetPlan, Tracker, trackers_of

STARTED_AT_MS = 1_790_000_000_000


def fleet(devices: int = 10, *, built_frames: int = 0) -> list[Tracker]:
    plan = FleetPlan(
        devices=devices,
        seed=1,
        started_at_ms=STARTED_AT_MS,
        records_per_frame=(2, 4),
        built_frames=built_frames,
    )
    return trackers_of(plan, jitter=lambda: 0.5)


def schedule(trackers: list[Tracker], *, n_frames: int | None = None) -> Schedule:
    pace = Pace(period_s=10.0, records_per_frame=(2, 4), n_frames=n_frames)
    return Schedule(trackers, pace, seed=1, started_at_ms=STARTED_AT_MS)


def parcels_of(tracker: Tracker) -> list[Parcel]:
    return tracker.link.unacknowledged()


def test_each_tracker_has_one_turn_a_period() -> None:
    trackers = fleet()
    turns = schedule(trackers)
    assert list(turns.take_turns(0.0)) == []
    first = list(turns.take_turns(10.0))
    assert set(first) == set(trackers)
    assert len(first) == 10
    assert 9 <= len(list(turns.take_turns(20.0))) <= 11


def test_turns_are_spread_over_the_period() -> None:
    turns = schedule(fleet())
    counts = [len(list(turns.take_turns(float(second)))) for second in range(1, 11)]
    assert counts == [1] * 10


def test_records_are_of_the_time_since_the_turn_before() -> None:
    (tracker,) = trackers = fleet(1)
    turns = schedule(trackers)
    before_ms = 0
    for end_s in (10.0, 20.0, 30.0):
        assert len(list(turns.take_turns(end_s))) in {0, 1, 2}
        times = [
            record.recorded_at_ms - STARTED_AT_MS
            for parcel in parcels_of(tracker)
            for record in parcel.records
        ]
        assert 2 <= len(times) <= 8
        assert before_ms < min(times) <= max(times) <= end_s * 1000
        before_ms = max(times)


def test_a_number_of_frames_ends_it_and_so_does_a_stop() -> None:
    turns = schedule(fleet(), n_frames=7)
    before = turns.is_over
    assert len(list(turns.take_turns(1000.0))) == 7
    assert (before, turns.is_over) == (False, True)
    other = schedule(fleet())
    other.stop()
    assert (other.is_over, list(other.take_turns(1000.0))) == (True, [])


def test_a_turn_that_comes_late_is_remembered() -> None:
    turns = schedule(fleet(1))
    list(turns.take_turns(60.0))
    assert 50.0 <= turns.lag_max_s <= 60.0


def test_a_turn_grants_one_frame_that_was_built() -> None:
    (tracker,) = trackers = fleet(1, built_frames=3)
    assert len(list(schedule(trackers, n_frames=5).take_turns(1000.0))) == 5
    parcels = parcels_of(tracker)
    assert [parcel.n_records for parcel in parcels] == [2, 3, 4, 2, 3]
    assert len({parcel.wire for parcel in parcels}) == 3


def test_nothing_granted_is_sent_after_the_stop() -> None:
    (tracker,) = fleet(1, built_frames=3)
    tracker.grant(2)
    tracker.stop()
    assert parcels_of(tracker) == []

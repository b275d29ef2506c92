"""The race of the demo: what its cars record, and when they truly pass its lines."""

import itertools

import pytest

from teltonika_processor.codec.native import decode_frame
from teltonika_processor.simulate.grand_prix import CIRCUIT, GrandPrix, make_grand_prix
from teltonika_processor.simulate.schedule import Schedule

NOW_MS = 1_800_000_000_000


def grand_prix(*, cars: int = 3, laps: int = 2, seed: int = 1) -> GrandPrix:
    return make_grand_prix(
        cars=cars,
        laps=laps,
        seed=seed,
        now_ms=NOW_MS,
        times_faster=40.0,
        jitter=lambda: 0.0,
        settled=lambda *_, **__: None,
    )


def drive(race: GrandPrix) -> float:
    """Let all cars make all their records; how long that takes them in our time, in seconds."""
    trackers = [car.tracker for car in race.cars]
    schedule = Schedule(trackers, race.pace, seed=1, started_at_ms=race.started_at_ms)
    for tick in itertools.count():
        list(schedule.take_turns(tick / 100))
        if schedule.is_over:
            return tick / 100
    raise AssertionError


def test_a_race_that_nobody_began_has_no_laps() -> None:
    race = grand_prix()
    assert [race.laps(car) for car in race.cars] == [[], [], []]


def test_every_car_drives_its_laps_before_the_end_and_records_what_comes_behind_it() -> None:
    race = grand_prix(laps=2)
    seconds = drive(race)
    assert 3.0 < seconds < 5.0
    for car in race.cars:
        laps = race.laps(car)
        assert len(laps) >= 2
        assert all(33 - 0.6 < (lap.ended_at_us - lap.started_at_us) / 1e6 < 38.6 for lap in laps)
        assert all(lap.ended_at_us - lap.started_at_us == sum(lap.sectors_us) for lap in laps)
        assert {len(lap.sectors_us) for lap in laps} == {3}
        assert laps[-1].ended_at_us <= race.ended_at_ms * 1000
        assert car.tracker.link.outbox.n_made == race.n_records // 3


def test_the_same_seed_makes_the_same_race() -> None:
    one, other = grand_prix(seed=7), grand_prix(seed=7)
    drive(one)
    drive(other)
    assert [one.laps(car) for car in one.cars] == [other.laps(car) for car in other.cars]
    assert [car.imei for car in one.cars] == [car.imei for car in other.cars]


def test_a_car_is_on_the_line_when_it_passes_it() -> None:
    race = grand_prix(cars=1)
    drive(race)
    (car,) = race.cars
    places = {}
    while (parcel := car.tracker.link.outbox.take()) is not None:
        for record in decode_frame(parcel.wire).records:
            if record.satellites:
                places[record.recorded_at_ms] = (
                    record.longitude_e7 / 1e7,
                    record.latitude_e7 / 1e7,
                )
    fixes = sorted(places.items())
    finish = race.lines[0]
    for lap in race.laps(car):
        before = max(fix for fix in fixes if fix[0] * 1000 <= lap.started_at_us)
        behind = min(fix for fix in fixes if fix[0] * 1000 > lap.started_at_us)
        passed = (lap.started_at_us / 1000 - before[0]) / (behind[0] - before[0])
        longitude = before[1][0] + passed * (behind[1][0] - before[1][0])
        assert longitude == pytest.approx(finish.points[0][0], abs=1e-6)
        assert finish.points[0][1] < before[1][1] < finish.points[1][1]


def test_the_circuit_is_two_kilometres_and_a_bit() -> None:
    assert CIRCUIT.length_m == pytest.approx(2299.3, abs=0.1)

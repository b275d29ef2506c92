"""Laps on a circuit take the times that were given, and its file must hold a circuit."""

import json
import math
from typing import Any

import pytest

from teltonika_processor.codec import reference
from teltonika_processor.simulate.circuit import (
    Crossing,
    NotACircuitError,
    Race,
    circuit_of,
    crossings,
)
from teltonika_processor.simulate.tracker import FleetPlan, trackers_of

# A rectangle at the equator: 1113.2 m to the east, 556.6 m to the north.
CORNERS = [[10.0, 0.0, 100], [10.01, 0.0, 110], [10.01, 0.005], [10.0, 0.005, 90]]


def geojson(coordinates: Any = CORNERS) -> str:
    return json.dumps({"type": "LineString", "coordinates": coordinates})


def race(*lap_times_s: float) -> Race:
    return Race(circuit_of(geojson()), lap_times_s)


def place_after(one: Race, seconds: float) -> tuple[int, int]:
    one.advance(seconds)
    return one.longitude_e7, one.latitude_e7


def test_a_line_is_closed_and_measured() -> None:
    circuit = circuit_of(geojson())
    assert circuit.points[0] == circuit.points[-1] == (10.0, 0.0, 100.0)
    assert circuit.length_m == pytest.approx(3339.6, abs=0.1)
    assert circuit.shares[0] == 0.0
    assert circuit.shares[-1] == pytest.approx(1.0)
    assert list(circuit.shares) == sorted(circuit.shares)


def test_a_closed_line_with_places_twice_is_the_same() -> None:
    twice = [position for corner in CORNERS for position in (corner, corner)]
    assert circuit_of(geojson([*twice, CORNERS[0]])) == circuit_of(geojson())


@pytest.mark.parametrize(
    "wrapped",
    [
        {"type": "Feature", "geometry": json.loads(geojson())},
        {
            "type": "FeatureCollection",
            "features": [
                {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}},
                {"type": "Feature", "geometry": json.loads(geojson())},
            ],
        },
        {"type": "GeometryCollection", "geometries": [json.loads(geojson())]},
    ],
)
def test_the_first_line_is_found_wherever_it_is(wrapped: dict[str, Any]) -> None:
    assert circuit_of(json.dumps(wrapped)) == circuit_of(geojson())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no JSON: "),
        ("[" * 100_000, "no JSON: "),
        ("[]", "no GeoJSON with a LineString"),
        ('{"type": "Point", "coordinates": [1, 2]}', "no GeoJSON with a LineString"),
        ('{"type": "FeatureCollection", "features": 3}', "no GeoJSON with a LineString"),
        (geojson([[1, 2], [1, 2], [3, 4]]), "a LineString of 2 places, and a circuit has 3"),
        (geojson([]), "a LineString of 0 places, and a circuit has 3"),
        (geojson([[1, 2], [3], [4, 5]]), r"\[3\] is no longitude up to 180 and latitude up to 85"),
        (geojson([[1, 2], [181, 0], [4, 5]]), r"\[181, 0\] is no longitude"),
        (geojson([[1, 2], ["x", 0], [4, 5]]), r"\['x', 0\] is no position"),
        (geojson([[1, 2], 7, [4, 5]]), "7 is no position"),
        (geojson([[1, 2], [math.nan, 0], [4, 5]]), r"\[nan, 0\] is no position"),
        (
            geojson([[1, 2], [0, 0, 1e9], [4, 5]]),
            "\\[0, 0, 1000000000.0\\] has no altitude from -32",
        ),
        (geojson().replace("110", "1e400"), r"\[10.01, 0.0, inf\] is no position"),
        (geojson().replace("110", "9" * 5000), "no JSON: "),
        (geojson().replace("110", "9" * 500), r"\[10.01, 0.0, 9{20}.* has no altitude"),
        (geojson([[1, 2, 0], [1, 2, 5], [1, 2, 9]]), "a LineString of 1 places, and a circuit has"),
        (geojson([[1, 2], [1, 2.00000000001], [1, 3]]), "a LineString of 2 places, and a circuit"),
    ],
)
def test_what_is_no_circuit_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(NotACircuitError, match=f"^{why}"):
        circuit_of(text)


def test_the_start_is_passed_at_the_sums_of_the_lap_times() -> None:
    start = (100_000_000, 0)
    one = race(62.5, 61.9, 70.0)
    for lap_s in (62.5, 61.9, 70.0, 62.5):
        assert place_after(one, lap_s) == start
    assert place_after(one, 0.01) != start


def test_every_place_is_reached_at_the_same_share_of_each_lap() -> None:
    slow, fast = race(100.0), race(50.0)
    for _ in range(99):
        assert place_after(slow, 1.0) == place_after(fast, 0.5)
        assert abs(fast.speed_kmh - 2 * slow.speed_kmh) <= 1


def test_heading_and_altitude_follow_the_line() -> None:
    one = race(60.0)
    seen = []
    for _ in range(60):
        one.advance(1.0)
        seen.append((one.angle_deg, one.altitude_m))
    angles = [angle for angle, _ in seen]
    assert sorted(set(angles), key=angles.index) == [90, 0, 270, 180]
    assert max(altitude for _, altitude in seen) <= 110
    assert min(altitude for _, altitude in seen) >= 0


def test_bends_are_slower_than_straights() -> None:
    straight = [[10.0 + n / 1000, 0.0] for n in range(11)]
    circuit = circuit_of(geojson([*straight, [10.01, 0.005], [10.0, 0.005]]))
    one = Race(circuit, [60.0])
    speeds = []
    for _ in range(60):
        one.advance(1.0)
        speeds.append(one.speed_kmh)
    assert max(speeds) > 1.5 * min(speeds)


def test_a_race_stands_at_the_start_first() -> None:
    one = race(60.0)
    assert (one.longitude_e7, one.latitude_e7, one.speed_kmh, one.angle_deg) == (
        100_000_000,
        0,
        0,
        90,
    )


def test_the_odometer_counts_laps_and_what_is_driven_of_the_present_one() -> None:
    one = race(60.0, 50.0)
    seen = []
    for _ in range(200):
        one.advance(1.0)
        seen.append(one.odometer_m)
    assert seen == sorted(seen)
    assert seen[109] == pytest.approx(2 * circuit_of(geojson()).length_m)


def test_crossings_are_the_exact_sums_of_the_lap_times() -> None:
    found = list(
        crossings(circuit_of(geojson()), [62.5, 61.9000015], first_record_ms=1000, until_ms=200_000)
    )
    assert found == [
        Crossing(1, 0, 1_000_000),
        Crossing(2, 0, 63_500_000),
        Crossing(3, 0, 125_400_002),
        Crossing(4, 0, 187_900_002),
    ]


def test_a_race_is_on_the_line_when_it_crosses_it() -> None:
    circuit, sectors_m = circuit_of(geojson()), [556.6, 1113.2, 2500.0]
    one, elapsed_us, places = Race(circuit, [62.5, 61.9]), 0, []
    for crossing in crossings(
        circuit, [62.5, 61.9], first_record_ms=0, until_ms=300_000, sectors_m=sectors_m
    ):
        one.advance((crossing.at_us - elapsed_us) / 1e6)
        elapsed_us = crossing.at_us
        places.append((crossing.line, one.longitude_e7, one.latitude_e7))
    assert {line for line, _, _ in places} == {0, 1, 2, 3}
    by_line = {line: (lon, lat) for line, lon, lat in places}
    # Within half a metre: the time is exact to a microsecond, the place to 1e-7 degree.
    assert all(
        abs(lon - by_line[line][0]) <= 2 and abs(lat - by_line[line][1]) <= 2
        for line, lon, lat in places
    )
    assert by_line[0] == (100_000_000, 0)
    assert by_line[1] == (pytest.approx(100_050_000, abs=5), 0)
    assert by_line[2] == (pytest.approx(100_100_000, abs=5), pytest.approx(0, abs=5))


@pytest.mark.parametrize("built_frames", [0, 5])
def test_a_tracker_is_at_the_start_with_its_first_record(built_frames: int) -> None:
    circuit, laps_s, now_ms = circuit_of(geojson()), [6.25, 6.19], 1_790_000_000_000
    plan = FleetPlan(
        devices=1,
        seed=1,
        started_at_ms=now_ms,
        built_frames=built_frames,
        records_per_frame=(1, 5),
        route=lambda _rng: Race(circuit, laps_s),
    )
    (tracker,) = trackers_of(plan, jitter=lambda: 0.5)
    if built_frames:
        tracker.grant(built_frames)
    else:
        tracker.make(40, since_ms=now_ms, at_ms=now_ms + 40_000)
    parcels = tracker.link.unacknowledged()
    records = [
        record for parcel in parcels for record in reference.decode_frame(parcel.wire).records
    ]
    first_ms = tracker.first_record_ms
    assert first_ms == min(record.recorded_at_ms for record in records)
    at_start = [record for record in records if record.recorded_at_ms == first_ms]
    assert (at_start[0].longitude_e7, at_start[0].latitude_e7) == (100_000_000, 0)
    for record in records:
        truth = Race(circuit, laps_s)
        truth.advance((record.recorded_at_ms - first_ms) / 1000)
        if record.satellites:
            assert abs(record.longitude_e7 - truth.longitude_e7) <= 1
            assert abs(record.latitude_e7 - truth.latitude_e7) <= 1

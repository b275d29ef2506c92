"""How large zones are and where, whether they are misplaced, and which version counts when."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from teltonika_processor.cli.zones_state import counting, counts_from, state_of, versions_of
from teltonika_processor.store.zones import StoredZone, ZoneColumns
from teltonika_processor.timing.zone_measure import area_m2, bounds_of, length_m
from teltonika_processor.timing.zone_swap import likely_swapped

NOON = datetime(2026, 5, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
# A quarter of the great circle.
QUARTER_M = 10_007_557.2


def box(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def zone(kind: str, geometry: str, coordinates: Any, **columns: Any) -> ZoneColumns:
    return ZoneColumns(
        name="pit", kind=kind, geometry={"type": geometry, "coordinates": coordinates}, **columns
    )


def circle(longitude: float, latitude: float, radius_m: float = 100.0) -> ZoneColumns:
    return zone("circle", "Point", [longitude, latitude], radius_m=radius_m)


def polygons(*found: Any) -> ZoneColumns:
    return zone("polygon", "MultiPolygon", list(found))


@pytest.mark.parametrize(
    ("columns", "bounds"),
    [
        (polygons([box(24.5, 54, 25, 55)]), (24.5, 54, 25, 55)),
        (polygons([box(179, -1, -179, 1)]), (179, -1, -179, 1)),
        (polygons([box(170, -1, 180, 1)], [box(-180, 0, -170, 2)]), (170, -1, -170, 2)),
        (polygons([box(-10, -1, -5, 1)], [box(3, -1, 10, 1)]), (-10, -1, 10, 1)),
        (zone("gate", "LineString", [[179, 0], [-179, 1]]), (179, 0, -179, 1)),
        (circle(0, 0, QUARTER_M / 9), (-10, -10, 10, 10)),
        (circle(180, 0, QUARTER_M / 9), (170, -10, -170, 10)),
        (circle(25, 85, QUARTER_M / 9), (-180, 75, 180, 90)),
    ],
)
def test_bounds_are_the_smallest_box(columns: ZoneColumns, bounds: tuple[float, ...]) -> None:
    assert bounds_of(columns) == pytest.approx(bounds, abs=1e-6)


def test_areas_and_lengths_are_those_of_the_sphere() -> None:
    eighth_m2 = 510_065_881_690_000 / 8
    assert area_m2(polygons([box(0, 0, 90, 90)])) == pytest.approx(eighth_m2, rel=1e-5)
    assert area_m2(polygons([box(135, -90, -135, 90)])) == pytest.approx(eighth_m2 * 2, rel=1e-5)
    with_hole = polygons([box(0, 0, 2, 2), box(0.5, 0.5, 1, 1)])
    assert area_m2(with_hole) == pytest.approx(
        (area_m2(polygons([box(0, 0, 2, 2)])) or 0)
        - (area_m2(polygons([box(0.5, 0.5, 1, 1)])) or 0)
    )
    assert area_m2(circle(0, 0, QUARTER_M)) == pytest.approx(eighth_m2 * 4, rel=1e-5)
    gate = zone("gate", "LineString", [[170, 0], [-170, 0], [-170, 10]])
    assert length_m(gate) == pytest.approx(QUARTER_M / 3, abs=0.1)
    assert (area_m2(gate), length_m(circle(0, 0))) == (None, None)


@pytest.mark.parametrize(
    ("place", "fleet", "told"),
    [
        ((54.5, 25.0), [(25.0, 54.5)], [(3, "likely_swapped")]),
        ((25.0, 54.5), [(25.0, 54.5)], []),
        ((54.5, 25.0), [(25.0, 54.5), (54.0, 25.0)], []),
        ((54.5, 25.0), [(25.0, 60.0)], []),
        ((54.5, 25.0), [], []),
        ((154.5, 25.0), [(25.0, 54.5)], []),
        ((40.0, 38.0), [(38.0, 40.0)], []),
    ],
)
def test_a_swap_is_likely_far_from_the_fleet_and_near_it_the_other_way_round(
    place: tuple[float, float], fleet: list[tuple[float, float]], told: list[tuple[int, str]]
) -> None:
    found = likely_swapped([(3, circle(*place))], fleet)
    assert [(problem.feature, problem.fault.code) for problem in found] == told


def version(number: int, valid_from: datetime | None, valid_to: datetime | None) -> StoredZone:
    return StoredZone(
        id=1,
        version=number,
        columns=circle(25, 54),
        valid_from=valid_from,
        valid_to=valid_to,
        is_marked=True,
    )


def test_of_several_versions_the_newest_counts() -> None:
    zones = [
        version(1, None, NOON),
        version(2, NOON, NOON),
        version(3, NOON, NOON + HOUR),
        version(4, NOON + 2 * HOUR, None),
    ]
    found = versions_of(zones)

    def states(now: datetime) -> list[str]:
        return [state_of(zone, found, now) for zone in zones]

    assert states(NOON - HOUR) == ["counts", "later", "later", "later"]
    assert states(NOON) == ["replaced", "replaced", "counts", "later"]
    assert states(NOON + HOUR) == ["replaced", "replaced", "replaced", "later"]
    assert states(NOON + 2 * HOUR) == ["replaced", "replaced", "replaced", "counts"]
    assert [one.version for one in counting(zones, NOON)] == [3]
    assert counting(zones, NOON + HOUR) == []
    assert counts_from(zones, "pit", NOON + HOUR)
    assert not counts_from(zones[:3], "pit", NOON + HOUR)
    assert state_of(zones[2], versions_of(zones[:3]), NOON + HOUR) == "ended"

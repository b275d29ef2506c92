"""Files of zones: what is read, written again, and how large it may be."""

import json
import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from teltonika_processor.store.zones import ZoneColumns
from teltonika_processor.timing.zone_feature import PROPERTIES
from teltonika_processor.timing.zone_file import feature_of, read_file, read_zones
from zone_texts import gate, point, polygon, problems


def test_problems_of_several_features_are_told_by_their_numbers() -> None:
    features = ",".join((point(), point("[25,99]"), gate("[[25,54],[25,55]]")))
    found = read_file(f'{{"type":"FeatureCollection","features":[{features}]}}')
    assert [(problem.feature, problem.name, problem.fault.code) for problem in found.problems] == [
        (2, "pit", "name_twice"),
        (2, "pit", "coordinate_out_of_range"),
        (2, "pit", "likely_swapped"),
        (3, "pit", "name_twice"),
    ]
    assert [number for number, _ in found.zones] == [1, 2, 3]


def test_what_is_not_ours_is_left_out() -> None:
    (zone,) = read_zones(
        '{"type":"Feature","id":7,"bbox":[1,2,3,4],"properties":{"name":"pit","radius_m":9},'
        '"geometry":{"type":"Point","coordinates":[25,54,118.5],"crs":null}}'
    )
    assert zone == ZoneColumns(
        name="pit",
        kind="circle",
        geometry={"type": "Point", "coordinates": [25.0, 54.0]},
        radius_m=9.0,
    )


SHOULDER = st.floats(0.001, 0.4)
NAMES = st.text(min_size=1, max_size=200).filter(lambda n: n.isprintable() and n == n.strip())


@st.composite
def zones(draw: st.DrawFn) -> ZoneColumns:
    kind = draw(st.sampled_from(("Point", "LineString", "Polygon", "MultiPolygon")))
    west, south = draw(st.floats(-180, 179)), draw(st.floats(-89, 88))

    def box(inset: float) -> list[list[float]]:
        (w, s), (e, n) = (west + inset, south + inset), (west + 1 - inset, south + 1 - inset)
        return [[w, s], [e, s], [e, n], [w, n], [w, s]]

    outer = draw(SHOULDER)
    rings = [box(outer), box(outer + 0.05)]
    coordinates: dict[str, Any] = {
        "Point": [west, south],
        "LineString": [[west, south], [west + outer, south]],
        "Polygon": rings,
        "MultiPolygon": [rings, [box(outer + 0.06)]],
    }
    is_gate, is_circle = kind == "LineString", kind == "Point"
    return ZoneColumns(
        name=draw(NAMES),
        kind="gate" if is_gate else "circle" if is_circle else "polygon",
        geometry={"type": kind, "coordinates": coordinates[kind]},
        radius_m=draw(st.floats(100, 1e6)) if is_circle else None,
        direction=draw(st.sampled_from(("left_to_right", "both"))) if is_gate else None,
        hysteresis_m=0.0 if is_gate else draw(st.sampled_from((0.0, 0.5, 25.0))),
        minimum_lap_s=draw(st.none() | st.floats(0, 1e6)),
    )


@given(zones())
def test_what_is_written_is_read_as_it_was(zone: ZoneColumns) -> None:
    assert read_zones(json.dumps(feature_of(zone))) == [zone]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {"type": st.just("Feature") | JSON},
        optional={
            "properties": JSON
            | st.fixed_dictionaries({}, optional=dict.fromkeys(PROPERTIES, JSON)),
            "geometry": JSON
            | st.fixed_dictionaries(
                {
                    "type": st.sampled_from(("Point", "LineString", "Polygon", "MultiPolygon")),
                    "coordinates": JSON,
                }
            ),
        },
    )
)
def test_nothing_that_json_can_hold_is_more_than_wrong(feature: Any) -> None:
    found = read_file(json.dumps(feature))
    assert found.problems or found.zones
    assert all(len(str(problem)) < 500 for problem in found.problems)


def test_a_ring_of_a_hundred_thousand_points_takes_little_memory() -> None:
    half = 50_000
    there = [[25 + n / half, 54 + n % 2 * 1e-5] for n in range(half)]
    ring = [*there, *([x, y + 0.1] for x, y in reversed(there)), there[0]]
    text = polygon(json.dumps([ring]))
    tracemalloc.start()
    (zone,) = read_zones(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(zone.geometry["coordinates"][0]) == 100_001
    assert peak < 100e6


def test_a_zone_of_more_than_a_million_points_is_refused() -> None:
    points = "[25,54]," * 1_000_000 + "[25,55]"
    assert problems(gate(f"[{points}]")) == [
        "feature 1: too_many_points: 1000001 points, expected at most 1000000"
    ]

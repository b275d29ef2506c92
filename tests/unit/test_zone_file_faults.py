"""Everything that is wrong with a file of zones, word for word."""

import pytest

from teltonika_processor.timing.zone_feature import PROPERTIES
from teltonika_processor.timing.zone_file import ZoneFileError, read_zones
from zone_texts import RING, gate, one, point, polygon, problems

KNOWN = ", ".join(PROPERTIES)

BAD = {
    # No file of features.
    "": ["not_geojson: it is empty"],
    " \n": ["not_geojson: it is empty"],
    "name,radius": ["not_geojson: no JSON: Expecting value at line 1, column 1"],
    '{"type"\n 7}': ["not_geojson: no JSON: Expecting ':' delimiter at line 2, column 2"],
    '{"type":"Feature","properties":{}}': [
        "feature 1: bad_name: name is missing: expected a text of 1 to 200 characters",
        "feature 1: no_geometry: geometry is missing: expected an object",
    ],
    one("{}"): [
        (
            "feature 1: unknown_kind: type of geometry is missing: expected one of"
            " Point, LineString, Polygon, MultiPolygon"
        )
    ],
    point(properties='"radius_m":9,"hysteresis_m":[null,false]'): [
        "feature 1: bad_property: hysteresis_m is [null, false]: expected a number of 0 or more"
    ],
    "[]": ["not_geojson: no GeoJSON Feature or FeatureCollection"],
    "null": ["not_geojson: no GeoJSON Feature or FeatureCollection"],
    '{"type":"FeatureCollection"}': ["not_geojson: no GeoJSON Feature or FeatureCollection"],
    '{"type":"FeatureCollection","features":{}}': [
        "not_geojson: no GeoJSON Feature or FeatureCollection"
    ],
    '{"type":"FeatureCollection","features":[]}': ["not_geojson: no feature in it"],
    '{"type":"Point","coordinates":[25,54]}': [
        "not_geojson: no GeoJSON Feature or FeatureCollection"
    ],
    point("[NaN,54]"): ["not_geojson: no JSON: NaN is no number"],
    point("[25,-Infinity]"): ["not_geojson: no JSON: -Infinity is no number"],
    "[" * 10_000 + "]" * 10_000: ["not_geojson: no JSON: nested too deeply"],
    point("[" * 10_000 + "]" * 10_000): ["not_geojson: no JSON: nested too deeply"],
    '{"type":"FeatureCollection","features":[null,7,{"type":"feature"}]}': [
        "feature 1: not_a_feature: expected a GeoJSON Feature",
        "feature 2: not_a_feature: expected a GeoJSON Feature",
        "feature 3: not_a_feature: expected a GeoJSON Feature",
    ],
    # No feature of ours.
    '{"type":"Feature"}': [
        "feature 1: no_properties: properties is missing: expected an object",
        "feature 1: bad_name: name is missing: expected a text of 1 to 200 characters",
        "feature 1: no_geometry: geometry is missing: expected an object",
    ],
    one("null"): ["feature 1: no_geometry: geometry is missing: expected an object"],
    one('{"type":"Circle","coordinates":[25,54]}'): [
        (
            "feature 1: unknown_kind: type of geometry is 'Circle': expected one of"
            " Point, LineString, Polygon, MultiPolygon"
        )
    ],
    one('{"type":["Point"],"coordinates":[25,54]}'): [
        (
            "feature 1: unknown_kind: type of geometry is ['Point']: expected one of"
            " Point, LineString, Polygon, MultiPolygon"
        )
    ],
    one('{"type":"GeometryCollection","geometries":[]}'): [
        (
            "feature 1: unknown_kind: type of geometry is 'GeometryCollection': expected one of"
            " Point, LineString, Polygon, MultiPolygon"
        )
    ],
    point(properties='"radius_m":9,"stroke":"red","\\u001b[2J":1'): [
        f"feature 1: unknown_property: '\\x1b[2J': expected one of {KNOWN}",
        f"feature 1: unknown_property: 'stroke': expected one of {KNOWN}",
    ],
    # Names.
    point(properties='"name":" ","radius_m":9'): [
        (
            "feature 1: bad_name: name is ' ': expected no control characters,"
            " and no blank at either end"
        )
    ],
    point(properties='"name":"a\\u0000b","radius_m":9'): [
        (
            "feature 1: bad_name: name is 'a\\x00b': expected no control characters,"
            " and no blank at either end"
        )
    ],
    point(properties='"name":"\\ud800","radius_m":9'): [
        (
            "feature 1: bad_name: name is '\\ud800': expected no control characters,"
            " and no blank at either end"
        )
    ],
    point(properties='"name":{"de":"Box"},"radius_m":9'): [
        "feature 1: bad_name: name is {'de': 'Box'}: expected a text of 1 to 200 characters"
    ],
    # Numbers.
    point(properties='"direction":"both"'): [
        "feature 1: bad_property: radius_m is missing: a Point is a circle and needs it",
        "feature 1: bad_property: direction: only a LineString has one",
    ],
    point(properties='"radius_m":"9"'): [
        "feature 1: bad_property: radius_m is '9': expected a number of 0 or more"
    ],
    point(properties='"radius_m":true'): [
        "feature 1: bad_property: radius_m is true: expected a number of 0 or more"
    ],
    point(properties='"radius_m":1e999'): [
        "feature 1: bad_property: radius_m is inf: expected a number of 0 or more"
    ],
    point(properties='"radius_m":0'): [
        "feature 1: radius_out_of_range: radius 0 m, expected above 0 and at most 10000000 m"
    ],
    point(properties='"radius_m":10000001'): [
        "feature 1: radius_out_of_range: radius 10000001 m, expected above 0 and at most 10000000 m"
    ],
    point(properties='"radius_m":9,"hysteresis_m":9'): [
        "feature 1: hysteresis_exceeds_radius: hysteresis 9 m, expected less than the radius, 9 m"
    ],
    point(properties='"radius_m":9,"hysteresis_m":0.0001,"minimum_lap_s":-1'): [
        "feature 1: bad_property: minimum_lap_s is -1: expected a number of 0 or more"
    ],
    point(properties='"radius_m":9,"hysteresis_m":0.0001'): [
        (
            "feature 1: hysteresis_out_of_range: hysteresis 0.0001 m, expected 0 or 0.001 m to"
            " 10000000 m"
        )
    ],
    # Coordinates.
    one('{"type":"Point"}', '"name":"pit","radius_m":9'): [
        "feature 1: bad_coordinates: null in coordinates: expected longitude and latitude"
    ],
    point("[25]"): [
        "feature 1: bad_coordinates: [25] in coordinates: expected longitude and latitude"
    ],
    point("[null,null]"): [
        "feature 1: bad_coordinates: [null, null] in coordinates: expected longitude and latitude"
    ],
    point("[true,54]"): [
        "feature 1: bad_coordinates: [true, 54] in coordinates: expected longitude and latitude"
    ],
    point(f"[{10**400},54]"): [
        (
            "feature 1: bad_coordinates: [100000000000000000...0000000000000000000, 54]"
            " in coordinates: expected longitude and latitude"
        )
    ],
    point("[25,1e999]"): [
        (
            "feature 1: coordinate_out_of_range: longitude 25, latitude inf:"
            " expected -180 to 180 and -90 to 90 degrees"
        )
    ],
    point("[54.7,125.3]"): [
        (
            "feature 1: coordinate_out_of_range: longitude 54.7, latitude 125.3:"
            " expected -180 to 180 and -90 to 90 degrees"
        ),
        (
            "feature 1: likely_swapped: latitude is before longitude, likely:"
            " swapped, all its points are on earth"
        ),
    ],
    polygon("null"): ["feature 1: bad_coordinates: null in coordinates: expected a list"],
    polygon("[null]"): ["feature 1: bad_coordinates: null in coordinates: expected a list"],
    polygon("[[null]]"): [
        "feature 1: bad_coordinates: null in coordinates: expected longitude and latitude"
    ],
    polygon(f"[[{RING}]]"): [
        (
            "feature 1: bad_coordinates: [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]] in coordinates:"
            " expected longitude and latitude"
        )
    ],
    # Gates.
    gate("[]"): ["feature 1: too_few_points: 0 points, expected at least 2"],
    gate("[[25,54]]"): ["feature 1: too_few_points: 1 points, expected at least 2"],
    gate("[[25,54],[25,54]]"): [
        (
            "feature 1: gate_without_length: all points of the gate are the same:"
            " expected two different ones"
        )
    ],
    gate("[[25,54],[25,94]]"): [
        (
            "feature 1: coordinate_out_of_range: longitude 25, latitude 94:"
            " expected -180 to 180 and -90 to 90 degrees (at point 1)"
        ),
        (
            "feature 1: likely_swapped: latitude is before longitude, likely:"
            " swapped, all its points are on earth"
        ),
    ],
    gate("[[25,54],[25,55]]", '"direction":"up"'): [
        (
            "feature 1: bad_property: direction is 'up': expected one of"
            " left_to_right, right_to_left, both"
        )
    ],
    gate("[[25,54],[25,55]]", '"radius_m":9,"hysteresis_m":1'): [
        "feature 1: bad_property: radius_m: only a Point has one",
        "feature 1: bad_property: hysteresis_m: a LineString has none",
    ],
    # Areas.
    polygon("[]"): [
        "feature 1: empty: there is no ring, expected at least one (at polygon 0, ring 0, point 0)"
    ],
    polygon("[]", "MultiPolygon"): ["feature 1: empty: there is no ring, expected at least one"],
    polygon(f"[{RING},[]]"): [
        "feature 1: too_few_points: 0 points, expected at least 4 (at polygon 0, ring 1, point 0)"
    ],
    polygon("[[[0,0],[1,0],[1,1],[0,1]]]"): [
        (
            "feature 1: ring_not_closed: the ring is not closed: expected its last point to be its"
            " first (at polygon 0, ring 0, point 3)"
        )
    ],
    polygon("[[[0,0],[1,1],[2,2],[0,0]]]"): [
        (
            "feature 1: no_area: the ring encloses no area, expected at least 0.0001 square metres"
            " (at polygon 0, ring 0, point 0)"
        )
    ],
    polygon("[[[0,0],[1,1],[1,0],[0,1],[0,0]]]"): [
        (
            "feature 1: self_intersection: the ring meets itself near 0.5, 0.5: also at polygon 0,"
            " ring 0, point 0 (at polygon 0, ring 0, point 2)"
        )
    ],
    polygon(f"[{RING},[[2,2],[3,2],[3,3],[2,2]]]"): [
        (
            "feature 1: hole_outside: the hole lies outside of its polygon or in another hole"
            " (at polygon 0, ring 1, point 0)"
        )
    ],
    polygon(f"[[{RING}],[[[0.2,0.2],[0.3,0.2],[0.3,0.3],[0.2,0.2]]]]", "MultiPolygon"): [
        (
            "feature 1: polygon_inside: the polygon lies within polygon 0"
            " (at polygon 1, ring 0, point 0)"
        )
    ],
    polygon("[[[0,80],[120,80],[-120,80],[0,80]]]"): [
        (
            "feature 1: ring_around_pole: the ring goes round a pole: use a circle"
            " (at polygon 0, ring 0, point 0)"
        )
    ],
    # Each of its faults.
    polygon("[[[0,0],[1,0],[1,1]],[[0,0],[0,95]],[]]"): [
        "feature 1: too_few_points: 3 points, expected at least 4 (at polygon 0, ring 0, point 0)",
        (
            "feature 1: coordinate_out_of_range: longitude 0, latitude 95:"
            " expected -180 to 180 and -90 to 90 degrees (at polygon 0, ring 1, point 1)"
        ),
        "feature 1: too_few_points: 0 points, expected at least 4 (at polygon 0, ring 2, point 0)",
        (
            "feature 1: likely_swapped: latitude is before longitude, likely:"
            " swapped, all its points are on earth"
        ),
    ],
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:60] or "nothing")
def test_what_is_wrong_is_told(text: str) -> None:
    assert problems(text) == BAD[text]
    with pytest.raises(ZoneFileError) as raised:
        read_zones(text)
    assert str(raised.value) == BAD[text][0]

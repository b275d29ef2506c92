"""How large a zone is and where, for people: on the sphere, and never for timing. Pure."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from teltonika_processor.store.zones import ZoneColumns
from teltonika_processor.timing.zone_feature import LonLat
from teltonika_processor.timing.zone_file import points_of, polygons_of

_RADIUS_M: Final = 6_371_008.8
_DEGREE_M: Final = math.radians(_RADIUS_M)


class Bounds(NamedTuple):
    """Degrees; over the date line the west is above the east, as RFC 7946 has it."""

    west: float
    south: float
    east: float
    north: float


def distance_m(one: LonLat, other: LonLat) -> float:
    """Metres between two points on the sphere."""
    (a_longitude, a), (b_longitude, b) = one, other
    a, b = math.radians(a), math.radians(b)
    apart = math.radians(b_longitude - a_longitude)
    square = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(apart / 2) ** 2
    return 2 * _RADIUS_M * math.asin(min(1.0, math.sqrt(square)))


def length_m(zone: ZoneColumns) -> float | None:
    """Of a gate."""
    if zone.kind != "gate":
        return None
    return sum(distance_m(one, other) for one, other in pairwise(points_of(zone)))


def area_m2(zone: ZoneColumns) -> float | None:
    """Of a circle or polygons, holes left out."""
    if zone.kind == "gate":
        return None
    if zone.radius_m is not None:
        return 4 * math.pi * (_RADIUS_M * math.sin(zone.radius_m / _RADIUS_M / 2)) ** 2
    return sum(
        abs(_signed_area_m2(ring)) * (-1 if number else 1)
        for polygon in polygons_of(zone)
        for number, ring in enumerate(polygon)
    )


def bounds_of(zone: ZoneColumns) -> Bounds:
    """The smallest box that holds it."""
    if zone.radius_m is not None:
        return _bounds_of_circle(points_of(zone)[0], zone.radius_m)
    lines = (
        [points_of(zone)]
        if zone.kind == "gate"
        else [ring for polygon in polygons_of(zone) for ring in polygon[:1]]
    )
    latitudes = [latitude for line in lines for _, latitude in line]
    west, east = _joined([_reach(line) for line in lines])
    return Bounds(_turned(west), min(latitudes), _turned(east), max(latitudes))


def short_way(degrees: float) -> float:
    """A difference of two longitudes, or bearings, as the turn to take: -180 to 180 degrees."""
    return (degrees + 180) % 360 - 180


def _signed_area_m2(ring: Sequence[LonLat]) -> float:
    twice = sum(
        math.radians(short_way(to - at))
        * (2 + math.sin(math.radians(at_latitude)) + math.sin(math.radians(to_latitude)))
        for (at, at_latitude), (to, to_latitude) in pairwise(ring)
    )
    return twice * _RADIUS_M**2 / 2


def _bounds_of_circle(centre: LonLat, radius_m: float) -> Bounds:
    longitude, latitude = centre
    reach = radius_m / _DEGREE_M
    south, north = latitude - reach, latitude + reach
    if south <= -90 or north >= 90:
        return Bounds(-180.0, max(-90.0, south), 180.0, min(90.0, north))
    sine = math.sin(math.radians(reach)) / math.cos(math.radians(latitude))
    half = math.degrees(math.asin(min(1.0, sine)))
    return Bounds(_turned(longitude - half), south, _turned(longitude + half), north)


def _reach(line: Sequence[LonLat]) -> tuple[float, float]:
    """West and east of a line that goes the short way from point to point, unwrapped."""
    at = line[0][0]
    west = east = at
    for (one, _), (other, _) in pairwise(line):
        at += short_way(other - one)
        west, east = min(west, at), max(east, at)
    return west, east


def _joined(reaches: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The shortest way round the earth that holds them all: what is behind the widest gap."""
    spans = sorted((west % 360, west % 360 + (east - west)) for west, east in reaches)
    begin, reach = spans[0]
    widest, best = -math.inf, (begin, reach)
    for west, east in [*spans[1:], (begin + 360, begin + 360)]:
        if west - reach > widest:
            widest, best = west - reach, (west, reach + 360)
        reach = max(reach, east)
    return best


def _turned(longitude: float) -> float:
    return longitude if -180 <= longitude <= 180 else (longitude + 180) % 360 - 180

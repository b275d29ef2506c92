"""Which way vehicles head that a gate counts: for people, never for timing. Pure.

A gate is seen from its first point to its last: who crosses it from left to right heads a quarter
of a turn clockwise of that, more or less.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from teltonika_processor.store.zones import ZoneColumns
from teltonika_processor.timing.zone_feature import LonLat
from teltonika_processor.timing.zone_file import points_of
from teltonika_processor.timing.zone_measure import short_way

_COMPASS: Final = (
    *("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest"),
)


class Headings(NamedTuple):
    """Degrees clockwise from north, across the pieces of a line: ``most`` is 0 to 360 above."""

    least: float
    most: float


def headings_of(points: Sequence[LonLat], direction: str) -> Headings:
    """At a right angle to each piece of the line, to the side that a direction says.

    Args:
        points: Longitude and latitude, two or more that differ.
        direction: left_to_right or right_to_left.
    """
    turn = 90 if direction == "left_to_right" else -90
    bearings = [_bearing(one, other) for one, other in pairwise(points) if one != other]
    at = least = most = bearings[0]
    for before, after in pairwise(bearings):
        at += short_way(after - before)
        least, most = min(least, at), max(most, at)
    begin = (least + turn) % 360
    return Headings(begin, begin + most - least)


def counted_text(zone: ZoneColumns) -> str | None:
    """Who is counted, as in: vehicles heading 270° (west). None: no gate, or one without length."""
    points = points_of(zone)
    if zone.direction is None or len(set(points)) < 2:
        return None
    if zone.direction != "both":
        return f"vehicles heading {_text(headings_of(points, zone.direction))}"
    right, left = (headings_of(points, one) for one in ("left_to_right", "right_to_left"))
    return f"vehicles heading {_text(right)}, left to right, and {_text(left)}, right to left"


def _bearing(one: LonLat, other: LonLat) -> float:
    """Of a short way, where it begins and ends alike."""
    shrink = math.cos(math.radians((one[1] + other[1]) / 2))
    return math.degrees(math.atan2(short_way(other[0] - one[0]) * shrink, other[1] - one[1]))


def _text(found: Headings) -> str:
    least, most = (round(degrees) for degrees in found)
    if most - least >= 180:
        return f"any way, depending on the place: the line turns by {most - least}°"
    if most == least:
        return f"{least % 360:03}° ({_compass(least)})"
    ends = dict.fromkeys(map(_compass, (least, most)))
    return f"{least % 360:03}° to {most % 360:03}° ({' to '.join(ends)})"


def _compass(degrees: float) -> str:
    return _COMPASS[round(degrees / 45) % len(_COMPASS)]

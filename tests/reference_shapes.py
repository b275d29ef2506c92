"""Shapes for `reference_timing`, slow and plain: on a plane in metres, and exact for gates.

Nothing here is shared with the product. A path is cut wherever it may come to or leave the border
or the band, and what lies between two cuts is asked of its middle. Near the equator alone, where
plane and sphere agree to a billionth of the distance.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final, TypeAlias

EARTH_M: Final = 6_371_008.8
DEGREE_M: Final = EARTH_M * math.pi / 180

# A hair to the east, and a hair of a hair to the north: smaller than any product of coordinates.
_HAIR: Final = (Fraction(1, 1 << 200), Fraction(1, 1 << 400))

Place: TypeAlias = tuple[float, float]
"""Metres to the east and north of the origin."""

LonLat: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Border:
    """Where a path crosses a border.

    Attributes:
        s: The part of the path before it.
        across_m: How far the whole path would go straight away from the border.
        from_left: Of a gate: whether the path comes from its left.
    """

    s: float
    across_m: float
    from_left: bool = False


@dataclass(frozen=True, slots=True)
class Circle:
    """All that is no farther than `radius_m` from the centre."""

    centre: Place
    radius_m: float

    def depth_m(self, place: Place) -> float:
        """How deep inside; outside it is negative."""
        return self.radius_m - math.dist(self.centre, place)

    def borders(self, start: Place, end: Place) -> list[Border]:
        """Where the path crosses the border, in order."""
        way = _minus(end, start)
        found = []
        for s in _on_circle(start, end, self.centre, self.radius_m):
            spoke = _minus(_along(start, end, s), self.centre)
            found.append(Border(s, abs(_dot(way, spoke)) / self.radius_m))
        return found

    def cuts(self, start: Place, end: Place, band_m: float) -> Iterator[float]:
        """Parts of the path at which it may come to the band or leave it."""
        for radius_m in (self.radius_m - band_m, self.radius_m + band_m):
            yield from _on_circle(start, end, self.centre, radius_m)


@dataclass(frozen=True, slots=True)
class Area:
    """What an odd number of rings holds; each is closed."""

    rings: Sequence[Sequence[Place]]

    def depth_m(self, place: Place) -> float:
        """How deep inside; outside it is negative."""
        x, y = place
        inside = False
        for (ax, ay), (bx, by) in self._edges():
            if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
                inside = not inside
        nearest = min(_to_edge(place, start, end) for start, end in self._edges())
        return nearest if inside else -nearest

    def borders(self, start: Place, end: Place) -> list[Border]:
        """Where the path crosses the border, in order."""
        way = _minus(end, start)
        found = []
        for one, other in self._edges():
            edge = _minus(other, one)
            steepness = _cross(edge, way)
            if steepness == 0:
                continue
            s = _cross(edge, _minus(one, start)) / steepness
            along = _cross(way, _minus(start, one)) / -steepness
            if 0 <= s <= 1 and 0 <= along <= 1:
                found.append(Border(s, abs(steepness) / math.hypot(*edge)))
        return sorted(found, key=lambda border: border.s)

    def cuts(self, start: Place, end: Place, band_m: float) -> Iterator[float]:
        """Parts of the path at which it may come to the band or leave it."""
        way = _minus(end, start)
        for one, other in self._edges():
            yield from _on_circle(start, end, one, band_m)
            edge = _minus(other, one)
            if steepness := _cross(edge, way):
                off = _cross(edge, _minus(one, start))
                reach = band_m * math.hypot(*edge)
                yield from ((off - reach) / steepness, (off + reach) / steepness)

    def _edges(self) -> Iterator[tuple[Place, Place]]:
        for ring in self.rings:
            yield from pairwise(ring)


@dataclass(frozen=True, slots=True)
class Gate:
    """A line in degrees; `counts_from` says which sides a crossing may come from."""

    points: Sequence[LonLat]
    counts_from: frozenset[bool]

    def crossings(self, start: LonLat, end: LonLat) -> list[tuple[Fraction, Border]]:
        """Each with its exact part of the path, in order."""
        begin, until = _moved(start), _moved(end)
        found = []
        for one, other in pairwise(self.points):
            if _are_apart(start, end, one, other):
                continue
            a, b = _exact(one), _exact(other)
            before, after = _side(a, b, begin), _side(a, b, until)
            if (before > 0) == (after > 0):
                continue
            if (_side(begin, until, a) > 0) == (_side(begin, until, b) > 0):
                continue
            s = before / (before - after)
            edge = _minus(metres(other), metres(one))
            way = _minus(metres(end), metres(start))
            across_m = abs(_cross(edge, way)) / math.hypot(*edge)
            found.append((s, Border(float(s), across_m, before > 0)))
        return sorted(found, key=lambda crossing: crossing[0])


def metres(place: LonLat) -> Place:
    """Longitude and latitude on the plane."""
    return place[0] * DEGREE_M, place[1] * DEGREE_M


def _on_circle(start: Place, end: Place, centre: Place, radius_m: float) -> list[float]:
    """Parts of the path at which it is so far from the centre."""
    way, length = _minus(end, start), math.dist(start, end)
    if length == 0 or radius_m <= 0:
        return []
    off = abs(_cross(way, _minus(start, centre))) / length
    if off >= radius_m:
        return []
    middle = _dot(way, _minus(centre, start)) / length
    half = math.sqrt((radius_m - off) * (radius_m + off))
    return [s for s in ((middle - half) / length, (middle + half) / length) if 0 <= s <= 1]


def _to_edge(place: Place, start: Place, end: Place) -> float:
    edge = _minus(end, start)
    part = _dot(_minus(place, start), edge) / _dot(edge, edge)
    return math.dist(place, _along(start, end, min(1.0, max(0.0, part))))


def _along(start: Place, end: Place, s: float) -> Place:
    return start[0] + s * (end[0] - start[0]), start[1] + s * (end[1] - start[1])


def _minus(one: Place, other: Place) -> Place:
    return one[0] - other[0], one[1] - other[1]


def _dot(one: Place, other: Place) -> float:
    return one[0] * other[0] + one[1] * other[1]


def _cross(one: Place, other: Place) -> float:
    return one[0] * other[1] - one[1] * other[0]


_Exact: TypeAlias = tuple[Fraction, Fraction]


def _exact(place: LonLat) -> _Exact:
    return Fraction(place[0]), Fraction(place[1])


def _moved(place: LonLat) -> _Exact:
    return Fraction(place[0]) + _HAIR[0], Fraction(place[1]) + _HAIR[1]


def _side(start: _Exact, end: _Exact, place: _Exact) -> Fraction:
    """Above zero: left of the line."""
    return (end[0] - start[0]) * (place[1] - start[1]) - (end[1] - start[1]) * (place[0] - start[0])


def _are_apart(start: LonLat, end: LonLat, one: LonLat, other: LonLat) -> bool:
    """Whether a millimetre lies between the boxes of the two lines."""
    return any(
        max(start[axis], end[axis]) + 1e-8 < min(one[axis], other[axis])
        or max(one[axis], other[axis]) + 1e-8 < min(start[axis], end[axis])
        for axis in (0, 1)
    )

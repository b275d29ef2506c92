"""A race circuit: laps at given times on a line of a map. Pure."""

import json
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle, pairwise
from typing import Any, Final

METRES_PER_DEGREE: Final = 111_320.0
_POINTS_MIN: Final = 3
_ALTITUDE_INDEX: Final = 2
# Source: the wire has two bytes for it.
_ALTITUDE_MIN_M: Final = -32_768
_ALTITUDE_MAX_M: Final = 32_767
# Places that are equal in records are one.
_DIGITS: Final = 7
# A right angle halves the speed of what lies around it.
_HALVING_TURN_DEG: Final = 90.0

Point = tuple[float, float, float]
"""Longitude and latitude in degrees, altitude in metres."""


class NotACircuitError(ValueError):
    """What was read is no GeoJSON that holds a circuit; says why."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """A closed line, and which part of a lap's time passes until each of its points.

    Attributes:
        points: The first one is the start and comes again at the end.
        shares: Of a lap's time, ascending from 0.0 to 1.0; slower where the line bends.
        metres: Length of each piece.
    """

    points: Sequence[Point]
    shares: Sequence[float]
    metres: Sequence[float]

    @property
    def length_m(self) -> float:
        """Once round."""
        return sum(self.metres)

    def share_at(self, metres: float) -> float:
        """Which part of a lap's time passes until so far behind the start, 0 to `length_m`."""
        ends = list(accumulate(self.metres, initial=0.0))
        piece = min(bisect_right(ends, metres), len(self.metres)) - 1
        of_piece = (metres - ends[piece]) / self.metres[piece]
        return self.shares[piece] + of_piece * (self.shares[piece + 1] - self.shares[piece])


def circuit_of(text: str) -> Circuit:
    """The first LineString of a GeoJSON geometry, feature or collection, closed if it is not.

    Raises:
        NotACircuitError: There is none, or it is no circuit.
    """
    try:
        found = next(_lines(json.loads(text)), None)
    except (ValueError, RecursionError) as error:  # also where a number has 5,000 digits
        raise NotACircuitError(f"no JSON: {error}") from error
    if found is None:
        raise NotACircuitError("no GeoJSON with a LineString")
    points = [_point(position) for position in found]
    distinct = [
        one
        for one, before in zip(points, [None, *points], strict=False)
        if not _is_same(one, before)
    ]
    if len(distinct) > 1 and _is_same(distinct[0], distinct[-1]):
        distinct.pop()
    if len(distinct) < _POINTS_MIN:
        raise NotACircuitError(f"a LineString of {len(distinct)} places, and a circuit has 3")
    return circuit_through([*distinct, distinct[0]])


def _lines(value: object) -> Iterator[Sequence[Any]]:
    """Coordinates of every LineString, wherever it is."""
    if not isinstance(value, dict):
        return
    if value.get("type") == "LineString" and isinstance(value.get("coordinates"), list):
        yield value["coordinates"]
    yield from _lines(value.get("geometry"))
    for part in (*_list(value, "features"), *_list(value, "geometries")):
        yield from _lines(part)


def _list(value: Mapping[str, Any], name: str) -> Sequence[Any]:
    found = value.get(name)
    return found if isinstance(found, list) else []


def _point(position: object) -> Point:
    if not isinstance(position, list) or not all(map(_is_number, position)):
        raise NotACircuitError(f"{position!r:.40} is no position")
    if len(position) < 2 or abs(position[0]) > 180 or abs(position[1]) > 85:
        raise NotACircuitError(f"{position!r:.40} is no longitude up to 180 and latitude up to 85")
    altitude_m = position[_ALTITUDE_INDEX] if len(position) > _ALTITUDE_INDEX else 0.0
    if not _ALTITUDE_MIN_M <= altitude_m <= _ALTITUDE_MAX_M:
        raise NotACircuitError(f"{position!r:.40} has no altitude from -32768 to 32767 m")
    return position[0], position[1], altitude_m


def _is_number(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _is_same(one: Point, other: Point | None) -> bool:
    """Whether it is one place, whatever the altitude."""
    return other is not None and all(
        round(a, _DIGITS) == round(b, _DIGITS) for a, b in zip(one[:2], other[:2], strict=True)
    )


def circuit_through(points: Sequence[Point]) -> Circuit:
    """The circuit of these points: the last is the first, and no two neighbours are the same."""
    metres = [_metres(start, end) for start, end in pairwise(points)]
    angles = [bearing_deg(start, end) for start, end in pairwise(points)]
    turns = [_turn_deg(before, after) for before, after in zip(angles[-1:] + angles, angles)]  # noqa: B905 -- the last angle has no successor but the first
    # A piece is driven slower where the line bends at either end of it.
    seconds = [
        length * (1 + (at_start + at_end) / 2 / _HALVING_TURN_DEG)
        for length, at_start, at_end in zip(metres, turns, turns[1:] + turns[:1], strict=True)
    ]
    whole = sum(seconds)
    shares = [0.0, *(passed / whole for passed in accumulate(seconds))]
    return Circuit(points, shares, metres)


def _metres(start: Point, end: Point) -> float:
    shrink = math.cos(math.radians((start[1] + end[1]) / 2))
    return METRES_PER_DEGREE * math.hypot((end[0] - start[0]) * shrink, end[1] - start[1])


def bearing_deg(start: Point, end: Point) -> float:
    """Heading from `start` to `end`, from north, clockwise, 0 to 360."""
    shrink = math.cos(math.radians((start[1] + end[1]) / 2))
    return math.degrees(math.atan2((end[0] - start[0]) * shrink, end[1] - start[1])) % 360.0


def _turn_deg(before: float, after: float) -> float:
    return abs((after - before + 180.0) % 360.0 - 180.0)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A line is passed.

    Attributes:
        lap: From 1 on.
        line: 0 the start, which begins the lap; then the lines of the sectors, from 1 on.
        at_us: Unix microseconds, exact.
    """

    lap: int
    line: int
    at_us: int


def crossings(
    circuit: Circuit,
    lap_times_s: Sequence[float],
    *,
    first_record_ms: int,
    until_ms: int,
    sectors_m: Sequence[float] = (),
) -> Iterator[Crossing]:
    """When a tracker of a `Race` truly passes each line, whatever its records show.

    Args:
        circuit: Where.
        lap_times_s: Of the race.
        first_record_ms: Of the tracker, Unix ms: the race starts with its first record.
        until_ms: The last crossings are no later, Unix ms.
        sectors_m: Lines between start and start, in metres along the circuit, ascending.
    """
    shares = [0.0, *map(circuit.share_at, sectors_m)]
    laps_us = cycle([round(lap_s * 1_000_000) for lap_s in lap_times_s])
    began_us = first_record_ms * 1000
    for lap, lap_us in enumerate(laps_us, 1):
        for line, share in enumerate(shares):
            at_us = began_us + round(share * lap_us)
            if at_us > until_ms * 1000:
                return
            yield Crossing(lap, line, at_us)
        began_us += lap_us


class Race:
    """Laps one after the other, in the times of a list, again and again; see `crossings`.

    Attributes:
        altitude_m: Height above the sea, in metres.
        angle_deg: Heading from north, clockwise, 0-359.
        speed_kmh: Speed.
        odometer_m: Driven so far, in metres.
    """

    def __init__(self, circuit: Circuit, lap_times_s: Sequence[float]) -> None:
        """Stand at the start.

        Args:
            circuit: Where.
            lap_times_s: At least one, each above 0.
        """
        self._circuit: Final = circuit
        self._ends_s: Final = list(accumulate(lap_times_s))
        self._lap_times_s: Final = lap_times_s
        self._elapsed_s = 0.0
        self._longitude, self._latitude, altitude_m = circuit.points[0]
        self.altitude_m = round(altitude_m)
        self.angle_deg = int(bearing_deg(*circuit.points[:2]))
        self.speed_kmh = 0
        self.odometer_m = 0.0

    @property
    def longitude_e7(self) -> int:
        """Longitude in 1e-7 degree."""
        return round(self._longitude * 1e7)

    @property
    def latitude_e7(self) -> int:
        """Latitude in 1e-7 degree."""
        return round(self._latitude * 1e7)

    def advance(self, seconds: float) -> None:
        """Drive on for `seconds`."""
        self._elapsed_s += seconds
        n_laps, lap_s, share = self._lap()
        circuit = self._circuit
        piece = min(bisect_right(circuit.shares, share), len(circuit.points) - 1) - 1
        start, end = circuit.points[piece], circuit.points[piece + 1]
        of_lap = circuit.shares[piece + 1] - circuit.shares[piece]
        part = (share - circuit.shares[piece]) / of_lap
        self._longitude = start[0] + part * (end[0] - start[0])
        self._latitude = start[1] + part * (end[1] - start[1])
        self.altitude_m = round(start[2] + part * (end[2] - start[2]))
        self.angle_deg = int(bearing_deg(start, end))
        self.speed_kmh = min(round(circuit.metres[piece] / (of_lap * lap_s) * 3.6), 0xFFFF)
        before_m = sum(circuit.metres[:piece])
        self.odometer_m = n_laps * circuit.length_m + before_m + part * circuit.metres[piece]

    def _lap(self) -> tuple[int, float, float]:
        """How many laps are over, the time of the present one, and how much of it is over."""
        rounds, within_s = divmod(self._elapsed_s, self._ends_s[-1])
        number = min(bisect_right(self._ends_s, within_s), len(self._ends_s) - 1)
        lap_s = self._lap_times_s[number]
        n_laps = int(rounds) * len(self._ends_s) + number
        return n_laps, lap_s, max(1.0 - (self._ends_s[number] - within_s) / lap_s, 0.0)

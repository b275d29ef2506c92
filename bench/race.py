"""A race with known crossing times: the moments that are derived from its fixes, and the true ones.

Positions are straight in longitude and latitude between the points of the circuit, and the share of
a lap's time that has passed says where: so a gate through a place of the line is truly crossed at
the moment that `crossings` gives, whatever a degree is in metres.
"""

import json
import math
import random
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from teltonika_processor.codec.native import Fold, Zone, ZoneIndex
from teltonika_processor.simulate.circuit import Circuit, Race, circuit_of, crossings

CARS: Final = 60
LAPS: Final = 25
GAP_S: Final = 300.0
JUMP_M_S: Final = 140.0
SATELLITES: Final = 9

CORRELATION_S: Final = 60.0
"""Of the error of fixes. Source: D. L. Wilson, "Correlation of errors": that of consumer
GPS receivers bends at about a minute; that it is such a process: Sensors 2020, 20, 6050."""

_START_MS: Final = 1_795_348_800_000
_MIDDLE: Final = (25.2797, 52.0)
_DEGREE_M: Final = 111_320.0
_STRAIGHT_M: Final = 800.0
_RADIUS_M: Final = 200.0
_TURN_POINTS: Final = 120
_HALF_GATE_M: Final = 25.0
_EPOCH_2000_US: Final = 946_684_800_000_000
_ALWAYS: Final = (-(1 << 63), (1 << 63) - 1)

# The gates, in metres behind the start: on a straight, in a turn, on the other straight.
GATES_M: Final = (50.0, 700.0, 1500.0)

Noise = Callable[[], tuple[float, float]]
"""The error of the next fix, metres to the east and north."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A gate was passed.

    Attributes:
        gate: From 0 on.
        off_us: By how much the derived moment is late.
        uncertainty_us: What is reported.
        is_plain: Whether between the two fixes the way is straight and the speed the same.
        speed_m_s: There, in truth.
    """

    car: int
    gate: int
    true_us: int
    off_us: int
    uncertainty_us: int
    is_plain: bool
    speed_m_s: float


def exact() -> tuple[float, float]:
    """No error but that of the wire."""
    return 0.0, 0.0


def drifting(sigma_m: float, seed: int) -> Noise:
    """An error along each axis that forgets itself within a minute."""
    randomly = random.Random(seed)
    keeps = math.exp(-1 / CORRELATION_S)
    fresh_m = sigma_m * math.sqrt(1 - keeps * keeps)
    error = [randomly.gauss(0, sigma_m), randomly.gauss(0, sigma_m)]

    def step() -> tuple[float, float]:
        error[:] = [keeps * one + randomly.gauss(0, fresh_m) for one in error]
        return error[0], error[1]

    return step


def passages(
    noise_of: Callable[[int], Noise], *, cars: int = CARS, fastest_s: float = 48.0
) -> Iterator[Passage]:
    """Every passage of every car, derived from a fix a second.

    Args:
        noise_of: Of each car.
        cars: How many.
        fastest_s: The laps of the first car; the others are a little slower each.

    Raises:
        ValueError: One was not derived, or one that never was.
    """
    circuit = circuit_of(_stadium())
    index = ZoneIndex([_gate(circuit, number, at_m) for number, at_m in enumerate(GATES_M)])
    for car in range(cars):
        yield from _of_car(circuit, index, car, noise_of(car), fastest_s + 14.0 * car / CARS)


def _of_car(
    circuit: Circuit, index: ZoneIndex, car: int, noise: Noise, usual_s: float
) -> Iterator[Passage]:
    randomly = random.Random(car)
    laps_s = [round(usual_s * randomly.uniform(0.99, 1.01), 3) for _ in range(LAPS)]
    first_ms = _START_MS + randomly.randrange(1000)
    seconds = int(sum(laps_s))
    truth = [
        (one.at_us, one.line - 1, laps_s[one.lap - 1])
        for one in crossings(
            circuit,
            laps_s,
            first_record_ms=first_ms,
            until_ms=first_ms + seconds * 1000,
            sectors_m=GATES_M,
        )
        if one.line > 0
    ]
    found = _derived(index, _fixes(circuit, laps_s, first_ms, seconds, noise))
    if [gate for _, gate, _ in truth] != [gate for gate, _, _ in found]:
        raise ValueError(f"car {car}: passages {found}, in truth {truth}")
    where = _Whereabouts(circuit, laps_s, first_ms)
    for (true_us, gate, lap_s), (_, at_us, uncertainty_us) in zip(truth, found, strict=True):
        yield Passage(
            car,
            gate,
            true_us,
            at_us - true_us,
            uncertainty_us,
            where.is_plain(true_us),
            where.speed_m_s(true_us, lap_s),
        )


class _Whereabouts:
    """On which piece of which lap a car truly is."""

    def __init__(self, circuit: Circuit, laps_s: Sequence[float], first_ms: int) -> None:
        self._circuit: Final = circuit
        self._laps_s: Final = laps_s
        self._begins_s: Final = [0.0, *accumulate(laps_s)]
        self._first_us: Final = first_ms * 1000

    def is_plain(self, at_us: int) -> bool:
        """Whether the fixes around are on one piece of one lap."""
        since_s = (at_us - self._first_us) // 1_000_000
        return self._at(since_s) == self._at(since_s + 1)

    def speed_m_s(self, at_us: int, lap_s: float) -> float:
        _, piece = self._at((at_us - self._first_us) / 1e6)
        shares = self._circuit.shares
        return self._circuit.metres[piece] / ((shares[piece + 1] - shares[piece]) * lap_s)

    def _at(self, since_s: float) -> tuple[int, int]:
        lap = min(bisect_right(self._begins_s, since_s) - 1, len(self._laps_s) - 1)
        share = (since_s - self._begins_s[lap]) / self._laps_s[lap]
        return lap, bisect_right(self._circuit.shares, share) - 1


def _fixes(
    circuit: Circuit, laps_s: Sequence[float], first_ms: int, seconds: int, noise: Noise
) -> Iterator[tuple[int, float, float]]:
    """Moment, longitude and latitude as they come over the wire, one a second."""
    race = Race(circuit, laps_s)
    shrink = math.cos(math.radians(_MIDDLE[1]))
    for second in range(seconds + 1):
        if second:
            race.advance(1.0)
        east_m, north_m = noise()
        longitude_e7 = race.longitude_e7 + round(east_m / (_DEGREE_M * shrink) * 1e7)
        latitude_e7 = race.latitude_e7 + round(north_m / _DEGREE_M * 1e7)
        yield (first_ms + second * 1000) * 1000, longitude_e7 / 1e7, latitude_e7 / 1e7


def _derived(
    index: ZoneIndex, fixes: Iterator[tuple[int, float, float]]
) -> list[tuple[int, int, int]]:
    """Gate, moment and uncertainty of each crossing, in their order."""
    mark = struct.pack(">hiqiqibiiqiq", 6, 8, 1, 8, 0, 1, 0, -1, 8, 0, 8, 1 << 61)
    fold = Fold(
        index,
        _copy([mark]),
        gap_us=round(GAP_S * 1e6),
        jump_m_s=JUMP_M_S,
        fixes=1_000_000,
        right=1,
        window_us=1 << 62,
    )
    fold.left_was_read()
    fold.add_positions(_copy([_row(number, *fix) for number, fix in enumerate(fixes)]))
    fold.derive()
    data = bytes(memoryview(fold.copy_records([1])))
    found = []
    at = 19
    while struct.unpack_from(">h", data, at)[0] >= 0:
        values, at = _values(data, at + 2)
        zone_id, at_us, uncertainty_us = values[2], values[6], values[7]
        found.append((zone_id, at_us + _EPOCH_2000_US, uncertainty_us))
    return sorted(found, key=lambda crossing: crossing[1])


def _row(number: int, at_us: int, longitude: float, latitude: float) -> bytes:
    values = (8, 1, 2, 0, 8, at_us - _EPOCH_2000_US, 8, number, 8, longitude, 8, latitude)
    return struct.pack(">hiqihiqiqididih", 7, *values, 2, SATELLITES)


def _values(data: bytes, at: int) -> tuple[list[int], int]:
    """The columns of one row as whole numbers, whatever they are, and where the next one begins."""
    values = []
    for _ in range(15):
        (length,) = struct.unpack_from(">i", data, at)
        at += 4
        values.append(int.from_bytes(data[at : at + max(length, 0)], "big", signed=True))
        at += max(length, 0)
    return values, at


def _copy(rows: Sequence[bytes]) -> bytes:
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(rows) + b"\xff\xff"


def _gate(circuit: Circuit, number: int, at_m: float) -> Zone:
    """A line straight across the circuit."""
    piece = bisect_right(list(accumulate(circuit.metres)), at_m)
    start, end = circuit.points[piece], circuit.points[piece + 1]
    part = (at_m - sum(circuit.metres[:piece])) / circuit.metres[piece]
    shrink = math.cos(math.radians(start[1]))
    east, north = (end[0] - start[0]) * shrink, end[1] - start[1]
    length = math.hypot(east, north)
    half = _HALF_GATE_M / _DEGREE_M
    middle = [one + part * (other - one) for one, other in zip(start, end, strict=True)]
    points = [
        (middle[0] - side * north / length * half / shrink, middle[1] + side * east / length * half)
        for side in (-1, 1)
    ]
    return Zone.gate((number, 1, *_ALWAYS, 0.0), points, "both")


def _stadium() -> str:
    """Two straights and two half circles; the start is in the middle of a straight."""
    half = _STRAIGHT_M / 2
    bends = []
    for middle_m, first_deg in ((half, -90.0), (-half, 90.0)):
        for step in range(_TURN_POINTS + 1):
            angle = math.radians(first_deg + 180.0 * step / _TURN_POINTS)
            bends.append((middle_m + _RADIUS_M * math.cos(angle), _RADIUS_M * math.sin(angle)))
    shrink = math.cos(math.radians(_MIDDLE[1]))
    places = [
        [_MIDDLE[0] + x / (_DEGREE_M * shrink), _MIDDLE[1] + y / _DEGREE_M]
        for x, y in [(0.0, -_RADIUS_M), *bends]
    ]
    return json.dumps({"type": "LineString", "coordinates": places})

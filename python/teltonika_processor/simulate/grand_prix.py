"""A race: cars on a circuit of our own, the lines that they pass, and when they truly do. Pure."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

from teltonika_processor.simulate.circuit import (
    METRES_PER_DEGREE,
    Circuit,
    Crossing,
    Race,
    circuit_through,
    crossings,
)
from teltonika_processor.simulate.device import Device
from teltonika_processor.simulate.link import Patience, Settled
from teltonika_processor.simulate.schedule import Pace
from teltonika_processor.simulate.tracker import FleetPlan, Tracker
from teltonika_processor.simulate.wire_faults import Fault, Faults

# Longitude and latitude in degrees, altitude in metres.
_CORNER: Final = (24.0, 55.0, 95.0)

# Metres east and north of the corner: four straights, whose middles are driven at one speed since
# the line bends at neither of their ends.
_LINE_M: Final = (
    *((120, 0), (480, 0), (600, 0), (660, 60)),
    *((660, 150), (660, 350), (660, 440), (600, 500)),
    *((480, 500), (120, 500), (0, 500), (-60, 440)),
    *((-60, 350), (-60, 150), (-60, 60), (0, 0)),
)

# In the middle of the first three straights: where, and the way in which the line is drawn, so that
# cars come from its left.
_LINES_M: Final[Mapping[str, tuple[tuple[int, int], tuple[int, int]]]] = {
    "finish": ((300, -25), (300, 25)),
    "sector 1": ((685, 250), (635, 250)),
    "sector 2": ((300, 525), (300, 475)),
}
_PIECES_WITH_A_LINE: Final = (0, 4, 8)
_MINIMUM_LAP_S: Final = 15.0

_LAP_S: Final = (33.0, 38.0)
# Between two laps of one car; the order on the board changes.
_LAP_SPREAD_S: Final = 0.6
_GRID_S: Final = 0.9

# Device numbers of cars, far behind those of the demo's fleet and of `simulate`.
_FIRST_CAR: Final = 500_000
_RECORDS_PER_FRAME: Final = 10
_PATIENCE: Final = Patience(response_s=3.0, reconnect_base_s=0.2, reconnect_max_s=1.0)
# Each n-th car: it sends its newest records first, or is out of coverage for a while.
_NEWEST_FIRST: Final = 3
_AWAY: Final = 5
_FAULTS: Final[Faults] = frozenset({Fault.DUPLICATE, Fault.DISCONNECT})
# Fixes behind the end: what was passed shortly before it needs one more.
_BEHIND_THE_END_S: Final = 30.0
_LEAD_MS: Final = 120_000


@dataclass(frozen=True, slots=True)
class Line:
    """Start and finish, or between two sectors.

    Attributes:
        name: Of its zone.
        points: Its ends, longitude and latitude; cars come from its left.
        minimum_lap_s: None: none is too short.
    """

    name: str
    points: tuple[tuple[float, float], tuple[float, float]]
    minimum_lap_s: float | None


@dataclass(frozen=True, slots=True)
class TrueLap:
    """A lap as it was driven, whatever the records show; times in Unix microseconds."""

    started_at_us: int
    ended_at_us: int
    sectors_us: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Car:
    """A tracker in a car.

    Attributes:
        name: What people call it.
        lap_times_s: From start to start, in turn.
    """

    name: str
    tracker: Tracker
    lap_times_s: Sequence[float]

    @property
    def imei(self) -> str:
        """Of its tracker."""
        return self.tracker.link.imei


@dataclass(frozen=True, slots=True)
class GrandPrix:
    """Who races, from when to when.

    Attributes:
        started_at_ms: Unix milliseconds.
        ended_at_ms: What is passed later counts no more.
        pace: When the trackers send, in a time that runs faster than ours.
    """

    cars: Sequence[Car]
    started_at_ms: int
    ended_at_ms: int
    pace: Pace

    @property
    def n_records(self) -> int:
        """Of all cars, once it is over."""
        return (self.pace.n_frames or 0) * _RECORDS_PER_FRAME

    @property
    def lines(self) -> list[Line]:
        """Start and finish first."""
        return [
            Line(name, (_place(*begin), _place(*end)), None if number else _MINIMUM_LAP_S)
            for number, (name, (begin, end)) in enumerate(_LINES_M.items())
        ]

    def laps(self, car: Car) -> list[TrueLap]:
        """Its laps, once it has sent a record."""
        first_record_ms = car.tracker.first_record_ms
        if first_record_ms is None:
            return []
        passed = [
            one
            for one in crossings(
                CIRCUIT,
                car.lap_times_s,
                first_record_ms=first_record_ms,
                until_ms=self.ended_at_ms,
                sectors_m=_lines_along(),
            )
            # The first of them is the circuit's beginning, where no line is.
            if one.line
        ]
        return _laps_of(passed)


def make_grand_prix(  # noqa: PLR0913 -- what it depends on
    *,
    cars: int,
    laps: int,
    seed: int,
    now_ms: int,
    times_faster: float,
    jitter: Callable[[], float],
    settled: Settled,
) -> GrandPrix:
    """A race that is over when the run begins, as the records tell; they come in the meantime.

    Args:
        cars: How many.
        laps: Of the slowest, at least.
        seed: The same makes the same laps.
        now_ms: Unix milliseconds.
        times_faster: How much faster than in truth it is sent.
        jitter: Uniform numbers in [0, 1), for what the records do not depend on.
        settled: Told of every parcel that is acknowledged.
    """
    rng = random.Random(seed)
    duration_ms = int(((laps + 1) * _LAP_S[1] + cars * _GRID_S) * 1000)
    started_at_ms = now_ms - duration_ms - int(_BEHIND_THE_END_S * 1000)
    n_frames_each = math.ceil((duration_ms / 1000 + _BEHIND_THE_END_S) / _RECORDS_PER_FRAME)
    pace = Pace(
        period_s=_RECORDS_PER_FRAME / times_faster,
        records_per_frame=(_RECORDS_PER_FRAME, _RECORDS_PER_FRAME),
        n_frames=cars * n_frames_each,
        times_faster=times_faster,
    )
    return GrandPrix(
        cars=[
            _car(number, laps, started_at_ms, rng, jitter, settled) for number in range(1, cars + 1)
        ],
        started_at_ms=started_at_ms,
        ended_at_ms=started_at_ms + duration_ms,
        pace=pace,
    )


def _car(  # noqa: PLR0913, PLR0917 -- what it depends on
    number: int,
    laps: int,
    started_at_ms: int,
    rng: random.Random,
    jitter: Callable[[], float],
    settled: Settled,
) -> Car:
    mean_s = rng.uniform(*_LAP_S)
    lap_times_s = [
        round(mean_s + rng.uniform(-_LAP_SPREAD_S, _LAP_SPREAD_S), 3) for _ in range(laps + 2)
    ]
    plan = FleetPlan(
        devices=1,
        seed=0,
        started_at_ms=started_at_ms,
        records_per_frame=(_RECORDS_PER_FRAME, _RECORDS_PER_FRAME),
        order="newest" if number % _NEWEST_FIRST == 0 else "oldest",
        patience=_PATIENCE,
    )
    device = Device(
        _FIRST_CAR + number,
        rng=rng,
        started_at_ms=started_at_ms - _LEAD_MS,
        udp_share=0.0,
        route=partial(_drive, lap_times_s),
    )
    faults = _FAULTS | {Fault.GAP} if number % _AWAY == 0 else _FAULTS
    tracker = Tracker(device, plan, jitter=jitter, settled=settled, faults=faults)
    return Car(f"car {number:02}", tracker, lap_times_s)


def _drive(lap_times_s: Sequence[float], _rng: random.Random) -> Race:
    return Race(CIRCUIT, lap_times_s)


def _laps_of(passed: Sequence[Crossing]) -> list[TrueLap]:
    """From finish to finish, with what was passed between."""
    finishes = [place for place, one in enumerate(passed) if one.line == 1]
    return [
        TrueLap(
            passed[begin].at_us,
            passed[end].at_us,
            tuple(b.at_us - a.at_us for a, b in pairwise(passed[begin : end + 1])),
        )
        for begin, end in pairwise(finishes)
    ]


def _place(east_m: float, north_m: float) -> tuple[float, float]:
    longitude, latitude, _ = _CORNER
    shrink = math.cos(math.radians(latitude))
    return longitude + east_m / (METRES_PER_DEGREE * shrink), latitude + north_m / METRES_PER_DEGREE


def _lines_along() -> list[float]:
    """Metres from the circuit's beginning to each line."""
    return [
        sum(CIRCUIT.metres[:piece]) + CIRCUIT.metres[piece] / 2 for piece in _PIECES_WITH_A_LINE
    ]


CIRCUIT: Final[Circuit] = circuit_through(
    [(*_place(*point), _CORNER[2]) for point in (*_LINE_M, _LINE_M[0])]
)

"""Laps of a session in plain Python: what the view `laps` has to say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from reference_timing import GAP_US, JUMP_M_S, Told, sphere_distance_m, timing_fixes
from rows import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Over which zones, and when: its end counts no more.

    Attributes:
        minimum_lap_s: Of the versions of the first zone; None: none.
    """

    zones: Sequence[int]
    starts_us: int
    ends_us: int
    minimum_lap_s: Mapping[int, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """A row of the view, in microseconds."""

    imei: int
    lap: int | None
    started_us: int
    ended_us: int
    uncertainty_us: int
    sectors_us: tuple[int | None, ...]
    too_short: bool
    has_gap: bool
    has_jump: bool


def laps_of(
    session: Session, imei: int, crossings: Sequence[Told], records: Iterable[Record]
) -> list[Lap]:
    """The laps of one device, in the order of time."""
    counted = [row for row in crossings if row.kind in {"enter", "cross"} and row.cause == "ok"]
    passages = sorted(
        (
            row
            for row in counted
            if row.zone_id == session.zones[0] and session.starts_us <= row.at_us < session.ends_us
        ),
        key=lambda row: (row.at_us, row.end_us, row.n),
    )
    fixes = timing_fixes(records)
    found = []
    number = 0
    for begin, end in pairwise(passages):
        least_s = session.minimum_lap_s[end.version]
        too_short = least_s is not None and (end.at_us - begin.at_us) / 1e6 < least_s
        number += not too_short
        assert begin.start is not None
        path = [one for one in fixes if begin.start[0] <= one.recorded_at_ms * 1000 <= end.end_us]
        lap = Lap(
            imei=imei,
            lap=None if too_short else number,
            started_us=begin.at_us,
            ended_us=end.at_us,
            uncertainty_us=begin.uncertainty_us + end.uncertainty_us,
            sectors_us=_sectors(session, counted, begin, end),
            too_short=too_short,
            has_gap=any(_duration_us(*step) > GAP_US for step in pairwise(path)),
            has_jump=any(
                sphere_distance_m(*step) / (_duration_us(*step) / 1e6) > JUMP_M_S
                for step in pairwise(path)
            ),
        )
        found.append(lap)
    return found


def _sectors(
    session: Session, counted: Sequence[Told], begin: Told, end: Told
) -> tuple[int | None, ...]:
    """From one line to the next; none where one was missed, or came before the one before it."""
    lines = session.zones[1:]
    if not lines:
        return ()
    splits: list[int | None] = [begin.at_us]
    for zone_id in lines:
        at = (row.at_us for row in counted if row.zone_id == zone_id)
        splits.append(min((us for us in at if begin.at_us < us < end.at_us), default=None))
    splits.append(end.at_us)
    return tuple(
        None if one is None or other is None or other < one else other - one
        for one, other in pairwise(splits)
    )


def _duration_us(one: Record, other: Record) -> int:
    return (other.recorded_at_ms - one.recorded_at_ms) * 1000

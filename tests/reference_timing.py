"""Crossings of one device by the rules as they are written, slow and in plain Python.

One pass over sorted fixes that knows no database and no native code. Kinds, causes, numbers and
keys are those of the product exactly; moments within a microsecond, and where a border is crossed
at a slant or slowly, within the time of a ten-millionth of a metre (`slack_us`).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

from reference_shapes import EARTH_M, Area, Border, Circle, Gate, metres
from rows import Record

GAP_US: Final = 300_000_000
JUMP_M_S: Final = 140.0

_ACCELERATION_M_S2: Final = 15
_FIX_ERROR_M: Final = 4.2
# What is closer together is not told apart here.
_BLIND_US: Final = 2.0
_BLIND_M: Final = 1e-6


class UndecidedError(Exception):
    """Two answers are right: something lies within rounding of a border."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a zone, live from `from_us` until before `to_us`."""

    zone_id: int
    version: int
    from_us: int
    to_us: int
    hysteresis_m: float
    shape: Circle | Area | Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A row of timing_records, and by how much its moment may differ from another's."""

    end_us: int
    zone_id: int
    n: int
    version: int
    kind: str
    at_us: int
    uncertainty_us: int
    direction: str | None
    cause: str
    start: tuple[int, int] | None
    end_digest: int
    distance_m: float
    satellites: int
    slack_us: float = 0.0


@dataclass(frozen=True, slots=True)
class _Event:
    """Something that happens to one zone in a segment."""

    kind: str
    at_us: int
    cause: str
    border: Border | None = None
    direction: str | None = None
    version: Version | None = None


def timing_fixes(records: Iterable[Record]) -> list[Record]:
    """Of each moment the valid fix with the greatest digest."""
    fixes: dict[int, Record] = {}
    for record in records:
        if record.is_valid_fix:
            known = fixes.setdefault(record.recorded_at_ms, record)
            if record.digest > known.digest:
                fixes[record.recorded_at_ms] = record
    return [fixes[at_ms] for at_ms in sorted(fixes)]


def tell(versions: Sequence[Version], records: Iterable[Record]) -> list[Told]:
    """All crossings of one device, by key.

    Raises:
        UndecidedError: A fix or a crossing is too close to a border, or to another crossing.
    """
    by_zone: dict[int, list[Version]] = {}
    for version in sorted(versions, key=lambda one: (one.zone_id, one.version)):
        by_zone.setdefault(version.zone_id, []).append(version)
    fixes = timing_fixes(records)
    inside: dict[int, bool] = {}
    rows: list[Told] = []
    for before, after in pairwise([None, *fixes]):
        assert after is not None
        for zone in by_zone.values():
            segment = _Segment(zone, before, after)
            rows += segment.told(inside)
    return rows


@dataclass(frozen=True, slots=True)
class _Segment:
    """What one zone has of the way to one fix."""

    zone: Sequence[Version]
    before: Record | None
    after: Record

    def told(self, inside: dict[int, bool]) -> Iterator[Told]:
        zone_id = self.zone[0].zone_id
        is_inside = inside.get(zone_id, False)
        live = _live(self.zone, _us(self.after))
        events = list(self._events(live, is_inside=is_inside))
        for event in events:
            if event.kind != "cross":
                inside[zone_id] = event.kind != "exit"
        events.sort(key=lambda event: event.at_us)
        for n, event in enumerate(events):
            version = event.version or live
            assert version is not None
            yield self._row(version, n, event)

    def _events(self, live: Version | None, *, is_inside: bool) -> Iterator[_Event]:
        if live is None:
            if is_inside:
                ended = (one for one in self.zone if one.to_us <= _us(self.after))
                last = max(ended, key=lambda one: (one.to_us, one.version))
                yield self._ended(last.to_us, last)
        elif isinstance(live.shape, Gate):
            if self._cause() == "ok":
                yield from self._crosses(live.shape)
            if is_inside:
                yield self._ended(live.from_us, live)
        else:
            yield from self._of_an_inside(live, live.shape, is_inside=is_inside)

    def _of_an_inside(
        self, live: Version, shape: Circle | Area, *, is_inside: bool
    ) -> Iterator[_Event]:
        _demand_clear(live, self.after)
        if self.before is None or _live(self.zone, _us(self.before)) is None:
            if shape.depth_m(_place(self.after)) >= 0:
                yield _Event("initial", _us(self.after), "ok")
        elif self._cause() == "ok":
            yield from self._changes(live, shape, is_inside=is_inside)
        else:
            yield from self._change_at_end(live, shape, is_inside=is_inside)

    def _ended(self, ended_us: int, version: Version) -> _Event:
        assert self.before is not None
        at_us = min(max(ended_us, _us(self.before)), _us(self.after))
        return _Event("exit", at_us, "zone_ended", version=version)

    def _crosses(self, gate: Gate) -> Iterator[_Event]:
        if self.before is None:
            return
        found: list[tuple[int, Border]] = []
        start = (self.before.longitude, self.before.latitude)
        for s, border in gate.crossings(start, (self.after.longitude, self.after.latitude)):
            at_us = self._at_us(s)
            if found and found[-1][0] == at_us and found[-1][1].from_left != border.from_left:
                found.pop()  # a joint was touched
            else:
                found.append((at_us, border))
        for at_us, border in found:
            if border.from_left in gate.counts_from:
                direction = "left_to_right" if border.from_left else "right_to_left"
                yield _Event("cross", at_us, "ok", border, direction)

    def _changes(self, live: Version, shape: Circle | Area, *, is_inside: bool) -> Iterator[_Event]:
        """Along the way, wherever it is clear of the band."""
        assert self.before is not None
        start, end = _place(self.before), _place(self.after)
        borders = shape.borders(start, end)
        band_m = live.hysteresis_m
        cuts = list(shape.cuts(start, end, band_m)) if band_m else [one.s for one in borders]
        self._demand_apart([one.s for one in borders])
        self._demand_apart(cuts)
        for part_from, part_to in pairwise(sorted({0.0, 1.0, *(s for s in cuts if 0 < s < 1)})):
            middle = (part_from + part_to) / 2
            place = tuple(a + middle * (b - a) for a, b in zip(start, end, strict=True))
            depth_m = shape.depth_m((place[0], place[1]))
            if abs(depth_m) <= band_m or (depth_m > 0) == is_inside:
                continue
            is_inside = depth_m > 0
            passed = [one for one in borders if one.s <= part_from]
            border = passed[-1] if passed else None
            at_us = self._at_us(border.s) if border else _us(self.before)
            yield _Event("enter" if is_inside else "exit", at_us, "ok", border)

    def _change_at_end(
        self, live: Version, shape: Circle | Area, *, is_inside: bool
    ) -> Iterator[_Event]:
        assert self.before is not None
        depth_m = shape.depth_m(_place(self.after))
        if abs(depth_m) <= live.hysteresis_m or (depth_m > 0) == is_inside:
            return
        borders = shape.borders(_place(self.before), _place(self.after))
        self._demand_apart([one.s for one in borders])
        at_us = self._at_us(borders[-1].s) if borders else _us(self.after)
        kind = "exit" if is_inside else "enter"
        yield _Event(kind, at_us, self._cause(), borders[-1] if borders else None)

    def _row(self, version: Version, n: int, event: _Event) -> Told:
        after, before = self.after, self.before
        is_initial = event.kind == "initial"
        if is_initial or before is None:
            distance_m, satellites, start, uncertainty_us = 0.0, after.satellites, None, 0
        else:
            distance_m, start = sphere_distance_m(before, after), (_us(before), before.digest)
            satellites = min(before.satellites, after.satellites)
            uncertainty_us = self._uncertainty_us(event)
        return Told(
            end_us=_us(after),
            zone_id=version.zone_id,
            n=n,
            version=version.version,
            kind=event.kind,
            at_us=event.at_us,
            uncertainty_us=uncertainty_us,
            direction=event.direction,
            cause=event.cause,
            start=start,
            end_digest=after.digest,
            distance_m=distance_m,
            satellites=satellites,
            slack_us=self._slack_us(event.border),
        )

    def _uncertainty_us(self, event: _Event) -> int:
        assert self.before is not None
        farther_us = max(event.at_us - _us(self.before), _us(self.after) - event.at_us)
        if event.border is None or event.cause != "ok" or event.border.across_m == 0:
            return farther_us
        seconds = self._duration_us() / 1e6
        speed_m_s = event.border.across_m / seconds
        satellites = min(self.before.satellites, self.after.satellites)
        off_m = _ACCELERATION_M_S2 * seconds**2 / 8 + _FIX_ERROR_M * max(1.0, 7 / satellites)
        return min(farther_us, math.ceil(off_m / speed_m_s * 1e6))

    def _slack_us(self, border: Border | None) -> float:
        if border is None or border.across_m == 0:
            return 0.0
        return 1.0 + 1e-7 * self._duration_us() / border.across_m

    def _at_us(self, s: float | Fraction) -> int:
        assert self.before is not None
        return _us(self.before) + math.floor(s * self._duration_us() + Fraction(1, 2))

    def _duration_us(self) -> int:
        assert self.before is not None
        return _us(self.after) - _us(self.before)

    def _cause(self) -> str:
        if self.before is None:
            return "ok"
        if sphere_distance_m(self.before, self.after) / (self._duration_us() / 1e6) > JUMP_M_S:
            return "jump"
        return "gap" if self._duration_us() > GAP_US else "ok"

    def _demand_apart(self, parts: Sequence[float]) -> None:
        duration_us = self._duration_us()
        for one, other in pairwise(sorted(parts)):
            if (other - one) * duration_us < _BLIND_US:
                raise UndecidedError


def _demand_clear(version: Version, fix: Record) -> None:
    assert not isinstance(version.shape, Gate)
    depth_m = abs(version.shape.depth_m(_place(fix)))
    if depth_m < _BLIND_M or abs(depth_m - version.hysteresis_m) < _BLIND_M:
        raise UndecidedError


def _live(zone: Sequence[Version], at_us: int) -> Version | None:
    """The greatest version that counts then."""
    live = [one for one in zone if one.from_us <= at_us < one.to_us]
    return live[-1] if live else None


def _us(record: Record) -> int:
    return record.recorded_at_ms * 1000


def _place(record: Record) -> tuple[float, float]:
    return metres((record.longitude, record.latitude))


def sphere_distance_m(one: Record, other: Record) -> float:
    """On the sphere, by the angle of two directions as vectors."""
    a, b = _direction(one), _direction(other)
    cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    return EARTH_M * math.atan2(math.hypot(*cross), sum(p * q for p, q in zip(a, b, strict=True)))


def _direction(record: Record) -> tuple[float, float, float]:
    east, north = math.radians(record.longitude), math.radians(record.latitude)
    return (
        math.cos(north) * math.cos(east),
        math.cos(north) * math.sin(east),
        math.sin(north),
    )

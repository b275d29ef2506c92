"""Random zones and what is done to them: edits of the table, native zones, the reference's."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import reference_timing
from reference_shapes import Area, Circle, Gate, LonLat, metres
from teltonika_processor.codec.native import Zone
from teltonika_processor.store.zones import ZoneColumns

METRE: Final = 1 / 111_195.079_73
"""Degrees of latitude in a metre, and of longitude at the equator."""

LONG_AGO_US: Final = 1_577_836_800_000_000
"""The year 2020."""

NEVER_US: Final = (1 << 63) - 1

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What a version says.

    Attributes:
        rings: Degrees: one point of a circle, the line of a gate, closed rings of an area.
    """

    kind: str
    rings: Sequence[Sequence[LonLat]]
    radius_m: float | None = None
    direction: str | None = None
    hysteresis_m: float = 0.0
    minimum_lap_s: float | None = None

    def columns(self, name: str) -> ZoneColumns:
        """As a row of `zones`."""
        rings = [[list(point) for point in ring] for ring in self.rings]
        geometry = {
            "circle": {"type": "Point", "coordinates": rings[0][0]},
            "gate": {"type": "LineString", "coordinates": rings[0]},
            "polygon": {"type": "Polygon", "coordinates": rings},
        }[self.kind]
        return ZoneColumns(
            name=name,
            kind=self.kind,
            geometry=geometry,
            radius_m=self.radius_m,
            direction=self.direction,
            hysteresis_m=self.hysteresis_m,
            minimum_lap_s=self.minimum_lap_s,
        )


@dataclass(frozen=True, slots=True)
class Edit:
    """Zones are written, or one is disabled.

    Attributes:
        at_us: From when on it counts.
        drawn: By name; None: it counts no more.
    """

    at_us: int
    drawn: dict[str, Drawn | None]

    @property
    def at(self) -> datetime:
        """From when on it counts."""
        return instant(self.at_us)


@dataclass(slots=True)
class ZoneVersion:
    """One row of `zones`, as the rules say that it must be."""

    name: str
    zone_id: int
    version: int
    drawn: Drawn
    from_us: int
    to_us: int

    def native(self) -> Zone:
        """What it is folded by."""
        drawn = self.drawn
        version = (self.zone_id, self.version, self.from_us, self.to_us, drawn.hysteresis_m)
        if drawn.radius_m is not None:
            return Zone.circle(version, drawn.rings[0][0], drawn.radius_m)
        if drawn.direction is not None:
            return Zone.gate(version, list(drawn.rings[0]), drawn.direction)
        return Zone.area(version, [[list(ring) for ring in drawn.rings]])

    def reference(self) -> reference_timing.Version:
        """What the reference tells by."""
        return reference_timing.Version(
            zone_id=self.zone_id,
            version=self.version,
            from_us=self.from_us,
            to_us=self.to_us,
            hysteresis_m=self.drawn.hysteresis_m,
            shape=_shape(self.drawn),
        )


@dataclass(slots=True)
class Course:
    """Edits in their order, and the versions that they make."""

    edits: list[Edit] = field(default_factory=list)
    versions: list[ZoneVersion] = field(default_factory=list)

    def edit(self, at_us: int, drawn: dict[str, Drawn | None]) -> None:
        """Do one more."""
        self.edits.append(Edit(at_us, drawn))
        for name, new in drawn.items():
            self._edit_one(at_us, name, new)

    def _edit_one(self, at_us: int, name: str, new: Drawn | None) -> None:
        of_name = [version for version in self.versions if version.name == name]
        newest = of_name[-1] if of_name else None
        if newest and newest.to_us == NEVER_US and newest.from_us <= at_us and newest.drawn == new:
            return
        for version in of_name:
            if version.to_us > at_us:
                version.to_us = max(version.from_us, at_us)
        if new is None:
            return
        zone_id = newest.zone_id if newest else len({one.zone_id for one in self.versions}) + 1
        number = newest.version + 1 if newest else 1
        self.versions.append(ZoneVersion(name, zone_id, number, new, at_us, NEVER_US))

    def rows(self) -> list[tuple[int, int, str, datetime, datetime | None]]:
        """Zone, version, name and validity, by zone and version."""
        found = [
            (
                one.zone_id,
                one.version,
                one.name,
                instant(one.from_us),
                None if one.to_us == NEVER_US else instant(one.to_us),
            )
            for one in self.versions
        ]
        return sorted(found, key=lambda row: row[:2])


def course(randomly: random.Random, times_ms: Sequence[int]) -> Course:
    """Two circles, an area and two gates around the origin; some of them edited.

    Args:
        randomly: What is drawn.
        times_ms: Of fixes: edits count from about there.
    """
    drawn = Course()
    kinds = {"c1": "circle", "c2": "circle", "a3": "polygon", "g4": "gate", "g5": "gate"}
    first_us = randomly.choice([LONG_AGO_US, LONG_AGO_US, _about(randomly, times_ms)])
    drawn.edit(first_us, {name: _draw(randomly, kind) for name, kind in kinds.items()})
    for _ in range(randomly.choice([0, 1, 1, 2, 3])):
        name = randomly.choice([*kinds, "late"])
        is_over = randomly.random() < 0.3
        kind = kinds.get(name, "circle")
        if randomly.random() < 0.1:
            kind = randomly.choice(["circle", "polygon", "gate"])
        at_us = _about(randomly, times_ms)
        drawn.edit(at_us, {name: None if is_over else _draw(randomly, kind)})
    return drawn


def _about(randomly: random.Random, times_ms: Sequence[int]) -> int:
    """A moment near a fix, or its very own."""
    return randomly.choice(times_ms) * 1000 + randomly.choice([0, 1, -1, -400_000, 700_000])


def _draw(randomly: random.Random, kind: str) -> Drawn:
    if kind == "gate":
        return Drawn(
            kind=kind,
            rings=[[(x * METRE, randomly.uniform(-80, 80) * METRE) for x in (-90, 0, 90)]],
            direction=randomly.choice(["both", "left_to_right", "right_to_left"]),
            minimum_lap_s=randomly.choice([None, 3.0, 10.0]),
        )
    x, y = (randomly.uniform(-60, 60) for _ in "xy")
    hysteresis_m = randomly.choice([0.0, 2.0, 4.0, 9.0])
    if kind == "circle":
        return Drawn(
            kind=kind,
            rings=[[(x * METRE, y * METRE)]],
            radius_m=randomly.uniform(20, 60),
            hysteresis_m=hysteresis_m,
        )
    corners = [(-1, -1), (1, -1), (0.9, 0.2), (1, 1), (-1, 1)]
    outer = [
        ((x + a * randomly.uniform(20, 70)) * METRE, (y + b * randomly.uniform(20, 70)) * METRE)
        for a, b in corners
    ]
    hole = [((x + a) * METRE, (y + b) * METRE) for a, b in ((-8, -8), (-8, 8), (8, 8), (8, -8))]
    rings = [outer, hole] if randomly.random() < 0.5 else [outer]
    return Drawn(kind=kind, rings=[[*ring, ring[0]] for ring in rings], hysteresis_m=hysteresis_m)


def _shape(drawn: Drawn) -> Circle | Area | Gate:
    if drawn.radius_m is not None:
        return Circle(metres(drawn.rings[0][0]), drawn.radius_m)
    if drawn.direction is not None:
        sides = {"left_to_right": {True}, "right_to_left": {False}, "both": {True, False}}
        return Gate(drawn.rings[0], frozenset(sides[drawn.direction]))
    return Area([[metres(point) for point in ring] for ring in drawn.rings])


def instant(unix_us: int) -> datetime:
    """Unix microseconds as a moment."""
    return _EPOCH + timedelta(microseconds=unix_us)

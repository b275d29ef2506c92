"""One GeoJSON feature as a zone, or everything that is wrong with it. Pure.

Its geometry says which kind it is: a Point with `radius_m` is a circle, a Polygon or MultiPolygon
an area, a LineString a gate. Its properties are those of `PROPERTIES`.
"""

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, ParamSpec, TypeAlias, TypeVar

from teltonika_processor.store.zones import ZoneColumns

P = ParamSpec("P")
T = TypeVar("T")

Kind = Literal["circle", "polygon", "gate"]
LonLat: TypeAlias = tuple[float, float]

# Kind, and how deep the list of coordinates is around a point.
_KINDS: Final[Mapping[str, tuple[Kind, int]]] = {
    "Point": ("circle", 0),
    "LineString": ("gate", 1),
    "Polygon": ("polygon", 2),
    "MultiPolygon": ("polygon", 3),
}
DIRECTIONS: Final = ("left_to_right", "right_to_left", "both")
PROPERTIES: Final = ("name", "radius_m", "direction", "hysteresis_m", "minimum_lap_s")

NAME_MAX: Final = 200
"""Bound: a name stands in tables and file names."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong.

    Attributes:
        code: A stable snake_case code.
        text: What was found, what was expected, where.
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Feature:
    """What was read.

    Attributes:
        name: Also of one that is no zone, if it has a usable one.
        zone: None if anything is wrong.
    """

    name: str | None
    zone: ZoneColumns | None
    faults: tuple[Fault, ...]


class _Faulty(Exception):  # noqa: N818 -- a value that travels
    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.fault: Final = Fault(code, text)


class _Words(reprlib.Repr):
    """Values in the words of a file, not of Python; what is long is cut."""

    def repr_bool(self, value: bool, _level: int) -> str:  # noqa: FBT001 -- called by its type
        return "true" if value else "false"

    def repr_NoneType(self, _value: None, _level: int) -> str:  # noqa: N802 -- the type's name
        return "null"


_JSON: Final = _Words()


class _Reader:
    """Goes on behind what is wrong."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def __call__(self, read: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | None:
        try:
            return read(*arguments, **named)
        except _Faulty as faulty:
            self.faults.append(faulty.fault)
            return None


def read_feature(feature: Any) -> Feature:
    """The zone that a feature is; its geometry is yet to be looked at."""
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        return Feature(None, None, (Fault("not_a_feature", "expected a GeoJSON Feature"),))
    read = _Reader()
    properties = read(_object, feature, "properties") or {}
    name = read(_name, properties.get("name"))
    read.faults.extend(_unknown(properties))
    geometry = read(_object, feature, "geometry")
    found = None if geometry is None else read(_kind, geometry)
    hysteresis_m = read(_at_least_0, properties, "hysteresis_m")
    minimum_lap_s = read(_at_least_0, properties, "minimum_lap_s")
    if geometry is None or found is None:
        return Feature(name, None, tuple(read.faults))
    kind, depth = found
    radius_m = read(_radius, kind, properties)
    direction = read(_direction, kind, properties)
    if kind == "gate" and hysteresis_m:
        read.faults.append(Fault("bad_property", "hysteresis_m: a LineString has none"))
    coordinates = read(_coordinates, geometry.get("coordinates"), depth)
    if read.faults or name is None:
        return Feature(name, None, tuple(read.faults))
    zone = ZoneColumns(
        name=name,
        kind=kind,
        geometry={"type": geometry["type"], "coordinates": coordinates},
        radius_m=radius_m,
        direction=direction,
        hysteresis_m=hysteresis_m or 0.0,
        minimum_lap_s=minimum_lap_s,
    )
    return Feature(name, zone, ())


def _object(feature: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = feature.get(key)
    if isinstance(value, dict):
        return value
    raise _Faulty(f"no_{key}", f"{key} is {_told(value)}: expected an object")


def _unknown(properties: Mapping[str, Any]) -> list[Fault]:
    unknown = sorted(properties.keys() - set(PROPERTIES))
    known = ", ".join(PROPERTIES)
    return [
        Fault("unknown_property", f"{_JSON.repr(name)}: expected one of {known}")
        for name in unknown
    ]


def _name(name: Any) -> str:
    expected = f"name is {_told(name)}: expected"
    if not isinstance(name, str) or not 0 < len(name) <= NAME_MAX:
        raise _Faulty("bad_name", f"{expected} a text of 1 to {NAME_MAX} characters")
    if not name.isprintable() or name != name.strip():
        raise _Faulty("bad_name", f"{expected} no control characters, and no blank at either end")
    return name


def _kind(geometry: Mapping[str, Any]) -> tuple[Kind, int]:
    kind = geometry.get("type")
    found = _KINDS.get(kind) if isinstance(kind, str) else None
    if found is None:
        expected = ", ".join(_KINDS)
        raise _Faulty(
            "unknown_kind", f"type of geometry is {_told(kind)}: expected one of {expected}"
        )
    return found


def _radius(kind: Kind, properties: Mapping[str, Any]) -> float | None:
    radius_m = _at_least_0(properties, "radius_m")
    if kind == "circle" and radius_m is None:
        raise _Faulty("bad_property", "radius_m is missing: a Point is a circle and needs it")
    if kind != "circle" and radius_m is not None:
        raise _Faulty("bad_property", "radius_m: only a Point has one")
    return radius_m


def _direction(kind: Kind, properties: Mapping[str, Any]) -> str | None:
    direction = properties.get("direction")
    if kind != "gate":
        if direction is None:
            return None
        raise _Faulty("bad_property", "direction: only a LineString has one")
    if direction is None:
        return "both"
    if direction in DIRECTIONS:
        return str(direction)
    expected = ", ".join(DIRECTIONS)
    raise _Faulty("bad_property", f"direction is {_told(direction)}: expected one of {expected}")


def _at_least_0(properties: Mapping[str, Any], name: str) -> float | None:
    value = properties.get(name)
    if value is None:
        return None
    number = _number(value)
    if number is None or not 0 <= number < math.inf:
        raise _Faulty("bad_property", f"{name} is {_told(value)}: expected a number of 0 or more")
    return number


def _coordinates(found: Any, depth: int) -> list[Any]:
    """Longitude and latitude of each point; a height behind them is left out."""
    if not isinstance(found, list):
        expected = "a list" if depth else "longitude and latitude"
        raise _Faulty("bad_coordinates", f"{_JSON.repr(found)} in coordinates: expected {expected}")
    if depth:
        return [_coordinates(one, depth - 1) for one in found]
    numbers = [_number(one) for one in found[:2]]
    if len(numbers) < 2 or None in numbers:
        raise _Faulty(
            "bad_coordinates",
            f"{_JSON.repr(found)} in coordinates: expected longitude and latitude",
        )
    return numbers


def _told(value: Any) -> str:
    return "missing" if value is None else _JSON.repr(value)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None

"""Zones as GeoJSON: a file of features, each a zone, with everything that is wrong with it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias, cast

from typing_extensions import override

from teltonika_processor.codec.native import Zone, ZoneRefused
from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.store.zones import ZoneColumns
from teltonika_processor.timing.zone_feature import PROPERTIES, Fault, LonLat, read_feature

Version: TypeAlias = tuple[int, int, int, int, float]
"""(zone id, version, valid from and valid to in Unix microseconds, hysteresis in metres)."""

ALWAYS: Final = (-(1 << 63), (1 << 63) - 1)

FILE_MAX_BYTES: Final = 64 << 20
"""Bound: a zone of a million points, the most it may have, is 40 MB."""

# Bound: faults that are told of the geometry of one feature.
_FAULTS_MAX: Final = 20

_WITHOUT_BAND: Final[Version] = (0, 1, *ALWAYS, 0.0)


class ZoneFileError(TeltonikaProcessorError):
    """A file that holds something that is no zone; nothing of it is used."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a file.

    Attributes:
        feature: Its number, from 1; None where the file is meant.
        name: What the feature is called, where it has a usable name.
    """

    feature: int | None
    name: str | None
    fault: Fault

    @override
    def __str__(self) -> str:
        """As one line, but for what its name makes of a terminal."""
        of = "" if self.feature is None else f"feature {self.feature}: "
        return f"{of}{self.fault.code}: {self.fault.text}"


@dataclass(frozen=True, slots=True)
class ZoneFile:
    """What a file holds.

    Attributes:
        zones: Those that are ones, with the numbers of their features.
        problems: By feature; a file with one is not used.
    """

    zones: tuple[tuple[int, ZoneColumns], ...]
    problems: tuple[Problem, ...]


def native_zone(version: Version, columns: ZoneColumns) -> Zone:
    """The zone that these columns say, checked.

    Raises:
        ZoneRefused: The geometry is no zone.
        TypeError: Coordinates are no numbers, or nested otherwise.
    """
    coordinates = columns.geometry["coordinates"]
    if columns.kind == "circle":
        return Zone.circle(version, _point(coordinates), cast("float", columns.radius_m))
    if columns.kind == "gate":
        points = [_point(one) for one in coordinates]
        return Zone.gate(version, points, cast("str", columns.direction))
    return Zone.area(version, polygons_of(columns))


def points_of(columns: ZoneColumns) -> list[LonLat]:
    """Every point of its geometry, in order."""
    coordinates = columns.geometry["coordinates"]
    if columns.kind == "circle":
        return [_point(coordinates)]
    if columns.kind == "gate":
        return [_point(one) for one in coordinates]
    return [point for polygon in polygons_of(columns) for ring in polygon for point in ring]


def feature_of(columns: ZoneColumns) -> dict[str, object]:
    """The feature that is read as this zone."""
    given = {name: getattr(columns, name) for name in PROPERTIES}
    if not columns.hysteresis_m:
        del given["hysteresis_m"]
    properties = {name: value for name, value in given.items() if value is not None}
    return {"type": "Feature", "properties": properties, "geometry": columns.geometry}


def read_zones(text: str) -> list[ZoneColumns]:
    """The zones of a file, each with a name of its own.

    Raises:
        ZoneFileError: It is no GeoJSON of zones; names the first feature that is none, from 1.
    """
    found = read_file(text)
    if found.problems:
        raise ZoneFileError(str(found.problems[0]))
    return [zone for _, zone in found.zones]


def read_file(text: str) -> ZoneFile:
    """The zones of a file, and everything that is wrong with it."""
    try:
        features = _features(_json(text))
    except ZoneFileError as error:
        return ZoneFile((), (Problem(None, None, Fault("not_geojson", str(error))),))
    zones: list[tuple[int, ZoneColumns]] = []
    problems: list[Problem] = []
    numbers: dict[str, int] = {}
    for number, feature in enumerate(features, start=1):
        found = read_feature(feature)
        faults = list(found.faults)
        if found.name is not None and (first := numbers.setdefault(found.name, number)) != number:
            faults.append(Fault("name_twice", f"feature {first} has the name {found.name!r} too"))
        if found.zone is not None:
            faults.extend(geometry_faults(found.zone))
            zones.append((number, found.zone))
        problems.extend(Problem(number, found.name, fault) for fault in faults)
    return ZoneFile(tuple(zones), tuple(problems))


def geometry_faults(zone: ZoneColumns) -> Iterator[Fault]:
    """What is wrong with the geometry, and with the hysteresis."""
    found = list(_native_faults(zone))
    yield from found
    if any(fault.code == "coordinate_out_of_range" for fault in found) and all(
        abs(longitude) <= 90 and abs(latitude) <= 180 for longitude, latitude in points_of(zone)
    ):
        yield Fault(
            "likely_swapped",
            "latitude is before longitude, likely: swapped, all its points are on earth",
        )


def _native_faults(zone: ZoneColumns) -> Iterator[Fault]:
    if zone.kind == "polygon":
        faults = Zone.area_faults(_WITHOUT_BAND, polygons_of(zone), _FAULTS_MAX)
        for text, code, _ in faults:
            yield Fault(code, text)
        if faults:
            return
    try:
        native_zone((0, 1, *ALWAYS, zone.hysteresis_m), zone)
    except ZoneRefused as error:
        text, code, _ = error.args
        yield Fault(code, _placed(zone, text))


def _placed(zone: ZoneColumns, text: str) -> str:
    """Where, as people count it who see one list of points, or one point."""
    if zone.kind == "circle":
        return text.partition(" (at ")[0]
    return text.replace("polygon 0, ring 0, ", "") if zone.kind == "gate" else text


def _json(text: str) -> Any:
    if not text.strip():
        raise ZoneFileError("it is empty")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ZoneFileError("no JSON: nested too deeply") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ZoneFileError(f"no JSON: {error.msg} at {place}") from error
    except ValueError as error:
        raise ZoneFileError(f"no JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _features(content: Any) -> Sequence[Any]:
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "Feature":
        return [content]
    features = content.get("features") if kind == "FeatureCollection" else None
    if not isinstance(features, list):
        raise ZoneFileError("no GeoJSON Feature or FeatureCollection")
    if not features:
        raise ZoneFileError("no feature in it")
    return features


def polygons_of(columns: ZoneColumns) -> list[list[list[LonLat]]]:
    """The rings of each polygon of an area, the outer one first."""
    coordinates = columns.geometry["coordinates"]
    polygons = [coordinates] if columns.geometry["type"] == "Polygon" else coordinates
    return [[[_point(one) for one in ring] for ring in polygon] for polygon in polygons]


def _point(coordinates: Any) -> LonLat:
    """Longitude and latitude; a height behind them is left out.

    Raises:
        TypeError: Somebody wrote the row by hand.
    """
    if not isinstance(coordinates, list) or len(coordinates) < 2:
        raise TypeError(f"{coordinates!r}: expected longitude and latitude")
    longitude, latitude = coordinates[:2]
    for one in (longitude, latitude):
        if isinstance(one, bool) or not isinstance(one, int | float):
            raise TypeError(f"{one!r}: expected a number")
    return float(longitude), float(latitude)

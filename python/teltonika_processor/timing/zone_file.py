"""Zones as GeoJSON: a file of features, refused whole with the number of the feature and why.

A feature is a zone. Its geometry says which kind: a Point with `radius_m` is a circle, a Polygon or
MultiPolygon an area, a LineString a gate. Its properties are `name`, and where wanted `radius_m`,
`direction` (left_to_right, right_to_left, both), `hysteresis_m`, `minimum_lap_s`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

from teltonika_processor.codec.native import Zone, ZoneRefused
from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.store.zones import ZoneColumns

Kind = Literal["circle", "polygon", "gate"]
LonLat: TypeAlias = tuple[float, float]
Version: TypeAlias = tuple[int, int, int, int, float]
"""(zone id, version, valid from and valid to in Unix microseconds, hysteresis in metres)."""

ALWAYS: Final = (-(1 << 63), (1 << 63) - 1)

_KIND_OF: Final[Mapping[str, Kind]] = {
    "Point": "circle",
    "Polygon": "polygon",
    "MultiPolygon": "polygon",
    "LineString": "gate",
}
_DIRECTIONS: Final = ("left_to_right", "right_to_left", "both")
_PROPERTIES: Final = frozenset({"name", "radius_m", "direction", "hysteresis_m", "minimum_lap_s"})

# Bound: a name stands in tables and file names.
_NAME_MAX: Final = 200


class ZoneFileError(TeltonikaProcessorError):
    """A file that holds something that is no zone; nothing of it is used."""


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
    polygons = [coordinates] if columns.geometry["type"] == "Polygon" else coordinates
    return Zone.area(
        version,
        [[[_point(one) for one in ring] for ring in polygon] for polygon in polygons],
    )


def read_zones(text: str) -> list[ZoneColumns]:
    """The zones of a file, each with a name of its own.

    Raises:
        ZoneFileError: It is no GeoJSON of zones; names the first feature that is none, from 1.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ZoneFileError(f"no JSON: {error}") from error
    zones: list[ZoneColumns] = []
    numbers: dict[str, int] = {}
    for number, feature in enumerate(_features(content), start=1):
        try:
            zone = _zone(feature)
            native_zone((0, 1, *ALWAYS, zone.hysteresis_m), zone)
        except ZoneRefused as error:
            raise ZoneFileError(f"feature {number}: {_refusal(error)}") from error
        except (ZoneFileError, TypeError, KeyError, IndexError) as error:
            raise ZoneFileError(f"feature {number}: {error}") from error
        if (first := numbers.setdefault(zone.name, number)) != number:
            raise ZoneFileError(f"feature {number}: feature {first} has the name {zone.name!r}")
        zones.append(zone)
    if not zones:
        raise ZoneFileError("no feature in it")
    return zones


def _features(content: Any) -> Sequence[Any]:
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "Feature":
        return [content]
    features = content.get("features") if kind == "FeatureCollection" else None
    if not isinstance(features, list):
        raise ZoneFileError("no GeoJSON Feature or FeatureCollection")
    return features


def _zone(feature: Any) -> ZoneColumns:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise ZoneFileError("no GeoJSON Feature")
    properties = feature.get("properties") or {}
    geometry = feature.get("geometry")
    if not isinstance(properties, dict) or not isinstance(geometry, dict):
        raise ZoneFileError("no properties, or no geometry")
    kind = _KIND_OF.get(str(geometry.get("type")))
    if kind is None:
        raise ZoneFileError(
            f"geometry {geometry.get('type')!r}: expected Point, Polygon, MultiPolygon or"
            " LineString"
        )
    if unknown := sorted(set(properties) - _PROPERTIES):
        raise ZoneFileError(
            f"property {unknown[0]!r} is not known: expected {', '.join(sorted(_PROPERTIES))}"
        )
    return ZoneColumns(
        name=_name(properties.get("name")),
        kind=kind,
        geometry={"type": geometry["type"], "coordinates": geometry["coordinates"]},
        radius_m=_radius(kind, properties),
        direction=_direction(kind, properties),
        hysteresis_m=_metres(properties, "hysteresis_m") or 0.0,
        minimum_lap_s=_metres(properties, "minimum_lap_s"),
    )


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > _NAME_MAX:
        raise ZoneFileError(f"name is {name!r}: expected a text of 1 to {_NAME_MAX} characters")
    return name


def _radius(kind: Kind, properties: Mapping[str, Any]) -> float | None:
    radius_m = _metres(properties, "radius_m")
    if (kind == "circle") != (radius_m is not None):
        raise ZoneFileError("radius_m: a Point needs it, and no other geometry has it")
    return radius_m


def _direction(kind: Kind, properties: Mapping[str, Any]) -> str | None:
    direction = properties.get("direction")
    if kind == "gate":
        direction = "both" if direction is None else direction
        if direction in _DIRECTIONS:
            return str(direction)
        raise ZoneFileError(f"direction is {direction!r}: expected {', '.join(_DIRECTIONS)}")
    if direction is not None:
        raise ZoneFileError("direction: only a LineString has one")
    return None


def _metres(properties: Mapping[str, Any], name: str) -> float | None:
    value = properties.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ZoneFileError(f"{name} is {value!r}: expected a number")
    if value < 0:
        raise ZoneFileError(f"{name} is {value!r}: expected 0 or more")
    return float(value)


def _point(coordinates: Any) -> LonLat:
    """Longitude and latitude; a height behind them is left out."""
    if not isinstance(coordinates, list) or len(coordinates) < 2:
        raise TypeError(f"{coordinates!r}: expected longitude and latitude")
    longitude, latitude = coordinates[:2]
    for one in (longitude, latitude):
        if isinstance(one, bool) or not isinstance(one, int | float):
            raise TypeError(f"{one!r}: expected a number")
    return float(longitude), float(latitude)


def _refusal(error: ZoneRefused) -> str:
    text, code, _ = error.args
    return f"{code}: {text}"

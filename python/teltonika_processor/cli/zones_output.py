"""Zones for people: a table on a terminal, plain columns in a pipe, or JSON."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from teltonika_processor.cli.instants import ALWAYS, instant_text
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.cli.zones_state import Versions, state_of
from teltonika_processor.store.zones import StoredZone, ZoneColumns
from teltonika_processor.texts import printable
from teltonika_processor.timing.zone_file import points_of
from teltonika_processor.timing.zone_heading import counted_text
from teltonika_processor.timing.zone_measure import area_m2, bounds_of, length_m

_LIST: Final = (
    *("name", "id", "version", "kind", "state", "valid_from", "valid_to", "hysteresis"),
    *("minimum_lap", "edit"),
)
_LABEL_WIDTH: Final = 14

# A centimetre or so.
_DECIMALS: Final = 7


def print_list(shown: Sequence[StoredZone], versions: Versions, now: datetime) -> None:
    """One line a version."""
    if not shown:
        print("no zone")
        return
    print_rows(
        _LIST,
        [_cells(zone, versions, now) for zone in shown],
        terminal=sys.stdout.isatty(),
        unfolded=("kind", "state", "valid_from", "valid_to"),
        right=("id", "version", "hysteresis", "minimum_lap"),
    )


def print_versions(found: Sequence[StoredZone], versions: Versions, now: datetime) -> None:
    """A section a version, the newest first."""
    print(f"zone {found[0].id}, {printable(found[0].columns.name)}")
    for zone in sorted(found, key=lambda zone: -zone.version):
        print(f"\nversion {zone.version}, {state_of(zone, versions, now)}")
        for label, text in _facts(zone):
            print(f"  {label:{_LABEL_WIDTH}}{text}")


def version_object(zone: StoredZone, versions: Versions, now: datetime) -> dict[str, object]:
    """One version for JSON; null: without a bound, or its kind has none."""
    columns = zone.columns
    return {
        "name": columns.name,
        "id": zone.id,
        "version": zone.version,
        "kind": columns.kind,
        "state": state_of(zone, versions, now),
        "valid_from": zone.valid_from and instant_text(zone.valid_from),
        "valid_to": zone.valid_to and instant_text(zone.valid_to),
        "radius_m": columns.radius_m,
        "direction": columns.direction,
        "hysteresis_m": columns.hysteresis_m,
        "minimum_lap_s": columns.minimum_lap_s,
        "edit_is_finished": zone.is_marked,
    }


def measured_object(zone: StoredZone, versions: Versions, now: datetime) -> dict[str, object]:
    """The same with its geometry."""
    return version_object(zone, versions, now) | {
        "points": len(points_of(zone.columns)),
        "bounds": [round(degrees, _DECIMALS) for degrees in bounds_of(zone.columns)],
        "area_m2": area_m2(zone.columns),
        "length_m": length_m(zone.columns),
        "geometry": zone.columns.geometry,
    }


def _cells(zone: StoredZone, versions: Versions, now: datetime) -> tuple[str, ...]:
    columns = zone.columns
    return (
        printable(columns.name),
        str(zone.id),
        str(zone.version),
        columns.kind,
        state_of(zone, versions, now),
        instant_text(zone.valid_from, ALWAYS),
        instant_text(zone.valid_to),
        _hysteresis(columns) or "-",
        _seconds(columns.minimum_lap_s),
        _edit(zone),
    )


def _facts(zone: StoredZone) -> list[tuple[str, str]]:
    columns = zone.columns
    bounds = bounds_of(columns)
    area, length = area_m2(columns), length_m(columns)
    shape = {
        "radius": None if columns.radius_m is None else f"{columns.radius_m:,.10g} m",
        "direction": columns.direction,
        "counts": counted_text(columns),
        "points": f"{len(points_of(columns)):,}",
        "area": None if area is None else _area_text(area),
        "length": None if length is None else f"{length:,.1f} m",
        "bounds": f"{bounds.west:.6f} to {bounds.east:.6f} east, "
        f"{bounds.south:.6f} to {bounds.north:.6f} north",
        "hysteresis": _hysteresis(columns),
        "minimum lap": _seconds(columns.minimum_lap_s),
    }
    return [
        ("kind", columns.kind),
        ("valid from", instant_text(zone.valid_from, ALWAYS)),
        ("valid to", instant_text(zone.valid_to)),
        *((label, text) for label, text in shape.items() if text is not None),
        ("edit", _edit(zone)),
    ]


def _hysteresis(columns: ZoneColumns) -> str | None:
    """None: a gate has none."""
    return None if columns.kind == "gate" else f"{columns.hysteresis_m:g} m"


def _area_text(area: float) -> str:
    return f"{area:,.1f} m²" if area < 1e6 else f"{area / 1e6:,.3f} km²"


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:g} s"


def _edit(zone: StoredZone) -> str:
    return "finished" if zone.is_marked else "marking devices"

"""`teltonika-processor zones` as an operator runs it, the zones of its files, and what it left."""

import json
import subprocess
from pathlib import Path
from typing import Any

from commands import ForkedCommand, own_environment, run_command
from servers import run_sql
from telemetry import fetch

RACE = "2026-05-03T14:00:00Z"
LATER = "2026-05-03T15:00:00Z"


def feature(name: str, geometry: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": {"name": name, **properties}, "geometry": geometry}


def box(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


PIT = feature("pit", {"type": "Point", "coordinates": [25.0, 54.0]}, radius_m=100.0)
GATE = feature(
    "finish",
    {"type": "LineString", "coordinates": [[25.0, 54.0], [25.0, 54.001]]},
    direction="left_to_right",
    minimum_lap_s=40.0,
)
PADDOCK = feature(
    "paddock",
    {
        "type": "Polygon",
        "coordinates": [box(25.0, 54.0, 25.01, 54.01), box(25.004, 54.004, 25.006, 54.006)],
    },
    hysteresis_m=5.0,
)
DATE_LINE = feature("date line", {"type": "Polygon", "coordinates": [box(179, -1, -179, 1)]})
CUT = feature(
    "cut at the date line",
    {
        "type": "MultiPolygon",
        "coordinates": [
            [box(179, -1, 180, 1), box(179.5, -0.5, 179.6, 0.5)],
            [box(-180, -1, -179, 1)],
        ],
    },
)


class Zones:
    """The command, without a terminal."""

    def __init__(self, dsn: str, directory: Path) -> None:
        self._dsn = dsn
        self._directory = directory

    def __call__(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = own_environment(**{"DATABASE_URL": self._dsn, **settings})
        return run_command("zones", *arguments, environment=environment)

    def file(self, *features: dict[str, Any]) -> str:
        file = self._directory / f"{len(list(self._directory.iterdir()))}.geojson"
        file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return str(file)

    def start(self, *arguments: str) -> ForkedCommand:
        """In the background; what it prints is `printed`."""
        with (self._directory / "printed").open("w") as file:
            return ForkedCommand(
                *("zones", *arguments),
                environment=own_environment(DATABASE_URL=self._dsn),
                stdout=file.fileno(),
                stderr=file.fileno(),
            )

    def printed(self) -> str:
        return (self._directory / "printed").read_text()


def listed(zones: Zones, *arguments: str) -> list[tuple[Any, ...]]:
    lines = zones("list", "--json", *arguments).stdout.splitlines()
    keys = ("name", "version", "state", "valid_from", "valid_to", "edit_is_finished")
    return [tuple(json.loads(line)[key] for key in keys) for line in lines]


def put_devices(dsn: str, n: int, longitude: float = 25.0, latitude: float = 54.0) -> None:
    run_sql(
        dsn,
        "INSERT INTO last_position SELECT n, '2026-05-03T14:30:00Z', 1, now(),"
        f" {longitude}, {latitude}, 0, 0, 9, 0, 0, 0 FROM generate_series(1, {n}) AS n",
    )


def n_marked(dsn: str) -> int:
    found: int = fetch(dsn, "SELECT count(*) FROM refold WHERE NOT isempty(ranges)")[0][0]
    return found

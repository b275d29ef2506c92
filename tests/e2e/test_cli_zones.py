"""`teltonika-processor zones` as an operator runs it."""

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from commands import ForkedCommand, own_environment, run_command
from processes import Processor
from servers import run_sql
from telemetry import fetch, holding
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.zone_edits import finish_edits
from teltonika_processor.timing.zone_feature import PROPERTIES
from waiting import eventually

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


@pytest.fixture
def dsn(migrated_database: str) -> str:
    return migrated_database


@pytest.fixture
def zones(dsn: str, tmp_path: Path) -> Zones:
    return Zones(dsn, tmp_path)


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


# import


def test_a_file_is_tried_then_imported_and_then_there(zones: Zones, dsn: str) -> None:
    put_devices(dsn, 3)
    file = zones.file(PIT, GATE)
    tried = zones("import", file, "--dry-run", "--valid-from", RACE)
    assert (tried.returncode, tried.stderr) == (0, "")
    assert tried.stdout.splitlines() == [
        *("name    does   crossings", "pit     added  as they are", "finish  added  as they are"),
        f"would import 2 zones (2 added, 0 changed, 0 unchanged), to count from {RACE} on",
    ]
    assert zones("list").stdout == "no zone\n"
    done = zones("import", file, "--valid-from", RACE, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == (
        "imported 2 zones (2 added, 0 changed, 0 unchanged), to count from 2026-05-03T14:00:00Z on"
    )
    assert n_marked(dsn) == 3
    assert listed(zones) == [
        ("finish", 1, "counts", RACE, None, True),
        ("pit", 1, "counts", RACE, None, True),
    ]
    wider = {**PIT, "properties": {**PIT["properties"], "radius_m": 150}}
    changed = zones("import", zones.file(wider, GATE), "--json", "--valid-from", LATER, "--yes")
    assert json.loads(changed.stdout) == {
        "dry_run": False,
        "valid_from": LATER,
        "added": 0,
        "changed": 1,
        "unchanged": 1,
        "zones": [
            {"name": "pit", "did": "changed", "sessions": [], "crossings": None},
            {"name": "finish", "did": "unchanged", "sessions": [], "crossings": None},
        ],
        "likely_swapped": [],
        "devices": 3,
    }
    assert listed(zones, "--all") == [
        ("finish", 1, "counts", RACE, None, True),
        ("pit", 1, "replaced", RACE, LATER, True),
        ("pit", 2, "counts", LATER, None, True),
    ]


def test_now_needs_no_yes_and_marks_nothing_that_was(zones: Zones, dsn: str) -> None:
    put_devices(dsn, 3)
    done = zones("import", zones.file(PIT))
    assert (done.returncode, done.stderr) == (0, "")
    ((name, version, state, valid_from, valid_to, is_finished),) = listed(zones)
    assert (name, version, state, valid_to, is_finished) == ("pit", 1, "counts", None, True)
    assert valid_from is not None
    assert n_marked(dsn) == 0


@pytest.mark.parametrize("valid_from", [RACE, "always"])
def test_the_past_does_not_change_without_a_yes(zones: Zones, valid_from: str) -> None:
    refused = zones("import", zones.file(PIT), "--valid-from", valid_from)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "there is no terminal to ask on: give --yes to import, or --dry-run\n"
    )
    assert listed(zones) == []
    assert zones("import", zones.file(PIT), "--valid-from", valid_from, "--yes").returncode == 0
    assert listed(zones) == [
        ("pit", 1, "counts", None if valid_from == "always" else valid_from, None, True)
    ]
    again = zones("import", zones.file(PIT), "--valid-from", valid_from)
    assert (again.returncode, again.stderr) == (0, "")
    assert "0 added, 0 changed, 1 unchanged" in again.stdout


@pytest.mark.parametrize("moment", ["yesterday", "14:00", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_moment_is_refused(zones: Zones, moment: str) -> None:
    refused = zones("import", zones.file(PIT), "--valid-from", moment, "--yes")
    assert refused.returncode == 2
    assert f"{moment!r} is no moment such as" in " ".join(refused.stderr.split())


def test_a_file_with_one_bad_feature_is_refused_whole(zones: Zones) -> None:
    bow_tie = feature(
        "bow tie", {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    )
    refused = zones("import", zones.file(PIT, bow_tie, GATE), "--yes")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "feature 2, bow tie: self_intersection: the ring meets itself near 0.5, 0.5:"
        " also at polygon 0, ring 0, point 0 (at polygon 0, ring 0, point 2)\n"
        "nothing was changed\n"
    )
    assert listed(zones) == []


def test_a_row_that_postgres_refuses_leaves_nothing_behind(zones: Zones, dsn: str) -> None:
    run_sql(dsn, "ALTER TABLE zones ADD CHECK (name <> 'finish')")
    refused = zones("import", zones.file(PIT, GATE))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "23514" in refused.stderr
    assert listed(zones) == []


def test_a_likely_swap_needs_a_yes(zones: Zones, dsn: str) -> None:
    put_devices(dsn, 1)
    swapped = feature("pit", {"type": "Point", "coordinates": [54.0, 25.0]}, radius_m=100)
    warning = (
        "feature 1, pit: likely_swapped: latitude is before longitude, likely:"
        " it lies about 4,000 km from the nearest device, and swapped less than 100 km\n"
    )
    refused = zones("import", zones.file(swapped))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(warning)
    assert listed(zones) == []
    checked = zones("check", zones.file(swapped))
    assert (checked.returncode, checked.stdout) == (1, f"{warning}1 zone read, 1 problem\n")
    assert zones("import", zones.file(swapped), "--yes").returncode == 0
    assert len(listed(zones)) == 1


def test_a_role_that_may_not_is_told_which_one_may(zones: Zones, dsn: str) -> None:
    parts = urlsplit(dsn)
    role = f"{parts.path.removeprefix('/')}_reader"
    run_sql(dsn, f"CREATE ROLE {role} LOGIN PASSWORD 'of-the-test'")
    run_sql(dsn, f"GRANT SELECT ON zones, last_position TO {role}")
    host = parts.netloc.rpartition("@")[2]
    reader = parts._replace(netloc=f"{role}:of-the-test@{host}").geturl()
    try:
        for command in (("import", zones.file(PIT)), ("disable", "pit", "--yes")):
            refused = zones(*command, DATABASE_URL=reader)
            assert refused.returncode == 76
            assert "changing zones takes the owner of the table zones" in refused.stderr
        as_owner = {"DATABASE_URL": reader, "DATABASE_MIGRATION_URL": dsn}
        assert zones("import", zones.file(PIT), **as_owner).returncode == 0
        assert zones("list", DATABASE_URL=reader).stdout.count("pit") == 1
        assert zones("check", zones.file(PIT), DATABASE_URL=reader).stderr == ""
    finally:
        run_sql(dsn, f"DROP OWNED BY {role}")
        run_sql(dsn, f"DROP ROLE {role}")


# Looking.


def test_what_is_exported_is_imported_unchanged(zones: Zones, tmp_path: Path) -> None:
    features = [PIT, GATE, PADDOCK, DATE_LINE, CUT]
    assert zones("import", zones.file(*features)).returncode == 0
    exported = zones("export")
    assert (exported.returncode, exported.stderr) == (0, "")
    found = {one["properties"]["name"]: one for one in json.loads(exported.stdout)["features"]}
    assert found == {one["properties"]["name"]: one for one in features}
    (tmp_path / "exported.geojson").write_text(exported.stdout)
    again = zones("import", str(tmp_path / "exported.geojson"), "--json")
    assert json.loads(again.stdout)["unchanged"] == 5


def test_what_counted_at_another_time_is_exported_too(zones: Zones) -> None:
    wider = {**PIT, "properties": {**PIT["properties"], "radius_m": 150.0}}
    zones("import", zones.file(PIT, GATE), "--valid-from", RACE, "--yes")
    zones("import", zones.file(wider), "--valid-from", LATER, "--yes")
    assert zones("disable", "finish", "--from", LATER, "--yes").returncode == 0

    def radii(*arguments: str) -> list[Any]:
        features = json.loads(zones("export", *arguments).stdout)["features"]
        return [(f["properties"]["name"], f["properties"].get("radius_m")) for f in features]

    assert radii("--at", "2026-05-03T13:59:59Z") == []
    assert radii("--at", RACE) == [("finish", None), ("pit", 100.0)]
    assert radii("--at", LATER) == radii() == [("pit", 150.0)]


def test_a_zone_is_shown_with_its_versions_and_its_size(zones: Zones) -> None:
    zones("import", zones.file(PIT, GATE, PADDOCK), "--valid-from", RACE, "--yes")
    shown = zones("show", "paddock")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == [
        *("zone 3, paddock", "", "version 1, counts"),
        "  kind          polygon",
        "  valid from    2026-05-03T14:00:00Z",
        "  valid to      -",
        "  points        10",
        "  area          697,603.9 m²",
        "  bounds        25.000000 to 25.010000 east, 54.000000 to 54.010000 north",
        "  hysteresis    5 m",
        "  minimum lap   -",
        "  edit          finished",
    ]
    assert zones("show", "finish").stdout.splitlines()[3:10] == [
        "  kind          gate",
        "  valid from    2026-05-03T14:00:00Z",
        "  valid to      -",
        "  direction     left_to_right",
        "  counts        vehicles heading 090° (east)",
        "  points        2",
        "  length        111.2 m",
    ]
    gate = json.loads(zones("show", "finish", "--json").stdout)
    (version,) = gate.pop("versions")
    assert gate == {"name": "finish", "id": 2}
    assert version["length_m"] == pytest.approx(111.195, abs=0.001)
    assert version["geometry"] == GATE["geometry"]
    assert version["bounds"] == [25.0, 54.0, 25.0, 54.001]
    unknown = zones("show", "pits")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "there is no zone 'pits'; did you mean 'pit'?\n",
    )


def test_zones_are_listed_as_a_table(zones: Zones) -> None:
    zones("import", zones.file(PADDOCK, GATE), "--valid-from", RACE, "--yes")
    headings = "name id version kind state valid_from valid_to hysteresis minimum_lap edit"
    assert [line.split() for line in zones("list").stdout.splitlines()] == [
        headings.split(),
        ["finish", "2", "1", "gate", "counts", RACE, "-", "0", "m", "40", "s", "finished"],
        ["paddock", "1", "1", "polygon", "counts", RACE, "-", "5", "m", "-", "finished"],
    ]


# disable


def test_a_zone_is_disabled_and_comes_back(zones: Zones, dsn: str) -> None:
    put_devices(dsn, 2)
    zones("import", zones.file(PIT), "--valid-from", RACE, "--yes")
    run_sql(dsn, "UPDATE refold SET ranges = '{}'")
    assert zones("disable", "pit").returncode == 2
    tried = zones("disable", "pit", "--from", "2026-05-03T14:10:00Z", "--dry-run")
    assert (tried.returncode, tried.stdout.splitlines()) == (
        0,
        [
            *("name  does      crossings", "pit   disabled  as they are"),
            "would disable pit from 2026-05-03T14:10:00Z on",
        ],
    )
    done = zones("disable", "pit", "--from", "2026-05-03T14:10:00Z", "--yes", "--json")
    assert json.loads(done.stdout) == {
        "dry_run": False,
        "name": "pit",
        "did": "disabled",
        "sessions": [],
        "crossings": None,
        "valid_to": "2026-05-03T14:10:00Z",
        "devices": 2,
    }
    assert n_marked(dsn) == 2
    assert listed(zones) == [("pit", 1, "ended", RACE, "2026-05-03T14:10:00Z", True)]
    again = zones("disable", "pit", "--yes")
    assert again.returncode == 1
    assert again.stderr.startswith("no zone 'pit' counts from ")
    unknown = zones("disable", "pits", "--yes")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "there is no zone 'pits'; did you mean 'pit'?\n"
    assert zones("import", zones.file(PIT)).returncode == 0
    assert [line[1:3] for line in listed(zones, "--all")] == [(1, "replaced"), (2, "counts")]


# check


def test_check_needs_no_server(zones: Zones) -> None:
    away = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    checked = zones("check", zones.file(PIT), **away)
    assert (checked.returncode, checked.stdout) == (0, "1 zone read, no problem\n")
    assert checked.stderr.startswith("whether they lie where the fleet is was not looked at: ")
    quiet = zones("check", zones.file(PIT), "--offline", DATABASE_URL="nonsense")
    assert (quiet.stdout, quiet.stderr) == ("1 zone read, no problem\n", "")
    offline = zones("check", zones.file(PIT), "--offline", "--json", DATABASE_URL="nonsense")
    assert (offline.returncode, offline.stderr) == (0, "")
    assert json.loads(offline.stdout) == {
        "zones": 1,
        "problems": [],
        "fleet_looked_at": False,
        "why_not": "--offline",
    }


def test_check_says_which_way_gates_count(zones: Zones) -> None:
    other = feature("box", GATE["geometry"], direction="right_to_left")
    both = feature("both", GATE["geometry"])
    checked = zones("check", zones.file(PIT, GATE, other, both), "--offline")
    assert checked.stdout.splitlines() == [
        "feature 2, finish: counts vehicles heading 090° (east)",
        "feature 3, box: counts vehicles heading 270° (west)",
        (
            "feature 4, both: counts vehicles heading 090° (east), left to right, and"
            " 270° (west), right to left"
        ),
        "4 zones read, no problem",
    ]
    many = [feature(f"gate {n}", GATE["geometry"]) for n in range(102)]
    checked = zones("check", zones.file(*many), "--offline")
    assert checked.stdout.splitlines()[100:] == ["... and 2 more", "102 zones read, no problem"]


def test_check_names_every_problem(zones: Zones) -> None:
    twice = feature("pit", {"type": "Point", "coordinates": [25, 154]}, radius_m=-1, colour="red")
    checked = zones("check", zones.file(PIT, twice))
    assert checked.returncode == 1
    assert checked.stdout.splitlines() == [
        f"feature 2, pit: unknown_property: 'colour': expected one of {', '.join(PROPERTIES)}",
        "feature 2, pit: bad_property: radius_m is -1: expected a number of 0 or more",
        "feature 2, pit: name_twice: feature 1 has the name 'pit' too",
        "1 zone read, 3 problems",
        "whether they lie where the fleet is is not known: no device has a position",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not_geojson: it is empty"),
        ("name,radius_m", "not_geojson: no JSON: Expecting value at line 1, column 1"),
        ("[]", "not_geojson: no GeoJSON Feature or FeatureCollection"),
    ],
)
def test_what_is_no_geojson_is_a_problem(
    zones: Zones, tmp_path: Path, content: str, said: str
) -> None:
    file = tmp_path / "other.geojson"
    file.write_text(content)
    checked = zones("check", str(file), "--offline")
    assert (checked.returncode, checked.stderr) == (1, "")
    assert checked.stdout == f"{said}\n0 zones read, 1 problem\n"
    refused = zones("import", str(file))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"{said}\nnothing was changed\n"


def test_a_directory_cannot_be_read(zones: Zones, tmp_path: Path) -> None:
    for command in ("check", "import"):
        refused = zones(command, str(tmp_path))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr == f"{tmp_path}: Is a directory\n"


def test_a_file_that_is_not_there_or_too_large_is_told(zones: Zones, tmp_path: Path) -> None:
    missing = zones("check", str(tmp_path / "none.geojson"))
    assert missing.returncode == 2
    assert missing.stderr.endswith("none.geojson: No such file or directory\n")
    large = tmp_path / "large.geojson"
    with large.open("wb") as file:
        file.truncate((64 << 20) + 1)
    refused = zones("import", str(large))
    assert refused.returncode == 2
    assert "more than 64.0 MiB, expected that at most" in refused.stderr
    (tmp_path / "latin.geojson").write_bytes(b'{"name": "caf\xe9"}')
    assert "byte 13 is not UTF-8" in zones("check", str(tmp_path / "latin.geojson")).stderr


# Limits, and what a kill leaves.


def test_a_zone_of_a_hundred_thousand_points_is_imported_and_exported(zones: Zones) -> None:
    file = zones.file(feature("coast", {"type": "Polygon", "coordinates": [coast(100_000)]}))
    began_s = time.monotonic()
    assert zones("import", file).returncode == 0
    took_s = time.monotonic() - began_s
    exported = zones("export").stdout
    assert json.loads(exported)["features"] == json.loads(Path(file).read_text())["features"]
    assert took_s < 20


def coast(points: int) -> list[list[float]]:
    """A ring of a saw: so many points that lie on two parallels, and its last one again."""
    half = points // 2
    there = [[25 + n / half, 54 + n % 2 * 1e-5] for n in range(half)]
    back = [[longitude, latitude + 0.1] for longitude, latitude in reversed(there)]
    return [*there, *back, there[0]]


def test_two_imports_at_once_are_one_after_the_other(zones: Zones) -> None:
    files = [
        zones.file(*(feature(f"zone {n}", PIT["geometry"], radius_m=radius) for n in range(200)))
        for radius in (10, 20)
    ]
    commands = [zones.start("import", file) for file in files]
    assert [command.wait(60) for command in commands] == [0, 0]
    found = listed(zones, "--all")
    versions: dict[str, list[Any]] = {}
    for name, version, state, *_ in found:
        versions.setdefault(name, []).append((version, state))
    assert len(versions) == 200
    assert {tuple(one) for one in versions.values()} == {((1, "replaced"), (2, "counts"))}


# The three steps of an edit, each held up: its lock, a writer of before, the marks.
LOCK = "SELECT pg_advisory_lock(hashtextextended('teltonika-processor zones', 0))"
STEPS = {
    "before it is written": LOCK,
    "before writers have ended": "BEGIN; SELECT pg_current_xact_id()",
    "before devices are marked": "BEGIN; LOCK TABLE refold IN SHARE MODE",
}
HELD_UP = {
    "before it is written": "wait_event_type = 'Lock' AND query LIKE '%advisory%'",
    "before writers have ended": "query LIKE '%pg_snapshot_xmin%'",
    "before devices are marked": "wait_event_type = 'Lock' AND query LIKE '%refold%'",
}
IMPORTS = "application_name LIKE 'teltonika-processor-migrate/%' AND datname = current_database()"


@pytest.mark.parametrize("end", ["kill", "terminate"])
@pytest.mark.parametrize("step", STEPS)
def test_an_import_that_ends_in_the_middle_is_finished_by_a_sweep(
    zones: Zones, dsn: str, step: str, end: str
) -> None:
    put_devices(dsn, 1500)
    with holding(dsn, STEPS[step]):
        command = zones.start("import", zones.file(PIT, GATE), "--valid-from", RACE, "--yes")
        eventually(
            lambda: fetch(dsn, f"SELECT FROM pg_stat_activity WHERE {IMPORTS} AND {HELD_UP[step]}")
        )
        if end == "kill":
            command.kill()
            command.wait()
        else:
            run_sql(dsn, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {IMPORTS}")
            assert command.wait(30) == 75
            told = zones.printed()
            assert ("a running processor does that" in told) == (step != "before it is written")
    eventually(lambda: not fetch(dsn, f"SELECT FROM pg_stat_activity WHERE {IMPORTS}"))
    assert n_marked(dsn) == 0
    if step == "before it is written":
        assert listed(zones) == []
        return
    assert [(line[0], line[-1]) for line in listed(zones)] == [("finish", False), ("pit", False)]
    asyncio.run(sweep(dsn))
    assert [(line[0], line[-1]) for line in listed(zones)] == [("finish", True), ("pit", True)]
    assert n_marked(dsn) == 1500


async def sweep(dsn: str) -> None:
    """As a processor does it every few seconds."""
    session = await open_session(SessionConfig(dsn=dsn, instance="sweep"))
    async for _ in finish_edits(session):
        pass
    await session.close()


def test_a_running_processor_finishes_what_a_killed_import_left(
    zones: Zones, dsn: str, redis_url: str
) -> None:
    put_devices(dsn, 3)
    with holding(dsn, STEPS["before writers have ended"]):
        command = zones.start("import", zones.file(PIT), "--valid-from", RACE, "--yes")
        eventually(lambda: listed(zones))
        command.kill()
        command.wait()
    assert [line[-1] for line in listed(zones)] == [False]
    with Processor(redis_url, dsn) as processor:
        eventually(lambda: [line[-1] for line in listed(zones)] == [True])
        assert processor.terminate() == 0

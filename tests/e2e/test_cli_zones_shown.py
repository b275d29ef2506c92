"""`teltonika-processor zones list`, `show`, `export` and `check` as an operator runs them."""

import json
from pathlib import Path
from typing import Any

import pytest

from commands import own_environment
from servers import run_sql
from teltonika_processor.timing.zone_feature import PROPERTIES
from terminal import Terminal
from zone_commands import CUT, DATE_LINE, GATE, LATER, PADDOCK, PIT, RACE, Zones, feature


@pytest.fixture
def dsn(migrated_database: str) -> str:
    return migrated_database


@pytest.fixture
def zones(dsn: str, tmp_path: Path) -> Zones:
    return Zones(dsn, tmp_path)


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
    assert zones("show", "finish").stdout.splitlines()[3:] == [
        "  kind          gate",
        "  valid from    2026-05-03T14:00:00Z",
        "  valid to      -",
        "  direction     left_to_right",
        "  counts        vehicles heading 090° (east)",
        "  points        2",
        "  length        111.2 m",
        "  bounds        25.000000 to 25.000000 east, 54.000000 to 54.001000 north",
        "  minimum lap   40 s",
        "  edit          finished",
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
        ["finish", "2", "1", "gate", "counts", RACE, "-", "-", "40", "s", "finished"],
        ["paddock", "1", "1", "polygon", "counts", RACE, "-", "5", "m", "-", "finished"],
    ]


def test_on_a_narrow_terminal_the_list_is_plain_columns(zones: Zones, dsn: str) -> None:
    zones("import", zones.file(PADDOCK), "--valid-from", RACE, "--yes")
    environment = own_environment(DATABASE_URL=dsn)
    with Terminal("zones", "list", environment=environment, columns=100) as terminal:
        assert terminal.exit_code() == 0
    assert terminal.output.split("\r\n")[1] == (
        f"paddock   1        1  polygon  counts  {RACE}  -                5 m            -"
        "  finished"
    )


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


def test_a_gate_without_length_is_a_problem_like_others(zones: Zones, dsn: str) -> None:
    points = {"type": "LineString", "coordinates": [[25.0, 54.0], [25.0, 54.0]]}
    checked = zones("check", zones.file(feature("click", points), GATE), "--offline")
    assert (checked.returncode, checked.stderr) == (1, "")
    assert checked.stdout.splitlines() == [
        (
            "feature 1, click: gate_without_length: all points of the gate are the same:"
            " expected two different ones"
        ),
        "feature 2, finish: counts vehicles heading 090° (east)",
        "2 zones read, 1 problem",
    ]
    zones("import", zones.file(GATE))
    run_sql(dsn, f"UPDATE zones SET geometry = '{json.dumps(points)}'")
    shown = zones("show", "finish")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "counts" not in shown.stdout.replace("version 1, counts", "")


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

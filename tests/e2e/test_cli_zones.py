"""`teltonika-processor zones import` and `disable` as an operator runs them."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from servers import run_sql
from zone_commands import GATE, LATER, PIT, RACE, Zones, feature, listed, n_marked, put_devices


@pytest.fixture
def dsn(migrated_database: str) -> str:
    return migrated_database


@pytest.fixture
def zones(dsn: str, tmp_path: Path) -> Zones:
    return Zones(dsn, tmp_path)


def test_a_file_is_tried_then_imported_and_then_there(zones: Zones, dsn: str) -> None:
    put_devices(dsn, 3)
    file = zones.file(PIT, GATE)
    tried = zones("import", file, "--dry-run", "--valid-from", RACE)
    assert (tried.returncode, tried.stderr) == (0, "")
    assert tried.stdout.splitlines() == [
        *("name    does   crossings", "pit     added  as they are", "finish  added  as they are"),
        "feature 2, finish: counts vehicles heading 090° (east)",
        f"would import 2 zones (2 added, 0 changed, 0 unchanged), to count from {RACE} on",
    ]
    assert zones("list").stdout == "no zone\n"
    done = zones("import", file, "--valid-from", RACE, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == [
        "imported 2 zones (2 added, 0 changed, 0 unchanged), to count from 2026-05-03T14:00:00Z on",
        "instances derive the crossings again, within seconds",
    ]
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


def test_a_zone_is_disabled_and_comes_back(zones: Zones, dsn: str) -> None:
    put_devices(dsn, 2)
    zones("import", zones.file(PIT), "--valid-from", RACE, "--yes")
    run_sql(dsn, "UPDATE refold SET ranges = '{}'")
    nobody = zones("disable", "pit")
    assert (nobody.returncode, nobody.stdout, nobody.stderr) == (
        *(2, ""),
        "there is no terminal to ask on: give --yes to disable, or --dry-run\n",
    )
    for also in ((), ("--yes",), ("--dry-run",)):
        unknown = zones("disable", "pits", *also)
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert unknown.stderr == "there is no zone 'pits'; did you mean 'pit'?\n"
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
    assert zones("import", zones.file(PIT)).returncode == 0
    assert [line[1:3] for line in listed(zones, "--all")] == [(1, "replaced"), (2, "counts")]

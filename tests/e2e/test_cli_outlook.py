"""What an edit of zones would change of the past, shown before it is made."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import asyncpg
import pytest

from commands import own_environment, run_command
from processes import Processor
from teltonika_processor.cli import zones_outlook
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.rerun import stretches
from teltonika_processor.timing.rerun import rerun
from terminal import Terminal
from timed import add_session, drive_over_line, moment
from waiting import eventually_async
from writing import IMEI

OTHER = IMEI + 1
BOTH_WAYS = "vehicles heading 180° (south), left to right, and 000° (north), right to left"
LONG_AGO, BEHIND = "2026-11-22T00:00:00Z", "2026-11-22T12:00:03Z"


@pytest.fixture
async def admin(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Two devices that crossed `line`, of which the records say so; a session of it."""
    connection = await asyncpg.connect(migrated_database)
    await drive_over_line(connection, IMEI, OTHER)
    await add_session(connection, [1])
    session = await open_session(SessionConfig(dsn=migrated_database, instance="test"))
    await rerun(session, await stretches(session, None, moment(0), None))
    await session.close()
    yield connection
    await connection.close()


@pytest.fixture
def dsn(migrated_database: str, admin: asyncpg.Connection) -> str:
    assert admin
    return migrated_database


def run(dsn: str, *arguments: str) -> CompletedProcess[str]:
    return run_command(*arguments, environment=own_environment(DATABASE_URL=dsn))


def cells(text: str) -> list[list[str]]:
    """Columns stand apart by two blanks."""
    return [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()
    ]


def file_of(directory: Path, *gates: tuple[str, float]) -> str:
    """Gates along a parallel, which count in both directions."""
    features = [
        {
            "type": "Feature",
            "properties": {"name": name},
            "geometry": {"type": "LineString", "coordinates": [[24, latitude], [26, latitude]]},
        }
        for name, latitude in gates
    ]
    file = directory / "zones.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return str(file)


async def rows(admin: asyncpg.Connection) -> list[tuple[Any, ...]]:
    found = await admin.fetch(
        "SELECT zone_id, zone_version, count(*) FROM timing_records GROUP BY 1, 2 ORDER BY 1, 2"
    )
    return [tuple(row) for row in found]


async def nobody_is_marked(admin: asyncpg.Connection) -> bool:
    return bool(await admin.fetchval("SELECT bool_and(isempty(ranges)) FROM refold"))


async def zones(admin: asyncpg.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await admin.fetch("SELECT id, version FROM zones ORDER BY 1, 2")]


async def test_a_trial_counts_what_would_become_of_crossings_and_writes_nothing(
    dsn: str, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    assert await rows(admin) == [(1, 1, 2)]
    file = file_of(tmp_path, ("line", 0.00015), ("other line", -0.0001), ("far", 1.0))
    tried = run(dsn, "zones", "import", file, "--valid-from", LONG_AGO, "--dry-run")
    assert (tried.returncode, tried.stderr) == (0, "")
    # It would lie at 3.0 s, of another segment: the crossing of before goes, another one comes.
    assert cells(tried.stdout) == [
        ["name", "does", "crossings", "sessions"],
        ["line", "changed", "2 added, 2 removed", "race"],
        ["other line", "added", "2 added", "-"],
        ["far", "added", "as they are", "-"],
        *(
            [f"feature {n}, {name}: counts {BOTH_WAYS}"]
            for n, name in enumerate(("line", "other line", "far"), start=1)
        ),
        [f"would import 3 zones (2 added, 1 changed, 0 unchanged), to count from {LONG_AGO} on"],
    ]
    told = run(dsn, "zones", "import", file, "--valid-from", "always", "--dry-run", "--json")
    assert json.loads(told.stdout)["zones"] == [
        {
            "name": "line",
            "did": "changed",
            "sessions": ["race"],
            "crossings": {"added": 2, "removed": 2, "changed": 0},
        },
        {
            "name": "other line",
            "did": "added",
            "sessions": [],
            "crossings": {"added": 2, "removed": 0, "changed": 0},
        },
        {
            "name": "far",
            "did": "added",
            "sessions": [],
            "crossings": {"added": 0, "removed": 0, "changed": 0},
        },
    ]
    assert await rows(admin) == [(1, 1, 2)]
    assert await zones(admin) == [(1, 1)]
    assert await nobody_is_marked(admin)


async def test_what_was_foreseen_is_what_comes(
    dsn: str, admin: asyncpg.Connection, tmp_path: Path, redis_url: str
) -> None:
    file = file_of(tmp_path, ("line", 0.00015), ("other line", -0.0001))
    done = run(dsn, "zones", "import", file, "--valid-from", LONG_AGO, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    # Nobody decides by them, so they are not derived for it; who times by the zone is told.
    assert cells(done.stdout)[:2] == [["name", "does", "sessions"], ["line", "changed", "race"]]
    assert done.stdout.splitlines()[-1] == "instances derive the crossings again, within seconds"
    with Processor(redis_url, dsn) as processor:
        await eventually_async(lambda: nobody_is_marked(admin))
        assert processor.terminate() == 0
    assert await rows(admin) == [(1, 2, 2), (2, 1, 2)]
    left = run(dsn, "timing", "recompute", "--zone", "line", "--since", "always", "--dry-run")
    assert "every crossing is as it should be" in left.stdout


async def test_what_would_only_bear_another_version_is_no_change(
    dsn: str, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    await admin.execute("UPDATE zones SET minimum_lap_s = 5")
    file = file_of(tmp_path, ("line", 0))
    tried = run(dsn, "zones", "import", file, "--valid-from", LONG_AGO, "--dry-run")
    assert cells(tried.stdout)[1] == ["line", "changed", "as they are", "race"]


async def test_from_now_on_nothing_of_the_past_is_counted_but_sessions_are_named(
    dsn: str, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    await admin.execute(
        "INSERT INTO sessions SELECT 'next year', kind, starts_at + '1 year', ends_at + '1 year',"
        " zones FROM sessions"
    )
    done = run(dsn, "zones", "import", file_of(tmp_path, ("line", 0.00015)))
    assert (done.returncode, done.stderr) == (0, "")
    assert cells(done.stdout)[:2] == [
        ["name", "does", "sessions"],
        ["line", "changed", "next year"],
    ]


async def test_the_same_again_names_no_session(
    dsn: str, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    await admin.execute("UPDATE zones SET valid_from = '-infinity'")
    done = run(dsn, "zones", "import", file_of(tmp_path, ("line", 0)), "--valid-from", LONG_AGO)
    assert (done.returncode, done.stderr) == (0, "")
    assert cells(done.stdout) == [
        *(["name", "does"], ["line", "unchanged"]),
        ["imported 1 zone (0 added, 0 changed, 1 unchanged)"],
    ]
    assert await zones(admin) == [(1, 1)]


async def test_who_is_asked_sees_it_first_and_may_say_no(
    dsn: str, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    arguments = ("zones", "import", file_of(tmp_path, ("line", 0.00015)), "--valid-from", LONG_AGO)
    with Terminal(*arguments, environment=own_environment(DATABASE_URL=dsn)) as terminal:
        asked = terminal.wait_for("[y/N]")
        assert "2 added, 2 removed" in asked
        assert "race" in asked
        assert f"this changes the past: crossings since {LONG_AGO} are derived again?" in asked
        terminal.answer("n")
        assert terminal.exit_code() == 1
    assert await zones(admin) == [(1, 1)]


async def test_disabling_shows_what_goes(dsn: str, admin: asyncpg.Connection) -> None:
    tried = run(dsn, "zones", "disable", "line", "--from", LONG_AGO, "--dry-run")
    assert cells(tried.stdout) == [
        ["name", "does", "crossings", "sessions"],
        ["line", "disabled", "2 removed", "race"],
        [f"would disable line from {LONG_AGO} on"],
    ]
    later = run(dsn, "zones", "disable", "line", "--from", BEHIND, "--dry-run", "--json")
    assert json.loads(later.stdout) == {
        "dry_run": True,
        "name": "line",
        "did": "disabled",
        "sessions": ["race"],
        "crossings": {"added": 0, "removed": 0, "changed": 0},
        "valid_to": BEHIND,
        "devices": None,
    }
    assert await admin.fetchval("SELECT valid_to = 'infinity' FROM zones")


async def test_other_limits_show_which_crossings_have_no_path_any_more(
    dsn: str, admin: asyncpg.Connection
) -> None:
    tried = run(dsn, "timing", "limits", "--gap-s", "1.5", "--dry-run")
    assert cells(tried.stdout) == [
        ["zone", "crossings"],
        ["line", "2 removed"],
        ["would be: gap 1.5 s, jump 140 m/s"],
    ]
    told = run(dsn, "timing", "limits", "--gap-s", "1.5", "--dry-run", "--json")
    assert json.loads(told.stdout)["crossings"] == {
        "line": {"added": 0, "removed": 2, "changed": 0}
    }
    assert await admin.fetchval("SELECT gap_s FROM timing_limits") == 300


async def test_a_row_that_is_no_zone_is_told(
    dsn: str, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    await admin.execute("UPDATE zones SET geometry = '{}'")
    arguments = ("import", file_of(tmp_path, ("other", 1)), "--valid-from", LONG_AGO, "--dry-run")
    for command in (arguments, ("disable", "line", "--from", LONG_AGO, "--dry-run")):
        refused = run(dsn, "zones", *command)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("zones: id 1, version 1 (line): ")


async def test_who_is_asked_does_not_wait_for_a_large_fleet(
    migrated_database: str, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admin.execute(
        "INSERT INTO last_position"
        " SELECT imei + n, recorded_at, 1, received_at, 25, 0, 0, 0, 9, 0, 0, 0"
        " FROM last_position, generate_series(2, 60, 2) AS n ON CONFLICT DO NOTHING"
    )
    session = await open_session(SessionConfig(dsn=migrated_database, instance="test"))
    monkeypatch.setattr(zones_outlook, "_ASKED_MAX_S", 0.0)

    async def nothing() -> None:
        return None

    asked = await zones_outlook.look_ahead(session, nothing, None, is_asked=True)
    assert (asked.n_compared, asked.n_devices) == (10, 62)
    told = await zones_outlook.look_ahead(session, nothing, None, is_asked=False)
    assert (told.n_compared, told.n_devices) == (62, 62)
    await session.close()

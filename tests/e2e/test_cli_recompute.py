"""`timing recompute` and `timing limits`: what would change is shown before it is written."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from subprocess import CompletedProcess
from typing import Any

import asyncpg
import pytest

from commands import ForkedCommand, own_environment, run_command
from processes import Processor
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.rerun import Stretch, mark, stretches
from teltonika_processor.timing import rerun as timing_rerun
from timed import NOON, drive_over_line, moment
from waiting import eventually_async
from writing import IMEI

OTHER = IMEI + 1
SINCE = ("--since", "2026-11-22T00:00:00Z")


@pytest.fixture
async def admin(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Two devices that crossed a gate, and no crossing that says so."""
    connection = await asyncpg.connect(migrated_database)
    await drive_over_line(connection, IMEI, OTHER)
    yield connection
    await connection.close()


@pytest.fixture
def dsn(migrated_database: str, admin: asyncpg.Connection) -> str:
    assert admin
    return migrated_database


def timing(dsn: str, *arguments: str) -> CompletedProcess[str]:
    return run_command("timing", *arguments, environment=own_environment(DATABASE_URL=dsn))


async def crossings(admin: asyncpg.Connection) -> list[tuple[Any, ...]]:
    """(device, seconds behind noon)."""
    rows = await admin.fetch(
        "SELECT imei, extract(epoch FROM at - $1)::float8 FROM timing_records ORDER BY imei, at",
        NOON,
    )
    return [tuple(row) for row in rows]


async def test_what_would_come_is_shown_and_not_written(
    dsn: str, admin: asyncpg.Connection
) -> None:
    done = timing(dsn, "recompute", "--imei", f"{IMEI}", *SINCE, "--dry-run")
    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        "what imei zone kind at was at cause",
        f"added {IMEI} line cross 2026-11-22T12:00:01.500000Z - ok",
        "imei zone added removed changed",
        f"{IMEI} line 1 0 0",
        "1 device, 3 segments looked at: 1 added, 0 removed, 0 changed crossings of 1 device",
    ], done.stderr
    assert await crossings(admin) == []
    assert await admin.fetch("SELECT FROM refold") == []


async def test_it_is_written_and_then_there_is_nothing_to_do(
    dsn: str, admin: asyncpg.Connection
) -> None:
    arguments = ("recompute", "--zone", "line", "--since", "always", "--yes")
    done = timing(dsn, *arguments)
    assert done.returncode == 0, done.stderr
    assert "derived again: 2 devices, 6 segments" in done.stdout
    assert await crossings(admin) == [(IMEI, 1.5), (OTHER, 1.5)]
    assert await admin.fetchval("SELECT bool_and(isempty(ranges) AND NOT is_rerun) FROM refold")
    again = timing(dsn, *arguments)
    assert again.stdout == "2 devices, 6 segments looked at: every crossing is as it should be\n"


async def test_what_somebody_changed_by_hand_is_mended_and_leaves_revisions(
    dsn: str, admin: asyncpg.Connection
) -> None:
    timing(dsn, "recompute", "--zone", "line", *SINCE, "--yes")
    await admin.execute("UPDATE timing_records SET at = at + interval '1 s' WHERE imei = $1", IMEI)
    await admin.execute(
        "INSERT INTO timing_records SELECT imei, end_t, 9, n, zone_version, kind, at,"
        " uncertainty_us, direction, cause, start_t, start_digest, end_digest, distance_m,"
        " satellites FROM timing_records WHERE imei = $1",
        OTHER,
    )
    done = timing(dsn, "recompute", "--zone", "line", *SINCE, "--yes", "--json")
    about = json.loads(done.stdout)
    assert about.pop("duration_s") < 5
    assert about == {
        "dry_run": False,
        "devices": 2,
        "segments": 6,
        "differences": [
            {"imei": f"{IMEI}", "zone": "line", "added": 0, "removed": 0, "changed": 1},
            {"imei": f"{OTHER}", "zone": "#9", "added": 0, "removed": 1, "changed": 0},
        ],
        "not_compared_whole": [],
        "written": True,
    }
    assert await crossings(admin) == [(IMEI, 1.5), (OTHER, 1.5)]
    causes = await admin.fetch("SELECT imei, cause FROM timing_revisions ORDER BY imei")
    assert [tuple(row) for row in causes] == [(IMEI, "rerun"), (OTHER, "rerun")]


async def test_a_time_without_fixes_has_nothing_to_do(dsn: str, admin: asyncpg.Connection) -> None:
    bounds = ("--since", "2026-11-22T10:00Z", "--until", "2026-11-22T11:00Z")
    done = timing(dsn, "recompute", "--zone", "line", *bounds, "--yes")
    assert (done.returncode, "as it should be" in done.stdout) == (0, True), done.stdout
    assert await crossings(admin) == []


async def test_devices_without_a_fix_since_then_are_told(
    dsn: str, admin: asyncpg.Connection
) -> None:
    later = ("--since", "2026-11-22T12:00:05Z", "--yes")
    done = timing(dsn, "recompute", "--zone", "line", *later)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "no device has a fix since 2026-11-22T12:00:05Z\n"
    await admin.execute(
        "UPDATE last_position SET recorded_at = $1 WHERE imei = $2", moment(9), OTHER
    )
    for imeis, n_devices in ((["--imei", f"{IMEI}"], 0), (both(), 1)):
        done = timing(dsn, "recompute", *imeis, *later, "--json")
        assert (done.returncode, json.loads(done.stdout)["devices"]) == (0, n_devices)
        assert done.stderr == f"device {IMEI} has no fix since 2026-11-22T12:00:05Z\n"


def both() -> list[str]:
    return ["--imei", f"{IMEI}", "--imei", f"{OTHER}"]


async def test_a_device_that_nobody_knows_is_refused(dsn: str, admin: asyncpg.Connection) -> None:
    await admin.execute("INSERT INTO devices (imei) VALUES ($1)", OTHER + 1)
    unknown = [f"--imei={imei}" for imei in (IMEI, OTHER + 1, OTHER + 2, OTHER + 2)]
    for more in (("--yes",), ("--dry-run", "--json")):
        done = timing(dsn, "recompute", *unknown, *SINCE, *more)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (f"device {OTHER + 1} has no fix\nthere is no device {OTHER + 2}\n")
    assert await crossings(admin) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--zone", "line", "--dry-run"), 2, "Missing option '--since'"),
        ((*SINCE, "--dry-run"), 2, "give --zone NAME or --imei IMEI"),
        (("--zone", "line", *SINCE), 2, "there is no terminal to ask on"),
        (
            ("--zone", "lime", *SINCE, "--dry-run"),
            1,
            "there is no zone 'lime'; did you mean 'line'?",
        ),
        (
            ("--zone", "line", *SINCE, "--until", "2026-11-21", "--dry-run"),
            2,
            "--until is not behind --since",
        ),
    ],
)
def test_what_is_refused(dsn: str, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = timing(dsn, "recompute", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in " ".join(done.stderr.split())


async def test_a_zone_that_is_none_is_named(dsn: str, admin: asyncpg.Connection) -> None:
    await admin.execute(
        """UPDATE zones SET geometry = '{"type": "LineString", "coordinates": []}'"""
    )
    done = timing(dsn, "recompute", "--zone", "line", *SINCE, "--yes")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("zones: id 1, version 1 (line): ")


async def test_a_mark_that_somebody_holds_is_waited_for(
    dsn: str, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is passed over until then, and tried again."""
    session = await open_session(SessionConfig(dsn=dsn, instance="rerun"))
    wanted = await stretches(session, None, moment(-60), None)
    assert wanted == [Stretch(imei, moment(-60), moment(4)) for imei in (IMEI, OTHER)]
    holder = await asyncpg.connect(dsn)
    held = holder.transaction()

    async def mark_and_hold(*arguments: Any) -> None:
        await mark(*arguments)
        await held.start()
        await holder.execute("SELECT FROM refold WHERE imei = $1 FOR UPDATE", OTHER)

    monkeypatch.setattr(timing_rerun, "mark", mark_and_hold)
    waiting = asyncio.create_task(timing_rerun.rerun(session, wanted))

    async def is_half_done() -> bool:
        return await crossings(admin) == [(IMEI, 1.5)]

    await eventually_async(is_half_done)
    assert not waiting.done()
    await held.rollback()
    await waiting
    assert await crossings(admin) == [(IMEI, 1.5), (OTHER, 1.5)]
    await holder.close()
    await session.close()


# Limits


async def test_limits_are_shown_and_changed_for_all_that_was(
    dsn: str, admin: asyncpg.Connection
) -> None:
    assert timing(dsn, "limits").stdout == "gap 300 s, jump 140 m/s\n"
    would = timing(dsn, "limits", "--gap-s", "1.5", "--dry-run")
    assert would.stdout == "no crossing changes\nwould be: gap 1.5 s, jump 140 m/s\n"
    assert timing(dsn, "limits", "--gap-s", "1.5").returncode == 2
    assert await admin.fetch("SELECT FROM refold") == []
    done = timing(dsn, "limits", "--gap-s", "1.5", "--yes", "--json")
    assert json.loads(done.stdout) == {
        "dry_run": False,
        "gap_s": 1.5,
        "jump_m_s": 140.0,
        "crossings": None,
        "devices": 2,
    }
    assert await admin.fetchval("SELECT is_marked FROM timing_limits")
    marked = await admin.fetch("SELECT imei, upper(ranges) FROM refold ORDER BY imei")
    assert [tuple(row) for row in marked] == [(imei, moment(4)) for imei in (IMEI, OTHER)]
    again = timing(dsn, "limits", "--gap-s", "1.5", "--yes")
    assert again.stdout == "gap 1.5 s, jump 140 m/s\n"


async def test_what_a_killed_change_of_limits_left_is_done_by_the_same_again(
    dsn: str, admin: asyncpg.Connection
) -> None:
    await admin.execute("UPDATE timing_limits SET gap_s = 1.5, is_marked = false")
    again = timing(dsn, "limits", "--gap-s", "1.5", "--yes")
    assert again.stdout == (
        "gap 1.5 s, jump 140 m/s\ninstances derive the crossings again, within seconds\n"
    )
    assert await admin.fetchval("SELECT is_marked FROM timing_limits")
    assert await admin.fetchval("SELECT bool_and(is_rerun) FROM refold")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "far"])
def test_a_limit_is_a_number_above_0(dsn: str, value: str) -> None:
    done = timing(dsn, "limits", f"--jump-m-s={value}", "--dry-run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected a number above 0" in done.stderr


@pytest.mark.parametrize("value", ["1e-7", "1e10"])
def test_a_gap_is_one_that_can_be_counted(dsn: str, value: str) -> None:
    done = timing(dsn, "limits", "--gap-s", value, "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected 0.000001 to 1000000000" in done.stderr


async def test_what_a_killed_recompute_marked_is_derived_by_an_instance(
    dsn: str, admin: asyncpg.Connection, redis_url: str
) -> None:
    with tempfile.TemporaryFile() as told:
        holder = await asyncpg.connect(dsn)
        await holder.execute("BEGIN; LOCK TABLE timing_records IN SHARE MODE")
        command = ForkedCommand(
            *("timing", "recompute", "--imei", f"{IMEI}", *SINCE, "--yes"),
            environment=own_environment(DATABASE_URL=dsn),
            stdout=told.fileno(),
            stderr=told.fileno(),
        )
        await eventually_async(lambda: is_held_up(admin))
        command.kill()
        command.wait()
        await holder.close()
    assert await marked(admin) == [IMEI]
    assert await crossings(admin) == []
    with Processor(redis_url, dsn) as processor:
        await eventually_async(lambda: has_crossed(admin))
        assert processor.terminate() == 0
    assert await marked(admin) == []
    assert await crossings(admin) == [(IMEI, 1.5)]


async def is_held_up(admin: asyncpg.Connection) -> bool:
    """Whether a command waits for a lock."""
    return bool(
        await admin.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        )
    )


async def has_crossed(admin: asyncpg.Connection) -> bool:
    return bool(await crossings(admin))


async def marked(admin: asyncpg.Connection) -> list[int]:
    rows = await admin.fetch("SELECT imei FROM refold WHERE NOT isempty(ranges) ORDER BY imei")
    return [row[0] for row in rows]

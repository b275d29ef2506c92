"""`teltonika-processor timing` as race control runs it: crossings, laps, the board, stays."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from subprocess import CompletedProcess

import asyncpg
import pytest

from commands import own_environment, run_command
from terminal import Terminal
from timed import FINISH, FIRST, Crossing, add_crossings, add_gate, add_session, moment
from writing import IMEI

OTHER, THIRD = IMEI + 1, IMEI + 2


@pytest.fixture
async def admin(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated_database)
    for zone, name in ((FINISH, "finish"), (FIRST, "pit")):
        await add_gate(connection, zone, name, minimum_lap_s=20)
    await connection.execute("INSERT INTO devices (imei, name) VALUES ($1, '=1+1')", IMEI)
    yield connection
    await connection.close()


@pytest.fixture
async def race(migrated_database: str, admin: asyncpg.Connection) -> str:
    """Three devices; the first has one lap too short, the second ends two laps earlier."""
    await add_session(admin, [FINISH, FIRST])
    await add_crossings(
        admin,
        *(Crossing(at=at) for at in (10, 12, 102, 190)),
        Crossing(at=42.5, zone=FIRST),
        *(Crossing(at=at, imei=OTHER) for at in (11, 100, 189.5)),
        *(Crossing(at=at, imei=THIRD) for at in (9, 95.000001)),
    )
    return migrated_database


def timing(dsn: str, *arguments: str) -> CompletedProcess[str]:
    done = run_command("timing", *arguments, environment=own_environment(DATABASE_URL=dsn))
    assert "Traceback" not in done.stderr
    return done


def lines_of(done: CompletedProcess[str]) -> list[str]:
    """With single spaces."""
    assert done.returncode == 0, done.stderr
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


# Laps


def test_laps_as_they_ended(race: str) -> None:
    assert lines_of(timing(race, "laps", "--session", "race")) == [
        "imei name lap started_at duration ± sector 1 sector 2 remarks",
        (
            f"{IMEI} =1+1 - 2026-11-22T12:00:10.000000Z 2.000 0.010 - - too short, positions are"
            " gone"
        ),
        f"{THIRD} - 1 2026-11-22T12:00:09.000000Z 1:26.000 0.010 - - positions are gone",
        f"{OTHER} - 1 2026-11-22T12:00:11.000000Z 1:29.000 0.010 - - positions are gone",
        (
            f"{IMEI} =1+1 1 2026-11-22T12:00:12.000000Z 1:30.000 0.010 30.500 59.500 positions are"
            " gone"
        ),
        f"{OTHER} - 2 2026-11-22T12:01:40.000000Z 1:29.500 0.010 - - positions are gone",
        f"{IMEI} =1+1 2 2026-11-22T12:01:42.000000Z 1:28.000 0.010 - - positions are gone",
    ]


def test_laps_as_csv_in_which_no_name_is_a_formula(race: str) -> None:
    done = timing(race, "laps", "--session", "race", "--csv", "--imei", f"{IMEI}")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["name"] for row in rows] == ["'=1+1"] * 3
    assert rows[1] == {
        "session": "race",
        "imei": f"{IMEI}",
        "name": "'=1+1",
        "lap": "1",
        "started_at": "2026-11-22T12:00:12.000000Z",
        "ended_at": "2026-11-22T12:01:42.000000Z",
        "duration_s": "90.000000",
        "uncertainty_s": "0.010000",
        "sector_1_s": "30.500000",
        "sector_2_s": "59.500000",
        "too_short": "false",
        "has_gap": "",
        "has_jump": "",
    }


def test_laps_as_json_lines(race: str) -> None:
    done = timing(race, "laps", "--session", "race", "--json", "--imei", f"{THIRD}")
    assert json.loads(done.stdout) == {
        "session": "race",
        "imei": f"{THIRD}",
        "name": None,
        "lap": 1,
        "started_at_us": 1_795_348_809_000_000,
        "ended_at_us": 1_795_348_895_000_001,
        "duration_us": 86_000_001,
        "uncertainty_us": 10_000,
        "sector_times_us": [None, None],
        "too_short": False,
        "has_gap": None,
        "has_jump": None,
    }


def test_the_board_of_a_race(race: str) -> None:
    """The second device began later and was at the line earlier."""
    assert lines_of(timing(race, "laps", "--session", "race", "--board")) == [
        "position imei name laps total best in lap last gap",
        f"1 {OTHER} - 2 2:58.500 1:29.000 1 1:29.500 -",
        f"2 {IMEI} =1+1 2 2:58.000 1:28.000 2 1:28.000 +0.500",
        f"3 {THIRD} - 1 1:26.000 1:26.000 1 1:26.000 +1 lap",
    ]


async def test_the_board_of_a_qualifying_is_by_best_lap(
    race: str, admin: asyncpg.Connection
) -> None:
    await admin.execute("UPDATE sessions SET kind = 'qualifying'")
    done = timing(race, "laps", "--session", "race", "--board", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["imei"], line["best_us"], line["gap_us"]) for line in found] == [
        (f"{THIRD}", 86_000_001, 0),
        (f"{IMEI}", 88_000_000, 1_999_999),
        (f"{OTHER}", 89_000_000, 2_999_999),
    ]
    done = timing(race, "laps", "--session", "race", "--board", "--csv")
    assert done.stdout.splitlines()[:2] == [
        "session,position,imei,name,laps,total_s,best_s,best_lap,last_s,laps_behind,gap_s",
        f"race,1,{THIRD},,1,86.000001,86.000001,1,86.000001,0,0.000000",
    ]


def test_a_session_that_nobody_knows(race: str) -> None:
    done = timing(race, "laps", "--session", "rase")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "there is no session 'rase'; did you mean 'race'?\n"
    assert timing(race, "laps", "--session", "race", "--csv", "--json").returncode == 2


# Why there is none.


def why_no_lap(dsn: str, *arguments: str) -> list[str]:
    """What standard error says; standard output says that there is none."""
    done = timing(dsn, "laps", "--session", "race", *arguments)
    assert (done.returncode, done.stdout) == (0, "no lap\n")
    return done.stderr.splitlines()


async def test_a_session_without_crossings_says_whom_its_gates_count(
    race: str, admin: asyncpg.Connection
) -> None:
    await admin.execute("TRUNCATE timing_records")
    await admin.execute("UPDATE zones SET direction = 'left_to_right' WHERE name = 'finish'")
    told = [
        "no crossing of 'finish' in this session: it counts vehicles heading 090° (east)",
        (
            "no crossing of 'pit' in this session: it counts vehicles heading 090° (east), left to"
            " right, and 270° (west), right to left"
        ),
    ]
    assert why_no_lap(race) == told
    assert why_no_lap(race, "--board") == told
    assert why_no_lap(race, "--imei", f"{IMEI}")[0] == (
        f"no crossing of 'finish' by {IMEI} in this session: it counts vehicles heading 090° (east)"
    )
    for more in (("--csv",), ("--json",), ("--board", "--csv")):
        done = timing(race, "laps", "--session", "race", *more)
        assert (done.stderr.splitlines(), "crossing" in done.stdout) == (told, False)
    await add_gate(admin, FINISH, "finish", version=2, direction="right_to_left")
    assert why_no_lap(race)[0].endswith(" heading 090° (east), or vehicles heading 270° (west)")


async def test_crossings_that_make_no_lap_are_counted(race: str, admin: asyncpg.Connection) -> None:
    await admin.execute("TRUNCATE timing_records")
    await add_crossings(
        admin,
        *(Crossing(at=5, imei=imei) for imei in (IMEI, OTHER)),
        *(Crossing(at=at, zone=FIRST, kind="enter", cause="gap") for at in (6, 7)),
        *(Crossing(at=at) for at in (-1, 3600)),
    )
    assert why_no_lap(race) == [
        "2 crossings of 'finish' in this session, of 2 devices: a lap takes two of one device",
        "no crossing of 'pit' in this session but 2 without a path between two fixes (gap or jump)",
    ]
    await add_crossings(admin, Crossing(at=8, zone=FIRST, imei=OTHER))
    assert why_no_lap(race, "--imei", f"{OTHER}") == [
        f"1 crossing of 'finish' by {OTHER} in this session: a lap takes two of one device",
        f"1 crossing of 'pit' by {OTHER} in this session",
    ]


async def test_a_zone_that_does_not_count_in_the_session_says_when_it_does(
    race: str, admin: asyncpg.Connection
) -> None:
    await admin.execute("TRUNCATE timing_records")
    await admin.execute("UPDATE zones SET valid_from = $1 WHERE name = 'finish'", moment(3600))
    await admin.execute("UPDATE zones SET valid_to = $1 WHERE name = 'pit'", moment(0))
    assert why_no_lap(race) == [
        "no crossing of 'finish' in this session: it counts from 2026-11-22T13:00:00Z on",
        "no crossing of 'pit' in this session: it counted until 2026-11-22T12:00:00Z",
    ]
    await admin.execute("UPDATE zones SET valid_from = $1 WHERE name = 'finish'", moment(3599))
    await admin.execute("DELETE FROM zones WHERE name = 'pit'")
    finish, pit = why_no_lap(race)
    assert "it counts vehicles heading" in finish
    assert pit == "no crossing of '#2' in this session: there is no such zone"


async def test_what_somebody_wrote_by_hand_breaks_no_hint(
    race: str, admin: asyncpg.Connection
) -> None:
    await admin.execute("TRUNCATE timing_records")
    await admin.execute(
        "UPDATE zones SET geometry = CASE name WHEN 'pit' THEN '{}'::jsonb"
        """ ELSE '{"coordinates": [[25, 0], [25, 0]]}' END"""
    )
    assert why_no_lap(race) == [
        "no crossing of 'finish' in this session",
        "no crossing of 'pit' in this session",
    ]


# Crossings


def test_crossings_by_their_moments(race: str) -> None:
    done = timing(race, "show", "--zone", "finish", "--since", "2026-11-22T12:01:35Z")
    assert lines_of(done)[:3] == [
        "at ± imei name zone kind direction cause satellites",
        f"2026-11-22T12:01:35.000001Z 0.005000 {THIRD} - finish cross left_to_right ok 9",
        f"2026-11-22T12:01:40.000000Z 0.005000 {OTHER} - finish cross left_to_right ok 9",
    ]
    done = timing(race, "show", "--imei", f"{IMEI}", "--until", "2026-11-22 12:00:12", "--json")
    assert json.loads(done.stdout)["at_us"] == 1_795_348_810_000_000
    assert timing(race, "show", "--until", "3650d").stdout == "no crossing\n"
    done = timing(race, "show", "--limit", "1")
    assert "12:03:10.000000Z" in done.stdout
    assert "there are older ones" in done.stdout
    assert timing(race, "show", "--since", "2030-01-01").stdout == "no crossing\n"
    assert timing(race, "show", "--zone", "pits").stderr.endswith("did you mean 'pit'?\n")


@pytest.mark.parametrize("until", ["3h", "2026-11-22T12:00:00Z"])
def test_a_span_without_a_moment_is_refused(until: str) -> None:
    since = "2h" if until == "3h" else until
    environment = own_environment(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    done = run_command(
        "timing", "show", "--since", since, "--until", until, environment=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "--until is not behind --since\n")


async def test_a_device_that_nobody_has_heard_of_is_told(
    race: str, admin: asyncpg.Connection
) -> None:
    told = (1, "", f"there is no device {IMEI + 3}\n")
    for order in (("show",), ("show", "--json"), ("stays", "--now")):
        done = timing(race, *order, "--imei", f"{IMEI + 3}")
        assert (done.returncode, done.stdout, done.stderr) == told
    await admin.execute("INSERT INTO devices (imei) VALUES ($1)", IMEI + 3)
    for order, nothing in (("show", "no crossing\n"), ("stays", "no stay\n")):
        done = timing(race, order, "--imei", f"{IMEI + 3}")
        assert (done.returncode, done.stdout, done.stderr) == (0, nothing, "")


# Stays


async def test_stays_and_who_is_there_now(race: str, admin: asyncpg.Connection) -> None:
    await add_crossings(
        admin,
        Crossing(at=500, kind="initial", zone=FIRST),
        Crossing(at=590.5, kind="exit", zone=FIRST, cause="gap"),
        Crossing(at=600, kind="enter", zone=FIRST, imei=OTHER),
    )
    assert lines_of(timing(race, "stays", "--zone", "pit")) == [
        "imei name zone entered_at left_at duration remarks",
        (
            f"{IMEI} =1+1 pit 2026-11-22T12:08:20.000000Z 2026-11-22T12:09:50.500000Z 1:30.500"
            " already inside, left by gap"
        ),
        f"{OTHER} - pit 2026-11-22T12:10:00.000000Z - -",
    ]
    done = timing(race, "stays", "--now", "--json")
    assert json.loads(done.stdout)["imei"] == f"{OTHER}"


async def test_who_was_in_a_zone_that_counts_no_more_is_not_there_now(
    race: str, admin: asyncpg.Connection
) -> None:
    """The device has sent nothing since, so that nothing closed its stay; another is yet to be."""
    await add_gate(admin, 3, "garage")
    for zone, imei in ((FIRST, IMEI), (3, OTHER)):
        await add_crossings(admin, Crossing(at=600, kind="enter", zone=zone, imei=imei))
    await admin.execute("UPDATE zones SET valid_to = now() - interval '1 s' WHERE name = 'pit'")
    now, since_always = (
        [json.loads(line) for line in timing(race, "stays", *more, "--json").stdout.splitlines()]
        for more in (("--now",), ())
    )
    assert [(stay["zone"], stay["is_open"], stay["zone_counts"]) for stay in now] == [
        ("garage", True, True)
    ]
    assert [(stay["zone"], stay["is_open"], stay["zone_counts"]) for stay in since_always] == [
        ("pit", True, False),
        ("garage", True, True),
    ]
    assert lines_of(timing(race, "stays", "--zone", "pit"))[1:] == [
        f"{IMEI} =1+1 pit 2026-11-22T12:10:00.000000Z - - the zone counts no more"
    ]
    await admin.execute(
        "UPDATE zones SET valid_from = now() + interval '1 h', valid_to = 'infinity'"
    )
    assert timing(race, "stays", "--now").stdout == "no stay\n"
    await add_gate(admin, FIRST, "pit", version=2)
    assert lines_of(timing(race, "stays", "--now"))[1:] == [
        f"{IMEI} =1+1 pit 2026-11-22T12:10:00.000000Z - -"
    ]


async def test_a_stay_that_has_ended_says_nothing_of_the_zone(
    race: str, admin: asyncpg.Connection
) -> None:
    await add_crossings(
        admin,
        Crossing(at=500, kind="enter", zone=FIRST),
        Crossing(at=590.5, kind="exit", zone=FIRST),
    )
    await admin.execute("UPDATE zones SET valid_to = now() - interval '1 s' WHERE name = 'pit'")
    assert lines_of(timing(race, "stays"))[1].endswith(" 1:30.500")


async def test_a_device_is_shown_with_the_zones_that_it_is_inside_of(
    race: str, admin: asyncpg.Connection, redis_url: str
) -> None:
    await add_crossings(
        admin,
        Crossing(at=500, kind="enter", zone=FIRST, imei=OTHER),
        Crossing(at=600, kind="enter"),
        Crossing(at=610, kind="exit"),
    )
    environment = own_environment(DATABASE_URL=race, REDIS_URL=redis_url)
    inside = []
    for imei in (IMEI, OTHER):
        told = run_command("device", "show", f"{imei}", "--json", environment=environment)
        inside.append(json.loads(told.stdout)["zones"])
    assert inside == [[], [{"zone": "pit", "since_ms": 1_795_349_300_000}]]
    told = run_command("device", "show", f"{OTHER}", environment=environment)
    assert "pit                     since 2026-11-22T12:08:20.000Z" in told.stdout
    await admin.execute("UPDATE zones SET valid_to = now() - interval '1 s' WHERE name = 'pit'")
    told = run_command("device", "show", f"{OTHER}", "--json", environment=environment)
    assert json.loads(told.stdout)["zones"] == []


# On terminals


def shown(dsn: str, columns: int, *arguments: str) -> list[str]:
    """The lines that a terminal of so many columns is sent, without colours."""
    environment = own_environment(DATABASE_URL=dsn)
    with Terminal("timing", *arguments, environment=environment, columns=columns) as terminal:
        assert terminal.exit_code() == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.output).split("\r\n")


@pytest.mark.parametrize("columns", [80, 100])
def test_laps_that_no_box_has_room_for_are_plain_columns(race: str, columns: int) -> None:
    found = shown(race, columns, "laps", "--session", "race", "--imei", f"{IMEI}")
    assert found[0] == (
        "imei             name  lap  started_at                   duration      ±  sector 1"
        "  sector 2  remarks"
    )
    assert found[2] == (
        f"{IMEI}  =1+1    1  2026-11-22T12:00:12.000000Z  1:30.000  0.010    30.500"
        "    59.500  positions are gone"
    )


def test_a_box_has_every_number_of_the_board_whole(race: str) -> None:
    board = ("laps", "--session", "race", "--board")
    plain = shown(race, 80, *board)
    assert plain[2] == (
        f"       2  {IMEI}  =1+1     2  2:58.000  1:28.000       2  1:28.000  +0.500"
    )
    boxed = shown(race, 100, *board)
    assert [cell.strip() for cell in boxed[1].split("┃")[5:9]] == [
        "total",
        "best",
        "in lap",
        "last",
    ]
    assert boxed[4].split("│")[5:9] == [" 2:58.000 ", " 1:28.000 ", "      2 ", " 1:28.000 "]

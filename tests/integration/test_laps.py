"""The views `laps` and `zone_stays` over crossings that are written by hand."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from timed import (
    FINISH,
    FIRST,
    NOON,
    SECOND,
    Crossing,
    add_crossings,
    add_fixes,
    add_gate,
    add_session,
    moment,
)
from writing import IMEI

OTHER = IMEI + 1


@pytest.fixture(autouse=True)
async def gates(admin: asyncpg.Connection) -> None:
    for zone, name in ((FINISH, "finish"), (FIRST, "first"), (SECOND, "second")):
        await add_gate(admin, zone, name)


async def laps(admin: asyncpg.Connection, *columns: str) -> list[tuple[Any, ...]]:
    """Of all sessions, devices and laps, in their order; durations in seconds."""
    rows = await admin.fetch("SELECT * FROM laps ORDER BY session, imei, started_at")
    return [tuple(_plain(row[column]) for column in columns) for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return [_plain(one) for one in value] if isinstance(value, list) else value


async def stays(admin: asyncpg.Connection) -> list[tuple[Any, ...]]:
    """(device, zone, entered, left, open, initial, the causes), in seconds behind noon."""
    rows = await admin.fetch(
        "SELECT imei, zone_id, extract(epoch FROM entered_at - $1)::float8,"
        " extract(epoch FROM left_at - $1)::float8, extract(epoch FROM duration)::float8,"
        " is_open, is_initial, entered_cause, left_cause"
        " FROM zone_stays ORDER BY imei, zone_id, entered_at",
        NOON,
    )
    return [tuple(row) for row in rows]


# Which laps there are.


async def test_a_lap_goes_from_one_crossing_to_the_next(admin: asyncpg.Connection) -> None:
    await add_session(admin, [FINISH])
    first, second, third = (
        Crossing(at=10.25, uncertainty_us=4000),
        Crossing(at=100.000001, uncertainty_us=5000),
        Crossing(at=180, uncertainty_us=7000),
    )
    await add_crossings(admin, first, second, third)
    found = await laps(
        admin, "session", "imei", "lap", "started_at", "ended_at", "duration", "uncertainty_us"
    )
    assert found == [
        ("race", IMEI, 1, moment(10.25), moment(100.000001), 89.750001, 9000),
        ("race", IMEI, 2, moment(100.000001), moment(180), 79.999999, 12_000),
    ]


async def test_one_crossing_is_no_lap_and_other_zones_are_none_of_it(
    admin: asyncpg.Connection,
) -> None:
    await add_session(admin, [FINISH])
    await add_crossings(admin, Crossing(at=10), *(Crossing(at=at, zone=FIRST) for at in (20, 30)))
    assert await laps(admin, "lap") == []


async def test_crossings_on_the_borders_of_a_session(admin: asyncpg.Connection) -> None:
    await add_session(admin, [FINISH], begin=100, end=400)
    await add_crossings(
        admin, *(Crossing(at=at) for at in (99.999999, 100, 200, 399.999999, 400, 500))
    )
    assert await laps(admin, "lap", "duration") == [(1, 100), (2, 199.999999)]


async def test_sessions_over_one_zone_count_their_own_laps(admin: asyncpg.Connection) -> None:
    await add_session(admin, [FINISH], name="a practice", begin=0, end=250)
    await add_session(admin, [FINISH], name="b race", begin=250, end=1000)
    await add_session(admin, [FINISH], name="c both", begin=0, end=1000)
    await add_crossings(admin, *(Crossing(at=at) for at in (100, 200, 300, 400)))
    assert await laps(admin, "session", "lap", "duration") == [
        ("a practice", 1, 100),
        ("b race", 1, 100),
        *(("c both", lap, 100) for lap in (1, 2, 3)),
    ]


async def test_devices_count_their_own_laps(admin: asyncpg.Connection) -> None:
    await add_session(admin, [FINISH])
    await add_crossings(
        admin,
        *(Crossing(at=at) for at in (10, 100, 190)),
        *(Crossing(at=at, imei=OTHER) for at in (11, 106)),
    )
    assert await laps(admin, "imei", "lap", "duration") == [
        (IMEI, 1, 90),
        (IMEI, 2, 90),
        (OTHER, 1, 95),
    ]


async def test_a_zone_that_is_an_area_is_lapped_by_entering(admin: asyncpg.Connection) -> None:
    await add_session(admin, [FINISH])
    kinds = ((0, "initial"), (5, "exit"), (100, "enter"), (105, "exit"), (190, "enter"))
    await add_crossings(admin, *(Crossing(at=at, kind=kind) for at, kind in kinds))
    assert await laps(admin, "lap", "duration") == [(1, 90)]


@pytest.mark.parametrize("cause", ["gap", "jump", "zone_ended"])
async def test_a_crossing_without_a_path_does_not_count(
    admin: asyncpg.Connection, cause: str
) -> None:
    await add_session(admin, [FINISH, FIRST])
    await add_crossings(
        admin,
        Crossing(at=0, kind="enter"),
        Crossing(at=30, kind="enter", zone=FIRST, cause=cause),
        Crossing(at=50, kind="enter", cause=cause),
        Crossing(at=90, kind="enter"),
    )
    assert await laps(admin, "lap", "duration", "sector_times") == [(1, 90, [None, None])]


# Short ones.


async def test_a_lap_below_the_minimum_is_flagged_and_has_no_number(
    admin: asyncpg.Connection,
) -> None:
    await admin.execute("UPDATE zones SET minimum_lap_s = 60")
    await add_session(admin, [FINISH])
    await add_crossings(admin, *(Crossing(at=at) for at in (0, 2, 90, 150, 209.999999, 300)))
    assert await laps(admin, "lap", "duration", "too_short") == [
        (None, 2, True),
        (1, 88, False),
        (2, 60, False),
        (None, 59.999999, True),
        (3, 90.000001, False),
    ]


async def test_the_minimum_is_that_of_the_version_at_the_end_of_the_lap(
    admin: asyncpg.Connection,
) -> None:
    await admin.execute("UPDATE zones SET minimum_lap_s = 60")
    await add_gate(admin, FINISH, "finish", version=2, minimum_lap_s=30)
    await add_gate(admin, FINISH, "finish", version=3)
    await add_session(admin, [FINISH])
    await add_crossings(
        admin,
        *(Crossing(at=at) for at in (0, 50)),
        *(Crossing(at=at, version=2) for at in (100, 125)),
        Crossing(at=126, version=3),
    )
    assert await laps(admin, "lap", "duration", "too_short") == [
        (None, 50, True),
        (1, 50, False),
        (None, 25, True),
        (2, 1, False),
    ]


# Sectors.


@pytest.mark.parametrize(
    ("first", "second", "times"),
    [
        ([30], [55], [30, 25, 35]),
        ([30, 35], [55], [30, 25, 35]),
        ([], [55], [None, None, 35]),
        ([30], [], [30, None, None]),
        ([], [], [None, None, None]),
        ([60], [40], [60, None, 50]),
        ([95], [-5, 40], [None, None, 50]),
    ],
)
async def test_sector_times(
    admin: asyncpg.Connection, first: list[float], second: list[float], times: list[float | None]
) -> None:
    """A gate that was passed twice counts the first time; one out of order gives no time."""
    await add_session(admin, [FINISH, FIRST, SECOND])
    await add_crossings(
        admin,
        *(Crossing(at=at) for at in (0, 90)),
        *(Crossing(at=at, zone=FIRST) for at in first),
        *(Crossing(at=at, zone=SECOND) for at in second),
        Crossing(at=31, zone=FIRST, imei=OTHER),
    )
    assert await laps(admin, "sector_times") == [(times,)]


async def test_without_sector_gates_there_are_no_sector_times(admin: asyncpg.Connection) -> None:
    await add_session(admin, [FINISH])
    await add_crossings(admin, Crossing(at=0), Crossing(at=90))
    assert await laps(admin, "sector_times") == [([],)]


# Gaps and jumps: 0.001 degree is 111.2 m, and the limits are 300 s and 140 m/s.


async def add_three_laps(admin: asyncpg.Connection) -> None:
    await add_session(admin, [FINISH])
    await add_crossings(admin, *(Crossing(at=at) for at in (0.5, 1000.5, 2000.5, 3000.5)))


def fixes(begin: int, end: int, step: int = 100) -> list[tuple[float, float]]:
    """Around each crossing, and every `step` seconds between."""
    ends = [at for crossing in (0, 1000, 2000, 3000) for at in (crossing, crossing + 1)]
    return [(at, 0.0) for at in sorted({*range(begin, end, step), *ends}) if begin <= at <= end]


async def test_a_gap_lies_in_its_lap_alone(admin: asyncpg.Connection) -> None:
    await add_three_laps(admin)
    await add_fixes(admin, *[fix for fix in fixes(0, 3100) if not 1200 < fix[0] < 1500])
    assert await laps(admin, "lap", "has_gap", "has_jump") == [
        (1, False, False),
        (2, False, False),
        (3, False, False),
    ]
    await admin.execute("DELETE FROM positions WHERE recorded_at = $1", moment(1200))
    assert await laps(admin, "lap", "has_gap") == [(1, False), (2, True), (3, False)]


async def test_a_gap_that_ends_at_the_next_laps_first_fix_is_not_in_that(
    admin: asyncpg.Connection,
) -> None:
    await add_three_laps(admin)
    await add_fixes(admin, *[fix for fix in fixes(0, 3100) if not 600 < fix[0] < 1000])
    assert await laps(admin, "lap", "has_gap") == [(1, True), (2, False), (3, False)]


async def test_a_jump_lies_in_its_lap_alone(admin: asyncpg.Connection) -> None:
    await add_three_laps(admin)
    await add_fixes(admin, *fixes(0, 3100), (2550, 0.05), (2549, 0.05), (1550, 0.0001))
    assert await laps(admin, "lap", "has_gap", "has_jump") == [
        (1, False, False),
        (2, False, False),
        (3, False, False),
    ]
    await add_fixes(admin, (2548, 0.0475))
    assert await laps(admin, "has_jump") == [(False,), (False,), (True,)]


async def test_no_jump_over_the_date_line(admin: asyncpg.Connection) -> None:
    await add_session(admin, [FINISH])
    await add_crossings(admin, Crossing(at=0.5), Crossing(at=50.5))
    await add_fixes(admin, *((at, 0.0) for at in (0, 1, 50, 51)))
    await admin.execute(
        "UPDATE positions SET longitude = CASE WHEN recorded_at < $1 THEN 179.9995 ELSE -179.9995"
        " END",
        moment(30),
    )
    assert await laps(admin, "has_jump") == [(False,)]


async def test_records_that_are_no_timing_fixes_make_no_jump_and_fill_no_gap(
    admin: asyncpg.Connection,
) -> None:
    await add_three_laps(admin)
    await add_fixes(admin, *[fix for fix in fixes(0, 3100) if not 1200 <= fix[0] < 1501])
    await add_fixes(admin, (1300, 80.0), (1400, 80.0), digest=2)
    await admin.execute("UPDATE positions SET satellites = 0 WHERE recorded_at = $1", moment(1300))
    await admin.execute(
        "UPDATE positions SET clock_suspect = true WHERE recorded_at = $1", moment(1400)
    )
    await add_fixes(admin, (2500, 80.0), digest=-5)  # its twin has the greater digest
    assert await laps(admin, "has_gap", "has_jump") == [
        (False, False),
        (True, False),
        (False, False),
    ]


async def test_limits_are_those_of_the_table(admin: asyncpg.Connection) -> None:
    await add_three_laps(admin)
    await add_fixes(admin, *fixes(0, 3100), (2550, 0.005))
    await admin.execute("UPDATE timing_limits SET gap_s = 100, jump_m_s = 11")
    assert await laps(admin, "has_gap", "has_jump") == [
        (False, False),
        (False, False),
        (False, True),
    ]
    await admin.execute("UPDATE timing_limits SET gap_s = 99.9, jump_m_s = 12")
    assert await laps(admin, "has_gap", "has_jump") == [(True, False), (True, False), (True, False)]


async def test_nobody_knows_where_positions_are_gone(admin: asyncpg.Connection) -> None:
    await add_three_laps(admin)
    assert await laps(admin, "has_gap", "has_jump") == [(None, None)] * 3
    await add_fixes(admin, *fixes(1500, 3100))
    assert await laps(admin, "has_gap", "has_jump") == [(None, None), (None, None), (False, False)]


async def test_positions_of_another_device_are_none_of_it(admin: asyncpg.Connection) -> None:
    await add_three_laps(admin)
    await add_fixes(admin, *fixes(0, 3100, 400), imei=OTHER)
    assert await laps(admin, "imei", "has_gap") == [(IMEI, None)] * 3


# Stays.


async def test_a_stay_lasts_until_the_exit(admin: asyncpg.Connection) -> None:
    await add_crossings(
        admin,
        Crossing(at=10, kind="enter"),
        Crossing(at=40.5, kind="exit"),
        Crossing(at=50, kind="cross"),
        Crossing(at=100, kind="enter"),
        Crossing(at=160, kind="exit", cause="zone_ended"),
    )
    assert await stays(admin) == [
        (IMEI, FINISH, 10, 40.5, 30.5, False, False, "ok", "ok"),
        (IMEI, FINISH, 100, 160, 60, False, False, "ok", "zone_ended"),
    ]


async def test_whoever_was_there_at_the_first_fix_is_initial(admin: asyncpg.Connection) -> None:
    await add_crossings(admin, Crossing(at=0, kind="initial"), Crossing(at=40, kind="exit"))
    assert await stays(admin) == [(IMEI, FINISH, 0, 40, 40, False, True, "ok", "ok")]


async def test_a_stay_without_an_exit_is_open(admin: asyncpg.Connection) -> None:
    await add_crossings(admin, Crossing(at=10, kind="enter"))
    assert await stays(admin) == [(IMEI, FINISH, 10, None, None, True, False, "ok", None)]


async def test_a_device_that_teleports_stays_with_its_causes(admin: asyncpg.Connection) -> None:
    await add_crossings(
        admin,
        Crossing(at=10, kind="enter", cause="jump"),
        Crossing(at=400, kind="exit", cause="gap"),
    )
    assert await stays(admin) == [(IMEI, FINISH, 10, 400, 390, False, False, "jump", "gap")]


async def test_stays_of_several_zones_and_devices(admin: asyncpg.Connection) -> None:
    await add_crossings(
        admin,
        Crossing(at=10, kind="enter"),
        Crossing(at=20, kind="enter", zone=FIRST),
        Crossing(at=30, kind="exit"),
        Crossing(at=15, kind="enter", imei=OTHER),
        Crossing(at=40, kind="exit", zone=FIRST),
    )
    assert [row[:4] for row in await stays(admin)] == [
        (IMEI, FINISH, 10, 30),
        (IMEI, FIRST, 20, 40),
        (OTHER, FINISH, 15, None),
    ]

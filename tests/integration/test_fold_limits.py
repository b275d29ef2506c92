"""What a fold must not touch, must not trust, and how it gets its turn."""

import asyncio
import dataclasses
from typing import Any

import asyncpg
import pytest

from crossings import BAND, CIRCLE, GATE, at, crossings
from rows import DAY_MS
from teltonika_processor.codec.native import ZoneIndex
from teltonika_processor.store import folding
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.folding import Folder, FoldLimits, KnownZones
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.zones import count_changes, path_limits
from teltonika_processor.timing.marked import LOSSES_MAX, Marked
from writing import ATTACH_UNNOTICED, DETACH_FOR_UNNOTICED, IMEI, Open, write

DAY_S = DAY_MS / 1000
ALL_TIME = (
    "INSERT INTO refold AS f (imei, ranges) SELECT imei, '{[2020-01-01,2030-01-01]}'"
    " FROM last_position ON CONFLICT (imei) DO UPDATE SET ranges = excluded.ranges"
)
TODAY, YESTERDAY = "positions_20261122", "positions_20261121"
ZONES = [CIRCLE, GATE]


@pytest.fixture
async def session(dsn: str) -> Any:
    found = await open_session(SessionConfig(dsn=dsn, instance="fold"))
    yield found
    found.terminate()


@pytest.fixture(autouse=True)
async def zones(admin: asyncpg.Connection) -> None:
    await admin.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, radius_m)"
        " VALUES (1, 1, 'any', 'circle', '{}', 100)"
    )


async def known(session: Any, *zones: Any) -> KnownZones:
    limits, changes = await path_limits(session), await count_changes(session)
    return KnownZones(ZoneIndex(list(zones)), limits, changes, len(zones))


async def fold_all(session: Any, admin: asyncpg.Connection, *zones: Any, **limits: Any) -> None:
    """Until nobody is marked."""
    folder, by = Folder(session, FoldLimits(**limits)), await known(session, *zones)
    while await admin.fetchval("SELECT count(*) FROM refold WHERE NOT isempty(ranges)"):
        await folder.fold(by, [IMEI])


@pytest.mark.parametrize("fixes", [1, 2, 5000])
@pytest.mark.parametrize("zone", [CIRCLE, BAND, GATE])
async def test_what_was_dropped_stays_as_it_was(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any, zone: Any, fixes: int
) -> None:
    """Inside, out, in again, and more of it a day later: then the first day is dropped."""
    before = [(0, 0), (10, 150), (20, 90), (30, -150), (40, 103)]
    after = [(DAY_S + 10, 102), (DAY_S + 20, 98), (DAY_S + 30, 150), (DAY_S + 40, -150)]
    await write(writer, *(at(second - DAY_S, north) for second, north in before))
    await write(writer, *(at(second - DAY_S, north) for second, north in after))
    await fold_all(session, admin, zone)
    as_it_was = await crossings(admin)
    assert len(as_it_was) >= 3
    await admin.execute(f"DROP TABLE {YESTERDAY}")
    await admin.execute(ALL_TIME)
    await fold_all(session, admin, zone, fixes=fixes)
    assert await crossings(admin) == as_it_was
    assert await admin.fetchval("SELECT count(*) FROM timing_revisions") == 0


async def test_a_late_fix_after_the_first_kept_one_counts(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await write(writer, at(-DAY_S, -30), at(0, -30), at(2, 30))
    await fold_all(session, admin, GATE)
    await admin.execute(f"DROP TABLE {YESTERDAY}")
    await write(writer, at(1, -20, digest=2))
    await fold_all(session, admin, GATE)
    assert await crossings(admin) == [(1, "cross", 1.4, "right_to_left", "ok", 2.0)]


@pytest.mark.parametrize(
    ("zone", "kinds"), [(GATE, ["cross", "cross"]), (CIRCLE, ["enter", "exit"])]
)
async def test_a_late_fix_of_a_dropped_day_changes_nothing_behind_that_day(  # noqa: PLR0917 -- fixtures
    writer: PositionWriter,
    open_writer: Open,
    admin: asyncpg.Connection,
    session: Any,
    zone: Any,
    kinds: list[str],
) -> None:
    """South of both, then over the gate and into the circle around midnight, and back at noon."""
    midnight = -DAY_S / 2
    await write(writer, at(midnight - 3600, -300), at(midnight - 60, -30), at(midnight - 50, -20))
    await write(writer, at(midnight + 60, 50), at(-60, 50), at(0, -300))
    await fold_all(session, admin, zone)
    as_it_was = await crossings(admin)
    assert [row[1] for row in as_it_was] == kinds
    await admin.execute(f"DROP TABLE {YESTERDAY}")
    await write(open_writer(own_state=True), at(midnight - 7200, -300, digest=2))
    await fold_all(session, admin, zone)
    assert await crossings(admin) == as_it_was
    await admin.execute(ALL_TIME)
    await fold_all(session, admin, zone)
    assert await crossings(admin) == as_it_was


async def test_a_device_inside_at_the_first_kept_fix_is_not_initial(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await write(writer, at(-DAY_S, 200), at(0, 0), at(5, 10))
    await fold_all(session, admin, CIRCLE)
    assert [row[1:2] + row[4:] for row in await crossings(admin)] == [("enter", "gap", 0.0)]
    await admin.execute(f"DROP TABLE {YESTERDAY}")
    await admin.execute(ALL_TIME)
    await fold_all(session, admin, CIRCLE)
    assert [row[1:2] + row[4:] for row in await crossings(admin)] == [("enter", "gap", 0.0)]


@pytest.mark.parametrize(
    ("fixes_s", "others_s", "late_s"),
    [
        ((0,), 1, 2),
        ((0,), 1, 3 * DAY_S),
        ((0, 20), 10, 5),
        ((0, 3 * DAY_S), 2 * DAY_S, 5),
    ],
    ids=["left", "far left", "right", "far right"],
)
async def test_a_record_that_takes_no_part_in_timing_is_no_neighbour(
    writer: PositionWriter,
    admin: asyncpg.Connection,
    session: Any,
    *,
    fixes_s: tuple[float, ...],
    others_s: float,
    late_s: float,
) -> None:
    """The device is inside all the time, where the others are not."""
    await write(writer, *(at(second, 0) for second in fixes_s))
    await fold_all(session, admin, CIRCLE)
    await write(
        writer,
        at(others_s, 500, digest=2, satellites=0),
        at(others_s, 500, digest=3, clock_suspect=True),
        dataclasses.replace(at(others_s, 500, digest=4), longitude=180.1),
    )
    await write(writer, at(late_s, 10, digest=5))
    await fold_all(session, admin, CIRCLE)
    assert await crossings(admin) == [(2, "initial", 0.0, None, "ok", 0.0)]


async def test_a_session_that_does_not_know_a_partition_does_not_fold(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any, dsn: str
) -> None:
    thirty_days = (30 * DAY_MS) / 1000
    await write(writer, at(thirty_days, -30), at(thirty_days + 2, 30))
    await admin.execute(DETACH_FOR_UNNOTICED)
    folder, by = Folder(session, FoldLimits()), await known(session, GATE)
    await folder.fold(by, [IMEI])
    await admin.execute(ATTACH_UNNOTICED)
    await admin.execute(ALL_TIME)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await folder.fold(by, [IMEI])
    assert await admin.fetchval("SELECT NOT isempty(ranges) FROM refold")
    other = await open_session(SessionConfig(dsn=dsn, instance="fold"))
    await fold_all(other, admin, GATE)
    other.terminate()
    assert [row[1] for row in await crossings(admin)] == ["cross"]


async def test_who_loses_five_times_is_done_by_the_lock_of_the_row(
    writer: PositionWriter,
    open_writer: Open,
    admin: asyncpg.Connection,
    session: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A batch marks the device between each read and its write, for as long as it can."""
    await write(writer, at(0, -30), at(2, 30))
    marked, folder, by = Marked(), Folder(session, FoldLimits()), await known(session, GATE)
    read, others, waiting = folding._read, open_writer(own_state=True), list[asyncio.Task[Any]]()

    async def read_while_a_batch_comes(*arguments: Any) -> int:
        n_bytes = await read(*arguments)
        batch = asyncio.create_task(write(others, at(3 + len(waiting), 60)))
        waiting.append(batch)
        await asyncio.wait({batch}, timeout=0.5 if is_held else None)
        return n_bytes

    monkeypatch.setattr(folding, "_read", read_while_a_batch_comes)
    marked.add([IMEI], 0.0)
    tries = list[tuple[bool, int]]()
    for now_s in range(LOSSES_MAX + 1):
        group = marked.take(float(now_s))
        assert group is not None
        is_held = group.holds
        done = await folder.fold(by, group.imeis, holds=group.holds)
        tries.append((group.holds, done.n_done))
        marked.settle(group, passed_over=done.passed_over, unfinished=(), now_s=float(now_s))
    assert tries == [(False, 0)] * LOSSES_MAX + [(True, 1)]
    await asyncio.gather(*waiting)
    assert [row[1:3] for row in await crossings(admin)] == [("cross", 1.0)]
    monkeypatch.undo()
    await fold_all(session, admin, GATE)
    assert len(await crossings(admin)) == 1


async def test_a_mark_that_somebody_holds_is_passed_over_by_the_lock_too(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await write(writer, at(0, -30), at(2, 30))
    folder, by = Folder(session, FoldLimits()), await known(session, GATE)
    async with admin.transaction():
        await admin.execute("SELECT FROM refold FOR UPDATE")
        held = await folder.fold(by, [IMEI], holds=True)
        assert (held.n_marked, held.passed_over) == (0, (IMEI,))
    done = await folder.fold(by, [IMEI], holds=True)
    assert (done.n_done, done.crossings) == (1, [("gate", "cross", 1)])

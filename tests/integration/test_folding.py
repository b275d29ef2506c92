"""One fold after another, by hand: crossings of literal fixes."""

import dataclasses
import json
import threading
from typing import Any

import asyncpg
import pytest

from crossings import BAND, CIRCLE, GATE, NOON, at, crossings
from teltonika_processor.codec.native import Fold, Zone, ZoneIndex
from teltonika_processor.store import folding
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.folding import Folded, Folder, FoldLimits, KnownZones
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.zones import count_changes, path_limits
from writing import IMEI, write


@pytest.fixture
async def session(dsn: str) -> Any:
    found = await open_session(SessionConfig(dsn=dsn, instance="test-0"))
    yield found
    await found.close()


@pytest.fixture(autouse=True)
async def zones(admin: asyncpg.Connection) -> None:
    """So that batches mark; what is folded by is what each test holds."""
    await admin.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, radius_m)"
        " VALUES (1, 1, 'any', 'circle', '{}', 100)"
    )


async def folded(session: Any, *zones: Zone, holds: bool = False, **limits: Any) -> Folded:
    changes = await count_changes(session)
    known = KnownZones(ZoneIndex(list(zones)), await path_limits(session), changes, len(zones))
    done = await Folder(session, FoldLimits(**limits)).fold(known, [IMEI], holds=holds)
    return without_names(done)


def without_names(done: Folded) -> Folded:
    return dataclasses.replace(
        done, done=(), passed_over=(), unfinished=(), crossings=(), revisions=()
    )


async def test_a_gate_is_crossed_between_two_fixes(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await write(writer, at(0, -30), at(1, -10), at(2, 30), at(3, 70))
    assert await folded(session, GATE) == Folded(1, 1, 4, 1)
    assert await crossings(admin) == [(1, "cross", 1.25, "right_to_left", "ok", 2.0)]
    assert await folded(session, GATE) == Folded(0, 0, 0, 0)


async def test_whoever_begins_inside_is_initial_and_leaves_later(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await write(writer, at(0, 0), at(10, 150))
    await folded(session, CIRCLE)
    assert await crossings(admin) == [
        (2, "initial", 0.0, None, "ok", 0.0),
        (2, "exit", pytest.approx(10 * 100 / 150, abs=2e-6), None, "ok", 10.0),
    ]


async def test_in_and_out_between_two_fixes_is_caught(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await write(writer, at(0, -200), at(10, 200))
    await folded(session, CIRCLE)
    assert [row[:3] for row in await crossings(admin)] == [
        (2, "enter", pytest.approx(2.5, abs=2e-6)),
        (2, "exit", pytest.approx(7.5, abs=2e-6)),
    ]


async def test_a_late_fix_changes_what_was_and_says_so(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    """-10, +3, +3, -10 m from the border, and a late +8 behind the first, at 5 m of hysteresis."""
    await write(writer, at(0, 90), at(10, 103), at(20, 103), at(30, 90))
    await folded(session, BAND)
    assert await crossings(admin) == [(3, "initial", 0.0, None, "ok", 0.0)]
    await write(writer, at(5, 108))
    assert await folded(session, BAND) == Folded(1, 1, 4, 1)
    kinds = [row[1:2] + row[5:] for row in await crossings(admin)]
    assert kinds == [("initial", 0.0), ("exit", 5.0), ("enter", 30.0)]
    assert await admin.fetchval("SELECT count(*) FROM timing_revisions") == 0


async def test_a_row_that_is_replaced_by_another_leaves_a_revision(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await write(writer, at(0, -30), at(2, 30))
    await folded(session, GATE)
    await write(writer, at(1, -20))
    await folded(session, GATE)
    assert await crossings(admin) == [(1, "cross", 1.4, "right_to_left", "ok", 2.0)]
    revision = await admin.fetchrow("SELECT * FROM timing_revisions")
    assert (revision["imei"], revision["zone_id"], revision["n"]) == (IMEI, 1, 0)
    assert revision["cause"] == "late_data"
    was, is_now = json.loads(revision["was"]), json.loads(revision["is_now"])
    assert was["at"] == "2026-11-22 12:00:01.000000+00"
    assert is_now["at"] == "2026-11-22 12:00:01.400000+00"


async def test_a_crossing_whose_moment_is_its_left_neighbours_is_replaced(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    """It had begun within the band: its moment is where its segment starts."""
    await write(writer, at(0, 90), at(10, 103), at(20, 110))
    await folded(session, BAND)
    initial = (3, "initial", 0.0, None, "ok", 0.0)
    assert await crossings(admin) == [initial, (3, "exit", 10.0, None, "ok", 20.0)]
    await write(writer, at(15, 120))
    await folded(session, BAND)
    assert await crossings(admin) == [initial, (3, "exit", 10.0, None, "ok", 15.0)]


async def test_what_does_not_change_is_not_written_again(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await write(writer, at(0, -30), at(2, 30), at(4, 90))
    await folded(session, GATE)
    before = await admin.fetchval("SELECT xmin::text FROM timing_records")
    await write(writer, at(3, 60))
    assert await folded(session, GATE) == Folded(1, 1, 2, 0)
    assert await admin.fetchval("SELECT xmin::text FROM timing_records") == before
    assert await admin.fetchval("SELECT isempty(ranges) FROM refold")


async def test_a_budget_cuts_a_stretch_and_the_rest_stays_marked(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await write(writer, *(at(second, 60 - 30 * (second % 4)) for second in range(11)))
    whole = []
    n_folds = 0
    while not await admin.fetchval("SELECT isempty(ranges) FROM refold"):
        await folded(session, GATE, CIRCLE, fixes=3)
        n_folds += 1
    cut = await crossings(admin)
    assert n_folds == 4
    await admin.execute("TRUNCATE timing_records")
    await admin.execute(
        "UPDATE refold SET ranges ="
        " tstzmultirange(tstzrange($1, $1::timestamptz + interval '1 hour', '[]'))",
        NOON,
    )
    await folded(session, GATE, CIRCLE)
    whole = await crossings(admin)
    assert cut == whole
    assert len(whole) > 4


@pytest.mark.parametrize(("hole_s", "n_unfinished"), [(600, 0), (601, 1)])
async def test_stretches_that_lie_close_are_derived_as_one(
    writer: PositionWriter, session: Any, admin: asyncpg.Connection, hole_s: int, n_unfinished: int
) -> None:
    await write(writer, at(0, -30), at(1, 30))
    await write(writer, at(1 + hole_s, 30), at(2 + hole_s, -30))
    changes = await count_changes(session)
    known = KnownZones(ZoneIndex([GATE]), await path_limits(session), changes, 1)
    done = await Folder(session, FoldLimits()).fold(known, [IMEI])
    assert len(done.unfinished) == n_unfinished
    assert len(await crossings(admin)) == 2 - n_unfinished


async def test_neighbours_that_are_far_are_found(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    days = 86_400.0
    await write(writer, at(0, 0))
    await folded(session, CIRCLE)
    await write(writer, at(5 * days, 200))
    await folded(session, CIRCLE)
    assert [row[1:2] + row[4:] for row in await crossings(admin)] == [
        ("initial", "ok", 0.0),
        ("exit", "gap", 5 * days),
    ]
    await write(writer, at(2 * days, 0, digest=2))
    await folded(session, CIRCLE)
    assert len(await crossings(admin)) == 2


async def test_a_mark_that_changed_meanwhile_is_left_alone(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(writer, at(0, -30), at(2, 30))
    read = folding._read

    async def read_and_then_a_batch(*arguments: Any) -> int:
        n_bytes = await read(*arguments)
        await write(writer, at(1, -20))
        return n_bytes

    monkeypatch.setattr(folding, "_read", read_and_then_a_batch)
    assert await folded(session, GATE) == Folded(1, 0, 2, 0)
    assert await crossings(admin) == []
    monkeypatch.undo()
    assert await folded(session, GATE) == Folded(1, 1, 3, 1)
    assert await crossings(admin) == [(1, "cross", 1.4, "right_to_left", "ok", 2.0)]


async def test_a_mark_that_somebody_holds_is_passed_over(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await write(writer, at(0, -30), at(2, 30))
    async with admin.transaction():
        await admin.execute("SELECT FROM refold FOR UPDATE")
        assert await folded(session, GATE) == Folded(1, 0, 2, 0)
    assert await folded(session, GATE) == Folded(1, 1, 2, 1)


async def test_of_one_millisecond_the_greatest_digest_counts_and_no_fix_is_none(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await write(
        writer,
        at(0, -30),
        at(1, 500, digest=-7),
        at(1, -10, digest=5),
        at(1.5, 300, satellites=0),
        at(2, 30),
    )
    await folded(session, GATE)
    assert await crossings(admin) == [(1, "cross", 1.25, "right_to_left", "ok", 2.0)]


@pytest.mark.parametrize("holds", [False, True])
async def test_a_newest_fix_that_was_dropped_is_waited_for_by_nobody(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any, *, holds: bool
) -> None:
    await write(writer, at(0, -30), at(3 * 86_400, 70))
    while (await folded(session, GATE)).n_marked:
        pass
    await write(writer, at(2, 30))
    await admin.execute("DROP TABLE positions_20261125")
    await folded(session, GATE, holds=holds)
    found = await crossings(admin)
    assert found[0] == (1, "cross", 1.0, "right_to_left", "ok", 2.0)
    assert await folded(session, GATE) == Folded(0, 0, 0, 0)


async def test_many_fixes_are_taken_in_and_derived_outside_the_thread_of_the_event_loop(
    writer: PositionWriter,
    admin: asyncpg.Connection,
    session: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: dict[str, set[int]] = {"add_positions": set(), "derive": set()}

    class Told:
        def __init__(self, *of: Any, **limits: Any) -> None:
            self.found = Fold(*of, **limits)

        def __getattr__(self, name: str) -> Any:
            return lambda *of: self.call(name, *of)

        @property
        def imeis(self) -> list[int]:
            return self.found.imeis

        def call(self, name: str, *of: Any) -> Any:
            threads.setdefault(name, set()).add(threading.get_ident())
            return getattr(self.found, name)(*of)

    monkeypatch.setattr(folding, "Fold", Told)
    monkeypatch.setattr(folding, "_INLINE_MAX_BYTES", 1)
    await write(writer, at(0, -30), at(2, 30))
    await folded(session, GATE)
    assert len(await crossings(admin)) == 1
    beside = {name for name, of in threads.items() if threading.get_ident() not in of}
    assert beside == {"add_positions", "derive"}

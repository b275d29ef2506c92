"""A group of devices whose fixes lie far apart in time: each is read among its own days."""

import io
from typing import Any

import asyncpg
import pytest

from crossings import GATE, at
from rows import Record
from teltonika_processor.codec.native import Fold, ZoneIndex
from teltonika_processor.store import queries
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.folding import Folder, FoldLimits, KnownZones
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.zones import count_changes, path_limits
from writing import IMEI, write

A_YEAR_S = 365 * 86_400


@pytest.fixture
async def session(dsn: str) -> Any:
    found = await open_session(SessionConfig(dsn=dsn, instance="test-0"))
    yield found
    await found.close()


def drive(imei: int, begin_s: float) -> list[Record]:
    """Over the gate from south to north, after a second."""
    return [at(begin_s, -30, imei=imei), at(begin_s + 2, 30, imei=imei)]


async def test_devices_of_different_years_are_done_at_once(
    writer: PositionWriter, admin: asyncpg.Connection, session: Any
) -> None:
    await admin.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, radius_m)"
        " VALUES (1, 1, 'any', 'circle', '{}', 100)"
    )
    begun = {IMEI: 0.0, IMEI + 1: -A_YEAR_S, IMEI + 2: 60.0}
    for imei, begin_s in begun.items():
        await write(writer, *drive(imei, begin_s))
    known = KnownZones(
        ZoneIndex([GATE]), await path_limits(session), await count_changes(session), 1
    )
    done = await Folder(session, FoldLimits()).fold(known, list(begun))
    assert (done.n_done, done.n_segments, done.n_changed) == (3, 6, 3)
    crossed = await admin.fetch("SELECT imei, end_t - at AS before FROM timing_records ORDER BY 1")
    assert [(row["imei"], row["before"].total_seconds()) for row in crossed] == [
        (imei, 1.0) for imei in begun
    ]


async def test_days_between_two_groups_of_stretches_are_not_read(session: Any) -> None:
    days = ("2026-11-22", "2025-11-22", "2026-11-24", "2026-11-27")
    stretches = [
        f"({IMEI + n}::bigint, '{day} 12:00:00+00'::timestamptz, '{day} 12:00:02+00'::timestamptz)"
        for n, day in enumerate(days)
    ]
    marks = io.BytesIO()
    await session.copy_from_query(
        queries.MARKS_OF_CONSTANTS.format(stretches=", ".join(stretches)),
        output=marks,
        format="binary",
    )
    fold = Fold(
        *(ZoneIndex([GATE]), marks.getvalue()),
        gap_us=1,
        jump_m_s=1.0,
        fixes=9,
        right=1,
        window_us=1 << 40,
    )
    # A day before and behind; two groups whose days meet are one.
    assert [(low, high, len(near)) for low, high, near in fold.reads()] == [
        ("2025-11-21 12:00:00.000000+00", "2025-11-23 12:00:02.000000+00", 1),
        ("2026-11-21 12:00:00.000000+00", "2026-11-25 12:00:02.000000+00", 2),
        ("2026-11-26 12:00:00.000000+00", "2026-11-28 12:00:02.000000+00", 1),
    ]

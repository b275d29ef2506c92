"""Marks for the whole fleet while one of its devices is erased."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock

import asyncpg
import pytest

from crossings import NOON, at
from teltonika_processor.store import zone_edits
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.erasure import PERSONAL_TABLES, PersonalTables, erase_rows
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.rerun import EARLIEST, Stretch, mark
from teltonika_processor.store.zone_edits import finish_edits
from waiting import eventually_async
from writing import IMEI, write

OTHER = IMEI - 1
"""Marked before the one that is erased."""


@pytest.fixture
async def session(dsn: str) -> Any:
    found = await open_session(SessionConfig(dsn=dsn, instance="test-0", lock_timeout_s=60))
    yield found
    found.terminate()


async def mark_for_an_edit(session: Any) -> None:
    async for _ in finish_edits(session):
        pass


async def mark_for_a_rerun(session: Any) -> None:
    await mark(session, [Stretch(imei, EARLIEST, NOON) for imei in (OTHER, IMEI)])


async def done_or_waits(admin: asyncpg.Connection, work: asyncio.Task[Any], session: Any) -> None:
    pid = session.get_server_pid()

    async def fact() -> bool:
        return work.done() or await admin.fetchval("SELECT cardinality(pg_blocking_pids($1))", pid)

    await eventually_async(fact)


@pytest.mark.parametrize("marking", [mark_for_an_edit, mark_for_a_rerun])
async def test_a_device_that_is_erased_while_all_are_marked_leaves_no_mark(  # noqa: PLR0917 -- fixtures
    session: Any,
    writer: PositionWriter,
    admin: asyncpg.Connection,
    dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    marking: Any,
) -> None:
    """A fixed interleaving: the device was found in `last_position`, and its mark comes later."""
    await write(writer, *(at(0, 0, imei=imei) for imei in (OTHER, IMEI)))
    await admin.execute("INSERT INTO refold (imei) VALUES ($1)", OTHER)
    await admin.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, radius_m, unmarked)"
        " VALUES (1, 1, 'any', 'circle', '{}', 100, '(,)')"
    )
    # Only for batches of before, and this one comes later.
    monkeypatch.setattr(zone_edits, "_until_writers_of_before_have_ended", AsyncMock())
    batch, eraser = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    try:
        await batch.execute(f"BEGIN; UPDATE refold SET is_rerun = false WHERE imei = {OTHER}")
        marked = asyncio.create_task(marking(session))
        await done_or_waits(admin, marked, session)
        tables = PersonalTables(PERSONAL_TABLES, ())
        erased = asyncio.create_task(erase_rows(eraser, tables, IMEI, {}))
        await done_or_waits(admin, erased, eraser)
        await batch.execute("COMMIT")
        await marked
        await erased
    finally:
        batch.terminate()
        eraser.terminate()
    assert await admin.fetchval("SELECT count(*) FROM last_position WHERE imei = $1", IMEI) == 0
    assert await admin.fetchval("SELECT count(*) FROM refold WHERE imei = $1", IMEI) == 0
    assert await admin.fetchval("SELECT NOT isempty(ranges) FROM refold WHERE imei = $1", OTHER)

"""Postgres crashes behind a fold's commit, for which nobody waited: the fold is done again."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from conftest import migrate
from servers import create_database, new_database_name, new_postgres
from teltonika_processor.embedded import EmbeddedPostgres
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.folding import Folded, Folder, FoldLimits, marked_devices
from teltonika_processor.store.rerun import mark, stretches
from teltonika_processor.timing.zone_cache import load_zones
from timed import drive_over_line, moment
from writing import IMEI

# Nothing else writes, so that nothing but a flush of ours brings a commit to the disk.
QUIET = {"autovacuum": "off"}


@pytest.fixture
def server() -> Iterator[EmbeddedPostgres]:
    with new_postgres(settings=QUIET) as server:
        yield server


@pytest.fixture
def dsn(server: EmbeddedPostgres) -> str:
    create_database(server.dsn(), name := new_database_name())
    migrate(server.dsn(name))
    return server.dsn(name)


async def crossings(admin: asyncpg.Connection) -> list[tuple[Any, ...]]:
    """(device, seconds behind noon)."""
    rows = await admin.fetch(
        "SELECT imei, extract(epoch FROM at - $1)::float8 FROM timing_records", moment(0)
    )
    return [tuple(row) for row in rows]


async def fold(dsn: str) -> Folded:
    session = await open_session(SessionConfig(dsn=dsn, instance="test"))
    assert await marked_devices(session, 10) == [IMEI]
    folded = await Folder(session, FoldLimits()).fold(await load_zones(session), [IMEI])
    await session.close()
    return folded


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()


async def mark_a_crossing(admin: asyncpg.Connection) -> None:
    """A device whose fixes go over a line, and a mark that is on the disk."""
    await drive_over_line(admin, IMEI)
    await mark(admin, await stretches(admin, [IMEI], moment(0), None))


async def test_a_fold_that_a_crash_undoes_has_its_mark_back(
    server: EmbeddedPostgres, dsn: str
) -> None:
    async with connected(dsn) as admin:
        await mark_a_crossing(admin)
        wal_writer = await admin.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
        )
        os.kill(wal_writer, signal.SIGSTOP)
        assert (await fold(dsn)).n_changed == 1
        assert await crossings(admin) == [(IMEI, 1.5)]
    server.kill()
    server.start()
    async with connected(dsn) as admin:
        assert await crossings(admin) == []
        assert (await fold(dsn)).n_changed == 1
        assert await crossings(admin) == [(IMEI, 1.5)]
        assert await admin.fetchval("SELECT bool_and(isempty(ranges)) FROM refold")

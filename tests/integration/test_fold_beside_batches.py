"""Fixed interleavings: a batch commits between two statements of a fold, and no fix of it is lost.

Marks are read before fixes, and cleared where they are still those that were read: whoever clears a
mark has seen what was marked.
"""

import asyncio
from typing import Any, Final

import asyncpg
import pytest

from crossings import GATE, at, crossings, marked
from moments import READ, WRITE, Beside
from teltonika_processor.codec.native import ZoneIndex
from teltonika_processor.store.connection import SessionConfig, open_session
from teltonika_processor.store.folding import Folder, FoldLimits, KnownZones
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.store.zones import count_changes, path_limits
from waiting import eventually_async
from writing import IMEI, write

WITHOUT_IT: Final = [(1, "cross", 1.0, "right_to_left", "ok", 2.0)]
WITH_IT: Final = [(1, "cross", 1.4, "right_to_left", "ok", 2.0)]

# Devices that are done, crossings that are stored then, what is marked still.
SEEN: Final = (1, WITH_IT, [])
PASSED_OVER: Final = (0, [], [(IMEI, 0.0, 2.0)])
LEFT: Final = (1, WITHOUT_IT, [(IMEI, 1.0, 1.0)])

BESIDE_A_FOLD_BY_VERSION: Final = {
    **dict.fromkeys(("partitions", "marks"), SEEN),
    **dict.fromkeys((*READ[1:], "begin", "lock"), PASSED_OVER),
    **dict.fromkeys(WRITE, LEFT),
}
BESIDE_A_FOLD_BY_LOCK: Final = {
    **dict.fromkeys(("partitions", "begin", "lock"), SEEN),
    **dict.fromkeys((*READ, *WRITE), LEFT),
}


@pytest.fixture
async def session(dsn: str) -> Any:
    found = await open_session(SessionConfig(dsn=dsn, instance="fold"))
    yield found
    found.terminate()


@pytest.fixture
async def known(session: Any, writer: PositionWriter, admin: asyncpg.Connection) -> KnownZones:
    """A gate, and two fixes on either side of it, which are marked; a third one comes late."""
    await admin.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, radius_m)"
        " VALUES (1, 1, 'so that batches mark', 'circle', '{}', 100)"
    )
    await write(writer, at(0, -30), at(2, 30))
    changes, limits = await count_changes(session), await path_limits(session)
    return KnownZones(ZoneIndex([GATE]), limits, changes, 1)


async def fold(session: Any, known: KnownZones, *, holds: bool = False) -> int:
    """How many devices were done."""
    return (await Folder(session, FoldLimits()).fold(known, [IMEI], holds=holds)).n_done


class LateBatch:
    """With the late fix."""

    def __init__(self, writer: PositionWriter, admin: asyncpg.Connection) -> None:
        self._writer: Final = writer
        self._admin: Final = admin
        self._written: asyncio.Task[Any] | None = None

    async def comes(self) -> None:
        """Until it is committed, or waits for a lock of the fold."""
        self._written = asyncio.create_task(write(self._writer, at(1, -20)))
        await eventually_async(self._is_committed_or_waits)

    async def until_committed(self) -> None:
        assert self._written is not None
        await self._written

    async def _is_committed_or_waits(self) -> object:
        assert self._written is not None
        return self._written.done() or await self._admin.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND application_name = 'teltonika-processor/test-0'"
            " AND datname = current_database()"
        )


@pytest.mark.parametrize(
    ("holds", "moment", "expected"),
    [
        *((False, moment, expected) for moment, expected in BESIDE_A_FOLD_BY_VERSION.items()),
        *((True, moment, expected) for moment, expected in BESIDE_A_FOLD_BY_LOCK.items()),
    ],
)
async def test_a_batch_before_any_statement_of_a_fold_is_seen_or_stays_marked(
    writer: PositionWriter,
    admin: asyncpg.Connection,
    session: Any,
    known: KnownZones,
    *,
    holds: bool,
    moment: str,
    expected: Any,
) -> None:
    batch = LateBatch(writer, admin)
    n_done = await fold(Beside(session, moment, batch.comes), known, holds=holds)
    await batch.until_committed()
    assert (n_done, await crossings(admin), await marked(admin)) == expected
    await fold(session, known)
    assert (await crossings(admin), await marked(admin)) == (WITH_IT, [])


@pytest.mark.parametrize("holds", [False, True])
async def test_a_batch_behind_the_commit_of_a_fold_stays_marked(
    writer: PositionWriter,
    admin: asyncpg.Connection,
    session: Any,
    known: KnownZones,
    *,
    holds: bool,
) -> None:
    batch = LateBatch(writer, admin)
    beside = Beside(session, "commit", batch.comes, behind=True)
    n_done = await fold(beside, known, holds=holds)
    await batch.until_committed()
    assert (n_done, await crossings(admin), await marked(admin)) == LEFT
    await fold(session, known)
    assert (await crossings(admin), await marked(admin)) == (WITH_IT, [])

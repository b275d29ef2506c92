"""A worker that folds for as long as a process runs, and loses its session now and then."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from crossings import at, crossings
from teltonika_processor.events import FoldCommitted, RetryScheduled, RetrySucceeded
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.folding import FoldLimits
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.tasks.companions import companions
from teltonika_processor.tasks.retry import Surroundings
from teltonika_processor.timing.worker import FoldWorker
from waiting import eventually_async
from writing import IMEI, write


async def test_every_lost_session_is_an_outage_of_its_own(
    writer: PositionWriter, admin: asyncpg.Connection, dsn: str
) -> None:
    """Else the waits would double for as long as the process runs, and no outage were over."""
    await admin.execute(
        "INSERT INTO zones (id, version, name, kind, geometry, direction) VALUES (1, 1, 'finish',"
        " 'gate', '{\"type\": \"LineString\", \"coordinates\": [[24, 0], [26, 0]]}', 'both')"
    )
    events = list[Any]()

    def n_folds_are(n: int) -> Callable[[], Awaitable[bool]]:
        async def are() -> bool:
            return sum(isinstance(event, FoldCommitted) for event in events) == n

        return are

    clock = asyncio.get_running_loop().time
    worker = FoldWorker(
        SessionConfig(dsn=dsn, instance="fold"),
        FoldLimits(),
        lambda: False,
        Surroundings(events.append, clock, lambda: 0.0),
    )
    async with companions({"fold": worker.run()}):
        for second in range(4):
            await admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE"
                " application_name = 'teltonika-processor/fold' AND datname = current_database()"
            )
            await write(writer, at(second, -30 if second % 2 else 30))
            worker.marked([IMEI])
            await eventually_async(n_folds_are(second + 1))
    said = [(event.attempt, event.wait_s) for event in events if isinstance(event, RetryScheduled)]
    assert said == [(1, 0.05)] * 3
    assert [e.attempts for e in events if isinstance(e, RetrySucceeded)] == [1] * 3
    assert [row[2] for row in await crossings(admin)] == [0.5, 1.5, 2.5]

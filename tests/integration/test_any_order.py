"""Crossings do not depend on the order in which fixes came, on who wrote them, or on who folded."""

import asyncio
import contextlib
import io
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import asyncpg
import pytest

from rows import Record
from teltonika_processor.codec.native import TIMING_RECORD_COLUMNS
from teltonika_processor.errors import TransientError
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.folding import FoldLimits
from teltonika_processor.store.positions import PositionWriter, Receipt, SharedState
from teltonika_processor.store.zones import ZoneColumns, write_zones
from teltonika_processor.tasks.companions import companions, run_together
from teltonika_processor.tasks.retry import Surroundings
from teltonika_processor.timing.sweep import Sweeper
from teltonika_processor.timing.worker import FoldWorker
from tracks import Course, course, single_pass, track
from waiting import eventually_async
from writing import IMEI, SEED, write

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()


def config(dsn: str, instance: str) -> SessionConfig:
    return SessionConfig(dsn=dsn, instance=instance)


async def draw(dsn: str, course: Course) -> None:
    zones = [
        ZoneColumns(
            name=name,
            kind=kind,
            geometry=geometry,
            radius_m=radius_m,
            direction=direction,
            hysteresis_m=hysteresis_m,
            minimum_lap_s=None,
        )
        for name, kind, geometry, radius_m, direction, hysteresis_m in course.rows
    ]
    async with connected(dsn) as connection:
        await write_zones(connection, zones, valid_from=LONG_AGO)


@contextlib.asynccontextmanager
async def folding(dsn: str, n_workers: int, limits: FoldLimits) -> AsyncIterator[list[FoldWorker]]:
    around = Surroundings(lambda _: None, asyncio.get_running_loop().time, lambda: 0.0)
    workers = [
        FoldWorker(
            config(dsn, f"fold-{number}"),
            limits,
            lambda: False,
            around,
        )
        for number in range(n_workers)
    ]
    works = {f"fold-{number}": worker.run() for number, worker in enumerate(workers)}
    works |= Sweeper(config(dsn, "sweep"), workers[0].marked, around, every_s=0.05).works()
    async with companions(works):
        yield workers


async def write_all(
    dsn: str, number: int, batches: Sequence[Sequence[Record]], worker: FoldWorker
) -> None:
    """Write as the pipeline does: again until it is done."""
    writer = PositionWriter(config(dsn, f"test-{number}"), SharedState())
    try:
        for batch in batches:
            while (receipt := await written(writer, batch)) is None:  # noqa: ASYNC110 -- a try again
                await asyncio.sleep(0.01)
            if receipt.marked:
                worker.marked({record.imei for record in batch})
    finally:
        await writer.close()


async def written(writer: PositionWriter, batch: Sequence[Record]) -> Receipt | None:
    with contextlib.suppress(TransientError):
        return await write(writer, *batch)
    return None


async def kill_now_and_then(dsn: str, randomly: random.Random) -> None:
    async with connected(dsn) as connection:
        while True:
            await asyncio.sleep(randomly.uniform(0.005, 0.05))
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database()"
                " AND application_name LIKE 'teltonika-processor/%' ORDER BY random() LIMIT 1"
            )


async def stored(dsn: str) -> list[tuple[int, bytes]]:
    """The crossings of each device, as COPY gives them."""
    found = []
    async with connected(dsn) as connection:
        imeis = await connection.fetch("SELECT DISTINCT imei FROM positions ORDER BY imei")
        for (imei,) in imeis:
            out = io.BytesIO()
            await connection.copy_from_query(
                f"SELECT {', '.join(TIMING_RECORD_COLUMNS)} FROM timing_records"
                f" WHERE imei = {imei} ORDER BY end_t, zone_id, n",
                output=out,
                format="binary",
            )
            found.append((imei, out.getvalue()))
    return found


async def nobody_is_marked(dsn: str) -> None:
    async with connected(dsn) as connection:

        async def is_clear() -> bool:
            marks = "SELECT count(*) FROM refold WHERE NOT isempty(ranges)"
            edits = "SELECT count(*) FROM zones WHERE NOT isempty(unmarked)"
            return not await connection.fetchval(edits) and not await connection.fetchval(marks)

        await eventually_async(is_clear, timeout_s=30)


@pytest.mark.parametrize("case", range(6))
async def test_any_order_gives_the_crossings_of_a_single_sorted_pass(dsn: str, case: int) -> None:
    seed = SEED + case
    randomly = random.Random(seed)
    drawn = course(randomly)
    records = [
        record
        for number in range(randomly.randint(1, 3))
        for record in track(randomly, IMEI + number, randomly.randint(3, 35))
    ]
    sent = records + randomly.sample(records, randomly.randrange(len(records)))
    randomly.shuffle(sent)
    n_writers = randomly.randint(1, 4)
    size = randomly.randint(1, 8)
    batches = [sent[at : at + size] for at in range(0, len(sent), size)]
    limits = FoldLimits(fixes=randomly.choice([2, 3, 5000]))
    zones_come_late = randomly.random() < 0.5
    if not zones_come_late:
        await draw(dsn, drawn)
    async with folding(dsn, randomly.randint(1, 3), limits) as workers:
        writing = {
            f"writer-{number}": write_all(
                dsn, number, batches[number::n_writers], randomly.choice(workers)
            )
            for number in range(n_writers)
        }
        if zones_come_late:
            writing["zones"] = draw(dsn, drawn)
        async with companions({"kills": kill_now_and_then(dsn, randomly)}):
            await run_together(writing)
        await nobody_is_marked(dsn)
    kept = {}
    for record in sorted(records, key=lambda record: record.clock_suspect):
        kept.setdefault(record.key, record)
    assert await stored(dsn) == single_pass(drawn, kept.values()), seed

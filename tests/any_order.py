"""A random case: records in any order, by several writers and folds, with kills and edits of zones.

What the tables hold at the end is compared row for row with what a single sorted pass makes of the
same records: of it the database knows nothing.
"""

import asyncio
import contextlib
import io
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, Final
from unittest.mock import patch

import asyncpg

from courses import Course, ZoneVersion, course
from kills import Kills
from reference_laps import Lap, Session, laps_of
from reference_timing import UndecidedError, tell
from rows import Record
from teltonika_processor.codec.native import TIMING_RECORD_COLUMNS
from teltonika_processor.errors import TransientError
from teltonika_processor.store import positions
from teltonika_processor.store.connection import SessionConfig, session_of
from teltonika_processor.store.folding import FoldLimits
from teltonika_processor.store.positions import PositionWriter, Receipt, SharedState
from teltonika_processor.store.zone_edits import finish_edits
from teltonika_processor.store.zones import all_zones, disable_zone, write_zones
from teltonika_processor.tasks.companions import companions, run_together
from teltonika_processor.tasks.retry import Surroundings
from teltonika_processor.timing import marked as timing_marked
from teltonika_processor.timing import sweep as timing_sweep
from teltonika_processor.timing import worker as timing_worker
from teltonika_processor.timing.sweep import Sweeper
from teltonika_processor.timing.worker import FoldWorker
from timing_rows import differences, read_crossings
from tracks import single_pass, track
from waiting import eventually_async
from writing import IMEI, write

START_ZONE: Final = 4
"""A gate, at first; sectors end at zones 1 and 5."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_LAST_COLUMNS: Final = (
    "imei, recorded_at, digest, received_at, longitude, latitude, altitude_m, angle_deg,"
    " satellites, speed_kmh, priority, event_io_id"
)
_POSITION_COLUMNS: Final = f"{_LAST_COLUMNS}, generation_type, clock_suspect"


@dataclass(frozen=True, slots=True)
class Case:
    """What is written, and by whom.

    Attributes:
        sent: Records as they come, with copies; the clock of one may be suspect, another's not.
        zones_come_late: Whether the first zone is written while batches are.
        losses_max: Folds hold the mark of whoever lost so often, from before they read.
    """

    seed: int
    course: Course
    sent: Sequence[Record]
    batch_size: int
    n_writers: int
    n_folds: int
    limits: FoldLimits
    zones_come_late: bool
    kills_most: int
    losses_max: int

    def kept(self) -> list[Record]:
        """Each record once: suspect only if every copy is."""
        kept: dict[tuple[int, int, int], Record] = {}
        for record in sorted(self.sent, key=attrgetter("clock_suspect")):
            kept.setdefault(record.key, record)
        return sorted(kept.values(), key=attrgetter("key"))


def random_case(seed: int) -> Case:
    """The case of this seed."""
    randomly = random.Random(seed)
    records = [
        record
        for number in range(randomly.randint(1, 3))
        for record in track(randomly, IMEI + number, randomly.randint(3, 35))
    ]
    copies = randomly.sample(records, round(randomly.random() * len(records)))
    sent = [*records, *(_copy_of(randomly, record) for record in copies)]
    order: Callable[[], Any] = randomly.choice(
        [lambda: randomly.shuffle(sent), sent.reverse, lambda: None]
    )
    order()
    return Case(
        seed,
        course(randomly, [record.recorded_at_ms for record in records]),
        sent,
        batch_size=randomly.randint(1, 8),
        n_writers=randomly.randint(1, 4),
        n_folds=randomly.randint(1, 3),
        limits=FoldLimits(fixes=randomly.choice([2, 3, 5000])),
        zones_come_late=randomly.random() < 0.5,
        kills_most=randomly.choice([0, 8, 16, 32]),
        losses_max=randomly.choice([5, 5, 0]),
    )


def _copy_of(randomly: random.Random, record: Record) -> Record:
    if randomly.random() < 0.8:
        return record
    fields = {name: getattr(record, name) for name in Record.__dataclass_fields__}
    return Record(**{**fields, "clock_suspect": not record.clock_suspect})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case.

    Attributes:
        wrong: Tables, or the single pass itself, that are not as they must be.
        undecided: Devices whose single pass lies too close to a border for the reference.
    """

    wrong: Sequence[str]
    kills: Kills
    undecided: int = 0


async def run_case(dsn: str, case: Case, *, timeout_s: float) -> Outcome:
    """Write and fold, then compare."""
    async with connected(dsn) as admin, connected(dsn) as killer:
        randomly = random.Random(case.seed + 1)
        kills = Kills(killer, randomly, case.kills_most)
        await _add_session(admin)
        with (
            patch.object(positions, "open_session", kills.opening),
            patch.object(timing_worker, "open_session", kills.opening),
            patch.object(timing_sweep, "open_session", kills.opening),
            patch.object(timing_marked, "LOSSES_MAX", case.losses_max),
        ):
            await _write_and_fold(dsn, case, kills, randomly)
            async with folding(dsn, 1, case.limits):
                await nobody_is_marked(admin, timeout_s)
        return await _compared(admin, case, kills)


async def _write_and_fold(dsn: str, case: Case, kills: Kills, randomly: random.Random) -> None:
    batches = [
        case.sent[at : at + case.batch_size] for at in range(0, len(case.sent), case.batch_size)
    ]
    edits = _edit(dsn, case.course, kills, randomly)
    if not case.zones_come_late:
        await anext(edits)
    async with folding(dsn, case.n_folds, case.limits) as workers:
        writing = {
            f"writer-{number}": write_all(
                dsn, number, batches[number :: case.n_writers], randomly.choice(workers)
            )
            for number in range(case.n_writers)
        }
        writing["edits"] = _all_of(edits)
        async with companions({"kills": kills.now_and_then()}):
            await run_together(writing)


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A session that nobody ends."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        connection.terminate()


def config(dsn: str, instance: str) -> SessionConfig:
    """Of one instance."""
    return SessionConfig(dsn=dsn, instance=instance)


async def _all_of(edits: AsyncIterator[None]) -> None:
    async for _ in edits:
        pass


async def _edit(
    dsn: str, course: Course, kills: Kills, randomly: random.Random
) -> AsyncIterator[None]:
    """Do each edit until it is done; now and then a sweep is left to finish it."""
    for edit in course.edits:
        while not await _edited(dsn, edit, kills):
            pass
        if randomly.random() < 0.7:
            await _finished(dsn, kills)
        yield
        await asyncio.sleep(randomly.uniform(0, 0.15))


async def _edited(dsn: str, edit: Any, kills: Kills) -> bool:
    with contextlib.suppress(TransientError):
        async with session_of(kills.opening, config(dsn, "edit")) as session:
            columns = [drawn.columns(name) for name, drawn in edit.drawn.items() if drawn]
            if columns:
                await write_zones(session, columns, valid_from=edit.at)
            for name, drawn in edit.drawn.items():
                if drawn is None:
                    await disable_zone(session, name, valid_to=edit.at)
        return True
    return False


async def _finished(dsn: str, kills: Kills) -> None:
    with contextlib.suppress(TransientError):
        async with session_of(kills.opening, config(dsn, "edit")) as session:
            async for _ in finish_edits(session):
                pass


@contextlib.asynccontextmanager
async def folding(dsn: str, n_workers: int, limits: FoldLimits) -> AsyncIterator[list[FoldWorker]]:
    """So many instances that fold."""
    around = Surroundings(lambda _: None, asyncio.get_running_loop().time, lambda: 0.0)
    workers = [
        FoldWorker(config(dsn, f"fold-{number}"), limits, lambda: False, around)
        for number in range(n_workers)
    ]
    works = {f"fold-{number}": worker.run() for number, worker in enumerate(workers)}
    works |= Sweeper(config(dsn, "sweep"), workers[0].found, around, every_s=0.3).works()
    async with companions(works):
        yield workers


async def write_all(
    dsn: str, number: int, batches: Sequence[Sequence[Record]], worker: FoldWorker
) -> None:
    """Write as the pipeline does: again until it is done."""
    writer = PositionWriter(config(dsn, f"test-{number}"), SharedState())
    try:
        for batch in batches:
            while (receipt := await _written(writer, batch)) is None:  # noqa: ASYNC110 -- a try again
                await asyncio.sleep(0.01)
            if receipt.marked:
                worker.marked({record.imei for record in batch})
    finally:
        await writer.close()


async def _written(writer: PositionWriter, batch: Sequence[Record]) -> Receipt | None:
    with contextlib.suppress(TransientError):
        return await write(writer, *batch)
    return None


async def nobody_is_marked(admin: asyncpg.Connection, timeout_s: float) -> None:
    """Wait until there is nothing to fold."""

    async def is_clear() -> bool:
        marks = "SELECT count(*) FROM refold WHERE NOT isempty(ranges)"
        edits = "SELECT count(*) FROM zones WHERE NOT isempty(unmarked)"
        limits = "SELECT count(*) FROM timing_limits WHERE NOT is_marked"
        return not any([await admin.fetchval(one) for one in (edits, limits, marks)])

    await eventually_async(is_clear, timeout_s=timeout_s)


async def _add_session(admin: asyncpg.Connection) -> None:
    await admin.execute(
        "INSERT INTO sessions (name, kind, starts_at, ends_at, zones)"
        " VALUES ('all', 'race', '2026-11-22 12:00:05Z', '2028-01-01Z', '{4, 1, 5}')"
    )


async def _compared(admin: asyncpg.Connection, case: Case, kills: Kills) -> Outcome:
    kept = case.kept()
    versions = case.course.versions
    expected = single_pass([one.native() for one in versions], kept)
    found = {imei: await _crossings(admin, imei) for imei in expected}
    tables = {
        "zones": (await _zones(admin), case.course.rows()),
        "positions": (await _rows(admin, "positions", _POSITION_COLUMNS), _positions(kept)),
        "last_position": (await _rows(admin, "last_position", _LAST_COLUMNS), _newest(kept)),
        "timing_records": (found, expected),
        "laps": (await _laps(admin), _expected_laps(versions, kept, expected)),
    }
    wrong = [name for name, (one, other) in tables.items() if one != other]
    undecided = 0
    for imei, records in groupby(kept, key=attrgetter("imei")):
        try:
            told = tell([one.reference() for one in versions], records)
        except UndecidedError:
            undecided += 1
        else:
            wrong += differences(read_crossings(expected[imei]), told)
    return Outcome(wrong, kills, undecided)


async def _zones(admin: asyncpg.Connection) -> list[tuple[Any, ...]]:
    return [
        (zone.id, zone.version, zone.columns.name, zone.valid_from, zone.valid_to)
        for zone in await all_zones(admin)
    ]


async def _rows(admin: asyncpg.Connection, table: str, columns: str) -> list[tuple[Any, ...]]:
    return [
        tuple(row) for row in await admin.fetch(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3")
    ]


def _positions(kept: Iterable[Record]) -> list[tuple[Any, ...]]:
    return [(*_newest_row(one), one.generation_type, one.clock_suspect) for one in kept]


def _newest(kept: Iterable[Record]) -> list[tuple[Any, ...]]:
    newest = {record.imei: record for record in kept if record.is_valid_fix}
    return [_newest_row(record) for record in newest.values()]


def _newest_row(one: Record) -> tuple[Any, ...]:
    return (
        *(one.imei, _instant(one.recorded_at_ms), one.digest, _instant(one.received_at_ms)),
        *(one.longitude, one.latitude, one.altitude_m, one.angle_deg, one.satellites),
        *(one.speed_kmh, one.priority, one.event_io_id),
    )


def _instant(unix_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=unix_ms)


async def _crossings(admin: asyncpg.Connection, imei: int) -> bytes:
    """The crossings of a device, as COPY gives them."""
    out = io.BytesIO()
    await admin.copy_from_query(
        f"SELECT {', '.join(TIMING_RECORD_COLUMNS)} FROM timing_records"
        f" WHERE imei = {imei} ORDER BY end_t, zone_id, n",
        output=out,
        format="binary",
    )
    return out.getvalue()


async def _laps(admin: asyncpg.Connection) -> list[Lap]:
    us = "(extract(epoch FROM {}) * 1000000)::bigint".format
    rows = await admin.fetch(
        f"SELECT imei, lap, {us('started_at')}, {us('ended_at')}, uncertainty_us,"
        f" ARRAY(SELECT {us('s')} FROM unnest(sector_times) WITH ORDINALITY AS t (s, n)"
        " ORDER BY n),"
        " too_short, has_gap, has_jump FROM laps ORDER BY imei, started_at, ended_at"
    )
    return [
        Lap(
            imei=row[0],
            lap=row[1],
            started_us=row[2],
            ended_us=row[3],
            uncertainty_us=row[4],
            sectors_us=tuple(row[5]),
            too_short=row[6],
            has_gap=row[7],
            has_jump=row[8],
        )
        for row in rows
    ]


def _expected_laps(
    versions: Sequence[ZoneVersion], kept: Sequence[Record], crossings: dict[int, bytes]
) -> list[Lap]:
    session = Session(
        zones=(START_ZONE, 1, 5),
        starts_us=1_795_348_805_000_000,
        ends_us=1_830_297_600_000_000,
        minimum_lap_s={
            one.version: one.drawn.minimum_lap_s for one in versions if one.zone_id == START_ZONE
        },
    )
    return [
        lap
        for imei, records in groupby(kept, key=attrgetter("imei"))
        for lap in laps_of(session, imei, read_crossings(crossings[imei]), records)
    ]

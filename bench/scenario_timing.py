"""What timing costs, and how soon a crossing is known.

Drains with and without zones take turns; a steady load tells how long after the commit of a fix its
crossing is committed (both ends by Postgres' own commit timestamps); a race that is marked as a
whole tells what a re-run takes.
"""

import asyncio
import json
import math
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import asyncpg
import redis

from corpus import Frame, fixed_frames
from measurement import Result, Series
from pipeline import (
    STREAM,
    Pipeline,
    drain,
    execute,
    load_backlog,
    open_pipeline,
    service_environment,
    value,
    wait_until,
)
from scenario_latency import wait_for_reader
from teltonika_processor.simulate.routes import TOWNS
from teltonika_processor.store import queries
from teltonika_processor.store.connection import SessionConfig, open_session, session_of
from teltonika_processor.store.zone_edits import finish_edits
from teltonika_processor.store.zones import ZoneColumns, write_zones

DEVICES: Final = 10_000
ZONES: Final = 1000
RECORDS: Final = 300_000
RECORDS_A_FRAME: Final = 5

FRAMES_PER_S: Final = 500
STEADY_S: Final = 10
WARM_UP_S: Final = 3

WRITERS: Final = 4

CARS: Final = 60
RACE_S: Final = 7200
LAP_S: Final = 60

CYCLES: Final = 100_000
GROUP_OF_MARKS: Final = 100

_LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
_RACE_BEGAN: Final = datetime(2026, 1, 15, 12, tzinfo=UTC)
_FIRST_CAR: Final = 350_000_000_000_000
_METRES_PER_DEGREE: Final = 111_195.0
_RING_M: Final = 500.0

# Of each crossing: how long after the fix that ends its segment it was committed.
_LAG: Final = """
SELECT 1000 * extract(
    epoch FROM pg_xact_commit_timestamp(t.xmin) - pg_xact_commit_timestamp(p.xmin)
)::float8
FROM public.timing_records AS t
JOIN public.positions AS p ON (p.imei, p.recorded_at, p.digest) = (t.imei, t.end_t, t.end_digest)
WHERE pg_xact_commit_timestamp(p.xmin) > $1
"""
_IS_CLEAR: Final = "SELECT NOT EXISTS (SELECT FROM public.refold WHERE NOT isempty(ranges))"
_CROSSINGS: Final = "SELECT count(*) FROM public.timing_records"
_REFOLD_BYTES: Final = "SELECT pg_total_relation_size('public.refold')"

# Cars on a ring around 24 E, 55 N, each a little behind the one before.
_DRIVE: Final = f"""
INSERT INTO public.positions (
    imei, recorded_at, digest, received_at, longitude, latitude, altitude_m, angle_deg, satellites,
    speed_kmh, priority, event_io_id, generation_type, clock_suspect, io
)
SELECT
    {_FIRST_CAR} + car, at, car * 100000 + second, at,
    24 + cos(turn) * {_RING_M / _METRES_PER_DEGREE / math.cos(math.radians(55))},
    55 + sin(turn) * {_RING_M / _METRES_PER_DEGREE},
    100, 0, 12, 180, 0, 0, NULL, false, '{{}}'
FROM generate_series(1, {CARS}) AS car, generate_series(0, {RACE_S - 1}) AS second,
    LATERAL (SELECT
        timestamptz '2026-01-15 12:00:00+00' + make_interval(secs => second) AS at,
        (second - car * 0.37) * 2 * pi() / {LAP_S} AS turn
    ) AS place
"""  # noqa: S608 -- constants of ours
_NEWEST: Final = """
INSERT INTO public.last_position (
    imei, recorded_at, digest, received_at, longitude, latitude, altitude_m, angle_deg, satellites,
    speed_kmh, priority, event_io_id
)
SELECT DISTINCT ON (imei)
    imei, recorded_at, digest, received_at, longitude, latitude, altitude_m, angle_deg, satellites,
    speed_kmh, priority, event_io_id
FROM public.positions ORDER BY imei, recorded_at DESC
"""


@dataclass
class Rounds:
    """What the rounds gave."""

    without: list[float] = field(default_factory=list)
    with_zones: list[float] = field(default_factory=list)
    clear_s: list[float] = field(default_factory=list)
    crossings: list[float] = field(default_factory=list)
    lag_p50_ms: list[float] = field(default_factory=list)
    lag_p99_ms: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    locked_p50_ms: list[float] = field(default_factory=list)
    locked_p99_ms: list[float] = field(default_factory=list)
    folds: list[float] = field(default_factory=list)
    rerun_s: list[float] = field(default_factory=list)
    refold_bytes: list[float] = field(default_factory=list)


def measure(rounds: int) -> list[Result]:
    found = Rounds()
    backlog = fixed_frames(
        RECORDS // RECORDS_A_FRAME, records_a_frame=RECORDS_A_FRAME, seed=4, devices=DEVICES
    )
    steady = fixed_frames(
        FRAMES_PER_S * (WARM_UP_S + STEADY_S), records_a_frame=1, seed=5, devices=DEVICES
    )
    with open_pipeline({"track_commit_timestamp": "on"}) as pipeline:
        for _ in range(rounds):
            found.without.append(RECORDS / drain(pipeline, backlog).seconds)
            drained = drain(pipeline, backlog, prepare=draw_all, behind=wait_clear)
            found.with_zones.append(RECORDS / drained.seconds)
            found.clear_s.append(drained.behind_s)
            found.crossings.append(asyncio.run(value(drained.dsn, _CROSSINGS)))
            lags = sorted(lags_ms(pipeline, steady))
            found.lags.append(len(lags))
            found.lag_p50_ms.append(lags[len(lags) // 2])
            found.lag_p99_ms.append(lags[int(len(lags) * 0.99)])
            locks = sorted(locks_ms(pipeline, backlog))
            found.folds.append(len(locks))
            found.locked_p50_ms.append(locks[len(locks) // 2])
            found.locked_p99_ms.append(locks[int(len(locks) * 0.99)])
            found.rerun_s.append(rerun_seconds(pipeline))
            found.refold_bytes.append(asyncio.run(refold_bytes(pipeline.fresh_database())))
    return [
        drain_result(found),
        steady_result(found),
        lock_result(found),
        rerun_result(found),
        refold_result(found),
    ]


def drain_result(found: Rounds) -> Result:
    series = [
        Series.of("drain, no zones", "records/s", found.without),
        Series.of("drain, with zones", "records/s", found.with_zones),
        Series.of("its end to every mark clear", "s", found.clear_s),
        Series.of("crossings", "", found.crossings),
    ]
    shape = {"records": RECORDS, "records a frame": RECORDS_A_FRAME, "devices": DEVICES}
    ratios = {"with zones / without": series[1].median / series[0].median}
    return Result("timing drain", {**shape, "zones": ZONES}, series, ratios)


def steady_result(found: Rounds) -> Result:
    series = [
        Series.of("commit of a fix to its crossing's, p50", "ms", found.lag_p50_ms),
        Series.of("commit of a fix to its crossing's, p99", "ms", found.lag_p99_ms),
        Series.of("crossings", "", found.lags),
    ]
    shape = {"frames/s": FRAMES_PER_S, "devices": DEVICES, "zones": ZONES}
    return Result("timing lag", shape, series)


def lock_result(found: Rounds) -> Result:
    series = [
        Series.of("marks are held, p50", "ms", found.locked_p50_ms),
        Series.of("marks are held, p99", "ms", found.locked_p99_ms),
        Series.of("folds", "", found.folds),
    ]
    shape = {"writers": WRITERS, "records": RECORDS, "devices": DEVICES, "zones": ZONES}
    return Result("timing locks", shape, series)


def rerun_result(found: Rounds) -> Result:
    series = [Series.of("timing recompute, as a command", "s", found.rerun_s)]
    shape = {"cars": CARS, "fixes": CARS * RACE_S, "zones": ZONES}
    return Result("timing rerun", shape, series)


def refold_result(found: Rounds) -> Result:
    series = [Series.of("refold on disk", "bytes", found.refold_bytes)]
    return Result("timing refold", {"cycles": CYCLES, "devices": DEVICES}, series)


def zones() -> list[ZoneColumns]:
    """Around the towns of the fleet: circles, and gates of some kilometres, as many of each."""
    rng = random.Random(6)
    return [_zone(rng, number) for number in range(ZONES)]


def _zone(rng: random.Random, number: int) -> ZoneColumns:
    _, longitude, latitude, _ = TOWNS[number % len(TOWNS)]
    east, north = longitude + rng.uniform(-0.12, 0.12), latitude + rng.uniform(-0.12, 0.12)
    if number % 2:
        ends = [[east, north], [east + rng.uniform(-0.05, 0.05), north + rng.uniform(-0.05, 0.05)]]
        geometry = {"type": "LineString", "coordinates": ends}
        return ZoneColumns(name=f"{number}", kind="gate", geometry=geometry, direction="both")
    return ZoneColumns(
        name=f"{number}",
        kind="circle",
        geometry={"type": "Point", "coordinates": [east, north]},
        radius_m=rng.uniform(100, 1000),
        hysteresis_m=20.0,
    )


async def draw(dsn: str, drawn: Sequence[ZoneColumns]) -> None:
    config = SessionConfig(dsn=dsn, instance="bench", write_timeout_s=60)
    async with session_of(open_session, config) as session:
        await write_zones(session, drawn, valid_from=_LONG_AGO)
        async for _ in finish_edits(session):
            pass


def draw_all(dsn: str) -> None:
    asyncio.run(draw(dsn, zones()))


def wait_clear(dsn: str) -> None:
    asyncio.run(until_clear(dsn))


def lags_ms(pipeline: Pipeline, frames: Sequence[Frame]) -> list[float]:
    """Of crossings in a steady load, behind its beginning."""
    dsn = pipeline.fresh_database()
    draw_all(dsn)
    client = pipeline.client()
    load_backlog(client, [])
    with pipeline.service(dsn) as process:
        wait_for_reader(client)
        publish(client, frames[: FRAMES_PER_S * WARM_UP_S])
        begin = datetime.now(UTC)
        publish(client, frames[FRAMES_PER_S * WARM_UP_S :])
        wait_until(
            client, process, lambda delivered, pending: (delivered, pending) == (len(frames), 0)
        )
        wait_clear(dsn)
    return asyncio.run(column(dsn, _LAG, begin))


def locks_ms(pipeline: Pipeline, frames: Sequence[Frame]) -> list[float]:
    """For how long each fold of a drain held its marks, as the service says."""
    settings = {"WRITERS": f"{WRITERS}", "LOG_LEVEL": "debug", "LOG_FORMAT": "json"}
    with tempfile.TemporaryFile() as log:
        drain(pipeline, frames, prepare=draw_all, behind=wait_clear, settings=settings, log=log)
        log.seek(0)
        folds = [json.loads(line) for line in log if b'"fold.committed"' in line]
    return [fold["locked_ms"] for fold in folds if fold["locked_ms"] is not None]


def publish(client: redis.Redis, frames: Sequence[Frame]) -> None:
    """Append each frame when it is due."""
    began_s = time.perf_counter()
    for number, frame in enumerate(frames):
        time.sleep(max(0.0, began_s + number / FRAMES_PER_S - time.perf_counter()))
        client.xadd(STREAM, frame.fields())


def rerun_seconds(pipeline: Pipeline) -> float:
    """A race of two hours at 1 Hz, derived by the command that people use."""
    dsn = pipeline.fresh_database()
    day = f"SELECT public.positions_ensure_days(ARRAY['{_RACE_BEGAN:%Y-%m-%d}'::date])"
    asyncio.run(execute(dsn, day, _DRIVE, _NEWEST, "ANALYZE"))
    asyncio.run(draw(dsn, [*zones(), *_lines()]))
    asyncio.run(execute(dsn, "UPDATE public.refold SET ranges = '{}'"))
    command = [
        *(pipeline.python, "-m", "teltonika_processor", "timing", "recompute", "--yes"),
        *("--zone", "finish", "--since", _RACE_BEGAN.isoformat()),
    ]
    environment = os.environ | service_environment(dsn)
    began_s = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began_s
    laps = asyncio.run(value(dsn, _CROSSINGS))
    if laps < CARS * 3 * (RACE_S // LAP_S - 1):
        raise RuntimeError(f"{laps} crossings: not the whole race was derived")
    return seconds


def _lines() -> Iterator[ZoneColumns]:
    """Start and finish, and two sector gates, from the middle of the ring outwards."""
    for number, name in enumerate(("finish", "sector 1", "sector 2")):
        turn = number * 2 * math.pi / 3
        ends = [[_place(turn, metres)[0], _place(turn, metres)[1]] for metres in (450, 550)]
        geometry = {"type": "LineString", "coordinates": ends}
        yield ZoneColumns(name=name, kind="gate", geometry=geometry, direction="both")


def _place(turn: float, metres: float) -> tuple[float, float]:
    shrink = math.cos(math.radians(55))
    return (
        24 + math.cos(turn) * metres / _METRES_PER_DEGREE / shrink,
        55 + math.sin(turn) * metres / _METRES_PER_DEGREE,
    )


async def refold_bytes(dsn: str) -> float:
    """The table of marks after each device was marked and cleared again and again."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(queries.CREATE_MARKS)
        imeis = range(_FIRST_CAR, _FIRST_CAR + DEVICES)
        for cycle in range(CYCLES // DEVICES):
            for at in range(0, DEVICES, GROUP_OF_MARKS):
                await _mark_and_clear(connection, imeis[at : at + GROUP_OF_MARKS], cycle)
        return float(await connection.fetchval(_REFOLD_BYTES))
    finally:
        await connection.close()


async def _mark_and_clear(connection: asyncpg.Connection, group: Sequence[int], cycle: int) -> None:
    at = datetime.fromtimestamp(_RACE_BEGAN.timestamp() + cycle, UTC)
    async with connection.transaction():
        await connection.copy_records_to_table("marks", records=[(one, at, at) for one in group])
        await connection.execute(queries.MARK)
    rest = ", ".join(f"({one}::bigint, '{{}}'::tstzmultirange)" for one in group)
    await connection.execute(queries.CLEAR_MARKS.format(rest=rest))


async def until_clear(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        while not await connection.fetchval(_IS_CLEAR):  # noqa: ASYNC110 -- Postgres tells nobody
            await asyncio.sleep(0.01)
    finally:
        await connection.close()


async def column(dsn: str, query: str, *arguments: object) -> list[float]:
    connection = await asyncpg.connect(dsn)
    try:
        return [row[0] for row in await connection.fetch(query, *arguments)]
    finally:
        await connection.close()

"""What a fleet costs at its own pace: processor time of each part, and disk for what is kept.

Frames come at fixed times, far below what the parts could do; so the cores used, divided into the
devices, say how many devices a core carries, and which part is the dear one.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
import psutil
import redis

from corpus import Frame, fixed_frames
from measurement import Result, Series
from pipeline import GROUP, STREAM, Pipeline, cpu_seconds, open_pipeline, wait_until

DEVICES: Final = 10_000
FRAMES_PER_S: Final = 1000
SECONDS: Final = 20
# Partitions, caches and what is known of each device come before.
WARM_UP_S: Final = 10
SHAPES: Final = (1, 10)

_TICK_S: Final = 0.01

# With indexes, TOAST and the free space of the last pages.
_SIZE: Final = """
SELECT sum(pg_total_relation_size(inhrelid))::bigint, (SELECT count(*) FROM public.positions)
FROM pg_inherits WHERE inhparent = 'public.positions'::regclass
"""


@dataclass(frozen=True)
class Cost:
    """Of one run: cores used by each part, and bytes on disk a record."""

    service: float
    valkey: float
    postgres: float
    bytes_a_record: float

    @property
    def cores(self) -> float:
        return self.service + self.valkey + self.postgres


def measure(rounds: int) -> list[Result]:
    with open_pipeline() as pipeline:
        return [measure_shape(pipeline, records, rounds) for records in SHAPES]


def measure_shape(pipeline: Pipeline, records_a_frame: int, rounds: int) -> Result:
    n_frames = FRAMES_PER_S * (WARM_UP_S + SECONDS)
    frames = fixed_frames(n_frames, records_a_frame=records_a_frame, seed=3, devices=DEVICES)
    costs = [run(pipeline, frames) for _ in range(rounds)]
    shape = {
        "devices": DEVICES,
        "frames/s": FRAMES_PER_S,
        "records a frame": records_a_frame,
        "seconds a round": SECONDS,
        "io": "jsonb",
    }
    series = [
        Series.of("cores, the service", "cores", [cost.service for cost in costs]),
        Series.of("cores, Valkey", "cores", [cost.valkey for cost in costs]),
        Series.of("cores, Postgres", "cores", [cost.postgres for cost in costs]),
        Series.of("devices a core, service", "devices", [DEVICES / c.service for c in costs]),
        Series.of("devices a core, all three", "devices", [DEVICES / c.cores for c in costs]),
        Series.of("disk", "B/record", [cost.bytes_a_record for cost in costs]),
    ]
    return Result("fleet", shape, series)


def run(pipeline: Pipeline, frames: Sequence[Frame]) -> Cost:
    client = pipeline.client()
    client.flushall()
    client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    dsn = pipeline.fresh_database()
    n_warm_up = FRAMES_PER_S * WARM_UP_S
    with pipeline.service(dsn) as process:
        publish(client, frames[:n_warm_up])
        wait_until(client, process, lambda read, pending: (read, pending) == (n_warm_up, 0))
        before, started = used(pipeline, client, process), time.perf_counter()
        publish(client, frames[n_warm_up:])
        wait_until(client, process, lambda read, pending: (read, pending) == (len(frames), 0))
        after, seconds = used(pipeline, client, process), time.perf_counter() - started
    service, valkey, postgres = ((b - a) / seconds for a, b in zip(before, after, strict=True))
    return Cost(service, valkey, postgres, asyncio.run(bytes_a_record(dsn)))


def publish(client: redis.Redis, frames: Sequence[Frame]) -> None:
    """Append the frames at their pace, a hundredth of a second's worth at once."""
    a_tick = round(FRAMES_PER_S * _TICK_S)
    started = time.perf_counter()
    for first in range(0, len(frames), a_tick):
        time.sleep(max(0.0, started + first / FRAMES_PER_S - time.perf_counter()))
        commands = client.pipeline(transaction=False)
        for frame in frames[first : first + a_tick]:
            commands.xadd(STREAM, frame.fields())
        commands.execute()


def used(
    pipeline: Pipeline, client: redis.Redis, service: psutil.Process
) -> tuple[float, float, float]:
    """Processor seconds of the service, of Valkey and of Postgres with all its processes."""
    valkey = client.info("cpu")
    postmaster = psutil.Process(pipeline.postgres.pid)
    times = postmaster.cpu_times()
    ended = float(times.children_user + times.children_system)
    running = [cpu_seconds(child) for child in postmaster.children()]
    return (
        cpu_seconds(service),
        float(valkey["used_cpu_user"]) + float(valkey["used_cpu_sys"]),
        cpu_seconds(postmaster) + ended + sum(running),
    )


async def bytes_a_record(dsn: str) -> float:
    connection = await asyncpg.connect(dsn)
    try:
        n_bytes, n_rows = await connection.fetchrow(_SIZE) or (0, 1)
    finally:
        await connection.close()
    return float(n_bytes) / float(n_rows)

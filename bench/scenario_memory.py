"""Resident memory of the service with a million entries before it.

Three phases of one drain: Postgres writes, Postgres lets every write wait for a lock, and Postgres
is not there. As many devices send as the service remembers by default.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
import psutil
import redis

import teltonika_processor as tp
from corpus import STARTED_AT_MS
from measurement import Result, Series
from pipeline import GROUP, STREAM, Pipeline, count_positions, open_pipeline, wait_until

ENTRIES: Final = 1_000_000
DEVICES: Final = 100_000
HELD_S: Final = 10.0

_FIRST_IMEI: Final = 356_307_042_000_000
_CHUNK: Final = 1000
_SAMPLE_S: Final = 0.02
_MIB: Final = 2**20

DRAINING: Final = "draining"
WAITING: Final = "Postgres lets every write wait"
AWAY: Final = "Postgres is away"


def measure(rounds: int) -> list[Result]:
    peaks: dict[str, list[float]] = {DRAINING: [], WAITING: [], AWAY: []}
    backlog_bytes: list[float] = []
    with open_pipeline() as pipeline:
        for _ in range(rounds):
            client = pipeline.client()
            load(client)
            backlog_bytes.append(client.memory_usage(STREAM, samples=0) or 0)
            for phase, peak in drain_in_phases(pipeline, client).items():
                peaks[phase].append(peak)
    series = [Series.of(f"RSS peak, {phase}", "MiB", values) for phase, values in peaks.items()]
    shape = {
        "entries": ENTRIES,
        "records a frame": 1,
        "devices": DEVICES,
        "bytes a frame": len(frame(0)),
        "stream in MiB": round(max(backlog_bytes) / _MIB),
        "seconds of waiting and of absence": HELD_S,
    }
    return [Result("memory", shape, series)]


def frame(number: int) -> bytes:
    """A compact frame: each device sends one record a minute."""
    recorded_at_ms = STARTED_AT_MS + number // DEVICES * 60_000
    return tp.encode_frame(
        [
            {
                "recorded_at_ms": recorded_at_ms,
                "longitude_e7": 252_798_000 + number % 1000,
                "latitude_e7": 546_872_000,
                "satellites": 11,
                "speed_kmh": 40,
                "io": {239: 1},
            }
        ]
    )


def load(client: redis.Redis) -> None:
    """Empty Redis, then append a million entries; the group starts before them."""
    client.flushall()
    client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    for start in range(0, ENTRIES, _CHUNK):
        commands = client.pipeline(transaction=False)
        for number in range(start, start + _CHUNK):
            imei = f"{_FIRST_IMEI + number % DEVICES:015d}"
            commands.xadd(STREAM, {"imei": imei, "frame": frame(number)})
        commands.execute()


def drain_in_phases(pipeline: Pipeline, client: redis.Redis) -> dict[str, float]:
    """Peaks in MiB by phase."""
    dsn = pipeline.fresh_database()
    with pipeline.service(dsn) as process, Sampler(process).running() as sampler:
        wait_until(client, process, lambda read, _: read > ENTRIES // 5)
        sampler.phase = WAITING
        asyncio.run(hold_positions(dsn))
        sampler.phase = DRAINING
        wait_until(client, process, lambda read, _: read > ENTRIES // 2)
        sampler.phase = AWAY
        pipeline.postgres.stop()
        sampler.wait(HELD_S)
        pipeline.postgres.start()
        sampler.phase = DRAINING
        wait_until(client, process, lambda read, pending: (read, pending) == (ENTRIES, 0))
    rows = asyncio.run(count_positions(dsn))
    if rows != ENTRIES:
        raise RuntimeError(f"{rows} rows of {ENTRIES} records")
    return {phase: peak / _MIB for phase, peak in sampler.peaks.items()}


async def hold_positions(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE positions IN ACCESS EXCLUSIVE MODE")
            await asyncio.sleep(HELD_S)
    finally:
        await connection.close()


class Sampler:
    """Looks at the resident memory of a process all the time; peaks in bytes by phase."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.phase = DRAINING
        self.peaks: dict[str, int] = {}
        self.ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator["Sampler"]:
        thread = threading.Thread(target=self.sample, name="sampler")
        thread.start()
        try:
            yield self
        finally:
            self.ended.set()
            thread.join()

    def wait(self, seconds: float) -> None:
        self.ended.wait(seconds)

    def sample(self) -> None:
        while not self.ended.wait(_SAMPLE_S):
            phase = self.phase
            rss = self.process.memory_info().rss
            self.peaks[phase] = max(rss, self.peaks.get(phase, 0))

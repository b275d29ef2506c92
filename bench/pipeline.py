"""The whole service under measurement: servers of our own, databases, a backlog, the process."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final

import asyncpg
import psutil
import redis

from corpus import Frame
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis

STREAM: Final = "telemetry:teltonika"
GROUP: Final = "processor"

_TEMPLATE: Final = "bench_template"
_DATABASE: Final = "bench"
_CHUNK: Final = 500
_POLL_S: Final = 0.005

# Of a server of some size: no checkpoint within a round, and WAL segments that are used again.
_POSTGRES_SETTINGS: Final = {
    "checkpoint_timeout": "30min",
    "max_wal_size": "4GB",
    "min_wal_size": "1GB",
    "shared_buffers": "1GB",
}
# Bound: no drain measured here takes longer on any machine that could run the service.
_DEADLINE_S: Final = 300.0


@dataclass(frozen=True)
class Drained:
    """One drained backlog.

    Attributes:
        dsn: The database that it went to.
        rows: In `positions`.
        behind_s: How long it took until what was waited for behind it was there.
    """

    dsn: str
    seconds: float
    cpu_seconds: float
    rows: int
    behind_s: float


@dataclass(frozen=True)
class Pipeline:
    """A Redis and a Postgres with the schema in a template database."""

    redis_url: str
    postgres: EmbeddedPostgres
    # With the build of the service that is measured.
    python: str = sys.executable

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url)

    def fresh_database(self) -> str:
        """DSN of a new database with the schema and no rows; the one before is dropped."""
        asyncio.run(
            execute(
                self.postgres.dsn(),
                f"DROP DATABASE IF EXISTS {_DATABASE}",
                f"CREATE DATABASE {_DATABASE} TEMPLATE {_TEMPLATE}",
                "CHECKPOINT",
            )
        )
        return self.postgres.dsn(_DATABASE)

    @contextmanager
    def service(
        self, dsn: str, settings: Mapping[str, str] | None = None, *, log: IO[bytes] | None = None
    ) -> Iterator[psutil.Process]:
        """`teltonika-processor run` on these servers, stopped by SIGTERM at the end."""
        environment = service_environment(dsn) | {"REDIS_URL": self.redis_url, **(settings or {})}
        command = [self.python, "-m", "teltonika_processor", "run", "--no-migrate"]
        with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
            try:
                yield psutil.Process(process.pid)
            finally:
                process.terminate()
        if process.returncode != 0:
            raise RuntimeError(f"the service ended with {process.returncode}")


@contextmanager
def open_pipeline(postgres_settings: Mapping[str, str] | None = None) -> Iterator[Pipeline]:
    """Start both servers and make the template database."""
    settings = {**_POSTGRES_SETTINGS, **(postgres_settings or {})}
    with EmbeddedPostgres(settings=settings) as postgres, EmbeddedRedis() as valkey:
        asyncio.run(execute(postgres.dsn(), f"CREATE DATABASE {_TEMPLATE}"))
        command = [sys.executable, "-m", "teltonika_processor", "migrate"]
        environment = service_environment(postgres.dsn(_TEMPLATE))
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        yield Pipeline(valkey.url(), postgres)


def service_environment(dsn: str) -> dict[str, str]:
    """This environment with the service's own settings replaced."""
    return {
        **os.environ,
        "DATABASE_URL": dsn,
        "DATABASE_MIGRATION_URL": "",
        "LOG_LEVEL": "warning",
        "HTTP_PORT": "0",
    }


def load_backlog(client: redis.Redis, frames: Sequence[Frame]) -> None:
    """Empty Redis, then append every frame as a gateway would; the group starts before them."""
    client.flushall()
    client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    for start in range(0, len(frames), _CHUNK):
        pipeline = client.pipeline(transaction=False)
        for frame in frames[start : start + _CHUNK]:
            pipeline.xadd(STREAM, frame.fields())
        pipeline.execute()


def drain(  # noqa: PLR0913 -- what it depends on
    pipeline: Pipeline,
    frames: Sequence[Frame],
    *,
    prepare: Callable[[str], None] | None = None,
    behind: Callable[[str], None] | None = None,
    settings: Mapping[str, str] | None = None,
    log: IO[bytes] | None = None,
) -> Drained:
    """Time from the first entry delivered to the last one acknowledged, start-up left out.

    Args:
        pipeline: On which.
        frames: The backlog.
        prepare: Done to the new database first.
        behind: Waits for something afterwards, while the service runs.
        settings: Of the service.
        log: Where the service writes.
    """
    dsn = pipeline.fresh_database()
    if prepare is not None:
        prepare(dsn)
    client = pipeline.client()
    load_backlog(client, frames)
    with pipeline.service(dsn, settings, log=log) as process:
        wait_until(client, process, lambda delivered, _: delivered > 0)
        started, cpu_before = time.perf_counter(), cpu_seconds(process)
        wait_until(
            client, process, lambda delivered, pending: (delivered, pending) == (len(frames), 0)
        )
        ended = time.perf_counter()
        cpu = cpu_seconds(process) - cpu_before
        if behind is not None:
            behind(dsn)
        behind_s = time.perf_counter() - ended
    rows = asyncio.run(count_positions(dsn))
    return Drained(dsn, ended - started, cpu, rows, behind_s)


def wait_until(
    client: redis.Redis, service: psutil.Process, reached: Callable[[int, int], bool]
) -> None:
    """Poll the group until `reached(entries delivered, entries pending)`."""
    deadline = time.monotonic() + _DEADLINE_S
    while not reached(*progress(client)):
        if not service.is_running() or service.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError("the service ended before its work was done")
        if time.monotonic() > deadline:
            raise TimeoutError(f"delivered and pending stand at {progress(client)}")
        time.sleep(_POLL_S)


def progress(client: redis.Redis) -> tuple[int, int]:
    """Entries delivered to the group, and entries pending in it."""
    group = client.xinfo_groups(STREAM)[0]
    return group["entries-read"] or 0, group["pending"]


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def count_positions(dsn: str) -> int:
    return int(await value(dsn, "SELECT count(*) FROM public.positions"))


async def value(dsn: str, query: str) -> float:
    connection = await asyncpg.connect(dsn)
    try:
        return float(await connection.fetchval(query))
    finally:
        await connection.close()

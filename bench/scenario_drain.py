"""A backlog through the whole service, beside Postgres alone loading the same rows from a file.

The file holds the rows in the order in which the service writes them, batch by batch, so that both
fill the same index in the same order; COPY reads it on the server in one transaction. That is what
Postgres can do with these rows on one connection: the service uses two, reads Redis and decodes.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import asyncpg

from corpus import Frame, fixed_frames
from measurement import Result, Series
from pipeline import Pipeline, drain, open_pipeline
from teltonika_processor import _native
from teltonika_processor.embedded.account import temporary_root, unprivileged_account

RECORDS: Final = 300_000
ENTRIES_A_BATCH: Final = 400
EPOCH: Final = date(1970, 1, 1)
COPY_HEADER_BYTES: Final = 19
COPY_TRAILER: Final = b"\xff\xff"


@dataclass
class Rounds:
    """What the rounds of one shape gave."""

    copied: list[float] = field(default_factory=list)
    drained: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


def measure(rounds: int) -> list[Result]:
    with open_pipeline() as pipeline:
        return [measure_shape(pipeline, n_records, rounds) for n_records in (1, 5, 13)]


def measure_shape(pipeline: Pipeline, records_a_frame: int, rounds: int) -> Result:
    frames = fixed_frames(RECORDS // records_a_frame, records_a_frame=records_a_frame, seed=1)
    n_records = len(frames) * records_a_frame
    found = Rounds()
    with tempfile.TemporaryDirectory(dir=temporary_root(unprivileged_account())) as name:
        directory = Path(name)
        directory.chmod(0o755)
        days = write_copy_file(frames, directory / "positions.copy")
        for _ in range(rounds):
            found.copied.append(
                n_records / copy_seconds(pipeline, directory / "positions.copy", days)
            )
            drained = drain(pipeline, frames)
            if drained.rows != n_records:
                raise RuntimeError(f"{drained.rows} rows of {n_records} records: not the same work")
            found.drained.append(n_records / drained.seconds)
            found.cpu_us.append(drained.cpu_seconds / n_records * 1e6)
    return summary(frames, records_a_frame, found)


def summary(frames: Sequence[Frame], records_a_frame: int, found: Rounds) -> Result:
    series = [
        Series.of("COPY on the server, same rows", "records/s", found.copied),
        Series.of("drain by the service", "records/s", found.drained),
        Series.of("CPU of the service", "us/record", found.cpu_us),
    ]
    shape = {
        "records": len(frames) * records_a_frame,
        "records a frame": records_a_frame,
        "bytes a frame": round(sum(len(frame.frame) for frame in frames) / len(frames)),
    }
    ratios = {"drain / COPY": series[1].median / series[0].median}
    return Result("drain", shape, series, ratios)


def write_copy_file(frames: Sequence[Frame], path: Path) -> list[int]:
    """Write the rows as the service would send them; return the UTC days that they fall on."""
    days: set[int] = set()
    with path.open("wb") as file:
        header = b""
        for start in range(0, len(frames), ENTRIES_A_BATCH):
            entries = [frame.entry() for frame in frames[start : start + ENTRIES_A_BATCH]]
            rows = _native.decode_entries(entries).rows()
            days.update(rows.days)
            copied = bytes(memoryview(rows.copy_positions()))
            if not header:
                header = copied[:COPY_HEADER_BYTES]
                file.write(header)
            file.write(copied[COPY_HEADER_BYTES : -len(COPY_TRAILER)])
        file.write(COPY_TRAILER)
    path.chmod(0o644)
    return sorted(days)


def copy_seconds(pipeline: Pipeline, path: Path, days: Sequence[int]) -> float:
    return asyncio.run(timed_copy(pipeline.fresh_database(), path, days))


async def timed_copy(dsn: str, path: Path, days: Sequence[int]) -> float:
    columns = ", ".join(_native.POSITION_COLUMNS)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            "SELECT public.positions_ensure_days($1)", [EPOCH + timedelta(day) for day in days]
        )
        started = time.perf_counter()
        await connection.execute(
            f"COPY public.positions ({columns}) FROM '{path}' (FORMAT binary)", timeout=300
        )
        return time.perf_counter() - started
    finally:
        await connection.close()

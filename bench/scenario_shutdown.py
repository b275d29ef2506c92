"""From SIGTERM to the end of the process: in the middle of a backlog, and with nothing to do.

Under load every writer has a batch in hand, one more waits, and the reader holds another: all of it
is written and acknowledged before the process ends. An idle process waits for its parked read.
"""

import time
from collections.abc import Sequence
from typing import Final

from corpus import Frame, fixed_frames
from measurement import Result, Series
from pipeline import Pipeline, load_backlog, open_pipeline, progress, wait_until

RECORDS_A_FRAME: Final = 5
FRAMES: Final = 60_000
# By then reads have grown to their full size, and most of the backlog is still to come.
DELIVERED: Final = 12_000


def measure(rounds: int) -> list[Result]:
    frames = fixed_frames(FRAMES, records_a_frame=RECORDS_A_FRAME, seed=1)
    loaded, idle = [], []
    with open_pipeline() as pipeline:
        for _ in range(rounds):
            loaded.append(seconds_to_exit(pipeline, frames, delivered=DELIVERED))
            idle.append(seconds_to_exit(pipeline, frames[:100], delivered=100))
    series = [Series.of("under full load", "s", loaded), Series.of("idle", "s", idle)]
    shape = {"frames": FRAMES, "records a frame": RECORDS_A_FRAME, "delivered before": DELIVERED}
    return [Result("shutdown", shape, series)]


def seconds_to_exit(pipeline: Pipeline, frames: Sequence[Frame], *, delivered: int) -> float:
    """Seconds from the signal to the end of a process that ended with 0."""
    client = pipeline.client()
    dsn = pipeline.fresh_database()
    load_backlog(client, frames)
    is_idle = delivered == len(frames)
    with pipeline.service(dsn) as process:
        wait_until(
            client, process, lambda read, pending: read >= delivered and not (is_idle and pending)
        )
        asked = time.perf_counter()
    seconds = time.perf_counter() - asked
    read, pending = progress(client)
    if pending or (read == len(frames)) != is_idle:
        raise RuntimeError(f"{read} of {len(frames)} entries read, {pending} pending")
    return seconds

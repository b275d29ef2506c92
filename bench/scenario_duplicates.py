"""A backlog in which one batch in twenty holds copies, beside the same backlog without them.

Two kinds of copies: of a frame just sent, which the device state recognises, and of one so old that
only Postgres does. A copy takes the place of a frame, so both backlogs have as many entries.
"""

import random
from collections.abc import Sequence
from typing import Final

from corpus import Frame, fixed_frames
from measurement import Result, Series
from pipeline import Pipeline, drain, open_pipeline

RECORDS_A_FRAME: Final = 5
FRAMES: Final = 60_000
ENTRIES_A_BATCH: Final = 400
BATCHES_WITH_COPIES: Final = 0.05
# Between a frame and its copy: within the last four frames of its device, or far beyond.
NEAR: Final = 2_000
FAR: Final = 40_000


def measure(rounds: int) -> list[Result]:
    clean = fixed_frames(FRAMES, records_a_frame=RECORDS_A_FRAME, seed=1)
    backlogs = {
        "clean": clean,
        "copies of frames just sent": with_copies(clean, NEAR),
        "copies of old frames": with_copies(clean, FAR),
    }
    rates: dict[str, list[float]] = {name: [] for name in backlogs}
    with open_pipeline() as pipeline:
        for _ in range(rounds):
            for name, frames in backlogs.items():
                rates[name].append(records_per_s(pipeline, frames))
    series = [Series.of(name, "records/s", values) for name, values in rates.items()]
    shape = {"frames": FRAMES, "records a frame": RECORDS_A_FRAME, "batches with copies": "5 %"}
    ratios = {f"{one.name} / clean": one.median / series[0].median for one in series[1:]}
    return [Result("duplicates", shape, series, ratios)]


def with_copies(frames: Sequence[Frame], distance: int) -> list[Frame]:
    """Every 20th run of 400 entries has one that was sent `distance` entries before."""
    rng = random.Random(distance)
    mixed = list(frames)
    step = round(ENTRIES_A_BATCH / BATCHES_WITH_COPIES)
    for first in range(distance, len(mixed) - ENTRIES_A_BATCH, step):
        at = first + rng.randrange(ENTRIES_A_BATCH)
        mixed[at] = mixed[at - distance]
    return mixed


def records_per_s(pipeline: Pipeline, frames: Sequence[Frame]) -> float:
    drained = drain(pipeline, frames)
    expected = len({(frame.imei, frame.frame) for frame in frames}) * RECORDS_A_FRAME
    if drained.rows != expected:
        raise RuntimeError(f"{drained.rows} rows instead of {expected}")
    return len(frames) * RECORDS_A_FRAME / drained.seconds

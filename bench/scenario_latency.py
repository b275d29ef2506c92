"""From XADD to acknowledged at a steady rate: the time until a frame's records are durable.

Both ends are taken from the clock of one Redis: MONITOR shows each XADD and the XACK that names
its id. The XACK follows the commit, so the figure is an upper bound of XADD to committed. Frames
come at fixed times whether or not the service keeps up.
"""

import statistics
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import redis

from corpus import Frame, fixed_frames
from measurement import Result, Series
from pipeline import GROUP, STREAM, Pipeline, open_pipeline, wait_until

FRAMES_PER_S: Final = 500
SECONDS: Final = 10
RECORDS_A_FRAME: Final = 5
# Caches, plans and new WAL segments of the first second are left out.
WARM_UP_FRAMES: Final = FRAMES_PER_S


def measure(rounds: int) -> list[Result]:
    n_frames = FRAMES_PER_S * SECONDS + WARM_UP_FRAMES
    frames = fixed_frames(n_frames, records_a_frame=RECORDS_A_FRAME, seed=2)
    with open_pipeline() as pipeline:
        runs = [sorted(latencies_ms(pipeline, frames)) for _ in range(rounds)]
    shape = {
        "frames/s": FRAMES_PER_S,
        "records a frame": RECORDS_A_FRAME,
        "frames a round": n_frames - WARM_UP_FRAMES,
    }
    series = [
        Series.of("XADD to XACK, p50", "ms", [statistics.median(run) for run in runs]),
        Series.of("XADD to XACK, p99", "ms", [run[int(len(run) * 0.99)] for run in runs]),
        Series.of("XADD to XACK, worst", "ms", [run[-1] for run in runs]),
    ]
    return [Result("latency", shape, series)]


def latencies_ms(pipeline: Pipeline, frames: Sequence[Frame]) -> list[float]:
    """Milliseconds from XADD to XACK of every frame behind the warm-up."""
    client = pipeline.client()
    client.flushall()
    client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    watcher = Watcher(pipeline.client(), len(frames))
    with pipeline.service(pipeline.fresh_database()) as process:
        wait_for_reader(client)
        watcher.start()
        publish(client, frames)
        wait_until(
            client, process, lambda delivered, pending: (delivered, pending) == (len(frames), 0)
        )
        watcher.join()
    return [
        (watcher.acknowledged[name] - added) * 1000
        for name, added in list(watcher.added.items())[WARM_UP_FRAMES:]
    ]


def wait_for_reader(client: redis.Redis) -> None:
    """Wait until the service reads: its consumer exists from its first XREADGROUP on."""
    while not client.xinfo_consumers(STREAM, GROUP):
        time.sleep(0.01)


def publish(client: redis.Redis, frames: Sequence[Frame]) -> None:
    """Append each frame when it is due, under an id of our own, so that MONITOR shows it."""
    started = time.perf_counter()
    for number, frame in enumerate(frames):
        time.sleep(max(0.0, started + number / FRAMES_PER_S - time.perf_counter()))
        client.xadd(STREAM, frame.fields(), id=f"{number + 1}-0")


class Watcher:
    """Server times of every XADD and XACK by entry id, seen in a thread of its own."""

    def __init__(self, client: redis.Redis, n_frames: int) -> None:
        self.client = client
        self.n_frames = n_frames
        self.added: dict[str, float] = {}
        self.acknowledged: dict[str, float] = {}
        self.listening = threading.Event()
        self.thread = threading.Thread(target=self.watch, name="watcher", daemon=True)

    def start(self) -> None:
        self.thread.start()
        self.listening.wait()

    def join(self) -> None:
        self.thread.join()

    def watch(self) -> None:
        with self.client.monitor() as monitor:  # type: ignore[no-untyped-call]  # by redis-py
            self.listening.set()
            while len(self.acknowledged) < self.n_frames:
                seen: dict[str, Any] = monitor.next_command()
                self.note(seen["time"], seen["command"])

    def note(self, at: float, command: str) -> None:
        if command.startswith(f"XADD {STREAM} "):
            self.added[command.split(" ", 3)[2]] = at
        elif command.startswith(f"XACK {STREAM} {GROUP} "):
            self.acknowledged.update(dict.fromkeys(command.split(" ")[3:], at))

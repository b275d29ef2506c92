"""What the gateway carries: ten thousand connections at their pace, and its peak of frames.

Nothing reads the stream. Gateway, Valkey and the simulator, each a process of its own, share the
cores, and every run has a gateway and a Valkey that are new. Valkey is reached by TCP and rewrites
its log when it likes. A frame of the peaks follows the reply to the one before, on each connection.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.request import urlopen

import psutil

from measurement import Result, Series
from pipeline import cpu_seconds
from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.embedded.redis_server import AppendFsync
from teltonika_processor.embedded.server import free_port

# Bound: a round takes two and a half minutes.
ROUNDS_MAX: Final = 3

CONNECTS_PER_S: Final = 1000

_COMMAND: Final = (sys.executable, "-m", "teltonika_processor")
_PREFIX: Final = "teltonika_processor_"
_CONNECTED: Final = "gateway_connections{phase=open}"
_REPLIES: Final = "gateway_replies_total"
_BATCHES: Final = "gateway_append_batch_entries"
_POLL_S: Final = 0.1
_DEADLINE_S: Final = 120.0
# Of the simulator: its own connecting, and what it may be late by when our window ends.
_MARGIN_S: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """What devices do, and what a reply to them means.

    `period_s` None: as soon as each is answered. `warm_up_s` begins when all are connected, and
    `seconds` follow it.
    """

    name: str
    durability: str
    appendfsync: AppendFsync
    devices: int
    period_s: float | None
    warm_up_s: float
    seconds: float


CASES: Final = (
    Case(
        name="10,000 connections",
        durability="fsync",
        appendfsync="always",
        devices=10_000,
        period_s=10.0,
        warm_up_s=15.0,
        seconds=60.0,
    ),
    Case(
        name="peak, memory",
        durability="memory",
        appendfsync="everysec",
        devices=250,
        period_s=None,
        warm_up_s=3.0,
        seconds=12.0,
    ),
    Case(
        name="peak, fsync",
        durability="fsync",
        appendfsync="always",
        devices=250,
        period_s=None,
        warm_up_s=3.0,
        seconds=12.0,
    ),
)


@dataclass(frozen=True)
class Sample:
    """Totals of a gateway at one moment, in seconds and bytes."""

    at: float
    user_s: float
    system_s: float
    valkey_s: float
    rss_bytes: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """The gateway empty, at the beginning of the window and at its end; the devices' accounts."""

    empty: Sample
    begin: Sample
    end: Sample
    accounts: Mapping[str, Any]

    def rose(self, figure: str) -> float:
        return self.end.figures[figure] - self.begin.figures[figure]

    @property
    def frames(self) -> float:
        return self.rose(_REPLIES)

    @property
    def seconds(self) -> float:
        return self.end.at - self.begin.at

    @property
    def errors(self) -> int:
        """Of a fleet that nothing was done to: any of these is one too many."""
        names = ("timeouts", "connections_lost", "replies_wrong", "replies_stray", "refusals")
        return sum(self.accounts[name] for name in (*names, "unreached", "records_kept"))


def measure(rounds: int) -> list[Result]:
    runs: dict[str, list[Run]] = {case.name: [] for case in CASES}
    for _ in range(min(rounds, ROUNDS_MAX)):
        for case in CASES:
            runs[case.name].append(run(case))
    return [result(case, runs[case.name]) for case in CASES]


def result(case: Case, runs: list[Run]) -> Result:
    def of(name: str, unit: str, *values: float) -> Series:
        return Series.of(name, unit, values)

    def us_a_frame(name: str, *seconds: float) -> Series:
        costs = [used / run.frames * 1e6 for used, run in zip(seconds, runs, strict=True)]
        return of(name, "us/frame", *costs)

    users = [run.end.user_s - run.begin.user_s for run in runs]
    systems = [run.end.system_s - run.begin.system_s for run in runs]
    both = [user + system for user, system in zip(users, systems, strict=True)]
    held = [(run.end.rss_bytes - run.empty.rss_bytes) / case.devices for run in runs]
    simulated = [
        run.accounts["cpu_s"] * run.frames / run.accounts["frames_acknowledged"] for run in runs
    ]
    series = [
        of("frames accepted and answered", "frames/s", *(run.frames / run.seconds for run in runs)),
        *(
            of(f"reply, {share}", "ms", *(run.accounts["reply_ms"][share] for run in runs))
            for share in ("p50", "p99", "max")
        ),
        us_a_frame("CPU, gateway", *both),
        us_a_frame("CPU, gateway, user", *users),
        us_a_frame("CPU, gateway, system", *systems),
        us_a_frame("CPU, Valkey", *(run.end.valkey_s - run.begin.valkey_s for run in runs)),
        us_a_frame("CPU, simulator", *simulated),
        of(
            "cores, gateway", "cores", *(c / run.seconds for c, run in zip(both, runs, strict=True))
        ),
        of("appends a batch", "entries", *map(appends_a_batch, runs)),
        of("memory a connection", "bytes", *held),
        of("errors", "errors", *(float(run.errors) for run in runs)),
    ]
    shape = {
        "case": case.name,
        "durability": case.durability,
        "appendfsync": case.appendfsync,
        "connections": case.devices,
        "seconds between frames": case.period_s,
        "seconds a round": case.seconds,
        "records a frame": 1,
    }
    return Result("gateway", shape, series)


def appends_a_batch(run: Run) -> float:
    return run.rose(f"{_BATCHES}_sum") / max(run.rose(f"{_BATCHES}_count"), 1.0)


def run(case: Case) -> Run:
    with (
        EmbeddedRedis(tcp=True, appendfsync=case.appendfsync) as valkey,
        gateway(case, valkey) as serving,
    ):
        empty = serving.sample()
        with simulator(case, serving.port) as simulating:
            serving.wait_until(lambda: serving.figures()[_CONNECTED] == case.devices, simulating)
            time.sleep(case.warm_up_s)
            begin = serving.sample()
            time.sleep(case.seconds)
            end = serving.sample()
            said, _ = simulating.communicate(timeout=_DEADLINE_S)
    accounts = json.loads(said.splitlines()[-1])
    if simulating.returncode != 0:
        raise RuntimeError(f"{case.name}: {accounts['findings']}")
    return Run(empty, begin, end, accounts)


class Serving:
    """A gateway that devices may connect to, and its Valkey."""

    def __init__(self, process: psutil.Process, http_port: int, valkey: EmbeddedRedis) -> None:
        self.process = process
        self.port = 0
        self._http_port = http_port
        self._valkey = psutil.Process(valkey.pid)

    def sample(self) -> Sample:
        cpu = self.process.cpu_times()
        return Sample(
            at=time.perf_counter(),
            user_s=cpu.user,
            system_s=cpu.system,
            valkey_s=cpu_seconds(self._valkey),
            rss_bytes=self.process.memory_info().rss,
            figures=self.figures(),
        )

    def figures(self) -> dict[str, float]:
        """Every series of /metrics without the prefix; labels as in ``name{label=value}``."""
        with urlopen(f"http://127.0.0.1:{self._http_port}/metrics") as page:
            lines = page.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name.removeprefix(_PREFIX).replace('"', ""): float(v) for name, v in pairs}

    def wait_until(self, fact: Callable[[], bool], *others: "subprocess.Popen[str]") -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not self._holds(fact):
            have_ended = [one.poll() is not None for one in others]
            if self.process.status() == psutil.STATUS_ZOMBIE or any(have_ended):
                raise RuntimeError("the gateway or the simulator ended")
            if time.monotonic() > deadline:
                raise TimeoutError("the gateway did not come so far")
            time.sleep(_POLL_S)

    def _holds(self, fact: Callable[[], bool]) -> bool:
        try:
            return fact()
        except (OSError, KeyError):  # it does not listen yet, or does not know it yet
            return False


@contextmanager
def gateway(case: Case, valkey: EmbeddedRedis) -> Iterator[Serving]:
    """`teltonika-processor ingest`, stopped by SIGTERM at the end."""
    port, http_port = free_port(), free_port()
    environment = {
        **os.environ,
        "REDIS_URL": valkey.url(over_tcp=True),
        "HTTP_PORT": str(http_port),
        "INGEST_HOST": "127.0.0.1",
        "INGEST_TCP_PORT": str(port),
        "INGEST_UDP": "false",
        "INGEST_ADMISSION": "open",
        "INGEST_DURABILITY": case.durability,
        "INGEST_FRAMES_PER_SECOND_MAX": "100000",
        "LOG_LEVEL": "error",
    }
    with subprocess.Popen([*_COMMAND, "ingest"], env=environment) as process:
        serving = Serving(psutil.Process(process.pid), http_port, valkey)
        serving.port = port
        try:
            serving.wait_until(lambda: serving.figures()["gateway_ready"] == 1.0)
            yield serving
        finally:
            process.terminate()
    if process.returncode != 0:
        raise RuntimeError(f"the gateway ended with {process.returncode}")


@contextmanager
def simulator(case: Case, port: int) -> Iterator["subprocess.Popen[str]"]:
    """`teltonika-processor simulate`; it ends some seconds after the window."""
    duration_s = case.devices / CONNECTS_PER_S + case.warm_up_s + case.seconds + _MARGIN_S
    pace = ["--full-speed"] if case.period_s is None else ["--period", str(case.period_s)]
    options = [
        *("--port", str(port), "--devices", str(case.devices), *pace, "--json"),
        *("--connects", str(CONNECTS_PER_S), "--duration", f"{math.ceil(duration_s)}s"),
        *("--warm-up", str(case.devices / CONNECTS_PER_S + case.warm_up_s)),
    ]
    command = [*_COMMAND, "simulate", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()

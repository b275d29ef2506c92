"""How far a run of `simulate` is: a table on a terminal, a line now and then elsewhere."""

import asyncio
import math
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from teltonika_processor.cli.simulate_run import Run, Watch

_PLAIN_EVERY_S: Final = 5.0
_TABLE_EVERY_S: Final = 1.0
_QUANTILES: Final = (0.5, 0.99)


def watching(*, as_json: bool) -> Watch:
    """What tells how far a run is, on standard error; with `as_json` nothing does."""

    def watch(run: Run) -> Coroutine[Any, Any, None]:
        if as_json:
            return _nothing()
        return _draw(run) if sys.stderr.isatty() else _tell(run)

    return watch


async def _nothing() -> None:
    """Nobody looks."""


async def _tell(run: Run) -> None:
    rate = _Rate(run)
    while True:
        await asyncio.sleep(_PLAIN_EVERY_S)
        typer.echo(
            f"{run.traffic.elapsed_s:,.0f} s: {run.traffic.n_connected:,} connected, "
            f"{n_acknowledged(run):,} frames acknowledged, {rate.per_s():,.0f}/s, reply p99 "
            f"{run.latencies.quantile_s(0.99) * 1000:,.1f} ms",
            err=True,
        )


async def _draw(run: Run) -> None:
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    rate = _Rate(run)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_table(rows_of(run, rate.per_s())), refresh=True)
            await asyncio.sleep(_TABLE_EVERY_S)


def n_acknowledged(run: Run) -> int:
    """Frames, those of poisoned trackers too, whose replies are not among the latencies."""
    return sum(tracker.link.account.frames_acknowledged for tracker in run.trackers)


def rows_of(run: Run, rate: float) -> list[tuple[str, str]]:
    """Label and value of each line of the table; `rate` is frames a second."""
    traffic, latencies = run.traffic, run.latencies
    accounts = [tracker.link.account for tracker in run.trackers]
    duration_s = run.order.limits.duration_s
    of_all = "" if math.isinf(duration_s) else f" of {duration_s:,.0f} s"
    times = ", ".join(
        f"p{share * 100:g} {latencies.quantile_s(share) * 1000:,.1f} ms" for share in _QUANTILES
    )
    return [
        ("time", f"{traffic.elapsed_s:,.0f} s{of_all}"),
        ("connected", f"{traffic.n_connected:,} of {len(accounts):,}"),
        ("frames acknowledged", f"{n_acknowledged(run):,}, {rate:,.0f}/s"),
        ("replies", f"{times}, max {latencies.max_s * 1000:,.1f} ms"),
        ("wrong, not in time", _sums(accounts, "replies_wrong", "timeouts")),
        ("sent again", _sums(accounts, "frames_resent")),
        (
            "lost, refused, not reached",
            _sums(accounts, "connections_lost", "refusals", "unreached"),
        ),
    ]


def _sums(accounts: Sequence[object], *names: str) -> str:
    return ", ".join(f"{sum(getattr(account, name) for account in accounts):,}" for name in names)


def _table(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    return table


class _Rate:
    """Frames a second since it was asked before."""

    def __init__(self, run: Run) -> None:
        self._run: Final = run
        self._counted = 0
        self._at_s = 0.0

    def per_s(self) -> float:
        counted, at_s = n_acknowledged(self._run), self._run.traffic.elapsed_s
        rate = (counted - self._counted) / max(at_s - self._at_s, 1e-9)
        self._counted, self._at_s = counted, at_s
        return rate

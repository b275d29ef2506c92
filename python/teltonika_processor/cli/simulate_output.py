"""What `simulate` prints: how far it is on standard error, and the accounts at the end."""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Coroutine, Iterator
from typing import Any, Final

import typer

from teltonika_processor.cli.simulate_run import Run, Watch
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.simulate.outcome import DeviceOutcome, Outcome

_PLAIN_EVERY_S: Final = 5.0
_SHARES: Final = (0.5, 0.9, 0.99, 0.999)
# Bound: devices that are named one by one; --json names all.
_DEVICES_NAMED: Final = 20
_HEADINGS: Final = ("IMEI", "by", "made", "acknowledged", "kept", "resent", "wrong", "timeouts")


def watching(*, as_json: bool) -> Watch:
    """What tells how far a run is."""

    def watch(run: Run) -> Coroutine[Any, Any, None]:
        return _nothing() if as_json else _tell(run)

    return watch


async def _nothing() -> None:
    """Standard output gets one object, and nobody looks at standard error."""


async def _tell(run: Run) -> None:
    before, at_s = 0, run.traffic.elapsed_s
    while True:
        await asyncio.sleep(_PLAIN_EVERY_S)
        now, now_s = run.latencies.n_counted, run.traffic.elapsed_s
        rate = (now - before) / (now_s - at_s)
        p99_ms = run.latencies.quantile_s(0.99) * 1000
        typer.echo(
            f"{now_s:,.0f} s: {run.traffic.n_connected:,} connected, {now:,} frames acknowledged, "
            f"{rate:,.0f}/s, reply p99 {p99_ms:,.1f} ms",
            err=True,
        )
        before, at_s = now, now_s


def print_outcome(outcome: Outcome) -> None:
    """Some lines, and a table of the devices that something is amiss with."""
    for line in _lines(outcome):
        print(line)
    amiss = [device for device in outcome.devices if _is_amiss(device)]
    if amiss:
        print()
        rows = [_row(device) for device in amiss[:_DEVICES_NAMED]]
        terminal = sys.stdout.isatty()
        print_rows(_HEADINGS, rows, terminal=terminal, unfolded=_HEADINGS, right=_HEADINGS[2:])
        if len(amiss) > _DEVICES_NAMED:
            print(f"and {len(amiss) - _DEVICES_NAMED:,} more; --json names all devices")


def print_outcome_json(outcome: Outcome) -> None:
    """One JSON object in one line."""
    totals = outcome.totals
    print(
        json.dumps(
            {
                "findings": outcome.findings(),
                "devices": len(outcome.devices),
                "connected_max": outcome.n_connected_max,
                "elapsed_s": round(outcome.elapsed_s, 3),
                "cpu_s": round(outcome.cpu_s, 3),
                "lag_max_s": round(outcome.lag_max_s, 3),
                "records_made": outcome.n_made,
                "records_kept": outcome.n_kept,
                **dataclasses.asdict(totals),
                "reply_ms": _reply_ms(outcome),
                "by_device": [_device_object(device) for device in outcome.devices],
            }
        )
    )


def _lines(outcome: Outcome) -> Iterator[str]:
    totals = outcome.totals
    yield (
        f"devices    {len(outcome.devices):,}, {outcome.n_connected_max:,} connected at once; "
        f"{totals.connections:,} connections, {totals.connections_lost:,} lost with a frame in "
        f"flight, {totals.refusals:,} refused, {totals.unreached:,} not reached"
    )
    yield (
        f"records    {outcome.n_made:,} made, {totals.records_acknowledged:,} acknowledged "
        f"({totals.records_in_doubt:,} in doubt), {outcome.n_kept:,} kept"
    )
    rate = totals.frames_acknowledged / outcome.elapsed_s
    yield (
        f"frames     {totals.frames_sent:,} sent, {totals.frames_resent:,} of them again; "
        f"{totals.frames_acknowledged:,} acknowledged, {rate:,.0f}/s for {outcome.elapsed_s:,.1f} s"
    )
    times = ", ".join(f"{name} {value:,.2f} ms" for name, value in _reply_ms(outcome).items())
    yield (
        f"replies    {times}; {totals.replies_wrong:,} wrong, {totals.replies_stray:,} stray, "
        f"{totals.timeouts:,} not in time"
    )
    us_a_frame = outcome.cpu_s / max(totals.frames_acknowledged, 1) * 1e6
    yield (
        f"simulator  {outcome.cpu_s:,.1f} s of CPU, {us_a_frame:,.1f} us a frame; the latest frame "
        f"was {outcome.lag_max_s * 1000:,.0f} ms late"
    )
    yield from outcome.findings() or ["all acknowledged, by the book"]


def _reply_ms(outcome: Outcome) -> dict[str, float]:
    latencies = outcome.latencies
    shares = {
        f"p{share * 100:g}": round(latencies.quantile_s(share) * 1000, 3) for share in _SHARES
    }
    return {**shares, "max": round(latencies.max_s * 1000, 3)}


def _is_amiss(device: DeviceOutcome) -> bool:
    account = device.account
    return bool(device.n_kept or account.replies_wrong or account.timeouts)


def _row(device: DeviceOutcome) -> tuple[str, ...]:
    account = device.account
    numbers = (
        *(device.n_made, account.records_acknowledged, device.n_kept, account.frames_resent),
        *(account.replies_wrong, account.timeouts),
    )
    return (device.imei, device.transport, *(f"{number:,}" for number in numbers))


def _device_object(device: DeviceOutcome) -> dict[str, str | int]:
    return {
        "imei": device.imei,
        "transport": device.transport,
        "records_made": device.n_made,
        "records_kept": device.n_kept,
        **dataclasses.asdict(device.account),
    }

"""`teltonika-processor demo`: the whole way of a frame, with real servers, on an empty machine."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Final

import typer

from teltonika_processor.cli.demo_accounts import FoundAccounts, compare
from teltonika_processor.cli.demo_output import DemoOutput
from teltonika_processor.cli.demo_run import Servers, run_through
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.simulate import (
    ExpectedAccounts,
    Faults,
    Fleet,
    PublishedFrame,
    documented_frames,
    expected_accounts,
    with_faults,
)
from teltonika_processor.simulate.faults import DAMAGE

app = typer.Typer(add_completion=False)

_INTERRUPTED: Final = 128 + signal.SIGINT
_TERMINATED: Final = 128 + signal.SIGTERM
# A device sends a record every 12 s on average; so the fleet's history ends about now.
_MS_PER_RECORD: Final = 12_000
_RETRANSMITTED_SHARE: Final = 0.02
_EXAMPLE_ROWS: Final = 5


@app.command()
def demo(
    devices: Annotated[int, typer.Option(min=1, max=20_000, help="Simulated trackers.")] = 100,
    records: Annotated[
        int, typer.Option(min=100, max=10_000_000, help="AVL records that they send.")
    ] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same fleet.")] = 1,
) -> None:
    """Show the main job on this machine: real servers, simulated trackers, exact accounts.

    Starts a Valkey and a PostgreSQL of its own, which are gone afterwards; touches no other server.
    """
    output = DemoOutput()
    with _exit_on_sigterm():
        try:
            balanced = _show(output, devices, records, seed)
        except KeyboardInterrupt:
            output.say("\nInterrupted: the servers are stopped and their files are gone.")
            raise typer.Exit(_INTERRUPTED) from None
        except TeltonikaProcessorError as error:
            typer.echo(f"\nThe demo failed: {error}", err=True)
            raise typer.Exit(1) from None
    raise typer.Exit(0 if balanced else 1)


def _show(output: DemoOutput, devices: int, records: int, seed: int) -> bool:
    output.greet()
    with contextlib.ExitStack() as running:
        with output.step("Starting a Valkey and a PostgreSQL of our own"):
            postgres = running.enter_context(EmbeddedPostgres())
            redis = running.enter_context(EmbeddedRedis())
        with output.step(f"Simulating {devices:,} trackers that send {records:,} AVL records"):
            frames = _make_frames(devices, records, seed)
            expected = expected_accounts(frames)
        output.describe(frames, expected)
        found = run_through(Servers(redis.url(), postgres.dsn()), frames, output, _EXAMPLE_ROWS)
    return _report(output, expected, found)


def _make_frames(devices: int, records: int, seed: int) -> list[PublishedFrame]:
    now_ms = time.time_ns() // 1_000_000
    started_at_ms = now_ms - records * _MS_PER_RECORD // devices
    fleet = list(
        Fleet(devices=devices, seed=seed, started_at_ms=started_at_ms).frames_with(records)
    )
    faults = Faults(
        damaged=2 * len(DAMAGE),
        retransmitted=round(len(fleet) * _RETRANSMITTED_SHARE),
        impossible_clocks=2,
    )
    return [*documented_frames(received_at_ms=now_ms), *with_faults(fleet, faults, seed=seed)]


def _report(output: DemoOutput, expected: ExpectedAccounts, found: FoundAccounts) -> bool:
    lines = compare(expected, found)
    output.accounts(lines, found)
    output.rows(found.rows)
    balanced = all(line.balances for line in lines)
    output.verdict(balanced=balanced)
    return balanced


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Leave by an exception, so that what was started is ended on the way out."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

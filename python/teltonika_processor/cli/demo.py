"""`teltonika-processor demo`: the whole way of a frame, with real servers, on an empty machine."""

import contextlib
import signal
import time
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from teltonika_processor.cli.demo_accounts import FoundAccounts, compare
from teltonika_processor.cli.demo_output import DemoOutput
from teltonika_processor.cli.demo_run import Processor, Servers, run_through
from teltonika_processor.cli.interruption import Interruption
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.service.exit_codes import EXIT_FINDING
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
# A device sends a record every 12 s on average, and the slowest one a frame in 25 minutes: with
# some room for chance the fleet's history ends shortly before now.
_MS_PER_RECORD: Final = 14_000
_LAST_FRAME_MS: Final = 25 * 60_000
_RETRANSMITTED_SHARE: Final = 0.02


@app.command()
def demo(
    devices: Annotated[int, typer.Option(min=1, max=20_000, help="Simulated trackers.")] = 100,
    records: Annotated[
        int, typer.Option(min=100, max=10_000_000, help="AVL records that they send.")
    ] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same fleet.")] = 1,
    chaos: Annotated[
        bool,
        typer.Option("--chaos", help="Kill the processor in the middle, and start it again."),
    ] = False,
) -> None:
    """Show the main job on this machine: real servers, simulated trackers, exact accounts.

    Starts a Valkey and a PostgreSQL of its own, which are gone afterwards; touches no other server.
    """
    output = DemoOutput()
    with Interruption() as interruption:
        try:
            balanced = _show(output, interruption, Simulated(devices, records, seed, chaos))
        except KeyboardInterrupt:
            output.say("\nInterrupted: the servers are stopped and their files are gone.")
            raise typer.Exit(_INTERRUPTED) from None
        except TeltonikaProcessorError as error:
            typer.echo(f"\nThe demo failed: {error}", err=True)
            raise typer.Exit(EXIT_FINDING) from None
    raise typer.Exit(0 if balanced else EXIT_FINDING)


@dataclass(frozen=True, slots=True)
class Simulated:
    """What the options ask for."""

    devices: int
    records: int
    seed: int
    chaos: bool


def _show(output: DemoOutput, interruption: Interruption, simulated: Simulated) -> bool:
    output.greet()
    with contextlib.ExitStack() as running:
        with output.step("Starting a Valkey and a PostgreSQL of our own"):
            postgres = running.enter_context(EmbeddedPostgres())
            redis = running.enter_context(EmbeddedRedis())
        with output.step(_simulating(simulated)):
            frames = _make_frames(simulated)
            expected = expected_accounts(frames)
        output.describe(frames, expected)
        servers = Servers(redis.url(), postgres.dsn())
        processor = running.enter_context(contextlib.closing(Processor(servers)))
        found = interruption.run(
            run_through(servers, frames, processor, output, chaos=simulated.chaos)
        )
    return _report(output, expected, found)


def _simulating(simulated: Simulated) -> str:
    return f"Simulating {simulated.devices:,} trackers that send {simulated.records:,} AVL records"


def _make_frames(simulated: Simulated) -> list[PublishedFrame]:
    now_ms = time.time_ns() // 1_000_000
    history_ms = simulated.records * _MS_PER_RECORD // simulated.devices + _LAST_FRAME_MS
    fleet = Fleet(devices=simulated.devices, seed=simulated.seed, started_at_ms=now_ms - history_ms)
    frames = list(fleet.frames_with(simulated.records))
    faults = Faults(
        damaged=2 * len(DAMAGE),
        retransmitted=round(len(frames) * _RETRANSMITTED_SHARE),
        impossible_clocks=2,
    )
    strewn = with_faults(frames, faults, seed=simulated.seed)
    return [*documented_frames(received_at_ms=now_ms), *strewn]


def _report(output: DemoOutput, expected: ExpectedAccounts, found: FoundAccounts) -> bool:
    lines = compare(expected, found)
    output.accounts(lines, found)
    output.rows(found.rows)
    balanced = all(line.balances for line in lines)
    output.verdict(balanced=balanced)
    return balanced

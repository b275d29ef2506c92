"""`teltonika-processor demo`: the whole way from a tracker to a row, on an empty machine."""

import contextlib
import signal
from typing import Annotated, Final

import typer

from teltonika_processor.cli.demo_accounts import FoundAccounts, Wanted, compare
from teltonika_processor.cli.demo_output import DemoOutput
from teltonika_processor.cli.demo_processes import Gateway, Processor, Servers, Services
from teltonika_processor.cli.demo_run import Simulated, run_through
from teltonika_processor.cli.interruption import Interruption
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.service.exit_codes import EXIT_FINDING

app = typer.Typer(add_completion=False)

_INTERRUPTED: Final = 128 + signal.SIGINT
_PROCESSORS: Final = 2


@app.command()
def demo(
    devices: Annotated[int, typer.Option(min=1, max=10_000, help="Simulated trackers.")] = 100,
    records: Annotated[
        int, typer.Option(min=100, max=2_000_000, help="AVL records that they send.")
    ] = 50_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same fleet.")] = 1,
    chaos: Annotated[
        bool,
        typer.Option(
            "--chaos",
            help="Kill the gateway and a processor in the middle, and start them again.",
        ),
    ] = False,
) -> None:
    """Show the main job on this machine: trackers, gateway, processors, and exact accounts.

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


def _show(output: DemoOutput, interruption: Interruption, simulated: Simulated) -> bool:
    output.greet()
    with contextlib.ExitStack() as running:
        with output.step("Starting a Valkey and a PostgreSQL of our own"):
            postgres = running.enter_context(EmbeddedPostgres())
            redis = running.enter_context(EmbeddedRedis(appendfsync="always"))
        servers = Servers(redis.url(), postgres.dsn())
        services = Services(
            running.enter_context(contextlib.closing(Gateway(servers, devices=simulated.devices))),
            [
                running.enter_context(contextlib.closing(Processor(servers, number)))
                for number in range(1, _PROCESSORS + 1)
            ],
        )
        wanted, found = interruption.run(run_through(servers, services, simulated, output))
    return _report(output, wanted, found)


def _report(output: DemoOutput, wanted: Wanted, found: FoundAccounts) -> bool:
    lines = compare(wanted, found)
    output.accounts(lines)
    output.rows(found.rows)
    balanced = all(line.balances for line in lines)
    output.verdict(balanced=balanced)
    return balanced

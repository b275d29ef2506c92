"""`teltonika-processor demo`: the whole way from a tracker to a row, on an empty machine."""

import contextlib
import signal
from typing import Annotated, Final

import typer

from teltonika_processor.cli.confirmation import refuse
from teltonika_processor.cli.demo_accounts import FoundAccounts, Wanted, compare
from teltonika_processor.cli.demo_keep import Keeping, keep_on
from teltonika_processor.cli.demo_output import DemoOutput
from teltonika_processor.cli.demo_processes import (
    LOOPBACK,
    Gateway,
    Processor,
    Servers,
    Services,
)
from teltonika_processor.cli.demo_run import Simulated, run_through
from teltonika_processor.cli.interruption import Interruption
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.service.exit_codes import EXIT_FINDING

app = typer.Typer(add_completion=False)

_INTERRUPTED: Final = 128 + signal.SIGINT
_PROCESSORS: Final = 2


@app.command()
def demo(  # noqa: PLR0913 -- the options of the command
    *,
    devices: Annotated[int, typer.Option(min=1, max=10_000, help="Simulated trackers.")] = 100,
    records: Annotated[
        int, typer.Option(min=100, max=2_000_000, help="AVL records that they send.")
    ] = 50_000,
    cars: Annotated[
        int, typer.Option(min=0, max=100, help="Cars of the race; 0: there is none.")
    ] = 20,
    laps: Annotated[int, typer.Option(min=1, max=100, help="That each of them drives.")] = 8,
    seed: Annotated[int, typer.Option(help="The same seed makes the same fleet.")] = 1,
    chaos: Annotated[
        bool,
        typer.Option(
            "--chaos",
            help="Kill the gateway and a processor in the middle, and start them again.",
        ),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Go on after the accounts, until Ctrl-C or SIGTERM."),
    ] = False,
    listen: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="With --keep, where the gateway listens, for every IMEI: 0.0.0.0 for a device.",
        ),
    ] = LOOPBACK,
    port: Annotated[
        int,
        typer.Option(min=0, max=65_535, help="With --keep, its TCP and UDP port; 0: free ones."),
    ] = 0,
) -> None:
    """Show the main job on this machine: trackers, gateway, processors, and exact accounts.

    Starts a Valkey and a PostgreSQL of its own, which are gone afterwards; touches no other server.
    --keep says where they are and goes on, so that "simulate", psql or a device can be tried.
    """
    if not keep and (listen, port) != (LOOPBACK, 0):
        refuse("--listen and --port go with --keep")
    keeping = Keeping(listen, port) if keep else None
    output = DemoOutput()
    with Interruption() as interruption:
        try:
            simulated = Simulated(devices, records, seed, chaos, cars, laps)
            balanced = _show(output, interruption, simulated, keeping)
        except KeyboardInterrupt:
            output.say("\nInterrupted: the servers are stopped and their files are gone.")
            raise typer.Exit(_INTERRUPTED) from None
        except TeltonikaProcessorError as error:
            typer.echo(f"\nThe demo failed: {error}", err=True)
            raise typer.Exit(EXIT_FINDING) from None
    raise typer.Exit(0 if balanced else EXIT_FINDING)


def _show(
    output: DemoOutput, interruption: Interruption, simulated: Simulated, keeping: Keeping | None
) -> bool:
    output.greet()
    with contextlib.ExitStack() as running:
        with output.step("Starting a Valkey and a PostgreSQL of our own"):
            # Of whom it is kept for, not everybody may open their sockets.
            tcp = keeping is not None
            postgres = running.enter_context(EmbeddedPostgres(tcp=tcp))
            redis = running.enter_context(EmbeddedRedis(tcp=tcp, appendfsync="always"))
        servers = Servers(redis.url(over_tcp=tcp), postgres.dsn(over_tcp=tcp))
        services = Services(
            running.enter_context(contextlib.closing(Gateway(servers, devices=simulated.devices))),
            [
                running.enter_context(contextlib.closing(Processor(servers, number)))
                for number in range(1, _PROCESSORS + 1)
            ],
        )
        wanted, found = interruption.run(run_through(servers, services, simulated, output))
        if keeping is not None:
            balanced = _report(output, wanted, found, goes_on=True)
            return keep_on(servers, services, keeping, output, interruption) and balanced
    return _report(output, wanted, found, goes_on=False)


def _report(output: DemoOutput, wanted: Wanted, found: FoundAccounts, *, goes_on: bool) -> bool:
    lines = compare(wanted, found)
    if found.race is not None:
        output.board(found.board, found.race)
    output.accounts(lines)
    output.rows(found.rows)
    balanced = all(line.balances for line in lines)
    output.verdict(balanced=balanced, goes_on=goes_on)
    return balanced

"""`teltonika-processor status`: everything about the stream, the group and both servers."""

import asyncio
import json
import sys
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.interruption import Interruption
from teltonika_processor.cli.status_blocks import Names
from teltonika_processor.cli.status_json import status_object
from teltonika_processor.cli.status_run import Report, Status, open_status
from teltonika_processor.cli.status_screen import Screen, print_plain, print_terminal
from teltonika_processor.settings import Settings

_INTERRUPTED = 130

app = typer.Typer()


@app.command("status")
def status_command(
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again until Ctrl-C; with --json a line a look.")
    ] = False,
    interval: Annotated[
        float,
        typer.Option(
            min=0.2, max=3600.0, metavar="SECONDS", help="Time between two looks of --watch."
        ),
    ] = 2.0,
    sample: Annotated[
        float,
        typer.Option(
            min=0.0, max=60.0, metavar="SECONDS", help="Measure rates over this time; 0: not."
        ),
    ] = 1.0,
    as_json: JsonObject = False,
) -> None:
    """Say how stream, group, consumers, dead letters, Redis and Postgres do, in one screen.

    Exits with 0 if all is healthy, 1 with findings, 75 if a server was not reached. Changes
    nothing, and asks both servers side by side: what one of them does not tell, the other does.
    """
    with failures_told(), Interruption() as interruption:
        settings = command_settings()
        try:
            if watch:
                interruption.run(_watch(settings, interval, as_json=as_json))
            report = interruption.run(_look(settings, sample))
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
    _print(report, _names(settings), as_json=as_json)
    raise typer.Exit(report.exit_code)


async def _look(settings: Settings, sample_s: float) -> Report:
    async with open_status(settings) as status:
        if sample_s:
            await status.begin()
            await asyncio.sleep(sample_s)
        return await status.look()


async def _watch(settings: Settings, interval_s: float, *, as_json: bool) -> None:
    """Until it is cancelled."""
    async with open_status(settings) as status:
        if as_json or not sys.stdout.isatty():
            await _print_again(status, settings, interval_s, as_json=as_json)
        with Screen(_names(settings)) as screen:
            while True:
                screen.draw(await status.look())
                await asyncio.sleep(interval_s)


async def _print_again(
    status: Status, settings: Settings, interval_s: float, *, as_json: bool
) -> None:
    while True:
        _print(await status.look(), _names(settings), as_json=as_json)
        if not as_json:
            print()
        sys.stdout.flush()
        await asyncio.sleep(interval_s)


def _names(settings: Settings) -> Names:
    return Names(settings.redis_telemetry_stream, settings.redis_consumer_group)


def _print(report: Report, names: Names, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(status_object(report, names)))
    elif sys.stdout.isatty():
        print_terminal(report, names)
    else:
        print_plain(report, names)

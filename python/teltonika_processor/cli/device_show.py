"""`device show`: everything that is known of one device, on one page."""

import asyncio
import sys
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import Imei, JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.device_facts import Wanted, device_facts
from teltonika_processor.cli.device_output import print_facts, print_facts_json
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.service.exit_codes import EXIT_FINDING, ExitCode
from teltonika_processor.stream.control import ASK_TIMEOUT_MAX_S


def show(
    imei: Imei,
    *,
    entries: Annotated[
        int, typer.Option(min=0, max=100, help="Newest entries of the stream to show.")
    ] = 5,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=ASK_TIMEOUT_MAX_S,
            metavar="SECONDS",
            help="Wait so long for the instances.",
        ),
    ] = 2.0,
    as_json: JsonObject = False,
) -> None:
    """Show one device: its row, its last position, what instances hold, its newest frames.

    Changes nothing. Exits with 1 if nobody has heard of the device, 75 if a server was not reached;
    the rest is shown all the same.
    """
    with failures_told():
        settings = command_settings()
        wanted = Wanted(imei=imei, n_entries=entries, timeout_s=timeout)
        facts = asyncio.run(device_facts(settings, wanted))
    if as_json:
        print_facts_json(facts, settings.frame_max_bytes)
    else:
        print_facts(facts, settings.frame_max_bytes, terminal=sys.stdout.isatty())
    if facts.code is not ExitCode.DRAINED:
        raise typer.Exit(facts.code)
    raise typer.Exit(0 if facts.is_known else EXIT_FINDING)

"""`zones show`: all versions of a zone, how large each is and where."""

import asyncio
import json
from datetime import UTC, datetime

import typer

from teltonika_processor.cli.arguments import JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.names import unknown_zone_text
from teltonika_processor.cli.zones_list import stored
from teltonika_processor.cli.zones_output import measured_object, print_versions
from teltonika_processor.cli.zones_state import ZoneName, versions_of
from teltonika_processor.service.exit_codes import EXIT_FINDING


def show(name: ZoneName, *, as_json: JsonObject = False) -> None:
    """Show a zone: all its versions, their points, bounds, and area or length.

    Exits with 1 if there is no zone of this name, 75 if Postgres was not reached.
    """
    with failures_told():
        zones = asyncio.run(stored(command_settings()))
    found = [zone for zone in zones if zone.columns.name == name]
    if not found:
        typer.echo(unknown_zone_text(zones, name), err=True)
        raise typer.Exit(EXIT_FINDING)
    now = datetime.now(UTC)
    versions = versions_of(found)
    if as_json:
        objects = [measured_object(zone, versions, now) for zone in found]
        print(json.dumps({"name": name, "id": found[0].id, "versions": objects}))
    else:
        print_versions(found, versions, now)

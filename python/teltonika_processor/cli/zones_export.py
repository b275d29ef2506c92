"""`zones export`: the zones that count, as a file that `zones import` takes."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.instants import instant_of
from teltonika_processor.cli.zones_list import stored
from teltonika_processor.cli.zones_state import counting
from teltonika_processor.timing.zone_file import feature_of


def export(
    *,
    at: Annotated[
        datetime | None,
        typer.Option(
            parser=instant_of,
            metavar="INSTANT",
            help="Those that counted at 2026-05-03T14:00:00Z; now if not given.",
        ),
    ] = None,
) -> None:
    """Print the zones that count as GeoJSON, a feature a line; `zones import` takes it unchanged.

    Exits with 0, with zones or without; 75 if Postgres was not reached.
    """
    with failures_told():
        zones = asyncio.run(stored(command_settings()))
    found = counting(zones, at or datetime.now(UTC))
    found.sort(key=lambda zone: zone.columns.name)
    features = ",\n".join(json.dumps(feature_of(zone.columns)) for zone in found)
    print(f'{{"type": "FeatureCollection", "features": [\n{features}\n]}}')

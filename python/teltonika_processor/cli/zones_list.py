"""`zones list`: which zones there are, and which of their versions count."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonLines
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.zones_output import print_list, version_object
from teltonika_processor.cli.zones_state import newest, versions_of
from teltonika_processor.settings import Settings
from teltonika_processor.store.zone_sessions import looking_session
from teltonika_processor.store.zones import StoredZone, all_zones


def list_zones(
    *,
    all_versions: Annotated[
        bool, typer.Option("--all", help="All versions, not only the newest of each zone.")
    ] = False,
    as_json: JsonLines = False,
) -> None:
    """List the zones by name: kind, validity, and whether every device is marked for the last edit.

    Exits with 0, with zones or without; 75 if Postgres was not reached.
    """
    with failures_told():
        zones = asyncio.run(stored(command_settings()))
    now = datetime.now(UTC)
    shown = zones if all_versions else newest(zones)
    versions = versions_of(zones)
    shown = sorted(shown, key=lambda zone: (zone.columns.name, zone.id, zone.version))
    if as_json:
        for zone in shown:
            print(json.dumps(version_object(zone, versions, now)))
    else:
        print_list(shown, versions, now)


async def stored(settings: Settings) -> list[StoredZone]:
    """Every version of every zone."""
    dsn = settings.database_url.get_secret_value()
    async with looking_session(dsn, pooler=settings.database_pooler) as session:
        return await all_zones(session)

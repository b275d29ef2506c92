"""`zones disable`: a zone that counts no more from a time on."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import (
    DryRun,
    Yes,
    is_confirmed,
    require_somebody_to_ask,
)
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.instants import instant_of, instant_text
from teltonika_processor.cli.zones_edit import finish, past_text
from teltonika_processor.cli.zones_state import ZoneName, counts_from
from teltonika_processor.errors import SinkRejected
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.store.zone_sessions import editing_session
from teltonika_processor.store.zones import all_zones, disable_zone
from teltonika_processor.texts import printable


def disable(
    name: ZoneName,
    *,
    from_: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            parser=instant_of,
            metavar="INSTANT",
            help="From when on: 2026-05-03T14:00:00Z; now if not given.",
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Let a zone count no more; its versions and what it timed before stay.

    From a moment in the past on, crossings since then are derived again. `zones import` lets it
    count again. Takes the owner of the tables: DATABASE_MIGRATION_URL, or DATABASE_URL.

    Exits with 0 if it counts no more, 1 if no zone of this name counted then, or the answer was no.
    """
    require_somebody_to_ask("disable", yes=yes, dry_run=dry_run)
    now = datetime.now(UTC)
    end = from_ or now
    past = past_text(end) if end < now else ""
    with failures_told():
        settings = command_settings()
        try:
            code = asyncio.run(_carry_out(settings, name, end, past, dry_run, yes, as_json))
        except SinkRejected as error:  # a trigger or a constraint of the operator's
            typer.echo(str(error), err=True)
            code = EXIT_FINDING
    raise typer.Exit(code)


async def _carry_out(  # noqa: PLR0913, PLR0917 -- the options of the command
    settings: Settings,
    name: str,
    end: datetime,
    past: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    async with editing_session(settings.owner_url.get_secret_value()) as session:
        if not counts_from(await all_zones(session), name, end):
            typer.echo(f"no zone {printable(name)!r} counts from {instant_text(end)} on", err=True)
            return EXIT_FINDING
        what = f"disable {printable(name)} from {instant_text(end)} on{past}"
        if dry_run:
            _say(name, end, dry_run=True, n_devices=None, as_json=as_json)
            return 0
        if not is_confirmed(what, yes=yes):
            return EXIT_FINDING
        if not await disable_zone(session, name, valid_to=end):
            typer.echo("somebody else did it meanwhile", err=True)
        n_devices = await finish(session)
        _say(name, end, dry_run=False, n_devices=n_devices, as_json=as_json)
    return 0


def _say(name: str, end: datetime, *, dry_run: bool, n_devices: int | None, as_json: bool) -> None:
    if as_json:
        about = {
            "dry_run": dry_run,
            "name": name,
            "valid_to": instant_text(end),
            "devices": n_devices,
        }
        print(json.dumps(about))
        return
    would = "would disable" if dry_run else "disabled"
    print(f"{would} {printable(name)} from {instant_text(end)} on")

"""`zones disable`: a zone that counts no more from a time on."""

import asyncio
import json
from dataclasses import dataclass
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
from teltonika_processor.cli.names import not_counting_text
from teltonika_processor.cli.zones_edit import DERIVED_AGAIN, finish, past_text
from teltonika_processor.cli.zones_outlook import (
    look_ahead,
    outlook_object,
    print_outlook,
    sessions_of_zones,
)
from teltonika_processor.cli.zones_state import ZoneName, counts_from
from teltonika_processor.errors import SinkRejected, ZoneUnusable
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.store.zone_sessions import editing_session
from teltonika_processor.store.zones import Edited, all_zones, disable_zone
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

    From a moment in the past on, crossings since then are derived again: how many change is shown
    before it asks. `zones import` lets it count again. Takes the owner of the tables:
    DATABASE_MIGRATION_URL, or DATABASE_URL.

    Exits with 0 if it counts no more, 1 if no zone of this name counted then, a row of
    zones is none, or the answer was no; 2 if there is no terminal to ask on.
    """
    now = datetime.now(UTC)
    order = _Order(name, from_ or now, from_ is not None and from_ < now, dry_run, yes, as_json)
    with failures_told():
        settings = command_settings()
        try:
            code = asyncio.run(_carry_out(settings, order))
        # A trigger or a constraint of the operator's; a row that was written by hand.
        except (SinkRejected, ZoneUnusable) as error:
            typer.echo(str(error), err=True)
            code = EXIT_FINDING
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class _Order:
    """What the operator wants done."""

    name: str
    end: datetime
    is_past: bool
    dry_run: bool
    yes: bool
    as_json: bool

    @property
    def edited(self) -> Edited:
        return Edited(self.name, "disabled")


async def _carry_out(settings: Settings, order: _Order) -> int:
    name, end = order.name, order.end
    async with editing_session(settings.owner_url.get_secret_value()) as session:
        zones = await all_zones(session)
        if not counts_from(zones, name, end):
            typer.echo(not_counting_text(zones, name, end), err=True)
            return EXIT_FINDING
        require_somebody_to_ask("disable", yes=order.yes, dry_run=order.dry_run)
        sessions = await sessions_of_zones(session, end)
        crossings = None
        if order.is_past and not order.yes:
            crossings = await look_ahead(
                session,
                lambda: disable_zone(session, name, valid_to=end),
                end,
                is_asked=not order.dry_run,
            )
        if not order.as_json:
            print_outlook([order.edited], sessions, crossings)
        if order.dry_run:
            _say(order, outlook_object(order.edited, sessions, crossings), None)
            return 0
        past = past_text(end) if order.is_past else ""
        what = f"disable {printable(name)} from {instant_text(end)} on{past}"
        if not is_confirmed(what, yes=order.yes):
            return EXIT_FINDING
        if not await disable_zone(session, name, valid_to=end):
            typer.echo("somebody else did it meanwhile", err=True)
        n_devices = await finish(session)
        _say(order, outlook_object(order.edited, sessions, crossings), n_devices)
    return 0


def _say(order: _Order, outlook: dict[str, object], n_devices: int | None) -> None:
    valid_to = instant_text(order.end)
    if order.as_json:
        about = {"dry_run": order.dry_run, **outlook, "valid_to": valid_to, "devices": n_devices}
        print(json.dumps(about))
        return
    would = "would disable" if order.dry_run else "disabled"
    print(f"{would} {printable(order.name)} from {valid_to} on")
    if order.is_past and not order.dry_run:
        print(DERIVED_AGAIN)

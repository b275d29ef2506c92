"""`zones import`: new versions of the zones of a file, all or none."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import (
    DryRun,
    Yes,
    is_confirmed,
    refuse,
    require_somebody_to_ask,
)
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.instants import ALWAYS, instant_of
from teltonika_processor.cli.zones_edit import finish, past_text
from teltonika_processor.cli.zones_file import (
    STANDARD_INPUT,
    GeoJsonFile,
    problem_lines,
    text_of,
)
from teltonika_processor.cli.zones_import_output import (
    ImportOrder,
    ImportReport,
    counts_text,
    say,
    show,
)
from teltonika_processor.cli.zones_outlook import (
    look_ahead,
    sessions_of_zones,
)
from teltonika_processor.errors import SinkRejected, ZoneUnusable
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.store.connection import Session
from teltonika_processor.store.zone_sessions import editing_session, fleet_cells
from teltonika_processor.store.zones import plan_zones, write_zones
from teltonika_processor.timing.zone_file import read_file
from teltonika_processor.timing.zone_swap import likely_swapped


def import_zones(
    file: GeoJsonFile,
    *,
    valid_from: Annotated[
        str | None,
        typer.Option(
            metavar="INSTANT",
            help="From when on they count: 2026-05-03T14:00:00Z, or `always`; now if not given.",
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Add the zones of a GeoJSON file, and new versions of those that differ; all or none.

    Zones are told apart by name; those that the file does not hold stay as they are. A version
    counts from --valid-from on. In the past that derives crossings again: how many change is shown,
    and asked. So is a zone whose longitude and latitude are swapped, likely. Takes the owner of the
    tables: DATABASE_MIGRATION_URL, or DATABASE_URL.

    Exits with 0 if they are there, 1 if the answer was no or a row of zones is none, 2 if something
    of the file is no zone: `zones check` says the same and changes nothing.
    """
    now = datetime.now(UTC)
    found = read_file(text_of(file))
    if found.problems:
        for line in problem_lines(found.problems):
            typer.echo(line, err=True)
        refuse("nothing was changed")
    order = ImportOrder(
        zones=found.zones,
        valid_from=_valid_from(valid_from, now),
        is_past=valid_from == ALWAYS or (valid_from is not None and instant_of(valid_from) < now),
        is_standard_input=file == STANDARD_INPUT,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )
    with failures_told():
        settings = command_settings()
        try:
            code = asyncio.run(_carry_out(settings, order))
        # A trigger or a constraint of the operator's; a row that was written by hand.
        except (SinkRejected, ZoneUnusable) as error:
            typer.echo(str(error), err=True)
            code = EXIT_FINDING
    raise typer.Exit(code)


def _valid_from(text: str | None, now: datetime) -> datetime | None:
    if text == ALWAYS:
        return None
    return now if text is None else instant_of(text)


async def _carry_out(settings: Settings, order: ImportOrder) -> int:
    async with editing_session(settings.owner_url.get_secret_value()) as session:
        report = await _planned(session, order)
        if order.dry_run:
            say(report)
            return 0
        if report.is_asked:
            if not order.as_json:
                show(report)
                report = replace(report, is_shown=True)
            past = past_text(order.valid_from) if report.changes_past else ""
            if not is_confirmed(f"import {counts_text(report.edited)}{past}", yes=order.yes):
                return EXIT_FINDING
        return await _write(session, report)


async def _planned(session: Session, order: ImportOrder) -> ImportReport:
    """What would be done; leaves with 2 where that takes an answer and nobody can give one."""
    swapped = likely_swapped(order.zones, await fleet_cells(session))
    for line in problem_lines(swapped):
        typer.echo(line, err=True)
    report = ImportReport(
        order=order,
        edited=await plan_zones(session, order.columns, valid_from=order.valid_from),
        swapped=swapped,
        sessions=await sessions_of_zones(session, order.valid_from),
    )
    if report.is_asked:
        _require_an_answer(order)
    if order.yes or not report.changes_past:
        return report

    def edit() -> Awaitable[object]:
        return write_zones(session, order.columns, valid_from=order.valid_from)

    crossings = await look_ahead(session, edit, order.valid_from, is_asked=report.is_asked)
    return replace(report, crossings=crossings)


def _require_an_answer(order: ImportOrder) -> None:
    if order.is_standard_input and not order.yes:
        refuse("- leaves nothing to read the answer from: give --yes, or --dry-run")
    require_somebody_to_ask("import", yes=order.yes)


async def _write(session: Session, report: ImportReport) -> int:
    order = report.order
    edited = await write_zones(session, order.columns, valid_from=order.valid_from)
    written = replace(report, edited=edited)
    try:
        n_devices = await finish(session)
    except BaseException:
        say(written)
        raise
    say(replace(written, n_devices=n_devices))
    return 0

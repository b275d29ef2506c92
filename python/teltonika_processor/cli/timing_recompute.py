"""`timing recompute`: derive crossings again, with the difference shown before it is written."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import typer

from teltonika_processor.cli.arguments import JsonObject, imei_of
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import (
    DryRun,
    Yes,
    is_confirmed,
    refuse,
    require_somebody_to_ask,
)
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.instants import ALWAYS, Until, instant_or_age_of, require_span
from teltonika_processor.cli.named_devices import have_fixes, tell_left_out
from teltonika_processor.cli.names import unknown_names_told
from teltonika_processor.cli.recompute_output import Findings, RecomputeOutput
from teltonika_processor.errors import ZoneUnusable
from teltonika_processor.service.exit_codes import EXIT_FINDING, ExitCode
from teltonika_processor.settings import Settings
from teltonika_processor.store.connection import Session, SessionConfig, open_session, session_of
from teltonika_processor.store.rerun import EARLIEST, Stretch, compare, stretches
from teltonika_processor.store.sessions import named_zones, zone_ids
from teltonika_processor.timing.rerun import rerun
from teltonika_processor.timing.zone_cache import load_zones

# Bound: one statement, which reads a group of devices.
_STATEMENT_MAX_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Order:
    """What somebody wants done."""

    zone: str | None
    imeis: list[int] | None
    since: datetime
    until: datetime | None


def _since(text: str) -> datetime:
    return EARLIEST if text == ALWAYS else instant_or_age_of(text)


def recompute(  # noqa: PLR0913 -- the options of the command
    *,
    since: Annotated[
        datetime,
        typer.Option(
            parser=_since, metavar="INSTANT", help="From then on; 2h, 7d: so long ago; or always."
        ),
    ],
    until: Until = None,
    zone: Annotated[
        str | None, typer.Option(metavar="NAME", help="All devices that have a fix since then.")
    ] = None,
    imei: Annotated[
        list[int] | None,
        typer.Option(parser=imei_of, metavar="IMEI", help="This device; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Show so many crossings at most.")] = 50,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Derive the crossings of devices again, of all zones; shows first what that would change.

    Crossings are kept up to date without it: it is for positions or crossings that somebody changed
    by hand. One whose fix is gone, as with a partition that was dropped, stays. What is replaced
    leaves a line in timing_revisions. May be run while instances fold.

    Exits with 0 if all is derived or nothing would change, 1 if the answer was no, there is no such
    zone or device, or a row of zones is none; 2 if not either a zone or devices are named, or
    --until is not behind --since.
    """
    if (zone is None) == (not imei):
        refuse("give --zone NAME or --imei IMEI: one of the two")
    require_span(since, until)
    require_somebody_to_ask("derive again", yes=yes, dry_run=dry_run)
    order = _Order(zone, imei or None, since, until)
    output = RecomputeOutput(limit, as_json=as_json)
    with failures_told(), unknown_names_told():
        try:
            code = asyncio.run(_run(command_settings(), order, output, dry_run, yes))
        except ZoneUnusable as error:
            typer.echo(str(error), err=True)
            code = EXIT_FINDING
    raise typer.Exit(code)


async def _run(
    settings: Settings, order: _Order, output: RecomputeOutput, dry_run: bool, yes: bool
) -> int:
    config = SessionConfig(
        dsn=settings.database_url.get_secret_value(),
        instance="timing",
        write_timeout_s=_STATEMENT_MAX_S,
        pooler=settings.database_pooler,
    )
    async with session_of(open_session, config) as session:
        if order.zone is not None:
            await named_zones(session, [order.zone])
        elif not await have_fixes(session, order.imeis or []):
            return EXIT_FINDING
        wanted = await stretches(session, order.imeis, order.since, order.until)
        tell_left_out(order.imeis, order.since, wanted)
        if not wanted:
            output.done(Findings({}, n_devices=0), None, 0.0, dry_run=dry_run)
            return ExitCode.DRAINED
        found = await _findings(session, wanted)
        output.found(found)
        if dry_run or not found.is_anything:
            output.done(found, None, 0.0, dry_run=dry_run)
            return ExitCode.DRAINED
    if not is_confirmed(f"write {found.summary()}", yes=yes):
        return EXIT_FINDING
    # The answer may have taken longer than a session lives.
    async with session_of(open_session, config) as session:
        began_s = time.monotonic()
        done = await rerun(session, wanted, is_pooled=settings.database_pooler != "none")
        output.done(found, done, time.monotonic() - began_s, dry_run=False)
    return ExitCode.DRAINED


async def _findings(session: Session, wanted: list[Stretch]) -> Findings:
    names = {zone_id: name for name, zone_id in (await zone_ids(session)).items()}
    found = Findings(names, n_devices=len(wanted))
    zones = await load_zones(session)
    async for compared in compare(session, zones, wanted):
        found.add(compared)
    return found

"""`timing limits`: what is a path between two fixes."""

import asyncio
import json
import math
from typing import Annotated, Final

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
from teltonika_processor.cli.zones_edit import DERIVED_AGAIN, finish
from teltonika_processor.cli.zones_outlook import (
    Crossings,
    crossings_object,
    look_ahead,
    print_crossings,
)
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.store.zone_sessions import editing_session, looking_session
from teltonika_processor.store.zones import PathLimits, change_limits, path_limits

_GAP_MIN_S: Final = 1e-6
_GAP_MAX_S: Final = 1e9


def _limit(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise typer.BadParameter("expected a number above 0")
    return value


def _gap(text: str) -> float:
    """Within what a fold counts, in microseconds, and an interval of the server's holds."""
    value = _limit(text)
    if not _GAP_MIN_S <= value <= _GAP_MAX_S:
        raise typer.BadParameter("expected 0.000001 to 1000000000")
    return value


def limits(
    *,
    gap_s: Annotated[
        float | None,
        typer.Option(
            parser=_gap,
            metavar="SECONDS",
            help="Two fixes farther apart in time have no path between them.",
        ),
    ] = None,
    jump_m_s: Annotated[
        float | None,
        typer.Option(
            parser=_limit,
            metavar="SPEED",
            help="Nor have two that would need more metres a second.",
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Show what is a path between two fixes, or change it, for all that was too.

    How many crossings change is shown before it asks; then every device is marked, and instances
    derive its crossings again. Takes DATABASE_MIGRATION_URL, or DATABASE_URL.

    Exits with 0, or 1 if the answer was no.
    """
    is_change = gap_s is not None or jump_m_s is not None
    if is_change:
        require_somebody_to_ask("change them", yes=yes, dry_run=dry_run)
    with failures_told():
        settings = command_settings()
        before = asyncio.run(_stored(settings))
        wanted = PathLimits(gap_s or before.gap_s, jump_m_s or before.jump_m_s)
        is_dry = dry_run and wanted != before
        n_devices = crossings = None
        if wanted != before and not yes:
            crossings = asyncio.run(_look_ahead(settings, wanted, is_asked=not dry_run))
            if not as_json:
                print_crossings(crossings)
        if is_change and not dry_run:
            question = f"change {_text(before)} to {_text(wanted)}, and derive all crossings again"
            if wanted != before and not is_confirmed(question, yes=yes):
                raise typer.Exit(EXIT_FINDING)
            n_devices = asyncio.run(_change(settings, wanted))
    if as_json:
        _say_object(wanted, crossings, n_devices, dry_run=is_dry)
    else:
        _say(wanted, n_devices, dry_run=is_dry)


def _say_object(
    found: PathLimits, crossings: Crossings | None, n_devices: int | None, *, dry_run: bool
) -> None:
    about = {"dry_run": dry_run, "gap_s": found.gap_s, "jump_m_s": found.jump_m_s}
    print(json.dumps(about | {"crossings": crossings_object(crossings), "devices": n_devices}))


def _say(found: PathLimits, n_devices: int | None, *, dry_run: bool) -> None:
    print(f"{'would be: ' if dry_run else ''}{_text(found)}")
    if n_devices is not None:
        print(DERIVED_AGAIN)


def _text(found: PathLimits) -> str:
    return f"gap {found.gap_s:g} s, jump {found.jump_m_s:g} m/s"


async def _stored(settings: Settings) -> PathLimits:
    dsn = settings.database_url.get_secret_value()
    async with looking_session(dsn, pooler=settings.database_pooler) as session:
        return await path_limits(session)


async def _look_ahead(settings: Settings, wanted: PathLimits, *, is_asked: bool) -> Crossings:
    async with editing_session(settings.owner_url.get_secret_value(), "timing_limits") as session:
        return await look_ahead(
            session, lambda: change_limits(session, wanted), None, is_asked=is_asked
        )


async def _change(settings: Settings, wanted: PathLimits) -> int | None:
    """How many devices were marked, also for what a kill left; None: nothing was to be done."""
    async with editing_session(settings.owner_url.get_secret_value(), "timing_limits") as session:
        is_changed = await change_limits(session, wanted)
        n_devices = await finish(session)
        return n_devices if is_changed or n_devices else None

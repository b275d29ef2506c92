"""`timing limits`: what is a path between two fixes."""

import asyncio
import json
import math
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
from teltonika_processor.cli.zones_edit import finish
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.store.zone_sessions import editing_session, looking_session
from teltonika_processor.store.zones import PathLimits, change_limits, path_limits


def _limit(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise typer.BadParameter("expected a number above 0")
    return value


def limits(
    *,
    gap_s: Annotated[
        float | None,
        typer.Option(
            parser=_limit,
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

    After a change every device is marked, and instances derive its crossings again. Takes
    DATABASE_MIGRATION_URL, or DATABASE_URL.

    Exits with 0, or 1 if the answer was no.
    """
    is_change = gap_s is not None or jump_m_s is not None
    if is_change:
        require_somebody_to_ask("change them", yes=yes, dry_run=dry_run)
    with failures_told():
        settings = command_settings()
        before = asyncio.run(_stored(settings))
        wanted = PathLimits(gap_s or before.gap_s, jump_m_s or before.jump_m_s)
        n_devices = None
        if wanted != before and not dry_run:
            question = f"change {_text(before)} to {_text(wanted)}, and derive all crossings again"
            if not is_confirmed(question, yes=yes):
                raise typer.Exit(EXIT_FINDING)
            n_devices = asyncio.run(_change(settings, wanted))
    _say(wanted, n_devices, dry_run=dry_run and wanted != before, as_json=as_json)


def _say(found: PathLimits, n_devices: int | None, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        about = {"dry_run": dry_run, "gap_s": found.gap_s, "jump_m_s": found.jump_m_s}
        print(json.dumps(about | {"devices": n_devices}))
        return
    print(f"{'would be: ' if dry_run else ''}{_text(found)}")
    if n_devices is not None:
        typer.echo(f"{n_devices:,} devices are marked: instances derive their crossings again")


def _text(found: PathLimits) -> str:
    return f"gap {found.gap_s:g} s, jump {found.jump_m_s:g} m/s"


async def _stored(settings: Settings) -> PathLimits:
    dsn = settings.database_url.get_secret_value()
    async with looking_session(dsn, pooler=settings.database_pooler) as session:
        return await path_limits(session)


async def _change(settings: Settings, wanted: PathLimits) -> int:
    """How many devices were marked."""
    async with editing_session(settings.owner_url.get_secret_value()) as session:
        await change_limits(session, wanted)
        return await finish(session)

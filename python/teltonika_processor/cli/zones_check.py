"""`zones check`: everything that is wrong with a file of zones, with a server or without."""

import asyncio
import json
from typing import Annotated, Final

import typer

from teltonika_processor.cli.arguments import JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.zones_file import (
    GeoJsonFile,
    gate_lines,
    problem_lines,
    problem_object,
    text_of,
)
from teltonika_processor.errors import (
    SchemaMismatch,
    SinkRejected,
    TransientError,
)
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.store.zone_sessions import fleet_cells, looking_session
from teltonika_processor.texts import count_text
from teltonika_processor.timing.zone_feature import LonLat
from teltonika_processor.timing.zone_file import ZoneFile, read_file
from teltonika_processor.timing.zone_swap import likely_swapped

# A file can be looked at without a server, so one that is away is not waited for.
_CONNECT_MAX_S: Final = 2.0

_OFFLINE: Final = "--offline"


def check(
    file: GeoJsonFile,
    *,
    offline: Annotated[
        bool, typer.Option(_OFFLINE, help="Do not ask Postgres where the fleet is.")
    ] = False,
    as_json: JsonObject = False,
) -> None:
    """Name everything that is wrong with a file of zones; changes nothing.

    Says of each gate which way it counts. Where Postgres is reached, zones far from the fleet that
    would be near it with longitude and latitude swapped are named too.

    Exits with 0 if nothing is wrong, 1 if something is, also where it is no GeoJSON at all; 2 if
    the file cannot be read: it is not there, a directory, no UTF-8, or too large.
    """
    found = read_file(text_of(file))
    fleet: list[LonLat] | None = None
    why_not = _OFFLINE
    if not offline:
        with failures_told():
            settings = command_settings()
        try:
            fleet = asyncio.run(_fleet(settings))
        except (TransientError, SchemaMismatch, SinkRejected) as error:
            why_not = str(error)
    problems = [*found.problems, *likely_swapped(found.zones, fleet or [])]
    problems.sort(key=lambda problem: problem.feature or 0)
    found = ZoneFile(found.zones, tuple(problems))
    if as_json:
        _print_json(found, fleet, why_not)
    else:
        _print(found, fleet, why_not)
    raise typer.Exit(EXIT_FINDING if problems else 0)


async def _fleet(settings: Settings) -> list[LonLat]:
    async with looking_session(
        settings.database_url.get_secret_value(),
        pooler=settings.database_pooler,
        connect_timeout_s=_CONNECT_MAX_S,
    ) as session:
        return await fleet_cells(session)


def _print(found: ZoneFile, fleet: list[LonLat] | None, why_not: str) -> None:
    wrong = {problem.feature for problem in found.problems}
    sound = [(number, zone) for number, zone in found.zones if number not in wrong]
    for line in [*problem_lines(found.problems), *gate_lines(sound)]:
        print(line)
    n, n_problems = len(found.zones), len(found.problems)
    problems = count_text(n_problems, "problem") if n_problems else "no problem"
    print(f"{count_text(n, 'zone')} read, {problems}")
    if fleet is None and why_not != _OFFLINE:
        typer.echo(f"whether they lie where the fleet is was not looked at: {why_not}", err=True)
    elif fleet == []:
        typer.echo("whether they lie where the fleet is is not known: no device has a position")


def _print_json(found: ZoneFile, fleet: list[LonLat] | None, why_not: str) -> None:
    about = {
        "zones": len(found.zones),
        "problems": [problem_object(problem) for problem in found.problems],
        "fleet_looked_at": fleet is not None,
        "why_not": why_not if fleet is None else None,
    }
    print(json.dumps(about))

"""`timing show` and `timing stays`: crossings, and stays in zones."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Final, TypeVar

import typer

from teltonika_processor.cli.arguments import JsonLines, imei_of
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.instants import Since, Until, crossing_text, lap_text, require_span
from teltonika_processor.cli.named_devices import is_device
from teltonika_processor.cli.names import unknown_names_told
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.cli.underived import tell_underived
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.store.connection import Session
from teltonika_processor.store.sessions import named_zones
from teltonika_processor.store.timing import (
    Crossing,
    Filter,
    Stay,
    crossings,
)
from teltonika_processor.store.timing import stays as stored_stays
from teltonika_processor.store.zone_sessions import looking_session
from teltonika_processor.texts import name_text

# Bound: rows of one list, some 30 MB.
_LIMIT_MAX: Final = 100_000

_CROSSINGS: Final = (
    *("at", "±", "imei", "name", "zone", "kind", "direction", "cause", "satellites"),
)
_STAYS: Final = ("imei", "name", "zone", "entered_at", "left_at", "duration", "remarks")
_UNFOLDED: Final = ("at", "imei", "kind", "direction", "cause", "entered_at", "left_at")

T = TypeVar("T")

Zone = Annotated[str | None, typer.Option(metavar="NAME", help="Of one zone, by its name.")]
OneImei = Annotated[int | None, typer.Option(parser=imei_of, metavar="IMEI", help="Of one device.")]
Limit = Annotated[
    int, typer.Option(min=1, max=_LIMIT_MAX, help="Show so many at most, the newest.")
]


def show(  # noqa: PLR0913 -- the options of the command
    *,
    zone: Zone = None,
    imei: OneImei = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    as_json: JsonLines = False,
) -> None:
    """Show crossings by their moments, the newest last.

    Exits with 0, with crossings or without; 1 if there is no such zone or device; 2 if --until is
    not behind --since; 75 if Postgres was not reached.
    """
    require_span(since, until)
    wanted = Filter(imei=imei, since=since, until=until)
    with failures_told(), unknown_names_told():
        found = asyncio.run(_found(command_settings(), zone, wanted, crossings, limit + 1))
    _print(found, limit, as_json, _CROSSINGS, _crossing_cells, "no crossing")


def stays(
    *,
    zone: Zone = None,
    imei: OneImei = None,
    now: Annotated[bool, typer.Option("--now", help="Those that last: who is there now.")] = False,
    limit: Limit = 50,
    as_json: JsonLines = False,
) -> None:
    """Show stays in zones, those that began last at the end.

    Exits with 0, with stays or without; 1 if there is no such zone or device; 75 if Postgres was
    not reached.
    """
    wanted = Filter(imei=imei, is_now=now)
    with failures_told(), unknown_names_told():
        found = asyncio.run(_found(command_settings(), zone, wanted, stored_stays, limit + 1))
    _print(found, limit, as_json, _STAYS, _stay_cells, "no stay")


async def _found(
    settings: Settings,
    zone: str | None,
    wanted: Filter,
    ask: Callable[..., Awaitable[list[T]]],
    limit: int,
) -> list[T]:
    dsn = settings.database_url.get_secret_value()
    async with looking_session(dsn, pooler=settings.database_pooler) as session:
        await tell_underived(session)
        found = await ask(session, await _of_zone(session, zone, wanted), limit=limit)
        if not found and wanted.imei is not None and not await is_device(session, wanted.imei):
            raise typer.Exit(EXIT_FINDING)
        return found


async def _of_zone(session: Session, zone: str | None, wanted: Filter) -> Filter:
    if zone is None:
        return wanted
    (zone_id,) = await named_zones(session, [zone])
    return replace(wanted, zone_id=zone_id)


def _print(  # noqa: PLR0913, PLR0917 -- of one list
    found: Sequence[T],
    limit: int,
    as_json: bool,
    headings: Sequence[str],
    cells: Callable[[T], Sequence[str]],
    nothing: str,
) -> None:
    shown = found[-limit:]
    if as_json:
        for one in shown:
            print(json.dumps(asdict(one)))  # type: ignore[call-overload]
    elif shown:
        print_rows(
            headings,
            [cells(one) for one in shown],
            terminal=sys.stdout.isatty(),
            unfolded=_UNFOLDED,
            right=("±", "satellites", "duration"),
        )
    else:
        print(nothing)
    if len(found) > limit:
        typer.echo("there are older ones: --limit shows more", err=as_json)


def _crossing_cells(crossing: Crossing) -> tuple[str, ...]:
    return (
        crossing_text(crossing.at_us),
        f"{crossing.uncertainty_us / 1e6:.6f}",
        crossing.imei,
        name_text(crossing.name),
        name_text(crossing.zone),
        crossing.kind,
        crossing.direction or "-",
        crossing.cause,
        str(crossing.satellites),
    )


def _stay_cells(stay: Stay) -> tuple[str, ...]:
    return (
        stay.imei,
        name_text(stay.name),
        name_text(stay.zone),
        crossing_text(stay.entered_at_us),
        crossing_text(stay.left_at_us),
        lap_text(stay.duration_us),
        ", ".join(_remarks(stay)),
    )


def _remarks(stay: Stay) -> list[str]:
    said = ["already inside"] if stay.is_initial else []
    if stay.entered_cause != "ok":
        said.append(f"entered by {stay.entered_cause}")
    if stay.left_cause not in {None, "ok"}:
        said.append(f"left by {stay.left_cause}")
    if stay.is_open and not stay.zone_counts:
        said.append("the zone counts no more")
    return said

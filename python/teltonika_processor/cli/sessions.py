"""`teltonika-processor sessions`: practice, qualifying and race, over which zones and when."""

import asyncio
import json
import sys
from collections import Counter
from datetime import datetime
from typing import Annotated, Final

import typer

from teltonika_processor.cli.arguments import JsonLines, JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import (
    DryRun,
    Yes,
    is_confirmed,
    refuse,
    require_somebody_to_ask,
)
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.instants import instant_of, instant_text
from teltonika_processor.cli.names import unknown_names_told
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.store.sessions import (
    RaceSession,
    SessionKind,
    add_session,
    all_sessions,
    remove_session,
    session_named,
)
from teltonika_processor.store.zone_sessions import editing_session, looking_session
from teltonika_processor.texts import printable

_HEADINGS: Final = ("name", "kind", "starts_at", "ends_at", "finish", "sectors")
_UNFOLDED: Final = ("kind", "starts_at", "ends_at")

# Bound: a name stands in tables.
_NAME_MAX: Final = 200

app = typer.Typer()
_sessions = typer.Typer(no_args_is_help=True)
app.add_typer(
    _sessions, name="sessions", help="Practice, qualifying, race: when, and over which zones."
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What people call it.")]


@_sessions.command("add")
def add(  # noqa: PLR0913 -- the options of the command
    name: Name,
    *,
    kind: Annotated[SessionKind, typer.Option(help="Which order the board has.")],
    starts_at: Annotated[
        datetime,
        typer.Option(
            "--from", parser=instant_of, metavar="INSTANT", help="First moment that counts."
        ),
    ],
    ends_at: Annotated[
        datetime,
        typer.Option(
            "--to", parser=instant_of, metavar="INSTANT", help="First moment that counts no more."
        ),
    ],
    finish: Annotated[str, typer.Option(metavar="ZONE", help="Start and finish, by its name.")],
    sector: Annotated[
        list[str] | None,
        typer.Option(metavar="ZONE", help="A sector gate; repeat it in the order of a lap."),
    ] = None,
) -> None:
    """Add a session: laps are counted from crossings of --finish between two moments.

    A moment is as 2026-05-03T14:00:00Z; without a zone of time it is UTC. Crossings that are there
    already count too. Takes DATABASE_MIGRATION_URL, or DATABASE_URL.

    Exits with 0 if it was added, 1 if a session of this name is there or one of the zones is not,
    2 if the moments or names cannot be meant.
    """
    if not name.strip() or len(name) > _NAME_MAX:
        refuse(f"a name is 1 to {_NAME_MAX} characters")
    if starts_at >= ends_at:
        refuse("--from is not before --to")
    zones = (finish, *(sector or ()))
    if twice := [zone for zone, n in Counter(zones).items() if n > 1]:
        refuse(f"named twice: {', '.join(repr(printable(zone)) for zone in twice)}")
    wanted = RaceSession(name=name, kind=kind, starts_at=starts_at, ends_at=ends_at, zones=zones)
    with failures_told(), unknown_names_told():
        if not asyncio.run(_add(command_settings(), wanted)):
            typer.echo(f"there is a session {name!r} already: remove it first", err=True)
            raise typer.Exit(EXIT_FINDING)
    period = f"{instant_text(starts_at)} to {instant_text(ends_at)}"
    print(f"added: {printable(name)}, {period}")


async def _add(settings: Settings, wanted: RaceSession) -> bool:
    async with editing_session(settings.owner_url.get_secret_value(), "sessions") as session:
        return await add_session(session, wanted)


@_sessions.command("list")
def list_command(*, as_json: JsonLines = False) -> None:
    """List the sessions by their beginning.

    Exits with 0, with sessions or without; 75 if Postgres was not reached.
    """
    with failures_told():
        found = asyncio.run(_all(command_settings()))
    if as_json:
        for one in found:
            print(json.dumps(_object(one)))
    elif found:
        rows = [_cells(one) for one in found]
        print_rows(_HEADINGS, rows, terminal=sys.stdout.isatty(), unfolded=_UNFOLDED)
    else:
        print("no session")


async def _all(settings: Settings) -> list[RaceSession]:
    dsn = settings.database_url.get_secret_value()
    async with looking_session(dsn, pooler=settings.database_pooler) as session:
        return await all_sessions(session)


def _cells(one: RaceSession) -> tuple[str, ...]:
    finish, *sectors = one.zones
    return (
        printable(one.name),
        one.kind,
        instant_text(one.starts_at),
        instant_text(one.ends_at),
        printable(finish),
        ", ".join(map(printable, sectors)) or "-",
    )


def _object(one: RaceSession) -> dict[str, object]:
    finish, *sectors = one.zones
    return {
        "name": one.name,
        "kind": one.kind,
        "starts_at": instant_text(one.starts_at),
        "ends_at": instant_text(one.ends_at),
        "finish": finish,
        "sectors": sectors,
    }


@_sessions.command("remove")
def remove(
    name: Name, *, dry_run: DryRun = False, yes: Yes = False, as_json: JsonObject = False
) -> None:
    """Remove a session. Crossings stay, and adding it again gives the same laps.

    Exits with 0 if it was removed, 1 if there is none of this name or the answer was no.
    """
    with failures_told(), unknown_names_told():
        removed = asyncio.run(_remove(command_settings(), name, dry_run=dry_run, yes=yes))
        if removed is None:
            raise typer.Exit(EXIT_FINDING)
    if as_json:
        print(json.dumps({"dry_run": dry_run} | _object(removed)))
    else:
        print(f"{'would remove' if dry_run else 'removed'}: {printable(name)}")


async def _remove(settings: Settings, name: str, *, dry_run: bool, yes: bool) -> RaceSession | None:
    """The session; None where the answer was no."""
    async with editing_session(settings.owner_url.get_secret_value(), "sessions") as session:
        found = await session_named(session, name)
        require_somebody_to_ask("remove", yes=yes, dry_run=dry_run)
        if dry_run:
            return found
        if not is_confirmed(f"remove the session {printable(name)}", yes=yes):
            return None
        await remove_session(session, name)
        return found

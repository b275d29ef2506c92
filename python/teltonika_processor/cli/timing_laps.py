"""`timing laps`: the laps of a session one by one, or its board."""

import asyncio
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonLines, imei_of
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import refuse
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.laps_hint import tell_why_no_lap
from teltonika_processor.cli.laps_output import (
    print_board,
    print_board_csv,
    print_board_json,
    print_laps,
    print_laps_csv,
    print_laps_json,
)
from teltonika_processor.cli.names import unknown_names_told
from teltonika_processor.cli.underived import tell_underived
from teltonika_processor.settings import Settings
from teltonika_processor.store.session_zones import SessionZone, zones_of_session
from teltonika_processor.store.sessions import RaceSession, session_named
from teltonika_processor.store.timing import Lap, laps_of
from teltonika_processor.store.zone_sessions import looking_session
from teltonika_processor.timing.board import standings


def laps(
    *,
    session: Annotated[str, typer.Option(metavar="NAME", help="Of which session.")],
    imei: Annotated[
        int | None, typer.Option(parser=imei_of, metavar="IMEI", help="Of one device.")
    ] = None,
    board: Annotated[
        bool, typer.Option("--board", help="The classification, a line a device.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: JsonLines = False,
) -> None:
    """Show the laps of a session as they ended, or the board that they make.

    A lap below the minimum of its zone has no number. In a race more laps win, then who ended the
    last of them earlier; else the best lap wins. Where there is none, standard error says what
    there is of each zone of the session.

    Exits with 0, with laps or without; 1 if there is no such session; 75 if Postgres was not
    reached.
    """
    if as_csv and as_json:
        refuse("give --csv or --json: one of the two")
    with failures_told(), unknown_names_told():
        race, found, zones = asyncio.run(_laps(command_settings(), session, imei))
    if not found:
        tell_why_no_lap(zones, imei)
    if not board:
        if as_csv:
            print_laps_csv(race, found)
        elif as_json:
            print_laps_json(race, found)
        else:
            print_laps(race, found)
        return
    lines = standings(found, is_race=race.kind == "race")
    if as_csv:
        print_board_csv(race, lines)
    elif as_json:
        print_board_json(race, lines)
    else:
        print_board(lines)


async def _laps(
    settings: Settings, name: str, imei: int | None
) -> tuple[RaceSession, list[Lap], list[SessionZone]]:
    """The session, its laps, and its zones where there is no lap."""
    dsn = settings.database_url.get_secret_value()
    async with looking_session(dsn, pooler=settings.database_pooler) as session:
        race = await session_named(session, name)
        await tell_underived(session)
        found = await laps_of(session, name, imei)
        return race, found, [] if found else await zones_of_session(session, name, imei)

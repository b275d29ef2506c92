"""The race of the demo on the servers: its lines and its session, and its board."""

from datetime import UTC, datetime
from typing import Final

from teltonika_processor.cli.demo_board import RaceAccounts, compare_race
from teltonika_processor.simulate.grand_prix import GrandPrix
from teltonika_processor.store.connection import Session
from teltonika_processor.store.folding import marked_devices
from teltonika_processor.store.sessions import RaceSession, add_session
from teltonika_processor.store.timing import laps_of
from teltonika_processor.store.zone_edits import finish_edits
from teltonika_processor.store.zones import ZoneColumns, write_zones
from teltonika_processor.timing.board import Standing, standings

SESSION: Final = "demo"


async def draw_lines(session: Session, grand_prix: GrandPrix) -> None:
    """Write its lines as zones, and its session over them.

    Args:
        session: May write both.
        grand_prix: Not begun, or not stored yet.
    """
    zones = [
        ZoneColumns(
            name=line.name,
            kind="gate",
            geometry={"type": "LineString", "coordinates": [list(one) for one in line.points]},
            direction="left_to_right",
            minimum_lap_s=line.minimum_lap_s,
        )
        for line in grand_prix.lines
    ]
    await write_zones(session, zones, valid_from=_instant(grand_prix.started_at_ms))
    async for _ in finish_edits(session):
        pass
    await add_session(
        session,
        RaceSession(
            name=SESSION,
            kind="race",
            starts_at=_instant(grand_prix.started_at_ms),
            ends_at=_instant(grand_prix.ended_at_ms),
            zones=tuple(line.name for line in grand_prix.lines),
        ),
    )


class Board:
    """What stands in `laps` of the race.

    Args:
        session: Of Postgres.
        grand_prix: Whose lines are drawn.
    """

    def __init__(self, session: Session, grand_prix: GrandPrix) -> None:
        self._session: Final = session
        self._grand_prix: Final = grand_prix

    async def standings(self) -> list[Standing]:
        """As they are now."""
        return standings(await laps_of(self._session, SESSION), is_race=True)

    async def at_the_end(self) -> tuple[list[Standing], RaceAccounts]:
        """Once all is stored and derived: the board, and how it compares with the truth."""
        laps = await laps_of(self._session, SESSION)
        board = standings(laps, is_race=True)
        return board, compare_race(self._grand_prix, laps, board)

    async def is_derived(self) -> bool:
        """Whether no crossing is to be derived any more."""
        return not await marked_devices(self._session, 1)


def _instant(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)

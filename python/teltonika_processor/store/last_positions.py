"""The newest fix of devices, for those whose state is not in memory."""

from collections.abc import Sequence

from teltonika_processor.store import queries
from teltonika_processor.store.connection import Session

LastPosition = tuple[int, int, int, float, float]
"""IMEI, recorded_at in Unix microseconds, digest, longitude and latitude in degrees."""


async def last_positions(session: Session, imeis: Sequence[int]) -> list[LastPosition]:
    """Those of `imeis` that have a fix, in any order; one query.

    Raises:
        Foreign errors, see ``sqlstate.FOREIGN_ERRORS``.
    """
    rows = await session.fetch(queries.LAST_POSITIONS, queries.array(imeis))
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]

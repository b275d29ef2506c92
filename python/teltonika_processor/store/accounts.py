"""What Postgres itself says about the log: how much is stored, and a look at it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from teltonika_processor.model import format_imei
from teltonika_processor.store.connection import (
    Pooler,
    Session,
    SessionConfig,
    open_reading_session,
    session_of,
)

_COUNT: Final = """
SELECT imei, count(*) AS stored, count(*) FILTER (WHERE clock_suspect) AS suspects
FROM public.positions GROUP BY imei ORDER BY imei
"""

# Bound: counting 10 million rows takes seconds.
_COUNT_MAX_S: Final = 60.0

_COUNT_POSITIONS: Final = "SELECT count(*) FROM public.positions"

_NEWEST: Final = """
SELECT p.imei, p.recorded_at, p.longitude, p.latitude, p.altitude_m, p.speed_kmh, p.satellites,
    p.io::text AS io
FROM (
    SELECT imei, recorded_at, digest FROM public.last_position
    ORDER BY recorded_at DESC, imei LIMIT $1
) AS newest JOIN public.positions AS p USING (imei, recorded_at, digest)
ORDER BY p.recorded_at DESC, p.imei
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccounts:
    """The log in numbers.

    Attributes:
        stored_by_imei: Rows of each device.
        suspects: Rows with an impossible clock.
    """

    stored_by_imei: Mapping[str, int]
    suspects: int

    @property
    def stored(self) -> int:
        """All rows."""
        return sum(self.stored_by_imei.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestPosition:
    """The newest valid fix of a device, with the IO elements of its record as JSON text."""

    imei: str
    recorded_at: datetime
    longitude: float
    latitude: float
    altitude_m: int
    speed_kmh: int
    satellites: int
    io: str


def accounts_session(
    dsn: str, *, instance: str, pooler: Pooler = "none"
) -> AbstractAsyncContextManager[Session]:
    """A session for reading accounts; foreign errors that leave the block are translated."""
    config = SessionConfig(dsn=dsn, instance=instance, write_timeout_s=_COUNT_MAX_S, pooler=pooler)
    return session_of(open_reading_session, config)


async def count_positions(session: Session) -> int:
    """Rows in ``positions``."""
    found: int = await session.fetchval(_COUNT_POSITIONS)
    return found


async def stored_accounts(session: Session) -> StoredAccounts:
    """Count the log, device by device."""
    rows = await session.fetch(_COUNT)
    return StoredAccounts(
        stored_by_imei={format_imei(row["imei"]): row["stored"] for row in rows},
        suspects=sum(row["suspects"] for row in rows),
    )


async def newest_positions(session: Session, limit: int) -> list[NewestPosition]:
    """The `limit` devices heard of last, newest first."""
    rows = await session.fetch(_NEWEST, limit)
    return [NewestPosition(**{**row, "imei": format_imei(row["imei"])}) for row in rows]

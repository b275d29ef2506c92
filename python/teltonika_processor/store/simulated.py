"""What the log holds of simulated devices, by key, since some time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from teltonika_processor.store.connection import Session

# Recorded_at is in milliseconds on the wire, so nothing is rounded away.
_RECEIVED: Final = """
SELECT imei, round(extract(epoch FROM recorded_at) * 1000)::bigint AS recorded_at_ms, digest
FROM public.positions WHERE imei = ANY($1::bigint[]) AND received_at >= $2
"""

_NOW: Final = "SELECT now()"


async def server_time(session: Session) -> datetime:
    """The clock of Postgres."""
    now: datetime = await session.fetchval(_NOW)
    return now


async def keys_received(
    session: Session, imeis: Sequence[int], since: datetime
) -> set[tuple[int, int, int]]:
    """Keys (imei, recorded_at in Unix ms, digest) of the rows that a gateway received since then.

    Every partition is asked by its primary key, since a device's clock may say anything.
    """
    rows = await session.fetch(_RECEIVED, list(imeis), since)
    return {(row["imei"], row["recorded_at_ms"], row["digest"]) for row in rows}

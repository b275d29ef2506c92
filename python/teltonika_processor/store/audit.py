"""Which records are not in `positions`: keys go in by COPY, those that are absent come back."""

import math
import struct
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from teltonika_processor.store.connection import (
    Pooler,
    Session,
    SessionConfig,
    open_reading_session,
    session_of,
)

# Bound: longest look; one page takes milliseconds where its partitions are in memory.
_LOOK_MAX_S: Final = 60.0

# Bound: keys of one look, some 40 bytes each on the wire.
_KEYS_PER_LOOK: Final = 10_000

_DAY_MS: Final = 86_400_000
_EPOCH_2000_MS: Final = 946_684_800_000
# The first day that a timestamptz cannot hold, in days since 1970-01-01.
_END_DAY: Final = 106_762_940

# The statement is planned by the keys' bounds, so that it opens their partitions only; and always
# as index look-ups, since the planner adds up the cost of all partitions for each of them.
_BEGIN: Final = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL plan_cache_mode = force_custom_plan;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL jit = off;
CREATE TEMP TABLE audited (n integer, imei bigint, recorded_at timestamptz, digest bigint)
ON COMMIT DROP
"""

# $1, $2: Unix seconds around the keys.
_ABSENT: Final = """
SELECT a.n FROM pg_temp.audited AS a
WHERE NOT EXISTS (
    SELECT FROM public.positions AS p
    WHERE p.imei = a.imei AND p.recorded_at = a.recorded_at AND p.digest = a.digest
      AND p.recorded_at >= to_timestamp($1::double precision)
      AND p.recorded_at < to_timestamp($2::double precision)
)
"""

_COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_ROW: Final = struct.Struct(">hiiiqiqiq")
_COPY_END: Final = struct.pack(">h", -1)


def audit_session(dsn: str, *, pooler: Pooler = "none") -> AbstractAsyncContextManager[Session]:
    """A session for looking; foreign errors that leave the block are translated."""
    config = SessionConfig(dsn=dsn, instance="audit", write_timeout_s=_LOOK_MAX_S, pooler=pooler)
    return session_of(open_reading_session, config)


async def absent_keys(
    session: Session, keys: Sequence[tuple[int, int, int]]
) -> set[tuple[int, int, int]]:
    """Those of `keys`, as (imei, recorded_at in Unix ms, digest), that `positions` does not hold.

    A key that is stored while this runs may be returned or not.
    """
    absent: set[tuple[int, int, int]] = set()
    for first in range(0, len(keys), _KEYS_PER_LOOK):
        absent |= await _look(session, keys[first : first + _KEYS_PER_LOOK])
    return absent


async def _look(
    session: Session, keys: Sequence[tuple[int, int, int]]
) -> set[tuple[int, int, int]]:
    # Nothing of it is left in the session, which may be one of a pooler's.
    await session.execute(_BEGIN)
    await session.copy_to_table(
        "audited",
        schema_name="pg_temp",
        # A buffer goes out as one message, though the stubs do not know; bytes would be taken for
        # the name of a file.
        source=memoryview(_encoded(keys)),  # type: ignore[arg-type]
        format="binary",
    )
    rows = await session.fetch(_ABSENT, *_bounds_s(keys))
    await session.execute("COMMIT")
    return {keys[row[0]] for row in rows}


def _encoded(keys: Sequence[tuple[int, int, int]]) -> bytes:
    pack = _COPY_ROW.pack
    rows = [
        pack(4, 4, n, 8, imei, 8, (recorded_at_ms - _EPOCH_2000_MS) * 1000, 8, digest)
        for n, (imei, recorded_at_ms, digest) in enumerate(keys)
    ]
    return b"".join((_COPY_HEADER, *rows, _COPY_END))


def _bounds_s(keys: Sequence[tuple[int, int, int]]) -> tuple[float, float]:
    """Whole UTC days around the keys; the last day that there is has no end in Postgres."""
    times_ms = [recorded_at_ms for _, recorded_at_ms, _ in keys]
    first_day, end_day = min(times_ms) // _DAY_MS, max(times_ms) // _DAY_MS + 1
    return first_day * 86_400.0, end_day * 86_400.0 if end_day < _END_DAY else math.inf

"""The allow-list as the gateway reads it, and the devices that it refused.

Its role may read who is allowed, and may say only when a device was seen: what these statements
need is what ops/postgres/roles.sql grants.
"""

import asyncio
from array import array
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Final

from teltonika_processor.store import queries
from teltonika_processor.store.connection import (
    Session,
    SessionConfig,
    open_looking_session,
    session_of,
)
from teltonika_processor.store.sqlstate import FOREIGN_ERRORS, translate

# Bound: one statement, on the server.
_STATEMENT_MAX_S: Final = 10.0

# Bound: its answer, which a server that went away without a word never gives.
_ANSWER_MAX_S: Final = 15.0

# Bound: rows of one page, whose IMEIs cost the event loop about a millisecond.
_PAGE: Final = 10_000

_BEFORE_ALL: Final = -(2**63)

# $1: only above this IMEI. $2: most rows. Eight bytes a device, big-endian: a million take 0.2 s of
# our time, a row for each 1.0 s. All rows are counted, for a bound on their number.
_ALLOWED: Final = """
SELECT max(imei) AS last_imei, count(*) AS n_rows,
    string_agg(int8send(imei), ''::bytea) FILTER (WHERE allowed) AS allowed
FROM (SELECT imei, allowed FROM public.devices WHERE imei > $1 ORDER BY imei LIMIT $2) AS page
"""

# $1: an `array`.
_KNOWN: Final = "SELECT imei, allowed FROM public.devices WHERE imei = ANY($1::text::bigint[])"

# $1: IMEIs; $2, $3: Unix ms; each an `array`. Sorted as the writers' own statement is, so that they
# lock in one order. Never `allowed`, never a name; and nothing of who was let in meanwhile.
_RECORD_REFUSED: Final = """
INSERT INTO public.devices AS d (imei, first_seen_at, last_seen_at)
SELECT imei, to_timestamp(first_ms::double precision / 1000),
    to_timestamp(last_ms::double precision / 1000)
FROM unnest($1::text::bigint[], $2::text::bigint[], $3::text::bigint[])
    AS refused (imei, first_ms, last_ms)
ORDER BY imei
ON CONFLICT (imei) DO UPDATE SET
    first_seen_at = least(d.first_seen_at, excluded.first_seen_at),
    last_seen_at = greatest(d.last_seen_at, excluded.last_seen_at)
WHERE NOT d.allowed
"""


@dataclass(frozen=True, slots=True)
class AllowedPage:
    """Some rows of `devices`.

    Attributes:
        n_rows: All of them.
        allowed: The IMEIs of those that are allowed: int64, ascending.
    """

    n_rows: int
    allowed: "array[int]"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A device that was refused, and when for the first and the last time, in Unix ms."""

    imei: int
    first_ms: int
    last_ms: int


def admission_session(config: SessionConfig) -> AbstractAsyncContextManager[Session]:
    """A session for these statements, at a standby where nothing else is to be had.

    Foreign errors that leave the block are translated. The time-outs of statements are ours.
    """
    config = replace(config, write_timeout_s=_STATEMENT_MAX_S)
    return session_of(open_looking_session, config)


async def allowed_pages(session: Session) -> AsyncIterator[AllowedPage]:
    """All rows of `devices`, ascending, in pages, each a statement of its own.

    A device whose `allowed` changes meanwhile is as it was or as it will be.
    """
    after, n_rows = _BEFORE_ALL, _PAGE
    while n_rows == _PAGE:
        async with asyncio.timeout(_ANSWER_MAX_S):
            (row,) = await session.fetch(_ALLOWED, after, _PAGE)
        after, n_rows = row["last_imei"], row["n_rows"]
        yield AllowedPage(n_rows, _of_big_endian(row["allowed"] or b""))


async def known(session: Session, imeis: Collection[int]) -> dict[int, bool]:
    """Those of `imeis` that have a row, and whether they are allowed."""
    async with asyncio.timeout(_ANSWER_MAX_S):
        rows = await session.fetch(_KNOWN, queries.array(imeis))
    return {row["imei"]: row["allowed"] for row in rows}


async def record_refused(session: Session, refusals: Sequence[Refusal]) -> None:
    """Note when devices were seen; unknown ones get a row and are not allowed.

    Doing it twice, or in two processes at once, changes nothing more.

    Raises:
        TeltonikaProcessorError: It cannot be done: foreign errors are translated here, since the
            list can be read all the same.
    """
    columns = zip(*((one.imei, one.first_ms, one.last_ms) for one in refusals), strict=True)
    try:
        async with asyncio.timeout(_ANSWER_MAX_S):
            await session.execute(_RECORD_REFUSED, *map(queries.array, columns))
    except FOREIGN_ERRORS as error:
        raise translate(error) from error


def _of_big_endian(packed: bytes) -> "array[int]":
    imeis = array("q", packed)
    imeis.byteswap()
    # The aggregate keeps the order of its input, which nothing promises; asking it to sort costs
    # the server more than looking costs us.
    return array("q", sorted(imeis))

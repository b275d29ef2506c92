"""Sessions of a race meeting in the table: added, listed, removed.

Who makes one names zones as people do; the table holds their ids, which stay when a zone is edited.
"""

import difflib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.store.connection import Session

SessionKind = Literal["practice", "qualifying", "race"]

_INSERT: Final = """
INSERT INTO public.sessions (name, kind, starts_at, ends_at, zones)
SELECT $1, $2, $3, $4, array_agg(id ORDER BY number)
FROM (
    SELECT id::text::integer, number
    FROM unnest(string_to_array($5, ',')) WITH ORDINALITY AS wanted (id, number)
) AS wanted
ON CONFLICT (name) DO NOTHING
RETURNING name
"""

# A zone has one name at a time: that of its newest version.
_NAMES: Final = "SELECT DISTINCT ON (id) id, name FROM public.zones ORDER BY id, version DESC"

_LIST: Final = f"""
SELECT s.name, s.kind, s.starts_at, s.ends_at, json_agg(
    coalesce(z.name, '#' || wanted.id) ORDER BY wanted.number
)::text AS zones
FROM public.sessions AS s
CROSS JOIN LATERAL unnest(s.zones) WITH ORDINALITY AS wanted (id, number)
LEFT JOIN ({_NAMES}) AS z ON z.id = wanted.id
GROUP BY s.name ORDER BY s.starts_at, s.name
"""  # noqa: S608 -- constants of ours

# Bound: names that are told where none is near.
_TOLD_MAX: Final = 10

_DELETE: Final = "DELETE FROM public.sessions WHERE name = $1 RETURNING name"


class UnknownZoneError(TeltonikaProcessorError):
    """A name that no zone has."""


class UnknownSessionError(TeltonikaProcessorError):
    """A name that no session has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaceSession:
    """Practice, qualifying or race.

    Attributes:
        name: What people call it.
        kind: Which of the three.
        starts_at: First moment whose crossings count.
        ends_at: First moment whose crossings count no more.
        zones: Names: start and finish, then the sector gates in the order of a lap.
    """

    name: str
    kind: SessionKind
    starts_at: datetime
    ends_at: datetime
    zones: tuple[str, ...]


async def zone_ids(session: Session) -> dict[str, int]:
    """The zones there are or were, by their newest names."""
    return {row["name"]: row["id"] for row in await session.fetch(_NAMES)}


async def named_zones(session: Session, names: Sequence[str]) -> list[int]:
    """The ids of these zones.

    Raises:
        UnknownZoneError: There is none of a name; says which are near.
    """
    known = await zone_ids(session)
    for name in names:
        if name not in known:
            raise UnknownZoneError(unknown_text("zone", name, known))
    return [known[name] for name in names]


async def add_session(session: Session, wanted: RaceSession) -> bool:
    """Write it; whether there was none of its name.

    Raises:
        UnknownZoneError: There is none of a name; says which are near.
    """
    ids = await named_zones(session, wanted.zones)
    columns = (wanted.name, wanted.kind, wanted.starts_at, wanted.ends_at)
    return await session.fetchval(_INSERT, *columns, ",".join(map(str, ids))) is not None


async def all_sessions(session: Session) -> list[RaceSession]:
    """Every session, by its beginning."""
    return [
        RaceSession(**{**row, "zones": tuple(json.loads(row["zones"]))})
        for row in await session.fetch(_LIST)
    ]


async def session_named(session: Session, name: str) -> RaceSession:
    """The session of this name.

    Raises:
        UnknownSessionError: There is none; says which are near.
    """
    found = {one.name: one for one in await all_sessions(session)}
    if name not in found:
        raise UnknownSessionError(unknown_text("session", name, found))
    return found[name]


async def remove_session(session: Session, name: str) -> None:
    """Delete it; its crossings stay.

    Raises:
        UnknownSessionError: There is none; says which are near.
    """
    await session_named(session, name)
    await session.execute(_DELETE, name)


def unknown_text(what: str, name: str, known: Collection[str]) -> str:
    """That there is no `what`, such as a zone, of this name, and which of the known were meant."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"there is no {what} {name!r}; did you mean {', '.join(map(repr, near))}?"
    if not known:
        return f"there is no {what} {name!r}, and no other {what}"
    told = ", ".join(map(repr, sorted(known)[:_TOLD_MAX]))
    more = f" and {len(known) - _TOLD_MAX:,} more" if len(known) > _TOLD_MAX else ""
    return f"there is no {what} {name!r}; there are {told}{more}"

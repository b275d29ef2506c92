"""Deriving crossings again: what a fold reads and writes, as one session does it.

Rules. The marks are read by a statement of their own, and everything else by statements that begin
after it returned. What was derived is written only for devices whose mark is still the one that was
read, under its lock, in one short transaction (fold by version).
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.codec.native import (
    REVISION_COLUMNS,
    TIMING_RECORD_COLUMNS,
    CopyData,
    Fold,
    ZoneIndex,
)
from teltonika_processor.store import queries
from teltonika_processor.store.connection import Session
from teltonika_processor.store.paths import copy_rows
from teltonika_processor.store.zones import count_changes

# Neighbours on the right that are read along: mostly the first one ends the walk.
_RIGHT: Final = 4

_RIGHT_GROWS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldLimits:
    """What is a path, and how much is done at once.

    Attributes:
        gap_s: Two fixes farther apart in time have no path between them.
        jump_m_s: Nor have two that would need this speed.
        fixes: Bound: marked fixes of a device in one transaction; the rest stays marked.
        window_s: Bound: a longer stretch is cut, so that only its partitions are read.
    """

    gap_s: float = 300.0
    jump_m_s: float = 140.0
    fixes: int = 5000
    window_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Folded:
    """What one try came to.

    Attributes:
        n_marked: Devices that were marked.
        n_done: Those of them whose mark was still the same; the others are to be tried again.
        n_segments: Segments that were looked at.
        n_changed: Devices whose crossings were replaced.
        passed_over: Devices whose mark somebody held, or that were marked again meanwhile.
        unfinished: Devices that were done in part: the rest of their mark stays.
    """

    n_marked: int
    n_done: int
    n_segments: int
    n_changed: int
    passed_over: tuple[int, ...] = ()
    unfinished: tuple[int, ...] = ()


class ZonesChanged(Exception):  # noqa: N818 -- says what to do
    """The zones are not those that the index was made of: nothing was done."""


async def marked_devices(session: Session, at_most: int) -> list[int]:
    """Devices with a mark.

    Raises:
        Foreign errors, see ``sqlstate.FOREIGN_ERRORS``.
    """
    return [row[0] for row in await session.fetch(queries.MARKED_DEVICES, at_most)]


async def fold(
    session: Session,
    index: ZoneIndex,
    changes: int | None,
    imeis: Sequence[int],
    limits: FoldLimits,
) -> Folded:
    """Derive the crossings of these devices again, as far as they are marked.

    Args:
        session: Without an open transaction.
        index: The zones.
        changes: What `zones.count_changes` said before they were read; None: never.
        imeis: Of one group.
        limits: How much is done.

    Raises:
        ZonesChanged: The index is not of the zones that are there.
        Foreign errors, see ``sqlstate.FOREIGN_ERRORS``.
    """
    marks = await _copied(session, queries.MARKS.format(imeis=queries.array(imeis)))
    # Behind the marks: whoever changes zones now marks these devices, and then they are not kept.
    if await count_changes(session) != changes:
        raise ZonesChanged
    found = Fold(
        index,
        marks,
        gap_us=round(limits.gap_s * 1e6),
        jump_m_s=limits.jump_m_s,
        fixes=limits.fixes,
        right=_RIGHT,
        window_us=round(limits.window_s * 1e6),
    )
    marked = found.imeis
    if not marked:
        return Folded(0, 0, 0, 0)
    await _read(session, found, limits)
    n_segments = found.derive()
    n_changed = await _write(session, found)
    done = found.imeis
    return Folded(
        len(marked),
        len(done),
        n_segments,
        n_changed,
        passed_over=tuple(sorted(set(marked) - set(done))),
        unfinished=tuple(found.unfinished()),
    )


async def _read(session: Session, found: Fold, limits: FoldLimits) -> None:
    """Read until nothing is missing."""
    low, high = found.bounds()
    statement = queries.FIXES.format(
        stretches=_listed(found.stretches()),
        low=low,
        high=high,
        within=limits.fixes + 1,
        right=_RIGHT,
    )
    found.add_positions(await _copied(session, statement))
    n_right = _RIGHT
    while any(needs := found.needs()):
        following, left, right, members = map(_listed, needs)
        if following:
            found.add_next(await _copied(session, queries.NEXT_FIXES.format(stretches=following)))
        if left or right:
            n_right *= _RIGHT_GROWS
            found.left_was_read()
            statement = queries.FAR_FIXES.format(
                left=left or _NOBODY, right=right or _NOBODY, n_right=n_right
            )
            found.add_positions(await _copied(session, statement))
        elif members:
            # Of every left neighbour at once, hence after the last of them was read.
            found.add_members(await _copied(session, queries.MEMBERS.format(members=members)))


async def _write(session: Session, found: Fold) -> int:
    """How many devices have other crossings now; those that were not done are dropped."""
    await session.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    locked = await session.fetch(queries.LOCK_MARKS.format(versions=_listed(found.versions())))
    found.keep([row[0] for row in locked])
    replaced = found.replaced()
    if replaced:
        stored = await _copied(session, queries.STORED_CROSSINGS.format(replaced=_listed(replaced)))
        changed = found.compare(stored)
    else:
        changed = []
    if changed:
        delete = queries.DELETE_CROSSINGS.format(
            replaced=_listed(replaced), imeis=queries.array(changed)
        )
        await session.execute(delete)
        revisions, records = found.copy_revisions(changed), found.copy_records(changed)
        await _written(session, "timing_revisions", revisions, REVISION_COLUMNS)
        await _written(session, "timing_records", records, TIMING_RECORD_COLUMNS)
    if locked:
        await session.execute(queries.CLEAR_MARKS.format(rest=_listed(found.rest())))
    await session.execute("COMMIT")
    return len(changed)


_NOBODY: Final = "(NULL::bigint, NULL::timestamptz)"


def _listed(values: Iterable[str]) -> str:
    return ", ".join(values)


async def _copied(session: Session, query: str) -> bytes:
    """What the query gives, as binary COPY."""
    out = io.BytesIO()
    await session.copy_from_query(query, output=out, format="binary")
    return out.getvalue()


async def _written(session: Session, table: str, rows: CopyData, columns: tuple[str, ...]) -> None:
    if rows.n_rows:
        await copy_rows(session, table, rows, columns, schema="public")

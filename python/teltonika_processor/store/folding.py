"""Deriving crossings again: what a fold reads and writes, as one session does it.

Rules. The marks are read by a statement of their own, and everything else by statements that begin
after it returned. What was derived is written only for devices whose mark is still the one that was
read, under its lock, in one short transaction (fold by version). A device that loses again and
again against whoever marks it is read and written under that lock.
"""

import io
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
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
from teltonika_processor.store.zones import PathLimits, count_changes

# Neighbours on the right that are read along: mostly the first one ends the walk.
_RIGHT: Final = 4

_RIGHT_GROWS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldLimits:
    """How much is done at once.

    Attributes:
        fixes: Bound: marked fixes of a device in one transaction; the rest stays marked.
        window_s: Bound: a longer stretch is cut, so that only its partitions are read.
    """

    fixes: int = 5000
    window_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class KnownZones:
    """What is folded by, as of one moment.

    Attributes:
        index: All versions of all zones.
        limits: What is a path.
        changes: What `zones.count_changes` said before they were read.
        n_versions: How many versions there are.
    """

    index: ZoneIndex
    limits: PathLimits
    changes: int
    n_versions: int


@dataclass(frozen=True, slots=True)
class Folded:
    """What one try came to.

    Attributes:
        n_marked: Devices that were marked.
        n_done: Those of them whose mark was still the same; the others are to be tried again.
        n_segments: Segments that were looked at.
        n_changed: Devices whose crossings were replaced.
        done: Those of `n_done`.
        passed_over: Devices whose mark somebody held, or that were marked again meanwhile.
        unfinished: Devices that were done in part: the rest of their mark stays.
    """

    n_marked: int
    n_done: int
    n_segments: int
    n_changed: int
    done: tuple[int, ...] = ()
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
    zones: KnownZones,
    imeis: Sequence[int],
    limits: FoldLimits,
    *,
    holds: bool = False,
) -> Folded:
    """Derive the crossings of these devices again, as far as they are marked.

    Args:
        session: Without an open transaction.
        zones: What is folded by.
        imeis: Of one group.
        limits: How much is done.
        holds: Whether their marks are locked from before they are read, so that no batch marks
            them meanwhile: batches wait for it.

    Raises:
        ZonesChanged: The zones are not those that are there.
        Foreign errors, see ``sqlstate.FOREIGN_ERRORS``; the session is to be closed.
    """
    if not holds:
        return await _fold(session, zones, imeis, limits, _by_version)
    await session.execute(_BEGIN)
    try:
        # A statement of its own: one that also reads would give the ranges of before its wait.
        locked = await session.fetch(queries.HOLD_MARKS.format(imeis=queries.array(imeis)))
        held = [row[0] for row in locked]
        folded = await _fold(session, zones, held, limits, _write)
    except ZonesChanged:
        await session.execute("ROLLBACK")
        raise
    await session.execute("COMMIT")
    return replace(
        folded, passed_over=tuple(sorted(set(imeis).difference(held))) + folded.passed_over
    )


async def _fold(
    session: Session,
    zones: KnownZones,
    imeis: Sequence[int],
    limits: FoldLimits,
    write: Callable[[Session, Fold], Awaitable[int]],
) -> Folded:
    marks = await _copied(session, queries.MARKS.format(imeis=queries.array(imeis)))
    # Behind the marks: whoever changes zones now marks these devices, and then they are not kept.
    if await count_changes(session) != zones.changes:
        raise ZonesChanged
    found = Fold(
        zones.index,
        marks,
        gap_us=round(zones.limits.gap_s * 1e6),
        jump_m_s=zones.limits.jump_m_s,
        fixes=limits.fixes,
        right=_RIGHT,
        window_us=round(limits.window_s * 1e6),
    )
    marked = found.imeis
    if not marked:
        return Folded(0, 0, 0, 0)
    await _read(session, found, limits)
    n_segments = found.derive()
    n_changed = await write(session, found)
    done = found.imeis
    return Folded(
        len(marked),
        len(done),
        n_segments,
        n_changed,
        done=tuple(done),
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


async def _by_version(session: Session, found: Fold) -> int:
    """Write for those whose mark is still the one that was read; the others are dropped."""
    await session.execute(_BEGIN)
    locked = await session.fetch(queries.LOCK_MARKS.format(versions=_listed(found.versions())))
    found.keep([row[0] for row in locked])
    n_changed = await _write(session, found) if locked else 0
    await session.execute("COMMIT")
    return n_changed


async def _write(session: Session, found: Fold) -> int:
    """How many devices have other crossings now; the caller begins and commits."""
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
    await session.execute(queries.CLEAR_MARKS.format(rest=_listed(found.rest())))
    return len(changed)


_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"

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

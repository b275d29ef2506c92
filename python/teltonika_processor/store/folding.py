"""Deriving crossings again: what a fold reads and writes, as one session does it.

Rules. The marks are read by a statement of their own, and everything else by statements that begin
after it returned. What was derived is written only for devices whose mark is still the one that was
read, under its lock, in one short transaction (fold by version). A device that loses again and
again against whoever marks it is read and written under that lock.

What was dropped with its partition is not derived again: a crossing whose end fix is gone stays as
it is. Where crossings are older than a device's first fix, or begin before it, that fix is the left
neighbour of the others, and its own crossings stay, so that it is never `initial`.
"""

import asyncio
import io
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeVar

from teltonika_processor.codec.native import (
    REVISION_COLUMNS,
    TIMING_RECORD_COLUMNS,
    CopyData,
    Fold,
    ZoneIndex,
)
from teltonika_processor.store import queries
from teltonika_processor.store.connection import Session
from teltonika_processor.store.partition_list import NAMES, PartitionList
from teltonika_processor.store.paths import copy_rows
from teltonika_processor.store.zones import COUNT_CHANGES, PathLimits

T = TypeVar("T")

# Neighbours on the right that are read along: mostly the first one ends the walk.
_RIGHT: Final = 4

_RIGHT_GROWS: Final = 8

# Bound: what a row of `timing_limits` says beyond it, by hand, is as good as no gap at all.
_GAP_MAX_US: Final = 1 << 62

# Some 3,000 fixes, a millisecond: what is more must not hold up the event loop.
_INLINE_MAX_BYTES: Final = 200_000


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
class _Derived:
    """Marked devices that are derived, and not written yet; who would have other crossings."""

    found: Fold
    imeis: list[int]
    n_segments: int = 0
    changed: Sequence[int] = ()


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
        crossings: (kind of zone, kind, how many) of those that are new or differ.
        revisions: (cause, how many) of those that were replaced.
        locked_s: For how long their marks were locked, so that batches waited; None: they were not.
    """

    n_marked: int
    n_done: int
    n_segments: int
    n_changed: int
    done: tuple[int, ...] = ()
    passed_over: tuple[int, ...] = ()
    unfinished: tuple[int, ...] = ()
    crossings: Sequence[tuple[str, str, int]] = ()
    revisions: Sequence[tuple[str, int]] = ()
    locked_s: float | None = field(default=None, compare=False)


class FoldAgain(Exception):  # noqa: N818 -- says what to do
    """Nothing was done, and the next try may do it."""


class ZonesChanged(FoldAgain):
    """The zones are not those that are there: load them."""


async def marked_devices(session: Session, at_most: int) -> list[int]:
    """Devices with a mark.

    Raises:
        Foreign errors, see ``sqlstate.FOREIGN_ERRORS``.
    """
    return [row[0] for row in await session.fetch(queries.MARKED_DEVICES, at_most)]


class Folder:
    """Folds over one session.

    Args:
        session: Without an open transaction; to be closed after any error but `FoldAgain`.
        limits: How much is done at once.
        is_pooled: Each transaction may have another server process.
    """

    def __init__(self, session: Session, limits: FoldLimits, *, is_pooled: bool = False) -> None:
        self._session: Final = session
        self._limits: Final = limits
        self._is_pooled: Final = is_pooled
        self._partitions: Final = PartitionList(is_pooled=is_pooled)

    async def fold(self, zones: KnownZones, imeis: Sequence[int], *, holds: bool = False) -> Folded:
        """Derive the crossings of these devices again, as far as they are marked.

        Args:
            zones: What is folded by.
            imeis: Of one group.
            holds: Whether their marks are locked from before they are read, so that no batch marks
                them meanwhile: batches wait for it.

        Raises:
            ZonesChanged: The zones are not those that are there.
            FoldAgain: What was read may not be all.
            Foreign errors, see ``sqlstate.FOREIGN_ERRORS``.
        """
        session = self._session
        await self._partitions.look(session)
        if holds or self._is_pooled:
            await session.execute(_BEGIN)
        began_s = time.monotonic()
        try:
            asked = await self._hold(imeis) if holds else imeis
            found = await self._derived(zones, asked)
        except FoldAgain:
            if session.is_in_transaction():
                await session.execute("ROLLBACK")
            raise
        if not holds:
            if session.is_in_transaction():
                await session.execute("COMMIT")
            if found.imeis:
                await session.execute(_BEGIN)
            began_s = time.monotonic()
        folded = await self._written(found, holds=holds)
        locked_s = time.monotonic() - began_s if folded.n_done else None
        not_held = tuple(sorted(set(imeis).difference(asked)))
        passed_over = not_held + folded.passed_over
        return replace(folded, passed_over=passed_over, locked_s=locked_s)

    async def _hold(self, imeis: Sequence[int]) -> list[int]:
        """A statement of its own: one that also reads would give the ranges of before its wait."""
        hold = queries.HOLD_MARKS.format(imeis=queries.array(imeis))
        return [row[0] for row in await self._session.fetch(hold)]

    async def _derived(self, zones: KnownZones, imeis: Sequence[int]) -> _Derived:
        session, limits = self._session, self._limits
        marks = queries.MARKS.format(imeis=queries.array(imeis))
        found = _begun(zones, await _copied(session, marks), limits)
        marked = found.imeis
        if not marked:
            return _Derived(found, marked)
        n_bytes = await _read(session, found, limits)
        # Behind the marks: whoever changes zones now marks these devices, and then they are not
        # kept; behind the fixes, for which a partition may have been missing.
        ((changes, partitions),) = await session.fetch(_AS_BEFORE)
        if changes != zones.changes:
            raise ZonesChanged
        if not await self._partitions.was_complete(session, partitions):
            raise FoldAgain
        n_segments = await _beside_the_loop(n_bytes, found.derive)
        # Only folds write crossings, and each clears the mark with them: while it is the same, so
        # are they.
        return _Derived(found, marked, n_segments, await _compare(session, found))

    async def _written(self, derived: _Derived, *, holds: bool) -> Folded:
        """Write for those whose mark is still the one that was read; commit what was begun."""
        session, found = self._session, derived.found
        if derived.imeis and not holds:
            lock = queries.LOCK_MARKS.format(versions=_listed(found.versions()))
            found.keep([row[0] for row in await session.fetch(lock)])
        done = found.imeis
        changed = sorted(set(derived.changed).intersection(done))
        if done:
            await _write(session, found, changed)
        elif session.is_in_transaction():
            await session.execute("COMMIT")
        return Folded(
            len(derived.imeis),
            len(done),
            derived.n_segments,
            len(changed),
            done=tuple(done),
            passed_over=tuple(sorted(set(derived.imeis).difference(done))),
            unfinished=tuple(found.unfinished()),
            crossings=found.count_crossings(changed),
            revisions=found.count_revisions(changed),
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """What is stored and what would be, as binary COPY of ``TIMING_RECORD_COLUMNS``.

    Attributes:
        stored: The crossings of the stretches, of all devices.
        derived: Those that would be there, of the devices that change.
        n_segments: Segments that were looked at.
        changed: The devices that change.
        unfinished: Devices of which a part was not looked at.
    """

    stored: bytes = b""
    derived: bytes = b""
    n_segments: int = 0
    changed: tuple[int, ...] = ()
    unfinished: tuple[int, ...] = ()


async def difference(
    session: Session, zones: KnownZones, stretches: Iterable[str], limits: FoldLimits
) -> Difference:
    """What a fold of these stretches would change, were they marked; writes nothing.

    Args:
        session: Without an open transaction.
        zones: What is folded by.
        stretches: Values (imei, first, last), one a device.
        limits: What is beyond them is not looked at.

    Raises:
        Foreign errors, see ``sqlstate.FOREIGN_ERRORS``.
    """
    marks = queries.MARKS_OF_CONSTANTS.format(stretches=_listed(stretches))
    found = _begun(zones, await _copied(session, marks), limits)
    if not found.imeis:
        return Difference()
    await _read(session, found, limits)
    n_segments = await asyncio.to_thread(found.derive)
    unfinished = tuple(found.unfinished())
    replaced = _listed(found.replaced())
    if not replaced:
        return Difference(n_segments=n_segments, unfinished=unfinished)
    stored = await _copied(session, queries.STORED_CROSSINGS.format(replaced=replaced))
    changed = tuple(found.compare(stored))
    derived = bytes(memoryview(found.copy_records(list(changed))))
    return Difference(stored, derived, n_segments, changed, unfinished)


def _begun(zones: KnownZones, marks: bytes, limits: FoldLimits) -> Fold:
    return Fold(
        zones.index,
        marks,
        gap_us=round(min(max(zones.limits.gap_s * 1e6, 1.0), _GAP_MAX_US)),
        jump_m_s=zones.limits.jump_m_s,
        fixes=limits.fixes,
        right=_RIGHT,
        window_us=round(limits.window_s * 1e6),
    )


async def _read(session: Session, found: Fold, limits: FoldLimits) -> int:
    """Read until nothing is missing; how many bytes the stretches had."""
    statement = " UNION ALL ".join(
        queries.FIXES.format(
            stretches=_listed(stretches),
            low=low,
            high=high,
            within=limits.fixes + 1,
            right=_RIGHT,
        )
        for low, high, stretches in found.reads()
    )
    positions = await _copied(session, statement)
    await _beside_the_loop(len(positions), partial(found.add_positions, positions))
    n_right = _RIGHT
    while any(needs := found.needs()):
        following, left, right, history, members = map(_listed, needs)
        if following:
            found.add_next(await _copied(session, queries.NEXT_FIXES.format(stretches=following)))
        if left or right:
            n_right *= _RIGHT_GROWS
            found.left_was_read()
            statement = queries.FAR_FIXES.format(
                left=left or _NOBODY, right=right or _NOBODY, n_right=n_right
            )
            more = await _copied(session, statement)
            await _beside_the_loop(len(more), partial(found.add_positions, more))
        elif history:
            found.add_history(await _copied(session, queries.OLDER.format(first=history)))
        elif members:
            # Of every left neighbour at once, hence after the last of them was read.
            found.add_members(await _copied(session, queries.MEMBERS.format(members=members)))
    return len(positions)


async def _beside_the_loop(n_bytes: int, work: Callable[[], T]) -> T:
    """In a thread where so many bytes of fixes take long."""
    return work() if n_bytes < _INLINE_MAX_BYTES else await asyncio.to_thread(work)


async def _compare(session: Session, found: Fold) -> list[int]:
    """The devices whose crossings differ from those that are stored."""
    replaced = found.replaced()
    if not replaced:
        return []
    stored = await _copied(session, queries.STORED_CROSSINGS.format(replaced=_listed(replaced)))
    return found.compare(stored)


async def _write(session: Session, found: Fold, changed: list[int]) -> None:
    """Replace the crossings of these devices, clear the marks of all, commit: few round trips."""
    clear = queries.CLEAR_MARKS.format(rest=_listed(found.rest()))
    if not changed:
        await session.execute(f"{clear};COMMIT")
        return
    delete = queries.DELETE_CROSSINGS.format(
        replaced=_listed(found.replaced()), imeis=queries.array(changed)
    )
    await session.execute(f"{delete};{clear}")
    await _copy_in(session, "timing_revisions", found.copy_revisions(changed), REVISION_COLUMNS)
    await _copy_in(session, "timing_records", found.copy_records(changed), TIMING_RECORD_COLUMNS)
    await session.execute("COMMIT")


_AS_BEFORE: Final = f"SELECT ({COUNT_CHANGES}), ({NAMES})"

# Not waiting for the disk while batches wait for the marks is safe: a crash that undoes a fold
# brings its marks back, whose own commit was waited for, and they are derived again.
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off"

_NOBODY: Final = "(NULL::bigint, NULL::timestamptz)"


def _listed(values: Iterable[str]) -> str:
    return ", ".join(values)


async def _copied(session: Session, query: str) -> bytes:
    """What the query gives, as binary COPY."""
    out = io.BytesIO()
    await session.copy_from_query(query, output=out, format="binary")
    return out.getvalue()


async def _copy_in(session: Session, table: str, rows: CopyData, columns: tuple[str, ...]) -> None:
    if rows.n_rows:
        await copy_rows(session, table, rows, columns, schema="public")

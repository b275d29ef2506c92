"""A re-run that somebody asks for: which devices, what it would change, and its marks."""

import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Literal

from teltonika_processor.store import queries
from teltonika_processor.store.connection import Session
from teltonika_processor.store.folding import Difference, FoldLimits, KnownZones, difference

EARLIEST: Final = datetime(2010, 1, 1, tzinfo=UTC)
"""No plausible fix is older."""

# Bound: devices that are marked in one transaction, so that their batches wait for milliseconds.
_PAGE: Final = 1000

# Bound: devices that are compared at once, and fixes of each, which are all held.
_GROUP: Final = 10
_LOOK: Final = FoldLimits(fixes=300_000, window_s=100 * 366 * 86_400.0)

# $1: an `array`, or null for all. $2: whose newest fix is not older.
_DEVICES: Final = """
SELECT imei, recorded_at FROM public.last_position
WHERE ($1::text IS NULL OR imei = ANY ($1::text::bigint[])) AND recorded_at >= $2
ORDER BY imei
"""

# $2, $3: the stretch. A device stays until its mark is committed: whoever erases it then finds it.
_MARK: Final = """
INSERT INTO public.refold AS f (imei, ranges, is_rerun)
SELECT imei, tstzmultirange(tstzrange($2, least($3, recorded_at), '[]')), true
FROM public.last_position
WHERE imei = ANY ($1::text::bigint[]) AND recorded_at >= $2
ORDER BY imei FOR KEY SHARE
ON CONFLICT (imei) DO UPDATE SET ranges = f.ranges + excluded.ranges, is_rerun = true
"""

_LEFT: Final = """
SELECT imei FROM public.refold
WHERE imei = ANY ($1::text::bigint[]) AND is_rerun AND NOT isempty(ranges)
"""

_EPOCH_2000_US: Final = 946_684_800_000_000


@dataclass(frozen=True, slots=True)
class Stretch:
    """A device, and from when to when it is derived again."""

    imei: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of `timing_records`, times in Unix microseconds.

    Attributes:
        key: (imei, end, zone id, n).
        values: Everything else.
    """

    key: tuple[int, int, int, int]
    version: int
    kind: str
    at_us: int
    direction: str | None
    cause: str
    values: tuple[object, ...]


What = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """A crossing that comes (no `was`), goes (no `is_now`), or becomes another."""

    imei: int
    zone_id: int
    was: StoredRow | None
    is_now: StoredRow | None

    @property
    def what(self) -> What:
        """What becomes of it."""
        if self.was is None:
            return "added"
        return "removed" if self.is_now is None else "changed"

    @property
    def is_of_version_alone(self) -> bool:
        """Whether it stays as it is but for the version of its zone."""
        was, is_now = self.was, self.is_now
        return (
            was is not None
            and is_now is not None
            and replace(was, version=is_now.version) == is_now
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """What a re-run of some devices would do.

    Attributes:
        n_devices: Devices that were looked at.
        changes: By device and time.
        n_segments: Segments that were looked at.
        unfinished: Devices with too many fixes: only the first of them were looked at.
    """

    n_devices: int
    changes: list[Change]
    n_segments: int
    unfinished: tuple[int, ...]


async def stretches(
    session: Session, imeis: Sequence[int] | None, since: datetime, until: datetime | None
) -> list[Stretch]:
    """The devices that have a fix since then, each up to its newest or `until`, ascending.

    Args:
        session: Any.
        imeis: Only these; None: all.
        since: From then on.
        until: Up to then; None: to the newest fix.
    """
    wanted = None if imeis is None else queries.array(imeis)
    rows = await session.fetch(_DEVICES, wanted, since)
    return [Stretch(row[0], since, row[1] if until is None else min(until, row[1])) for row in rows]


async def compare(
    session: Session, zones: KnownZones, wanted: Sequence[Stretch]
) -> AsyncIterator[Compared]:
    """What a re-run would change, a group of devices at a time; writes nothing."""
    for begin in range(0, len(wanted), _GROUP):
        group = [_values(one) for one in wanted[begin : begin + _GROUP]]
        # A transaction, so that a pooler keeps to one server process.
        async with session.transaction(isolation="read_committed"):
            found = await difference(session, zones, group, _LOOK)
        yield Compared(len(group), list(_changes(found)), found.n_segments, found.unfinished)


async def mark(session: Session, wanted: Sequence[Stretch]) -> None:
    """Mark them as a re-run; whoever folds does them.

    Args:
        session: Without an open transaction.
        wanted: Ascending, all from the same moment.
    """
    for begin in range(0, len(wanted), _PAGE):
        page = wanted[begin : begin + _PAGE]
        last = max(one.last for one in page)
        await session.execute(_MARK, queries.array(one.imei for one in page), page[0].first, last)


async def still_marked(session: Session, wanted: Sequence[Stretch]) -> list[int]:
    """Those of which a part is yet to be derived again."""
    rows = await session.fetch(_LEFT, queries.array(one.imei for one in wanted))
    return [row[0] for row in rows]


def _values(one: Stretch) -> str:
    first, last = one.first.isoformat(), one.last.isoformat()
    return f"({one.imei}::bigint, '{first}'::timestamptz, '{last}'::timestamptz)"


def _changes(found: Difference) -> Iterator[Change]:
    changed = set(found.changed)
    was = {row.key: row for row in _rows(found.stored) if row.key[0] in changed}
    is_now = {row.key: row for row in _rows(found.derived)}
    for key in sorted(was.keys() | is_now.keys()):
        before, after = was.get(key), is_now.get(key)
        if before != after:
            yield Change(key[0], key[2], before, after)


# Type of each column of TIMING_RECORD_COLUMNS: integers and floats as struct has them, text, time.
_COLUMNS: Final = ("q", "time", "i", "h", "i", *("text", "time", "q", "text", "text", "time"))
_COLUMNS_AFTER: Final = ("q", "q", "d", "h")


def _rows(copied: bytes) -> Iterator[StoredRow]:
    """The rows of a binary COPY of TIMING_RECORD_COLUMNS."""
    place = 19  # signature, flags, length of the extension, which is empty
    while copied[place : place + 2] not in {b"", b"\xff\xff"}:
        place += 2
        values: list[object] = []
        for kind in _COLUMNS + _COLUMNS_AFTER:
            (length,) = struct.unpack_from(">i", copied, place)
            place += 4
            values.append(None if length < 0 else _value(kind, copied[place : place + length]))
            place += max(length, 0)
        imei, end, zone_id, n, version, shown_kind, at, uncertainty, direction, cause, *rest = (
            values
        )
        yield StoredRow(
            (_int(imei), _int(end), _int(zone_id), _int(n)),
            _int(version),
            str(shown_kind),
            _int(at),
            None if direction is None else str(direction),
            str(cause),
            (uncertainty, *rest),
        )


def _value(kind: str, field: bytes) -> object:
    if kind == "text":
        return field.decode()
    (number,) = struct.unpack(">q" if kind == "time" else f">{kind}", field)
    return number + _EPOCH_2000_US if kind == "time" else number


def _int(value: object) -> int:
    assert isinstance(value, int)  # noqa: S101 -- the column cannot be null
    return value

"""What an edit of zones touches, before it is made: sessions, and crossings of the past."""

import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import typer

from teltonika_processor.cli.tables import print_rows
from teltonika_processor.store.connection import Session
from teltonika_processor.store.rerun import EARLIEST, What, compare, stretches
from teltonika_processor.store.sessions import all_sessions, zone_ids
from teltonika_processor.store.zones import Edited, rolled_back
from teltonika_processor.texts import count_text, printable
from teltonika_processor.timing.zone_cache import known_zones, read_zones

# Who is asked waits no longer; --dry-run counts all.
_ASKED_MAX_S: Final = 5.0

_TOLD_EVERY_S: Final = 5.0

# Bound: sessions that are named.
_NAMED: Final = 3

_WHATS: Final[tuple[What, ...]] = ("added", "removed", "changed")


@dataclass(frozen=True, slots=True)
class Crossings:
    """What becomes of the crossings of the past.

    Attributes:
        by_zone: How many of each, by the name of the zone.
        n_compared: Devices whose crossings were derived for it.
        n_devices: Devices that have a fix since then.
    """

    by_zone: Mapping[str, Counter[What]] = field(default_factory=dict)
    n_compared: int = 0
    n_devices: int = 0


async def sessions_of_zones(session: Session, since: datetime | None) -> dict[str, list[str]]:
    """The sessions that end behind a moment (None: all), by the name of a zone."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in await all_sessions(session):
        if since is None or one.ends_at > since:
            for zone in one.zones:
                found[zone].append(one.name)
    return found


async def look_ahead(
    session: Session,
    edit: Callable[[], Awaitable[object]],
    since: datetime | None,
    *,
    is_asked: bool,
) -> Crossings:
    """Derive what an edit would make of the crossings since a moment (None: all); writes nothing.

    Args:
        session: Of who may edit.
        edit: What would be done.
        since: From when on it would count.
        is_asked: Whether somebody waits to answer: then not all devices may be looked at.

    Raises:
        ZoneUnusable: A row of `zones` is no zone.
    """
    async with rolled_back(session):
        await edit()
        rows = await read_zones(session)
        names = {zone_id: name for name, zone_id in (await zone_ids(session)).items()}
    zones = await known_zones(rows)
    wanted = await stretches(session, None, since or EARLIEST, None)
    by_zone: dict[str, Counter[What]] = defaultdict(Counter)
    n_compared = 0
    progress = _Progress(len(wanted), _ASKED_MAX_S if is_asked else math.inf)
    async for compared in compare(session, zones, wanted):
        n_compared += compared.n_devices
        for change in compared.changes:
            if change.is_of_version_alone:
                continue
            by_zone[names.get(change.zone_id, f"#{change.zone_id}")][change.what] += 1
        if progress.is_over(n_compared):
            break
    return Crossings(by_zone, n_compared, len(wanted))


class _Progress:
    """How long it takes to look at all devices, told to who waits."""

    def __init__(self, n_devices: int, limit_s: float) -> None:
        self._n_devices: Final = n_devices
        self._end_s: Final = time.monotonic() + limit_s
        self._told_s = time.monotonic()

    def is_over(self, n_compared: int) -> bool:
        """So many are compared: whether that is to do."""
        now_s = time.monotonic()
        if now_s >= self._told_s + _TOLD_EVERY_S:
            self._told_s = now_s
            typer.echo(
                f"crossings of {n_compared:,} of {count_text(self._n_devices, 'device')} compared",
                err=True,
            )
        return now_s >= self._end_s


def print_outlook(
    edited: Sequence[Edited], sessions: Mapping[str, Sequence[str]], crossings: Crossings | None
) -> None:
    """One line a zone; a column each for crossings and sessions where there are any to tell of."""
    columns = [("name", [printable(one.name) for one in edited])]
    columns.append(("does", [one.did for one in edited]))
    if crossings is not None:
        columns.append(("crossings", [_crossings_text(crossings, one) for one in edited]))
    if any(_sessions_of(one, sessions) for one in edited):
        columns.append(("sessions", [_names_text(_sessions_of(one, sessions)) for one in edited]))
    print_rows(
        [heading for heading, _ in columns],
        list(zip(*(cells for _, cells in columns), strict=True)),
        terminal=sys.stdout.isatty(),
    )
    if crossings is not None:
        _tell_who_is_left(crossings)


def print_crossings(crossings: Crossings) -> None:
    """One line a zone whose crossings change."""
    rows = [
        (printable(name), _counts_text(counts))
        for name, counts in sorted(crossings.by_zone.items())
    ]
    if rows:
        print_rows(("zone", "crossings"), rows, terminal=sys.stdout.isatty())
    else:
        print("no crossing changes")
    _tell_who_is_left(crossings)


def _tell_who_is_left(crossings: Crossings) -> None:
    if crossings.n_compared < crossings.n_devices:
        typer.echo(
            f"crossings are those of {crossings.n_compared:,} of "
            f"{count_text(crossings.n_devices, 'device')}: --dry-run counts them all",
            err=True,
        )


def outlook_object(
    edited: Edited, sessions: Mapping[str, Sequence[str]], crossings: Crossings | None
) -> dict[str, object]:
    """The same of one zone for JSON; crossings are null where they were not compared."""
    counts = None if crossings is None else crossings.by_zone.get(edited.name, Counter())
    return {
        "name": edited.name,
        "did": edited.did,
        "sessions": list(_sessions_of(edited, sessions)),
        "crossings": None if counts is None else _counts_object(counts),
    }


def crossings_object(crossings: Crossings | None) -> dict[str, dict[str, int]] | None:
    """By zone for JSON, of those that change; null where they were not compared."""
    if crossings is None:
        return None
    return {name: _counts_object(counts) for name, counts in sorted(crossings.by_zone.items())}


def _counts_object(counts: Counter[What]) -> dict[str, int]:
    return {what: counts[what] for what in _WHATS}


def _sessions_of(edited: Edited, sessions: Mapping[str, Sequence[str]]) -> Sequence[str]:
    return () if edited.did == "unchanged" else sessions.get(edited.name, ())


def _crossings_text(crossings: Crossings, edited: Edited) -> str:
    return _counts_text(crossings.by_zone.get(edited.name, Counter()))


def _counts_text(counts: Counter[What]) -> str:
    told = [f"{counts[what]:,} {what}" for what in _WHATS if counts[what]]
    return ", ".join(told) or "as they are"


def _names_text(names: Sequence[str]) -> str:
    shown = [printable(name) for name in names[:_NAMED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "") or "-"

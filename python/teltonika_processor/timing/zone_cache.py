"""The zones of the table as they are folded by, and what is a path."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from teltonika_processor.codec.native import Zone, ZoneIndex, ZoneRefused
from teltonika_processor.errors import ZoneUnusable
from teltonika_processor.store.connection import Session
from teltonika_processor.store.folding import KnownZones
from teltonika_processor.store.zones import (
    PathLimits,
    StoredZone,
    all_zones,
    count_changes,
    path_limits,
)
from teltonika_processor.timing.zone_file import ALWAYS, native_zone

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class ZoneRows:
    """What the tables say, as `KnownZones` are made of.

    Attributes:
        zones: All versions.
        limits: What is a path.
        changes: What `zones.count_changes` said before they were read.
    """

    zones: Sequence[StoredZone]
    limits: PathLimits
    changes: int


async def load_zones(session: Session) -> KnownZones:
    """Read them, and make of them what is folded by.

    Raises:
        As `read_zones` and `known_zones`.
    """
    return await known_zones(await read_zones(session))


async def read_zones(session: Session) -> ZoneRows:
    """The number of changes first: what changes behind it is noticed at the next fold.

    Raises:
        SchemaMismatch: `timing_limits` has no row, or one that says no number.
        Foreign errors, see ``sqlstate.FOREIGN_ERRORS``.
    """
    changes = await count_changes(session)
    zones = await all_zones(session)
    return ZoneRows(zones, await path_limits(session), changes)


async def known_zones(rows: ZoneRows) -> KnownZones:
    """Seconds for zones of a million points: not in a transaction, which may not idle so long.

    Raises:
        ZoneUnusable: A row is no zone.
    """
    index = await asyncio.to_thread(_index_of, rows.zones)
    return KnownZones(index, rows.limits, rows.changes, len(rows.zones))


def _index_of(zones: Sequence[StoredZone]) -> ZoneIndex:
    return ZoneIndex([_native(zone) for zone in zones])


def _native(zone: StoredZone) -> Zone:
    """A row of `zones` as it is folded by.

    Raises:
        ZoneUnusable: It is no zone: somebody wrote it by hand.
    """
    version = (
        zone.id,
        zone.version,
        ALWAYS[0] if zone.valid_from is None else _unix_us(zone.valid_from),
        ALWAYS[1] if zone.valid_to is None else _unix_us(zone.valid_to),
        zone.columns.hysteresis_m,
    )
    try:
        return native_zone(version, zone.columns)
    except (ZoneRefused, LookupError, TypeError, ValueError) as refusal:
        what = refusal.args[0] if isinstance(refusal, ZoneRefused) else repr(refusal)
        raise ZoneUnusable(
            f"zones: id {zone.id}, version {zone.version} ({zone.columns.name}): {what}"
        ) from refusal


def _unix_us(instant: datetime) -> int:
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

"""The zones of the table as they are folded by, and what is a path."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from teltonika_processor.codec.native import Zone, ZoneIndex, ZoneRefused
from teltonika_processor.errors import ZoneUnusable
from teltonika_processor.store.connection import Session
from teltonika_processor.store.folding import KnownZones
from teltonika_processor.store.zones import (
    StoredZone,
    all_zones,
    count_changes,
    path_limits,
)
from teltonika_processor.timing.zone_file import ALWAYS, native_zone

_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


async def load_zones(session: Session) -> KnownZones:
    """The number of changes first: what changes behind it is noticed at the next fold.

    Raises:
        ZoneUnusable: A row is no zone.
        SchemaMismatch: `timing_limits` has no row.
        Foreign errors, see ``sqlstate.FOREIGN_ERRORS``.
    """
    changes = await count_changes(session)
    zones = await all_zones(session)
    limits = await path_limits(session)
    index = await asyncio.to_thread(_index_of, zones)
    return KnownZones(index, limits, changes, len(zones))


def _index_of(zones: Sequence[StoredZone]) -> ZoneIndex:
    """Seconds for zones of a million points: not for the thread of the event loop."""
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

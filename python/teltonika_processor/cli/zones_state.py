"""Which versions of zones count when. Pure, but for the argument of commands."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import typer

from teltonika_processor.store.zones import StoredZone

State = Literal["counts", "later", "ended", "replaced"]

Versions: TypeAlias = Mapping[int, Sequence[StoredZone]]
"""All versions of each zone, by its id."""

ZoneName = Annotated[str, typer.Argument(metavar="NAME", help="What the zone is called.")]


def versions_of(zones: Iterable[StoredZone]) -> Versions:
    """The same by zone."""
    found: dict[int, list[StoredZone]] = defaultdict(list)
    for zone in zones:
        found[zone.id].append(zone)
    return found


def newest(zones: Iterable[StoredZone]) -> list[StoredZone]:
    """Of each zone its newest version."""
    found = {zone.id: zone for zone in zones}
    return list(found.values())


def counting(zones: Sequence[StoredZone], at: datetime) -> list[StoredZone]:
    """Of each zone that counts at a moment the version that does: of several the newest."""
    return newest(zone for zone in zones if _counts(zone, at))


def counts_from(zones: Sequence[StoredZone], name: str, begin: datetime) -> bool:
    """Whether any version of a zone counts at or behind a moment."""
    return any(
        zone.columns.name == name and (zone.valid_to is None or zone.valid_to > begin)
        for zone in zones
        if zone.valid_from is None or zone.valid_to is None or zone.valid_from < zone.valid_to
    )


def state_of(zone: StoredZone, versions: Versions, now: datetime) -> State:
    """Of one of the versions."""
    newer = [one for one in versions[zone.id] if one.version > zone.version]
    if _counts(zone, now):
        return "replaced" if any(_counts(one, now) for one in newer) else "counts"
    if zone.valid_to is not None and zone.valid_to <= now:
        return "replaced" if newer else "ended"
    return "later"


def _counts(zone: StoredZone, at: datetime) -> bool:
    return (zone.valid_from is None or zone.valid_from <= at) and (
        zone.valid_to is None or at < zone.valid_to
    )

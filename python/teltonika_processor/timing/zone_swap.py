"""Whether somebody wrote latitude before longitude: a guess from where the fleet is. Pure."""

from collections.abc import Sequence
from typing import Final

from teltonika_processor.store.zones import ZoneColumns
from teltonika_processor.timing.zone_feature import Fault, LonLat
from teltonika_processor.timing.zone_file import Problem, points_of
from teltonika_processor.timing.zone_measure import distance_m

FAR_M: Final = 500_000.0
"""A zone farther than this from every device may be misplaced."""

NEAR_M: Final = 200_000.0
"""It is, likely, if it would be nearer than this the other way round."""


def likely_swapped(
    zones: Sequence[tuple[int, ZoneColumns]], fleet: Sequence[LonLat]
) -> list[Problem]:
    """Zones that lie far from the fleet, and near it with their coordinates swapped.

    Args:
        zones: With the numbers of their features.
        fleet: Where devices are, to half a degree or so.
    """
    found = []
    for number, zone in zones:
        longitude, latitude = points_of(zone)[0]
        if not fleet or abs(longitude) > 90:
            continue
        as_is_m = _nearest_m((longitude, latitude), fleet)
        if as_is_m <= FAR_M:
            continue
        swapped_m = _nearest_m((latitude, longitude), fleet)
        if swapped_m < NEAR_M:
            text = (
                f"latitude is before longitude, likely: it lies {_km(as_is_m)} from the nearest "
                f"device, and swapped {_km(swapped_m)}"
            )
            found.append(Problem(number, zone.name, Fault("likely_swapped", text)))
    return found


def _nearest_m(point: LonLat, fleet: Sequence[LonLat]) -> float:
    return min(distance_m(point, device) for device in fleet)


def _km(distance: float) -> str:
    """As exact as half a degree is."""
    return "less than 100 km" if distance < 1e5 else f"about {round(distance, -5) / 1000:,.0f} km"

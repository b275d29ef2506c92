"""The classification of a session by its laps. Pure: no I/O, no clock.

Rules. In a race more laps win, and among as many whoever ended the last of them earlier. In
practice and qualifying the best lap wins, and of two as good the earlier one. Laps without a
number, which are too short, count for nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from teltonika_processor.store.timing import Lap


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One line of the board; times in microseconds.

    Attributes:
        position: From 1.
        laps: How many have a number.
        total_us: From the device's first crossing to its last that ended such a lap.
        last_sectors_us: Of the last lap; None where a gate was missed, or passed out of order.
        ended_at_us: When the last lap ended, Unix time.
        laps_behind: In a race, fewer laps than the leader.
        gap_us: Behind the leader: in a race at the line, None with fewer laps; else by best lap.
    """

    position: int
    imei: str
    name: str | None
    laps: int
    total_us: int
    best_us: int
    best_lap: int
    last_us: int
    last_sectors_us: tuple[int | None, ...]
    ended_at_us: int
    laps_behind: int
    gap_us: int | None


def standings(laps: Iterable[Lap], *, is_race: bool) -> list[Standing]:
    """The board, the leader first; devices without a lap are not on it.

    Args:
        laps: Of one session; of a device in their order.
        is_race: Whether laps and time win, and not the best lap.
    """
    by_device: dict[str, list[Lap]] = {}
    for lap in laps:
        if lap.lap is not None:
            by_device.setdefault(lap.imei, []).append(lap)
    ranked = sorted(by_device.values(), key=_race_order if is_race else _best_order)
    return [
        _standing(number, own, ranked[0], is_race=is_race) for number, own in enumerate(ranked, 1)
    ]


def _best(own: list[Lap]) -> Lap:
    return min(own, key=lambda lap: lap.duration_us)


def _race_order(own: list[Lap]) -> tuple[int, int, str]:
    return -len(own), own[-1].ended_at_us, own[0].imei


def _best_order(own: list[Lap]) -> tuple[int, int, str]:
    best = _best(own)
    return best.duration_us, best.ended_at_us, best.imei


def _standing(position: int, own: list[Lap], leader: list[Lap], *, is_race: bool) -> Standing:
    best, last = _best(own), own[-1]
    laps_behind = len(leader) - len(own) if is_race else 0
    gap_us: int | None = best.duration_us - _best(leader).duration_us
    if is_race:
        gap_us = None if laps_behind else last.ended_at_us - leader[-1].ended_at_us
    return Standing(
        position=position,
        imei=last.imei,
        name=last.name,
        laps=len(own),
        total_us=last.ended_at_us - own[0].started_at_us,
        best_us=best.duration_us,
        best_lap=best.lap or 0,
        last_us=last.duration_us,
        last_sectors_us=last.sector_times_us,
        ended_at_us=last.ended_at_us,
        laps_behind=laps_behind,
        gap_us=gap_us,
    )

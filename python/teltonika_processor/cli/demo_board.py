"""Whether what stands in `laps` of the demo's race is what was driven. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.simulate.grand_prix import GrandPrix, TrueLap
from teltonika_processor.store.timing import Lap
from teltonika_processor.timing.board import Standing

_CLOSE_US: Final = 1000


@dataclass(frozen=True, slots=True)
class RaceAccounts:
    """What the cars did, and what of it the board says.

    Attributes:
        wanted: Laps that were driven.
        found: Those of them that stand on the board, at the right times.
        n_on_board: Laps on the board, right or not.
        n_cars: That raced.
        n_right_places: Cars at their places.
        n_close: Times on the board that are within a millisecond of the truth.
        n_times: Times on the board.
        largest_us: The largest difference from the truth.
    """

    wanted: int
    found: int
    n_on_board: int
    n_cars: int
    n_right_places: int
    n_close: int
    n_times: int
    largest_us: int


def compare_race(
    grand_prix: GrandPrix, laps: Sequence[Lap], board: Sequence[Standing]
) -> RaceAccounts:
    """The board against the truth, which no record shows.

    Args:
        grand_prix: Over.
        laps: Of all its cars, as they ended.
        board: What they make.
    """
    found: dict[str, list[Lap]] = {}
    for lap in laps:
        found.setdefault(lap.imei, []).append(lap)
    driven = {car.imei: grand_prix.laps(car) for car in grand_prix.cars}
    differences: list[int] = []
    n_found = 0
    for imei, truths in driven.items():
        for truth, lap in zip(truths, found.get(imei, ()), strict=False):
            begin_us = abs(lap.started_at_us - truth.started_at_us)
            end_us = abs(lap.ended_at_us - truth.ended_at_us)
            differences += [begin_us, end_us]
            n_found += begin_us + end_us <= lap.uncertainty_us and not lap.too_short
    places = zip(_order(driven), (line.imei for line in board), strict=False)
    return RaceAccounts(
        wanted=sum(map(len, driven.values())),
        found=n_found,
        n_on_board=len(laps),
        n_cars=len(driven),
        n_right_places=sum(truth == shown for truth, shown in places),
        n_close=sum(one <= _CLOSE_US for one in differences),
        n_times=len(differences),
        largest_us=max(differences, default=0),
    )


def _order(driven: Mapping[str, Sequence[TrueLap]]) -> list[str]:
    """Cars as they truly came in: more laps, then who had them first."""

    def by_place(imei: str) -> tuple[int, int]:
        laps = driven[imei]
        return -len(laps), laps[-1].ended_at_us if laps else 0

    return sorted(driven, key=by_place)

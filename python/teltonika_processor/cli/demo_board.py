"""Whether what stands in `laps` of the demo's race is what was driven. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.simulate.grand_prix import Car, GrandPrix
from teltonika_processor.store.timing import Lap
from teltonika_processor.timing.board import standings

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


def compare_race(grand_prix: GrandPrix, laps: Sequence[Lap]) -> RaceAccounts:
    """The board against the truth, which no record shows.

    Args:
        grand_prix: Over.
        laps: Of all its cars, as they ended.
    """
    found = _by_car(laps)
    differences: list[int] = []
    n_wanted = n_found = 0
    for car in grand_prix.cars:
        driven = grand_prix.laps(car)
        n_wanted += len(driven)
        for truth, lap in zip(driven, found.get(car.imei, ()), strict=False):
            begin_us = abs(lap.started_at_us - truth.started_at_us)
            end_us = abs(lap.ended_at_us - truth.ended_at_us)
            differences += [begin_us, end_us]
            n_found += begin_us + end_us <= lap.uncertainty_us and not lap.too_short
    on_board = [line.name for line in standings(laps, is_race=True)]
    return RaceAccounts(
        wanted=n_wanted,
        found=n_found,
        n_on_board=len(laps),
        n_cars=len(grand_prix.cars),
        n_right_places=sum(
            one == other for one, other in zip(_order(grand_prix), on_board, strict=False)
        ),
        n_close=sum(one <= _CLOSE_US for one in differences),
        n_times=len(differences),
        largest_us=max(differences, default=0),
    )


def _by_car(laps: Iterable[Lap]) -> dict[str, list[Lap]]:
    found: dict[str, list[Lap]] = {}
    for lap in laps:
        found.setdefault(lap.imei, []).append(lap)
    return found


def _order(grand_prix: GrandPrix) -> list[str]:
    """Names of the cars as they truly came in."""

    def by_place(car: Car) -> tuple[int, int]:
        driven = grand_prix.laps(car)
        return -len(driven), driven[-1].ended_at_us if driven else 0

    return [car.name for car in sorted(grand_prix.cars, key=by_place)]

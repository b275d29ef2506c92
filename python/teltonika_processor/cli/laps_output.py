"""Laps and the board for people, as CSV and as JSON lines."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from teltonika_processor.cli.csv_output import print_csv
from teltonika_processor.cli.instants import crossing_text, lap_text, seconds_text
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.store.sessions import RaceSession
from teltonika_processor.store.timing import Lap
from teltonika_processor.texts import name_text
from teltonika_processor.timing.board import Standing

_NOTHING: Final = "no lap"

_BOARD: Final = ("position", "imei", "name", "laps", "total", "best", "in lap", "last", "gap")


# Laps


def print_laps(race: RaceSession, laps: Sequence[Lap]) -> None:
    """One line a lap."""
    sectors = [f"sector {number}" for number in range(1, _n_sectors(race) + 1)]
    headings = ("imei", "name", "lap", "started_at", "duration", "±", *sectors, "remarks")
    _print(
        headings,
        [_lap_cells(lap) for lap in laps],
        right=("lap", "duration", "±", *sectors),
    )


def print_laps_csv(race: RaceSession, laps: Sequence[Lap]) -> None:
    """One line a lap; durations in seconds with microseconds."""
    sectors = [f"sector_{number}_s" for number in range(1, _n_sectors(race) + 1)]
    headings = (
        *("session", "imei", "name", "lap", "started_at", "ended_at", "duration_s"),
        *("uncertainty_s", *sectors, "too_short", "has_gap", "has_jump"),
    )
    print_csv(
        headings,
        [
            (
                *(race.name, lap.imei, lap.name, lap.lap),
                *(crossing_text(lap.started_at_us), crossing_text(lap.ended_at_us)),
                *(seconds_text(lap.duration_us), seconds_text(lap.uncertainty_us)),
                *map(seconds_text, lap.sector_times_us),
                *(lap.too_short, lap.has_gap, lap.has_jump),
            )
            for lap in laps
        ],
    )


def print_laps_json(race: RaceSession, laps: Sequence[Lap]) -> None:
    """One JSON object a lap; moments and durations in microseconds."""
    for lap in laps:
        print(json.dumps({"session": race.name} | asdict(lap)))


def _n_sectors(race: RaceSession) -> int:
    return len(race.zones) if len(race.zones) > 1 else 0


def _lap_cells(lap: Lap) -> tuple[str, ...]:
    return (
        lap.imei,
        name_text(lap.name),
        "-" if lap.lap is None else str(lap.lap),
        crossing_text(lap.started_at_us),
        lap_text(lap.duration_us),
        f"{lap.uncertainty_us / 1e6:.3f}",
        *map(lap_text, lap.sector_times_us),
        ", ".join(_remarks(lap)),
    )


def _remarks(lap: Lap) -> list[str]:
    said = {"too short": lap.too_short, "gap": lap.has_gap, "jump": lap.has_jump}
    unknown = ["positions are gone"] if lap.has_gap is None else []
    return [remark for remark, is_so in said.items() if is_so] + unknown


# The board


def print_board(board: Sequence[Standing]) -> None:
    """One line a device, the leader first."""
    _print(
        _BOARD,
        [
            (
                str(line.position),
                line.imei,
                name_text(line.name),
                str(line.laps),
                lap_text(line.total_us),
                lap_text(line.best_us),
                str(line.best_lap),
                lap_text(line.last_us),
                _gap(line),
            )
            for line in board
        ],
        right=("position", "laps", "total", "best", "in lap", "last", "gap"),
    )


def print_board_csv(race: RaceSession, board: Sequence[Standing]) -> None:
    """One line a device; durations in seconds with microseconds."""
    headings = (
        *("session", "position", "imei", "name", "laps", "total_s", "best_s", "best_lap"),
        *("last_s", "laps_behind", "gap_s"),
    )
    print_csv(
        headings,
        [
            (
                *(race.name, line.position, line.imei, line.name, line.laps),
                *(seconds_text(line.total_us), seconds_text(line.best_us), line.best_lap),
                *(seconds_text(line.last_us), line.laps_behind, seconds_text(line.gap_us)),
            )
            for line in board
        ],
    )


def print_board_json(race: RaceSession, board: Sequence[Standing]) -> None:
    """One JSON object a device; moments and durations in microseconds."""
    for line in board:
        print(json.dumps({"session": race.name} | asdict(line)))


def _gap(line: Standing) -> str:
    if line.laps_behind:
        return f"+{line.laps_behind} lap{'' if line.laps_behind == 1 else 's'}"
    return "-" if line.position == 1 else f"+{lap_text(line.gap_us)}"


# Both


def _print(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str]) -> None:
    if not rows:
        print(_NOTHING)
        return
    print_rows(
        headings,
        rows,
        terminal=sys.stdout.isatty(),
        unfolded=("imei", "started_at"),
        right=right,
    )

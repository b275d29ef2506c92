"""Files of zones as a command reads them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from teltonika_processor.cli.confirmation import refuse
from teltonika_processor.store.zones import ZoneColumns
from teltonika_processor.texts import printable, size_text
from teltonika_processor.timing.zone_file import FILE_MAX_BYTES, Problem
from teltonika_processor.timing.zone_heading import counted_text

STANDARD_INPUT: Final = Path("-")

# Bound: problems, or gates, named one by one; the rest is counted.
_LINES_MAX: Final = 100

GeoJsonFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="GeoJSON, a feature a zone. - is standard input.")
]


def text_of(file: Path) -> str:
    """What is in it; leaves with 2 where that cannot be read."""
    source = "standard input" if file == STANDARD_INPUT else printable(str(file))
    try:
        if file == STANDARD_INPUT:
            content = sys.stdin.buffer.read(FILE_MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                content = opened.read(FILE_MAX_BYTES + 1)
        if len(content) > FILE_MAX_BYTES:
            refuse(f"{source}: more than {size_text(FILE_MAX_BYTES)}, expected that at most")
        return content.decode("utf-8-sig")
    except OSError as error:
        refuse(f"{source}: {error.strerror}")
    except UnicodeDecodeError as error:
        refuse(f"{source}: byte {error.start} is not UTF-8")


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """One a line, with the feature's number and name."""
    return _bounded([_line(problem) for problem in problems])


def gate_lines(zones: Sequence[tuple[int, ZoneColumns]]) -> list[str]:
    """One a gate: which way it counts."""
    told = [(number, zone, counted_text(zone)) for number, zone in zones]
    return _bounded(
        [
            f"feature {number}, {printable(zone.name)}: counts {text}"
            for number, zone, text in told
            if text is not None
        ]
    )


def problem_object(problem: Problem) -> dict[str, object]:
    """The same for JSON."""
    return {
        "feature": problem.feature,
        "name": problem.name,
        "code": problem.fault.code,
        "text": problem.fault.text,
    }


def _bounded(lines: list[str]) -> list[str]:
    if len(lines) <= _LINES_MAX:
        return lines
    return [*lines[:_LINES_MAX], f"... and {len(lines) - _LINES_MAX:,} more"]


def _line(problem: Problem) -> str:
    if problem.name is None:
        return printable(str(problem))
    return printable(
        f"feature {problem.feature}, {problem.name}: {problem.fault.code}: {problem.fault.text}"
    )

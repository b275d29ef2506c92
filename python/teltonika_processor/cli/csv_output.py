"""Rows as CSV on standard output: a comma between, a quotation mark where it is needed."""

import csv
import sys
from collections.abc import Iterable, Sequence
from typing import Final

# What a spreadsheet takes for the beginning of a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def print_csv(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print `rows` under their `headings`; None is empty, and a text is never a formula."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows([[_cell(value) for value in row] for row in rows])


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value

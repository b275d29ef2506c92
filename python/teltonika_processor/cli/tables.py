"""Rows for people: a table on a terminal that is wide enough, else plain columns."""

from collections.abc import Collection, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

# Bound: characters of a text a line, below which nobody reads it.
_FOLDED_MIN: Final = 12

# Of the box: a border and two blanks a column, and the last border.
_AROUND_COLUMN: Final = 3
_LAST_BORDER: Final = 1


def print_rows(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    terminal: bool,
    unfolded: Collection[str] = (),
    right: Collection[str] = (),
) -> None:
    """Print `rows` under their `headings` on standard output.

    On a terminal they are in a box, other texts folded; where it is too narrow for that they are
    plain columns as in a pipe, which the terminal may wrap.

    Args:
        headings: One a column.
        rows: As many cells a row; no cell steers a terminal, see ``texts.printable``.
        terminal: Whether standard output is one.
        unfolded: Headings of columns that are kept on one line: ids, moments, words of a fixed set.
        right: Headings of columns that are aligned to the right, and kept on one line: numbers.
    """
    if terminal:
        console = Console(markup=False, emoji=False, highlight=False)
        widths = _widths(headings, rows, {*unfolded, *right}, console.width)
        if widths is not None:
            console.print(_table(headings, rows, widths, right))
            return
    _print_plain(headings, rows, right)


def _widths(
    headings: Sequence[str], rows: Sequence[Sequence[str]], kept: Collection[str], width: int
) -> list[int] | None:
    """Of the columns of a box that is no wider than `width`, in characters; None: it cannot be."""
    widths = [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]
    least = [
        whole if heading in kept else _least(heading, whole)
        for heading, whole in zip(headings, widths, strict=True)
    ]
    room = width - _AROUND_COLUMN * len(headings) - _LAST_BORDER
    if sum(least) > room:
        return None
    while sum(widths) > room:
        foldable = [at for at, whole in enumerate(widths) if whole > least[at]]
        widths[max(foldable, key=widths.__getitem__)] -= 1
    return widths


def _least(heading: str, whole: int) -> int:
    """How narrow a column of texts may be: no word of its heading is broken."""
    return max(min(whole, _FOLDED_MIN), *map(cell_len, heading.split()))


def _table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    right: Collection[str],
) -> Table:
    table = Table()
    for heading, width in zip(headings, widths, strict=True):
        table.add_column(
            heading,
            width=width,
            overflow="fold",
            justify="right" if heading in right else "left",
        )
    for row in rows:
        table.add_row(*row)
    return table


def _print_plain(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]
) -> None:
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(_aligned(headings, line, widths, right)).rstrip())


def _aligned(
    headings: Sequence[str], line: Sequence[str], widths: Sequence[int], right: Collection[str]
) -> list[str]:
    return [
        cell.rjust(width) if heading in right else cell.ljust(width)
        for heading, cell, width in zip(headings, line, widths, strict=True)
    ]

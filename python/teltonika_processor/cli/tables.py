"""Rows for people: a table on a terminal, plain columns in a pipe."""

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.table import Table


def print_rows(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    terminal: bool,
    unfolded: Collection[str] = (),
    right: Collection[str] = (),
) -> None:
    """Print `rows` under their `headings` on standard output.

    Args:
        headings: One a column.
        rows: As many cells a row; no cell steers a terminal, see ``texts.printable``.
        terminal: Whether standard output is one.
        unfolded: Headings of columns that are kept on one line, such as ids that are typed again.
        right: Headings of columns that are aligned to the right: numbers.
    """
    if terminal:
        Console(markup=False, emoji=False, highlight=False).print(
            _table(headings, rows, unfolded, right)
        )
        return
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(_aligned(headings, line, widths, right)).rstrip())


def _table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    unfolded: Collection[str],
    right: Collection[str],
) -> Table:
    table = Table()
    for heading in headings:
        table.add_column(
            heading,
            no_wrap=heading in unfolded,
            overflow="fold",
            justify="right" if heading in right else "left",
        )
    for row in rows:
        table.add_row(*row)
    return table


def _aligned(
    headings: Sequence[str], line: Sequence[str], widths: Sequence[int], right: Collection[str]
) -> list[str]:
    return [
        cell.rjust(width) if heading in right else cell.ljust(width)
        for heading, cell, width in zip(headings, line, widths, strict=True)
    ]

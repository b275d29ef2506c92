"""Printing what `status` found: coloured on a terminal, plain in a pipe, or redrawn in place."""

from collections import deque
from collections.abc import Iterator
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from teltonika_processor.cli.status_blocks import Block, Names, blocks, title, verdict_lines
from teltonika_processor.cli.status_run import Report
from teltonika_processor.texts import age_text, time_text

_LABEL_WIDTH: Final = 11

# Bound: what happened lately, at the foot of the screen.
_NOTES_MAX: Final = 3


def print_plain(report: Report, names: Names) -> None:
    """Lines for a pipe."""
    for line in plain_lines(report, names):
        print(line)


def plain_lines(report: Report, names: Names) -> Iterator[str]:
    """The verdict, then a label before each block."""
    yield from verdict_lines(report)
    yield f"{'at':<{_LABEL_WIDTH}}{title(report)}"
    for block in blocks(report, names):
        for number, line in enumerate(block.lines):
            yield f"{block.heading if number == 0 else '':<{_LABEL_WIDTH}}{line}"


def print_terminal(report: Report, names: Names) -> None:
    """The same with colours."""
    _console().print(screen_of(report, names))


def screen_of(report: Report, names: Names, notes: tuple[str, ...] = ()) -> RenderableType:
    """The same for a terminal; `notes` are below it."""
    style = "bold red" if report.findings else "bold green"
    verdict = Text("\n".join(verdict_lines(report)), style=style)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="bold", no_wrap=True, min_width=_LABEL_WIDTH - 1)
    grid.add_column(overflow="fold")
    for block in (Block("at", [title(report)]), *blocks(report, names)):
        grid.add_row(block.heading, Text("\n".join(block.lines), style="red" * block.is_bad))
    return Group(verdict, grid, *(Text(note, style="dim") for note in notes))


class Screen:
    """One screen that is drawn again; what a server did meanwhile stands below it."""

    def __init__(self, names: Names) -> None:
        self._names: Final = names
        self._live: Final = Live(console=_console(), screen=True, auto_refresh=False)
        self.away: Final = Absences()

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def draw(self, report: Report) -> None:
        """Show this report in the place of the one before."""
        self.away.see(report)
        shown = screen_of(report, self._names, tuple(self.away.notes))
        self._live.update(shown, refresh=True)


class Absences:
    """Which server went away and came back, for the foot of the screen. Pure."""

    def __init__(self) -> None:
        self._since_ms: Final[dict[str, int]] = {}
        self.notes: Final[deque[str]] = deque(maxlen=_NOTES_MAX)

    def see(self, report: Report) -> None:
        """Take note of what changed since the report before."""
        here = {"Redis": report.redis is not None, "Postgres": report.postgres is not None}
        for server, is_here in here.items():
            since_ms = self._since_ms.get(server)
            if not is_here and since_ms is None:
                self._since_ms[server] = report.at_ms
                self.notes.append(f"{time_text(report.at_ms)} {server} went away")
            elif is_here and since_ms is not None:
                del self._since_ms[server]
                lasted = age_text(report.at_ms - since_ms)
                self.notes.append(f"{time_text(report.at_ms)} {server} is back after {lasted}")


def _console() -> Console:
    return Console(markup=False, emoji=False, highlight=False)

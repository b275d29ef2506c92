"""What the demo prints: a bar on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.table import Table

if TYPE_CHECKING:
    from rich.status import Status

    from teltonika_processor.cli.demo_accounts import AccountLine
    from teltonika_processor.cli.demo_board import RaceAccounts
    from teltonika_processor.simulate.grand_prix import GrandPrix
    from teltonika_processor.simulate.latency import Latencies
    from teltonika_processor.simulate.showcase import Showcase
    from teltonika_processor.store.accounts import NewestPosition
    from teltonika_processor.timing.board import Standing

# Columns off a terminal, so that no table is broken.
_PLAIN_WIDTH: Final = 110
_PLAIN_LINE_EVERY_S: Final = 2.0
_BAR_WIDTH: Final = 30
_ROW_COLUMNS: Final = (
    ("imei", 15),
    ("recorded_at", 20),
    ("longitude", 10),
    ("latitude", 9),
    ("km/h", 4),
    ("sat", 3),
)
# Their widths and one blank on both sides of every column.
_OTHER_COLUMNS_WIDTH: Final = sum(width + 2 for _, width in _ROW_COLUMNS) + 2
_IO_WIDTH_MIN: Final = 10
# Lines of the board while it is live: a terminal may be low.
_LIVE_LINES_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the records are."""

    n_records: int
    n_acknowledged: int
    n_stored: int
    board: "Sequence[Standing]" = ()


class DemoOutput:
    """One line a step, with what it took; then the accounts."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, width=_PLAIN_WIDTH)
        self._status: Status | None = None
        self._plain_line_s = 0.0

    def say(self, text: str) -> None:
        """Print one paragraph."""
        self._console.print(text)

    def plain(self, text: str) -> None:
        """Print lines as they are: what is copied from a terminal must not be folded."""
        self._console.print(text, soft_wrap=True, markup=False)

    def greet(self) -> None:
        """Say what is going to happen."""
        self.say(
            "Trackers send frames of AVL records (time, position, inputs) by TCP and UDP. The\n"
            "gateway puts the raw frames into a Redis stream, and acknowledges them once they\n"
            "are on its disk. Processors decode them and store every record exactly once in\n"
            "Postgres. Here they do so, between real servers started for it:\n"
        )

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A line for what the block does; ends with the time it took."""
        started_s = time.monotonic()
        with self._console.status(text) as status:
            self._status = status
            yield
        self._status = None
        self.say(f"  {text:<64} {time.monotonic() - started_s:6.1f} s")

    def describe(self, showcase: "Showcase", grand_prix: "GrandPrix") -> None:
        """Say who sends besides good trackers."""
        by_udp = sum(one.transport == "udp" for one in showcase.fleet)
        self.say(
            f"    who were out of coverage and send it all at once, {by_udp} by UDP, some of it\n"
            f"    twice; {len(showcase.scripts)} others send the vendor's examples, frames of bad "
            "firmware and\n    poison, one is not allowed, and two clients are no devices"
        )
        if grand_prix.cars:
            minutes = (grand_prix.ended_at_ms - grand_prix.started_at_ms) / 60_000
            self.say(
                f"    {len(grand_prix.cars)} cars drive a race of {minutes:.0f} minutes, in less: "
                "some send the newest first, some\n    twice, some come back into coverage late"
            )

    def progress(self, progress: Progress, *, is_over: bool) -> None:
        """Say how far it is."""
        text = f"{progress.n_acknowledged:,} acknowledged, {progress.n_stored:,} stored"
        if self._status is not None and self._console.is_terminal and not is_over:
            line = f"{_bar(progress.n_acknowledged, progress.n_records)} {text}"
            board = progress.board[:_LIVE_LINES_MAX]
            self._status.update(Group(line, board_table(board)) if board else line)
        elif is_over or (progress.n_acknowledged and self._plain_line_is_due()):
            self.say(f"    {text}")

    def replies(self, latencies: "Latencies") -> None:
        """Say what devices waited for their replies."""
        half, most = (latencies.quantile_s(share) * 1000 for share in (0.5, 0.99))
        self.say(
            f"    {latencies.n_counted:,} replies, each with its frame on the disk of Valkey: half "
            f"within {half:.1f} ms,\n    99 of 100 within {most:.1f} ms"
        )

    def board(self, standings: "Sequence[Standing]", accounts: "RaceAccounts") -> None:
        """Print the board as it is at the end, and how true its times are."""
        self.say("\nThe board of the race, as the view `laps` gives it:")
        self._console.print(board_table(standings))
        self.say(
            f"{accounts.n_close:,} of {accounts.n_times:,} times are within 1 ms of the truth, "
            f"which no record shows;\nthe largest difference is {accounts.largest_us:,} us."
        )

    def accounts(self, lines: Sequence["AccountLine"]) -> None:
        """Print both sides of the accounts."""
        table = Table(box=None, padding=(0, 2))
        table.add_column("The accounts", min_width=44)
        table.add_column("sent", justify="right")
        table.add_column("found", justify="right")
        table.add_column("")
        for line in lines:
            label = f"  {line.label}" if line.nested else line.label
            verdict = "" if line.balances else "[bold red]DIFFERS[/]"
            found_text = "" if line.found is None else f"{line.found:,}"
            table.add_row(label, f"{line.expected:,}", found_text, verdict)
        self.say("")
        self._console.print(table)

    def rows(self, rows: Sequence["NewestPosition"]) -> None:
        """Print a few positions to look at."""
        table = Table(box=None, padding=(0, 1))
        for name, width in _ROW_COLUMNS:
            table.add_column(name, min_width=width, no_wrap=True)
        table.add_column("io", no_wrap=True)
        io_width = max(self._console.width - _OTHER_COLUMNS_WIDTH, _IO_WIDTH_MIN)
        for row in rows:
            table.add_row(
                row.imei,
                f"{row.recorded_at:%Y-%m-%dT%H:%M:%SZ}",
                f"{row.longitude:.5f}",
                f"{row.latitude:.5f}",
                str(row.speed_kmh),
                str(row.satellites),
                _shortened(row.io, io_width),
            )
        self.say("\nThe newest rows of positions (io: raw values by IO id):")
        self._console.print(table)

    def verdict(self, *, balanced: bool, goes_on: bool) -> None:
        """The last line."""
        if balanced:
            end = "" if goes_on else " The servers and their files are gone."
            self.say(
                "\nThe accounts balance: every record that was acknowledged to its device is\n"
                "stored once, and every frame that cannot be read is in the dead letters with\n"
                f"the reason.{end}"
            )
        else:
            self.say("\n[bold red]The accounts do not balance: see the lines marked DIFFERS.[/]")

    def _plain_line_is_due(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._plain_line_s < _PLAIN_LINE_EVERY_S:
            return False
        self._plain_line_s = now_s
        return True


def board_table(standings: "Sequence[Standing]") -> Table:
    """One line a car, the first one ahead."""
    table = Table(box=None, padding=(0, 1))
    for name in ("", "car", "laps", "gap", "last lap", "sectors", "", "", "best lap"):
        table.add_column(name, justify="left" if name == "car" else "right", no_wrap=True)
    for line in standings:
        sectors = ["" if one is None else f"{one / 1e6:.3f}" for one in line.last_sectors_us]
        table.add_row(
            str(line.position),
            line.name or line.imei,
            str(line.laps),
            _gap(line),
            f"{line.last_us / 1e6:.3f}",
            *sectors,
            f"{line.best_us / 1e6:.3f}",
        )
    return table


def _gap(line: "Standing") -> str:
    if line.position == 1:
        return ""
    if line.gap_us is not None:
        return f"+{line.gap_us / 1e6:.3f}"
    return f"+{line.laps_behind} lap{'' if line.laps_behind == 1 else 's'}"


def _bar(part: int, whole: int) -> str:
    filled = _BAR_WIDTH * part // max(whole, 1)
    return "█" * filled + "░" * (_BAR_WIDTH - filled)


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 2] + ".."

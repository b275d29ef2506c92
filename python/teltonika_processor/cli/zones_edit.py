"""What edits of zones have in common: what they say, and their last two steps."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import typer

from teltonika_processor.cli.instants import instant_text
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.store.connection import Session
from teltonika_processor.store.zones import Edited, finish_edits
from teltonika_processor.texts import printable

# So many devices between two lines of progress.
_TOLD_EVERY: Final = 10_000

_LEFT: Final = (
    "the edit is written, but not all devices are marked: a running processor does that within "
    "seconds, and so does the same command again"
)


def past_text(instant: datetime | None) -> str:
    """What a question adds where the past changes."""
    since = "of all time" if instant is None else f"since {instant_text(instant)}"
    return f"; this changes the past: crossings {since} are derived again"


async def finish(session: Session) -> int:
    """Mark every device whose crossings change; how many were looked at.

    Says so where it ends before that.
    """
    n_devices = n_told = 0
    try:
        async for n_devices in finish_edits(session):
            if n_devices >= n_told + _TOLD_EVERY:
                n_told = n_devices
                typer.echo(f"{n_devices:,} devices looked at", err=True)
    except BaseException:
        typer.echo(_LEFT, err=True)
        raise
    return n_devices


def print_edited(edited: Sequence[Edited]) -> None:
    """One line a zone."""
    rows = [(printable(one.name), one.did) for one in edited]
    print_rows(("name", "does"), rows, terminal=sys.stdout.isatty())

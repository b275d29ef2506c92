"""What edits of zones have in common: what they say, and their last two steps."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import typer

from teltonika_processor.cli.instants import instant_text
from teltonika_processor.store.connection import Session
from teltonika_processor.store.zone_edits import finish_edits
from teltonika_processor.texts import printable

# So many devices between two lines of progress.
_TOLD_EVERY: Final = 10_000

DERIVED_AGAIN: Final = "instances derive the crossings again, within seconds"
"""What is yet to come behind an edit of the past."""

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
        async for n_devices in finish_edits(session, _tell_whom_it_waits_for):
            if n_devices >= n_told + _TOLD_EVERY:
                n_told = n_devices
                typer.echo(f"{n_devices:,} devices looked at", err=True)
    except BaseException:
        typer.echo(_LEFT, err=True)
        raise
    return n_devices


def _tell_whom_it_waits_for(writers: Sequence[str]) -> None:
    told = ", ".join(map(printable, writers)) or "of roles that this one may not see"
    typer.echo(
        f"written; waits for whoever was writing before to commit or roll back: {told}", err=True
    )

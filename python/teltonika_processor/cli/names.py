"""Names of zones and sessions that somebody typed and that nobody has."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime

import typer

from teltonika_processor.cli.instants import instant_text
from teltonika_processor.cli.zones_state import newest
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.store.sessions import (
    UnknownSessionError,
    UnknownZoneError,
    unknown_text,
)
from teltonika_processor.store.zones import StoredZone
from teltonika_processor.texts import printable


@contextlib.contextmanager
def unknown_names_told() -> Iterator[None]:
    """Say on standard error which names are near; leave with 1."""
    try:
        yield
    except (UnknownZoneError, UnknownSessionError) as error:
        typer.echo(printable(str(error)), err=True)
        raise typer.Exit(EXIT_FINDING) from None


def unknown_zone_text(zones: Sequence[StoredZone], name: str) -> str:
    """That none of all zones has this name, and which ones are near."""
    known = {zone.columns.name for zone in newest(zones)}
    return printable(unknown_text("zone", name, known))


def not_counting_text(zones: Sequence[StoredZone], name: str, begin: datetime) -> str:
    """Why no zone of this name counts from a moment on: there is none, or it does not."""
    if not any(zone.columns.name == name for zone in zones):
        return unknown_zone_text(zones, name)
    return f"no zone {printable(name)!r} counts from {instant_text(begin)} on"

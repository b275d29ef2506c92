"""Names of zones and sessions that somebody typed and that nobody has."""

import contextlib
from collections.abc import Iterator

import typer

from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.store.sessions import UnknownSessionError, UnknownZoneError
from teltonika_processor.texts import printable


@contextlib.contextmanager
def unknown_names_told() -> Iterator[None]:
    """Say on standard error which names are near; leave with 1."""
    try:
        yield
    except (UnknownZoneError, UnknownSessionError) as error:
        typer.echo(printable(str(error)), err=True)
        raise typer.Exit(EXIT_FINDING) from None

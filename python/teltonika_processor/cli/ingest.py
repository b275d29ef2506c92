"""`teltonika-processor ingest`: the gateway."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, TextIO

import typer

from teltonika_processor.errors import ConfigError
from teltonika_processor.service.exit_codes import EXIT_USAGE, ExitCode
from teltonika_processor.service.ingest import run_ingest
from teltonika_processor.settings import load_settings

app = typer.Typer(add_completion=False)

# Bound: what a crash may lose of a capture.
_BUFFER_BYTES: Final = 64 * 1024

# It holds where people were.
_OWNER_ONLY: Final = 0o600


@app.command()
def ingest(
    *,
    capture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write all that devices send to a new file, up to 1 GiB: for `simulate --replay`.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Take frames from devices, make them durable in the stream, then reply, until SIGTERM."""
    try:
        settings = load_settings()
    except ConfigError as error:
        typer.echo(str(error), err=True)
        sys.exit(ExitCode.CONFIG)
    with _opened(capture) as file:
        code = run_ingest(settings, capture=file)
    sys.exit(code)


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        file = open(path, "x", encoding="ascii", buffering=_BUFFER_BYTES, opener=_owned)  # noqa: SIM115 -- Path.open has no opener; closed below
    except OSError as error:
        typer.echo(f"--capture: {path}: {error.strerror}", err=True)
        sys.exit(EXIT_USAGE)
    with file:
        yield file


def _owned(path: str, flags: int) -> int:
    return os.open(path, flags, _OWNER_ONLY)

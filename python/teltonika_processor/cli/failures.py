"""How a command that fails says so."""

import contextlib
from collections.abc import Iterator

import typer

from teltonika_processor.errors import TeltonikaProcessorError, TransientError
from teltonika_processor.service.exit_codes import ExitCode, exit_code_of


@contextlib.contextmanager
def failures_told() -> Iterator[None]:
    """Print an error that somebody can mend as one line on standard error; leave with its code."""
    try:
        yield
    except TeltonikaProcessorError as error:
        code = exit_code_of(error, unreachable=TransientError)
        if code is ExitCode.PANIC:
            raise  # a bug is told with its stack
        typer.echo(str(error), err=True)
        raise typer.Exit(code) from None

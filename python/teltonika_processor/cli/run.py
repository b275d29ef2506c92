"""`teltonika-processor run`: the processor."""

import sys
from typing import Annotated

import typer

from teltonika_processor.errors import ConfigError
from teltonika_processor.service.exit_codes import ExitCode
from teltonika_processor.service.run import run_processor
from teltonika_processor.settings import load_settings

app = typer.Typer(add_completion=False)


@app.command()
def run(
    *,
    migrate: Annotated[
        bool | None,
        typer.Option(
            "--migrate/--no-migrate",
            help="Apply pending migrations first. Default: MIGRATE_ON_START, which is true.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Read frames from the stream and write positions to Postgres until SIGTERM."""
    try:
        settings = load_settings()
    except ConfigError as error:
        typer.echo(str(error), err=True)
        sys.exit(ExitCode.CONFIG)
    if migrate is not None:
        settings = settings.model_copy(update={"migrate_on_start": migrate})
    sys.exit(run_processor(settings))

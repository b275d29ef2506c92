"""`teltonika-processor audit`: is every record that the stream still holds accounted for?"""

import asyncio
from typing import Annotated, Final

import typer

from teltonika_processor.cli.audit_output import as_json_text, as_text
from teltonika_processor.cli.audit_run import AuditTarget, audit
from teltonika_processor.errors import (
    ConfigError,
    SchemaMismatch,
    TeltonikaProcessorError,
    TransientError,
)
from teltonika_processor.service.exit_codes import ExitCode
from teltonika_processor.settings import Settings, load_settings

EXIT_MISSING: Final = 1

app = typer.Typer()


def _imei_of(text: str) -> int:
    if len(text) != 15 or not (text.isascii() and text.isdigit()):
        raise typer.BadParameter("an IMEI has 15 digits")
    return int(text)


@app.command("audit")
def audit_command(
    *,
    imei: Annotated[
        int | None,
        typer.Option(
            parser=_imei_of, metavar="IMEI", help="Only entries of this device.", show_default=False
        ),
    ] = None,
    output_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Demand that everything the stream still holds is stored, or accounted for otherwise.

    Every record of every entry is in `positions`, or its entry is undelivered, pending, in the dead
    letters, dropped or replayed. What is missing is named, and the exit code is 1.
    Nothing is changed, and the service may run meanwhile.
    """
    try:
        target = _target(load_settings(), imei)
        report = asyncio.run(audit(target))
    except TeltonikaProcessorError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_exit_code(error)) from None
    typer.echo(as_json_text(target, report) if output_json else as_text(target, report))
    if report.account.n_missing:
        raise typer.Exit(EXIT_MISSING)


def _target(settings: Settings, imei: int | None) -> AuditTarget:
    return AuditTarget(
        redis_url=settings.redis_url.get_secret_value(),
        database_url=settings.database_url.get_secret_value(),
        pooler=settings.database_pooler,
        stream=settings.redis_telemetry_stream,
        group=settings.redis_consumer_group,
        imei=imei,
    )


def _exit_code(error: TeltonikaProcessorError) -> ExitCode:
    if isinstance(error, SchemaMismatch):
        return ExitCode.SCHEMA
    if isinstance(error, ConfigError):
        return ExitCode.CONFIG
    return ExitCode.UNREACHABLE if isinstance(error, TransientError) else ExitCode.PANIC

"""`teltonika-processor audit`: is every record that the stream still holds accounted for?"""

import asyncio
from typing import Annotated, Final

import typer

from teltonika_processor.cli.arguments import imei_of
from teltonika_processor.cli.audit_output import as_json_text, as_text
from teltonika_processor.cli.audit_run import AuditTarget, audit
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.settings import Settings

EXIT_MISSING: Final = 1

app = typer.Typer()


@app.command("audit")
def audit_command(
    *,
    imei: Annotated[
        int | None,
        typer.Option(
            parser=imei_of, metavar="IMEI", help="Only entries of this device.", show_default=False
        ),
    ] = None,
    output_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Demand that everything the stream still holds is stored, or accounted for otherwise.

    Every record of every entry is in `positions`, or its entry is undelivered, pending, in the dead
    letters, dropped or replayed. What is missing is named, and the exit code is 1.
    Nothing is changed, and the service may run meanwhile.
    """
    with failures_told():
        target = _target(command_settings(), imei)
        report = asyncio.run(audit(target))
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

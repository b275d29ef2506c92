"""`teltonika-processor audit`: is every record that the stream still holds accounted for?"""

import asyncio
import socket
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonObject, imei_of
from teltonika_processor.cli.audit_output import as_brief_text, as_json_text, as_text
from teltonika_processor.cli.audit_repeat import audit_until_stopped
from teltonika_processor.cli.audit_run import AuditReport, AuditTarget, audit, record
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import refuse
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.errors import TransientError
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings

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
    recorded: Annotated[
        bool, typer.Option("--record", help="Keep the outcome, for the metrics of the instances.")
    ] = False,
    every_s: Annotated[
        int | None,
        typer.Option(
            "--every",
            metavar="SECONDS",
            min=1,
            max=86_400,
            help="Audit and record again and again, until SIGTERM; with --json a line an audit.",
            show_default=False,
        ),
    ] = None,
    output_json: JsonObject = False,
) -> None:
    """Demand that everything the stream still holds is stored, or accounted for otherwise.

    Every record of every entry is in `positions`, or its entry is undelivered, pending, in the dead
    letters, dropped or replayed. What is missing is named, and the exit code is 1.
    Without --record nothing is changed; the service may run meanwhile.
    """
    if imei is not None and (recorded or every_s):
        refuse("--imei looks at a part only, which is not recorded")
    with failures_told():
        target = _target(command_settings(), imei)
        if every_s is not None:
            _audit_every(target, every_s, as_json=output_json)
            return
        report = asyncio.run(audit(target))
        is_kept = recorded and asyncio.run(record(target, report))
    _print(target, report, is_kept=is_kept, as_json=output_json)
    if recorded:
        _say_recorded(is_kept=is_kept)
    if report.account.n_missing:
        raise typer.Exit(EXIT_FINDING)


def _print(target: AuditTarget, report: AuditReport, *, is_kept: bool, as_json: bool) -> None:
    as_object = as_json_text(target, report, recorded=is_kept)
    typer.echo(as_object if as_json else as_text(target, report))


def _audit_every(target: AuditTarget, every_s: float, *, as_json: bool) -> None:
    def say(report: AuditReport, is_kept: bool) -> None:
        as_object = as_json_text(target, report, recorded=is_kept)
        typer.echo(as_object if as_json else as_brief_text(report))
        if not is_kept:
            _say_recorded(is_kept=False)

    def say_away(error: TransientError) -> None:
        typer.echo(f"no audit: {error}", err=True)

    audit_until_stopped(target, every_s=every_s, say=say, say_away=say_away)


def _say_recorded(*, is_kept: bool) -> None:
    typer.echo(
        "recorded" if is_kept else "not recorded: an audit that began later is already", err=True
    )


def _target(settings: Settings, imei: int | None) -> AuditTarget:
    return AuditTarget(
        redis_url=settings.redis_url.get_secret_value(),
        database_url=settings.database_url.get_secret_value(),
        pooler=settings.database_pooler,
        stream=settings.redis_telemetry_stream,
        group=settings.redis_consumer_group,
        imei=imei,
        host=socket.gethostname(),
    )

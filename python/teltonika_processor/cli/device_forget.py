"""`device forget`: erase what is stored of a device, which is what is stored of a person."""

import asyncio
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import Imei, JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import (
    DryRun,
    Yes,
    is_confirmed,
    require_somebody_to_ask,
)
from teltonika_processor.cli.device_erasure import Account, Erasure, Plan
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.forget_output import ForgetOutput
from teltonika_processor.cli.redis_run import redis_of
from teltonika_processor.errors import SinkRejected
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.store.erasure import erasure_session


def forget(
    imei: Imei,
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also while the stream holds entries that are yet to be stored."
        ),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Erase a device from every table, the stream, the dead letters and the instances' memory.

    It cannot be undone. Needs the owner of the tables (DATABASE_MIGRATION_URL), or a role that may
    DELETE. Exits with 1 if anything is left, or while entries of the device are yet to be stored.
    """
    require_somebody_to_ask("forget", yes=yes, dry_run=dry_run)
    output = ForgetOutput(imei, as_json=as_json)
    with failures_told():
        settings = command_settings()
        try:
            code = asyncio.run(_run(settings, imei, output, force, dry_run, yes))
        except SinkRejected as error:  # a table of the operator's refers to these rows
            typer.echo(str(error), err=True)
            code = EXIT_FINDING
    raise typer.Exit(code)


async def _run(  # noqa: PLR0913, PLR0917 -- the options of the command
    settings: Settings, imei: int, output: ForgetOutput, force: bool, dry_run: bool, yes: bool
) -> int:
    async with (
        redis_of(settings, "device") as client,
        erasure_session(settings.owner_url.get_secret_value()) as session,
    ):
        erasure = Erasure(
            session,
            client,
            stream=settings.redis_telemetry_stream,
            group=settings.redis_consumer_group,
            imei=imei,
        )
        plan = await erasure.plan()
        if dry_run:
            output.planned(plan)
        if plan.entries.n_needed and not force:
            output.refused(plan)
            return EXIT_FINDING
        if dry_run:
            return 0
        return await _forget(erasure, plan, output, yes=yes)


async def _forget(erasure: Erasure, plan: Plan, output: ForgetOutput, *, yes: bool) -> int:
    if not is_confirmed(output.question(plan), yes=yes):
        return EXIT_FINDING
    account = Account()
    try:
        await erasure.carry_out(account)
    finally:
        output.done(account, plan)
    return 0 if account.is_whole else EXIT_FINDING

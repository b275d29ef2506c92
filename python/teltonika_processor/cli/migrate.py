"""`teltonika-processor migrate`: bring the schema to this version, or say what that would take."""

import asyncio
import json
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.service.dictionary import configured_dictionary
from teltonika_processor.service.exit_codes import ExitCode
from teltonika_processor.store.migrate import SchemaReport, inspect, migrate
from teltonika_processor.store.steps import SchemaState

app = typer.Typer()


@app.command("migrate")
def migrate_command(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail if the schema does not fit.")
    ] = False,
    post: Annotated[
        bool,
        typer.Option(
            "--post", help="Also what waits until no instance of the version before runs."
        ),
    ] = False,
    as_json: JsonObject = False,
) -> None:
    """Apply pending migrations with DATABASE_MIGRATION_URL, or DATABASE_URL where that is not set.

    Those of phase pre go before an upgrade, with the old version running; those of phase post go
    with --post, when all of it is gone. The table `io_elements` is made to hold the IO dictionary
    and the rows of IO_DICTIONARY_FILE. Any number of instances may do so at once: each step is
    applied once. Exits with 0 if the schema fits, 75 if Postgres was not reached, 76 if the schema
    does not fit or the role may not do it.
    """
    with failures_told():
        settings = command_settings()
        dsn = settings.owner_url.get_secret_value()
        if check:
            code = _print_state(asyncio.run(inspect(dsn)), as_json=as_json)
        else:
            migrated = asyncio.run(
                migrate(dsn, partial(configured_dictionary, settings), post=post)
            )
            code = _print_report(migrated, as_json=as_json)
    raise typer.Exit(code)


def _print_report(report: SchemaReport, *, as_json: bool) -> ExitCode:
    if as_json:
        about = {name: value for name, value in asdict(report).items() if name != "migrated"}
        typer.echo(json.dumps(about))
        return ExitCode.DRAINED
    for name in report.applied:
        typer.echo(f"applied {name}")
    if report.io_elements_changed:
        n_changed = report.io_elements_changed
        typer.echo(f"wrote {n_changed:,} row{'s' * (n_changed > 1)} of io_elements")
    elif not report.applied:
        typer.echo("nothing to apply")
    _say_deferred(report.deferred)
    _warn_of_newer(report.newer)
    return ExitCode.DRAINED


def _print_state(state: SchemaState, *, as_json: bool) -> ExitCode:
    if as_json:
        typer.echo(json.dumps({"fits": state.fits, **asdict(state)}))
    else:
        for name in state.pending:
            typer.echo(f"pending {name}")
        for name in state.mismatched:
            typer.echo(f"changed after it was applied: {name}")
        for name in state.too_new:
            typer.echo(f"newer than this version: {name}")
        if state.fits:
            typer.echo(f"the schema fits: {len(state.applied)} steps applied")
        _say_deferred(state.deferred)
        _warn_of_newer(state.newer)
    return ExitCode.DRAINED if state.fits else ExitCode.SCHEMA


def _say_deferred(names: tuple[str, ...]) -> None:
    for name in names:
        typer.echo(f"waits for --post, once no instance of the version before runs: {name}")


def _warn_of_newer(names: tuple[str, ...]) -> None:
    for name in names:
        typer.echo(f"applied by a later version, harmless to this one: {name}", err=True)

"""`teltonika-processor partitions`: what positions is made of, and what of it may go."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from teltonika_processor.cli.arguments import JsonLines, JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import (
    DryRun,
    Yes,
    is_confirmed,
    require_somebody_to_ask,
)
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.partitions_output import (
    account_object,
    bound_text,
    day_text,
    due_object,
    holders_text,
    left_lines,
    list_summary,
    plausible_text,
    print_partitions,
    print_partitions_json,
    summary,
    volume_text,
)
from teltonika_processor.cli.partitions_repair import Found, repair, survey
from teltonika_processor.service.exit_codes import EXIT_FINDING, ExitCode
from teltonika_processor.service.partition_drop import DropAccount, Pace, drop, due_now
from teltonika_processor.settings import Settings
from teltonika_processor.store.owners import owner_wanted
from teltonika_processor.store.partition import (
    Kind,
    Partition,
    in_order,
)
from teltonika_processor.store.partitions import (
    count_plausible,
    counted,
    is_owner,
    owner_session,
    writer_session,
)
from teltonika_processor.store.partitions import (
    partitions as all_partitions,
)
from teltonika_processor.texts import count_text, printable

_NOTHING: Final = "nothing to drop"

DAYS_MAX: Final = 36_500
WAIT_MAX_S: Final = 3600.0

app = typer.Typer()
_partitions = typer.Typer(no_args_is_help=True)
app.add_typer(
    _partitions, name="partitions", help="The days of positions: look at them, drop old ones."
)

Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        min=0.0,
        max=WAIT_MAX_S,
        metavar="SECONDS",
        help="Go on so long while others hold the locks.",
    ),
]


# Listing


@_partitions.command("list")
def list_command(
    *,
    exact: Annotated[
        bool, typer.Option("--exact", help="Count the rows; takes long on a large log.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="Show so many ranges of time at most, the newest.")
    ] = 100,
    as_json: JsonLines = False,
) -> None:
    """List the partitions of positions by time, with their rows (as the server estimates) and size.

    Below them is how many plausible rows the default partition holds, which should be none.
    """
    with failures_told():
        found, plausible_rows = asyncio.run(_look(command_settings(), exact=exact))
    shown = _newest(found, limit)
    if as_json:
        print_partitions_json(shown, plausible_rows)
    else:
        typer.echo(list_summary(found))
        print_partitions(shown)
        typer.echo(plausible_text(plausible_rows))
    if hidden := len(found) - len(shown):
        typer.echo(f"{hidden:,} older ones; --limit {limit + hidden} shows all", err=as_json)


async def _look(settings: Settings, *, exact: bool) -> tuple[list[Partition], int]:
    async with owner_session(settings.owner_url.get_secret_value()) as session:
        found = in_order(await all_partitions(session))
        if exact:
            found = [await counted(session, partition) for partition in found]
        return found, await count_plausible(session)


def _newest(found: Sequence[Partition], limit: int) -> list[Partition]:
    ranges = [p for p in found if p.kind in {Kind.DAY, Kind.OPERATOR, Kind.FOREIGN}]
    hidden = {p.name for p in ranges[:-limit]}
    return [p for p in found if p.name not in hidden]


# Dropping


@_partitions.command("drop")
def drop_command(
    *,
    older_than: Annotated[
        int,
        typer.Option(
            min=1, max=DAYS_MAX, metavar="DAYS", help="Whole UTC days before today that stay."
        ),
    ],
    wait: Wait = 60.0,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Drop the partitions that hold nothing but UTC days older than DAYS, the oldest first.

    Partitions of an operator's that are coarser count too; what lies before 2010 and the default
    partition stay. Takes the owner of positions: DATABASE_MIGRATION_URL, or DATABASE_URL.

    Exits with 0 if all of them are gone, 1 if one is left: --wait was over, or the answer was no.
    """
    require_somebody_to_ask("drop", yes=yes, dry_run=dry_run)
    with failures_told():
        settings = command_settings()
        wanted = asyncio.run(_due(settings, older_than))
        if dry_run:
            _say_due(wanted, as_json=as_json)
            raise typer.Exit
        if not wanted:
            typer.echo(json.dumps(account_object(DropAccount())) if as_json else _NOTHING)
            raise typer.Exit
        if not is_confirmed(_order(wanted), yes=yes):
            raise typer.Exit(EXIT_FINDING)
        code = _carry_out(settings, wanted, wait, as_json=as_json)
    raise typer.Exit(code)


def _order(wanted: Sequence[Partition]) -> str:
    until = max((p.to_s for p in wanted if p.kind is not Kind.DROPPED), default=None)
    up_to = "" if until is None else f", all before {bound_text(until)}"
    return f"drop {summary(wanted)}{up_to}"


def _say_due(wanted: Sequence[Partition], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(due_object(wanted)))
    elif wanted:
        print_partitions(wanted)
        typer.echo(f"would {_order(wanted)}")
    else:
        typer.echo(_NOTHING)


async def _due(settings: Settings, keep_days: int) -> list[Partition]:
    async with owner_session(settings.owner_url.get_secret_value()) as session:
        if not await is_owner(session):
            raise owner_wanted("dropping partitions", "positions")
        return await due_now(session, keep_days=keep_days, unix_s=time.time())


def _carry_out(
    settings: Settings, wanted: Sequence[Partition], wait_s: float, *, as_json: bool
) -> int:
    """Drop them and say what came of it, also where it ends in the middle."""
    account = DropAccount()

    def say(partition: Partition) -> None:
        if not as_json:
            typer.echo(f"dropped {printable(partition.name)}")

    async def run() -> bool:
        async with owner_session(settings.owner_url.get_secret_value()) as session:
            return await drop(session, wanted, Pace(patience_s=wait_s), account, say)

    try:
        has_turn = asyncio.run(run())
    finally:
        _say_account(account, as_json=as_json)
    if not has_turn:
        typer.echo("another session drops partitions now: nothing was done", err=True)
    return ExitCode.DRAINED if has_turn and not account.left else EXIT_FINDING


def _say_account(account: DropAccount, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(account_object(account)))
        return
    freed = f", freed {volume_text(account.dropped)}" if account.dropped else ""
    tries = count_text(account.n_tries, "try", "tries")
    typer.echo(
        f"dropped {count_text(len(account.dropped), 'partition')}{freed}; {tries}, "
        f"writers waited for {account.longest_wait_s * 1e3:.0f} ms at most"
    )
    for line in left_lines(account.left):
        typer.echo(line, err=True)
    if account.gave_up:
        typer.echo(holders_text(account.holders), err=True)


# Repairing


@_partitions.command("repair")
def repair_command(
    *,
    wait: Wait = 30.0,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Give each day that has plausible rows in the default partition a partition of its own.

    Needs no more than the writer may. While the rows of a day move, writers of new days and of
    records with an impossible clock wait.

    Exits with 0 if the default partition holds no plausible rows any more, 1 if it does.
    """
    require_somebody_to_ask("repair", yes=yes, dry_run=dry_run)
    with failures_told():
        settings = command_settings()
        found = asyncio.run(_survey(settings))
        if found and not dry_run:
            days = count_text(len(found), "day")
            if not is_confirmed(f"move the rows of {days} to partitions of their own", yes=yes):
                raise typer.Exit(EXIT_FINDING)
            found = asyncio.run(_repair(settings, wait))
    if as_json:
        objects = [_found_object(one) for one in found]
        print(json.dumps({"dry_run": dry_run, "days": objects}))
    else:
        _print_found(found, "would move" if dry_run else "moved")
    stuck = any(one.why_not for one in found)
    raise typer.Exit(EXIT_FINDING if stuck or (dry_run and found) else ExitCode.DRAINED)


async def _survey(settings: Settings) -> list[Found]:
    dsn = settings.database_url.get_secret_value()
    async with writer_session(dsn, pooler=settings.database_pooler) as session:
        return await survey(session)


async def _repair(settings: Settings, wait_s: float) -> list[Found]:
    dsn = settings.database_url.get_secret_value()
    async with writer_session(dsn, pooler=settings.database_pooler) as session:
        return await repair(session, patience_s=wait_s)


def _found_object(one: Found) -> dict[str, object]:
    return {
        "day": day_text(one.day),
        "rows": one.rows,
        "rows_are_cut": one.is_cut,
        "why_not": one.why_not,
    }


def _print_found(found: Sequence[Found], moved: str) -> None:
    if not found:
        typer.echo("no plausible rows in the default partition")
    for one in found:
        rows = (
            f"{one.rows:,}{' or more' if one.is_cut else ''} {'row' if one.rows == 1 else 'rows'}"
        )
        if one.why_not is None:
            typer.echo(f"{moved} {rows} of {day_text(one.day)}")
        else:
            typer.echo(f"{rows} of {day_text(one.day)} stay: {printable(one.why_not)}", err=True)

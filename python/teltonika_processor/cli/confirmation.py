"""Asking before something is changed: on a terminal, or with --yes."""

import sys
from typing import Annotated, NoReturn

import typer

from teltonika_processor.service.exit_codes import EXIT_USAGE

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; needed where there is no terminal.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]


def refuse(message: str) -> NoReturn:
    """Leave: the command was used in a way that cannot be meant."""
    typer.echo(message, err=True)
    raise typer.Exit(EXIT_USAGE)


def require_somebody_to_ask(order: str, *, yes: bool, dry_run: bool = False) -> None:
    """Leave, before anything is done, if nobody could answer; `order` as in: drop."""
    if not (dry_run or yes or sys.stdin.isatty()):
        refuse(f"there is no terminal to ask on: give --yes to {order}, or --dry-run")


def is_confirmed(what: str, *, yes: bool) -> bool:
    """Whether `what`, as in "drop 3 dead letters", shall be done; a no is answered."""
    if yes or typer.confirm(f"{what}?", err=True):
        return True
    typer.echo("nothing was changed", err=True)
    return False

"""`device allow` and `device deny`: whether the gateway lets devices in."""

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from teltonika_processor.cli.arguments import JsonObject, imei_of
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import (
    DryRun,
    Yes,
    is_confirmed,
    refuse,
    require_somebody_to_ask,
)
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.errors import SinkRejected
from teltonika_processor.imei_lines import Lines, has_check_digit, name_fault, parse_lines
from teltonika_processor.model import format_imei
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.store.devices import Admitted, admit, devices_session, would_admit
from teltonika_processor.texts import count_text

_STANDARD_INPUT: Final = Path("-")

# Bound: lines and devices named one by one; the rest is counted.
_FAULTS_MAX: Final = 100
_ODD_MAX: Final = 10

Imeis = Annotated[
    list[int] | None, typer.Argument(parser=imei_of, metavar="IMEI...", help="15 digits each.")
]
ImeiFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="One IMEI a line, or IMEI,name; # begins a comment. - is standard input.",
    ),
]


@dataclass(frozen=True, slots=True)
class _Order:
    """What the operator wants done."""

    names: dict[int, str | None]
    allowed: bool

    @property
    def word(self) -> str:
        return "allow" if self.allowed else "deny"

    @property
    def done_word(self) -> str:
        return "allowed" if self.allowed else "denied"


def allow(  # noqa: PLR0913 -- the options of the command
    imeis: Imeis = None,
    *,
    file: ImeiFile = None,
    name: Annotated[
        str | None, typer.Option(help="What people call it; goes with one IMEI.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Let devices in: sets `allowed` in the table devices, where unknown ones are inserted.

    Nothing is changed if a line of the file is wrong. Doing it twice changes nothing more. Exits
    with 0 if all are let in, 1 if Postgres refused one or the answer was no, 2 if a line is wrong.
    """
    if name is not None:
        _check_name(name, goes_with_one=file is None and len(imeis or ()) == 1)
    order = _Order(_named(imeis, file, name, asks=not (yes or dry_run)), allowed=True)
    _run(order, dry_run, yes, as_json)


def deny(
    imeis: Imeis = None,
    *,
    file: ImeiFile = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Keep devices out: the opposite of `allow`. What they sent already stays.

    Exits with 0 if all are kept out, 1 if Postgres refused one or the answer was no, 2 if a line is
    wrong.
    """
    order = _Order(_named(imeis, file, None, asks=not (yes or dry_run)), allowed=False)
    _run(order, dry_run, yes, as_json)


# Which devices.


def _check_name(name: str, *, goes_with_one: bool) -> None:
    """Leave with 2 if a name was given that cannot be meant."""
    if not goes_with_one:
        refuse("--name goes with one IMEI; a file has its names behind a comma")
    if not name.strip():
        refuse("--name is empty")
    if fault := name_fault(name):
        refuse(f"--name: {fault}")


def _named(
    imeis: list[int] | None, file: Path | None, name: str | None, *, asks: bool
) -> dict[int, str | None]:
    """The devices, each with its name or none; leaves with 2 if anything is wrong."""
    if bool(imeis) == (file is not None):
        refuse("give IMEIs or --file FILE: one of the two")
    if file is None:
        named = None if name is None else name.strip()
        names: dict[int, str | None] = dict.fromkeys(imeis or (), named)
    else:
        if file == _STANDARD_INPUT and asks:
            refuse("--file - leaves nothing to read the answer from: give --yes, or --dry-run")
        names = _in_file(file)
    _warn_of_odd(names)
    return names


def _in_file(file: Path) -> dict[int, str | None]:
    source = "standard input" if file == _STANDARD_INPUT else str(file)
    try:
        content = sys.stdin.buffer.read() if file == _STANDARD_INPUT else file.read_bytes()
        # Spreadsheets put a byte order mark before the first line.
        found = parse_lines(source, content.decode("utf-8-sig").splitlines())
    except OSError as error:
        refuse(f"{source}: {error.strerror}")
    except UnicodeDecodeError as error:
        refuse(f"{source}: byte {error.start} is not UTF-8")
    if found.faults:
        _refuse_faults(found)
    if not found.names:
        refuse(f"{source}: no device in it")
    return found.names


def _refuse_faults(found: Lines) -> NoReturn:
    for fault in found.faults[:_FAULTS_MAX]:
        typer.echo(fault, err=True)
    if len(found.faults) > _FAULTS_MAX:
        typer.echo(f"... and {len(found.faults) - _FAULTS_MAX:,} more", err=True)
    refuse("nothing was changed")


def _warn_of_odd(imeis: Iterable[int]) -> None:
    odd = [format_imei(imei) for imei in imeis if not has_check_digit(imei)]
    for imei in odd[:_ODD_MAX]:
        typer.echo(f"{imei}: its last digit is not the check digit; is it mistyped?", err=True)
    if len(odd) > _ODD_MAX:
        typer.echo(f"... and {len(odd) - _ODD_MAX:,} more without their check digit", err=True)


# Changing them.


def _run(order: _Order, dry_run: bool, yes: bool, as_json: bool) -> NoReturn:
    require_somebody_to_ask(order.word, yes=yes, dry_run=dry_run)
    with failures_told():
        settings = command_settings()
        try:
            code = asyncio.run(_carry_out(settings, order, dry_run, yes, as_json))
        except SinkRejected as error:  # a trigger or a constraint of the operator's
            typer.echo(str(error), err=True)
            code = EXIT_FINDING
    raise typer.Exit(code)


async def _carry_out(
    settings: Settings,
    order: _Order,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    dsn = settings.database_url.get_secret_value()
    async with devices_session(dsn, pooler=settings.database_pooler) as session:
        planned = await would_admit(session, order.names, allowed=order.allowed)
        if dry_run:
            _say(order, planned, "would be ", as_json=as_json)
            return 0
        if not is_confirmed(f"{order.word} {_counts(order, planned)}", yes=yes):
            return EXIT_FINDING
        done = Admitted(0, 0, 0)
        try:
            async for part in admit(session, order.names, allowed=order.allowed):
                done = done.plus(part)
        finally:
            _say(order, done, "", as_json=as_json)
    return 0


def _say(order: _Order, admitted: Admitted, would: str, *, as_json: bool) -> None:
    if not as_json:
        print(f"{would}{order.done_word}: {_counts(order, admitted)}")
        return
    about = {
        "allowed": order.allowed,
        "dry_run": bool(would),
        "new": admitted.n_new,
        "changed": admitted.n_changed,
        "already": admitted.n_already,
    }
    print(json.dumps(about))


def _counts(order: _Order, admitted: Admitted) -> str:
    return (
        f"{count_text(admitted.total, 'device')} ({admitted.n_new:,} new, "
        f"{admitted.n_changed:,} changed, {admitted.n_already:,} {order.done_word} already)"
    )

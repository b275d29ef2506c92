"""`teltonika-processor dlq`: look at the dead letters, replay them, drop them, keep a copy."""

import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeAlias

import typer

from teltonika_processor.cli.arguments import JsonLines, JsonObject
from teltonika_processor.cli.confirmation import (
    DryRun,
    Yes,
    is_confirmed,
    refuse,
    require_somebody_to_ask,
)
from teltonika_processor.cli.dlq_export import STANDARD_OUTPUT, export
from teltonika_processor.cli.dlq_move import (
    Account,
    Action,
    Chosen,
    Order,
    Plan,
    account_object,
    carry_out,
    describe,
    now_ms,
    plan,
    say_failures,
)
from teltonika_processor.cli.dlq_output import (
    by_reason,
    letters_text,
    print_json,
    print_table,
    reasons_of,
)
from teltonika_processor.cli.dlq_show import Shown, print_letter, print_letter_json
from teltonika_processor.cli.operator_name import who
from teltonika_processor.cli.redis_run import run_on_redis
from teltonika_processor.cli.whereabouts import say_where_it_went
from teltonika_processor.codec.native import error_catalogue
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.letter import Letter, LetterHead, fault_of, is_entry_id
from teltonika_processor.stream.letters import Letters
from teltonika_processor.texts import printable

_HEX_TEXT: Final = frozenset(b"0123456789abcdefABCDEF \t\n\v\f\r")

Command: TypeAlias = Callable[[Letters, Settings], Awaitable[int]]

app = typer.Typer()
dlq = typer.Typer(no_args_is_help=True)
app.add_typer(dlq, name="dlq", help="The dead letters: look at them, replay them, drop them.")


def _checked_id(text: str) -> str:
    if not is_entry_id(text):
        raise typer.BadParameter(f"{text!r} is not an id such as 1790000000000-0")
    return text


def _checked_reason(text: str | None) -> str | None:
    codes = [code for _, code, _ in error_catalogue()]
    if text is not None and text not in codes:
        raise typer.BadParameter(f"{text!r} is not a reject code; there are {', '.join(codes)}")
    return text


Id = Annotated[str, typer.Argument(metavar="ID", callback=_checked_id)]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID...", help="Ids as `dlq list` shows them.")
]
Reason = Annotated[
    str | None, typer.Option(metavar="CODE", callback=_checked_reason, help="Those of one reason.")
]
Everything = Annotated[bool, typer.Option("--all", help="All that are there now.")]


@dlq.command("list")
def list_command(
    *,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(min=1, help="Show so many at most.")] = 50,
    as_json: JsonLines = False,
) -> None:
    """List the dead letters, oldest first, and count them by reason.

    Exits with 0, with letters or without; 75 if Redis was not reached.
    """

    async def run(letters: Letters, _: Settings) -> int:
        counts: Counter[str] = Counter()
        found: list[LetterHead] = []
        async for page in letters.heads(await letters.last_id()):
            counts += reasons_of(page)
            wanted = (head for head in page if reason in {None, _reason_of(head)})
            found += islice(wanted, limit - len(found))
        n_matching = counts.total() if reason is None else counts[reason]
        _print_list(found, counts, letters.stream, as_json=as_json)
        if n_matching > len(found):
            more = f"{n_matching - len(found):,} more; --limit {n_matching} shows all"
            typer.echo(more, err=as_json)
        return 0

    _run(run)


@dlq.command("show")
def show_command(
    letter_id: Id,
    *,
    all_bytes: Annotated[
        bool, typer.Option("--all-bytes", help="Dump the whole frame, not 64 bytes each way.")
    ] = False,
    as_json: JsonObject = False,
) -> None:
    """Show one dead letter: why, its fields, what decodes of it, the bytes around the fault.

    ID is that of the letter, or the one that the entry had in the telemetry stream. Exits with 0 if
    it is there, 1 if it is not, which says where it went; 75 if Redis was not reached.
    """

    async def run(letters: Letters, settings: Settings) -> int:
        letter = await letters.letter(letter_id) or await letters.letter_from(letter_id)
        if letter is None:
            return await _say_where_it_went(letters, letter_id)
        shown = Shown(letter, fault_of(letter, frame_max_bytes=settings.frame_max_bytes))
        if as_json:
            print_letter_json(shown)
        else:
            terminal = sys.stdout.isatty()
            print_letter(shown, now_ms=now_ms(), all_bytes=all_bytes, terminal=terminal)
        return 0

    _run(run)


@dlq.command("replay")
def replay_command(  # noqa: PLR0913 -- the options of the command
    ids: Ids = None,
    *,
    reason: Reason = None,
    everything: Everything = False,
    frame: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Replay one letter with this frame, in binary or hex; its own is kept beside it.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replay --frame even if it does not decode.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Add entries to the telemetry stream again and delete their letters, each once.

    Their fields and receive times are kept; `replayed_from` and `replays` are added. Exits with 0
    if all were replayed, 1 if one was not or the answer was no, 75 if Redis was not reached.
    """
    chosen = _chosen(ids, reason, everything=everything)
    corrected = None if frame is None else _frame_in(frame)
    if frame is None and force:
        refuse("--force goes with --frame")
    if frame is not None and len(chosen.ids) != 1:
        refuse("--frame goes with one ID")
    order = Order(Action.REPLAY, chosen, frame=corrected, as_json=as_json)
    _run_order(order, dry_run=dry_run, yes=yes, force=force)


@dlq.command("drop")
def drop_command(  # noqa: PLR0913 -- the options of the command
    ids: Ids = None,
    *,
    reason: Reason = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Delete dead letters for good; that they were dropped, when and by whom is kept.

    Exits with 0 if all were dropped, 1 if one was not or the answer was no, 75 if Redis was not
    reached.
    """
    chosen = _chosen(ids, reason, everything=everything)
    order = Order(Action.DROP, chosen, by=who(), as_json=as_json)
    _run_order(order, dry_run=dry_run, yes=yes)


@dlq.command("export")
def export_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; - is standard output.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace FILE, which may hold what was dropped since.")
    ] = False,
) -> None:
    """Write every dead letter as one JSON object a line, and change nothing.

    Values of fields are in hex. The file is there whole or not at all. Exits with 0 if it is, 1 if
    FILE was there before or cannot be written, 75 if Redis was not reached.
    """
    if file != STANDARD_OUTPUT and file.exists() and not force:
        typer.echo(f"{file} exists: name another file, or replace it with --force", err=True)
        raise typer.Exit(EXIT_FINDING)

    async def run(letters: Letters, _: Settings) -> int:
        try:
            n_letters = await export(letters, file)
        except OSError as error:
            typer.echo(f"{file}: {error.strerror}", err=True)
            return EXIT_FINDING
        where = "standard output" if file == STANDARD_OUTPUT else file
        typer.echo(f"exported {letters_text(n_letters)} to {where}", err=file == STANDARD_OUTPUT)
        return 0

    _run(run)


def _run(command: Command) -> NoReturn:
    """Run one command with the dead letters of the settings' stream."""

    async def run(client: RedisClient, settings: Settings) -> int:
        return await command(Letters(client, settings.redis_telemetry_stream), settings)

    run_on_redis("dlq", run)


# Listing and showing.


def _print_list(
    heads: list[LetterHead], counts: Counter[str], stream: str, *, as_json: bool
) -> None:
    if as_json:
        print_json(heads)
        return
    reasons = f" ({by_reason(counts)})" if counts else ""
    typer.echo(f"{letters_text(counts.total())} in {stream}{reasons}")
    if heads:
        print_table(heads, now_ms=now_ms(), terminal=sys.stdout.isatty())


def _reason_of(head: LetterHead) -> str:
    return "" if head.cause is None else head.cause.reason


async def _say_where_it_went(letters: Letters, source_id: str) -> int:
    typer.echo(f"no dead letter has the id {source_id}, nor comes from that entry", err=True)
    await say_where_it_went(letters, source_id)
    return EXIT_FINDING


# Replaying and dropping.


def _chosen(ids: list[str] | None, reason: str | None, *, everything: bool) -> Chosen:
    if sum((bool(ids), reason is not None, everything)) != 1:
        refuse("give IDs, or --reason CODE, or --all: one of the three")
    for text in ids or ():
        _checked_id(text)
    return Chosen(ids=ids or (), reason=reason or "")


def _frame_in(file: Path) -> bytes:
    """The frame in a file: hex if it is nothing but that, else binary as it is."""
    content = file.read_bytes()
    if not _HEX_TEXT.issuperset(content):
        return content
    try:
        return bytes.fromhex(content.decode("ascii"))
    except ValueError as error:
        refuse(f"{file}: {error}")


def _run_order(order: Order, *, dry_run: bool, yes: bool, force: bool = False) -> NoReturn:
    require_somebody_to_ask(order.action.order, yes=yes, dry_run=dry_run)

    async def run(letters: Letters, settings: Settings) -> int:
        planned = await plan(letters, order)
        if order.frame is not None and not force:
            for head in planned.named:
                _check_frame(await letters.letter(head.letter_id), order.frame, settings)
        if dry_run or not planned.movable:
            return _say_plan(order, planned, dry_run=dry_run)
        if not is_confirmed(describe(order, planned), yes=yes):
            return EXIT_FINDING
        failed = await carry_out(letters, order, planned)
        say_failures(order.action, failed)
        return EXIT_FINDING if failed else 0

    _run(run)


def _say_plan(order: Order, planned: Plan, *, dry_run: bool) -> int:
    if order.as_json:
        account = Account(failed=planned.hindered)
        print(json.dumps(account_object(order, planned, account, dry_run=dry_run)))
    elif planned.movable:
        typer.echo(f"would {describe(order, planned)}")
    else:
        typer.echo(f"nothing to {order.action.order}")
    say_failures(order.action, planned.hindered)
    return EXIT_FINDING if planned.hindered else 0


def _check_frame(letter: Letter | None, frame: bytes, settings: Settings) -> None:
    """Leave with 1 if the letter's entry is refused again with this frame in it."""
    if letter is None:
        return
    fault = fault_of(letter, frame, frame_max_bytes=settings.frame_max_bytes)
    if fault is not None:
        found = f"{fault.code} at byte {fault.offset}: {printable(fault.error)}"
        typer.echo(f"with this frame too the entry is refused: {found}", err=True)
        typer.echo("nothing was changed; --force replays it all the same", err=True)
        raise typer.Exit(EXIT_FINDING)

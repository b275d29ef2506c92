"""What `device forget` says: the plan, why it refuses, the account, and what it cannot erase."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Final

import typer

from teltonika_processor.cli.device_erasure import Account, Plan
from teltonika_processor.cli.device_rehydrate import told
from teltonika_processor.model import format_imei
from teltonika_processor.stream.device_entries import DeviceEntries
from teltonika_processor.texts import printable

NOT_ERASED: Final = (
    "backups, archived WAL, files that were exported",
    "rows that Postgres has yet to vacuum, replicas that have yet to follow",
    "bytes of deleted entries that Redis keeps until it trims their node (STREAM_KEEP_MS)",
    "Redis' RDB and AOF files until they are written anew (BGSAVE, BGREWRITEAOF)",
    "logs and panic dumps that name the device (LOG_IMEI)",
)
"""What lies out of reach of the command, and holds the device all the same."""

_WIDTH: Final = 32


class ForgetOutput:
    """Says it for people, or as JSON on standard output."""

    def __init__(self, imei: int, *, as_json: bool) -> None:
        self._imei: Final = format_imei(imei)
        self._as_json: Final = as_json

    def planned(self, plan: Plan) -> None:
        """What there is; nothing was changed."""
        if self._as_json:
            print(json.dumps(self._plan_object(plan)))
            return
        print(f"device {self._imei}: would erase")
        _print_counts(_plan_lines(plan))
        _print_tables_of_others(plan)

    def refused(self, plan: Plan) -> None:
        """Why nothing was erased."""
        typer.echo(f"device {self._imei}: {_needed_text(plan.entries)}", err=True)
        typer.echo(
            "stored later they would bring it back; nothing was changed. Stop the device (deny it) "
            "and wait until they are settled, or give --force",
            err=True,
        )

    def question(self, plan: Plan) -> str:
        """What is asked for."""
        n_rows = sum(plan.rows.values())
        return (
            f"erase {n_rows:,} rows, {plan.entries.n_settled:,} stream entries and "
            f"{plan.letters:,} dead letters of the device {self._imei} for good"
        )

    def done(self, account: Account, plan: Plan) -> None:
        """What was erased, and what was not."""
        if self._as_json:
            print(json.dumps(self._account_object(account, plan)))
            return
        print(f"device {self._imei}: erased")
        _print_counts(_account_lines(account))
        for line in _instance_lines(account):
            print(f"  {line}")
        for line in _left_lines(account):
            typer.echo(line, err=True)
        _print_tables_of_others(plan)
        print("not erased by this command:")
        for what in NOT_ERASED:
            print(f"  {what}")

    def _plan_object(self, plan: Plan) -> dict[str, object]:
        return {
            "imei": self._imei,
            "dry_run": True,
            "rows": plan.rows,
            "stream_entries": plan.entries.n_settled,
            "undelivered_entries": plan.entries.undelivered,
            "pending_entries": plan.entries.pending,
            "dead_letters": plan.letters,
            "foreign_letters": plan.foreign_letters,
            "instances": plan.instances,
            "tables_of_others": plan.tables_of_others,
        }

    def _account_object(self, account: Account, plan: Plan) -> dict[str, object]:
        outcome = account.outcome
        return {
            "imei": self._imei,
            "dry_run": False,
            "all_erased": account.is_whole,
            "rows": account.rows,
            "stream_entries": account.entries,
            "dead_letters": account.letters,
            "instances": None if outcome is None else asdict(outcome),
            "entries_left": account.needed,
            "rows_left": account.rows_left,
            "foreign_letters": account.foreign_letters,
            "tables_of_others": plan.tables_of_others,
            "not_erased": NOT_ERASED,
        }


def _plan_lines(plan: Plan) -> Iterator[tuple[str, int]]:
    yield from _row_lines(plan.rows)
    yield "stream entries, acknowledged", plan.entries.n_settled
    yield "dead letters", plan.letters
    yield "running instances to be told", len(plan.instances)


def _account_lines(account: Account) -> Iterator[tuple[str, int]]:
    yield from _row_lines(account.rows)
    yield "stream entries", account.entries
    yield "dead letters", account.letters


def _row_lines(rows: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    for table, n_rows in rows.items():
        yield f"rows of {table}", n_rows


def _print_counts(lines: Iterator[tuple[str, int]]) -> None:
    for label, count in lines:
        print(f"  {label:<{_WIDTH}}{count:>12,}")


def _print_tables_of_others(plan: Plan) -> None:
    if plan.tables_of_others:
        names = ", ".join(map(printable, plan.tables_of_others))
        print(f"not ours and not touched, but with a column imei: {names}")


def _instance_lines(account: Account) -> Iterator[str]:
    outcome = account.outcome
    if outcome is None:
        return
    for answer in outcome.answers:
        yield f"{printable(answer.instance)}: {told(answer)}"
    if not outcome.answers and not outcome.silent:
        yield "no instance is running, so none remembers it"


def _left_lines(account: Account) -> Iterator[str]:
    outcome = account.outcome
    if outcome is None or account.rows_left is None:
        yield "it did not come to its end: run it again"
        return
    for name in outcome.silent:
        yield f"{printable(name)}: no answer; when it runs again: `device rehydrate`"
    if account.needed:
        yield f"entries still needed: {account.needed:,}; run it again when they are settled"
    if account.rows_left:
        yield f"rows that came meanwhile: {account.rows_left:,}; deny the device, run it again"
    for letter_id in account.foreign_letters:
        yield f"dead letter {letter_id} is not ours; redis-cli XDEL removes it"


def _needed_text(entries: DeviceEntries) -> str:
    parts = [f"{n:,} undelivered to {printable(group)}" for group, n in entries.undelivered.items()]
    parts += [f"{n:,} pending in {printable(group)}" for group, n in entries.pending.items()]
    return "entries of the stream are still needed: " + ", ".join(parts)

"""Replaying and dropping dead letters: what is chosen, what is asked, what came of it."""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import typer

from teltonika_processor.cli.dlq_output import by_reason, letters_text
from teltonika_processor.stream.letter import LetterHead
from teltonika_processor.stream.letters import Letters, Moved, Outcome, hindrance
from teltonika_processor.texts import printable

# Bound: ids named one by one of what cannot be moved; the summary counts the rest.
_NAMED_MAX: Final = 10

# Bound: the same in JSON.
_LEFT_MAX: Final = 100


class Action(Enum):
    """What is done with letters: its word for orders and for what is done."""

    REPLAY = ("replay", "replayed")
    DROP = ("drop", "dropped")

    @property
    def order(self) -> str:
        """As in: drop these."""
        return self.value[0]

    @property
    def done(self) -> str:
        """As in: these are dropped."""
        return self.value[1]


_WHY: Final = {
    Outcome.GONE: "is not there",
    Outcome.NO_FIELDS: "cannot be replayed: nothing of the entry is left",
    Outcome.FOREIGN: "is not ours: its last seven fields are others; redis-cli XDEL removes it",
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which letters: those with these ids, or those of one reason, or without a reason all."""

    ids: Sequence[str] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an action is going to meet.

    Attributes:
        until: Id of the newest letter that may be moved.
        movable: Number of letters that can be moved, by reason.
        hindered: Those that cannot be moved, or are not there.
        named: Those that can be moved, where ids were given.
    """

    until: str
    movable: Counter[str] = field(default_factory=Counter)
    hindered: list[Moved] = field(default_factory=list)
    named: list[LetterHead] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Order:
    """What the operator wants done.

    Attributes:
        frame: Stands in the replayed entry instead of its own.
        by: Who drops, for the note that is kept.
        as_json: Whether one JSON object says what came of it.
    """

    action: Action
    chosen: Chosen
    frame: bytes | None = None
    by: str = ""
    as_json: bool = False


@dataclass(slots=True)
class Account:
    """What became of a plan, as far as it came.

    Attributes:
        done: Letters that were moved, by reason.
        named: Those of them whose ids were given.
        failed: What was not moved.
    """

    done: Counter[str] = field(default_factory=Counter)
    named: list[Moved] = field(default_factory=list)
    failed: list[Moved] = field(default_factory=list)


async def plan(letters: Letters, order: Order) -> Plan:
    """Look at what is chosen; change nothing."""
    planned = Plan(await letters.last_id())
    if not order.chosen.ids:
        async for page in letters.heads(planned.until, reason=order.chosen.reason):
            for head in page:
                _sort(planned, head, order.action)
        return planned
    for letter_id in dict.fromkeys(order.chosen.ids):
        found = await letters.head(letter_id)
        if found is None:
            planned.hindered.append(Moved(letter_id, "", Outcome.GONE))
        elif _sort(planned, found, order.action):
            planned.named.append(found)
    return planned


async def carry_out(letters: Letters, order: Order, planned: Plan) -> list[Moved]:
    """Move what was planned, page by page, and say what became of it; what could not be moved.

    What was not named and is gone meanwhile is somebody else's doing, and no failure. An error of
    the server ends it in the middle: what was done until then is said all the same.
    """
    account = Account(failed=list(planned.hindered) if order.chosen.ids else [])
    try:
        async for page in _moves(letters, order, planned):
            for moved in page:
                if moved.outcome is Outcome.DONE:
                    account.done[moved.reason] += 1
                    _say_one(order, moved, account)
                elif order.chosen.ids or moved.outcome is not Outcome.GONE:
                    account.failed.append(moved)
    finally:
        if order.as_json:
            print(json.dumps(account_object(order, planned, account, dry_run=False)))
        elif account.done or not account.failed:
            typer.echo(f"{order.action.done} {_summary(account.done)}")
    return account.failed


def account_object(
    order: Order, planned: Plan, account: Account, *, dry_run: bool
) -> dict[str, object]:
    """What was chosen and what became of it, for JSON; `moved` are those that were named."""
    return {
        "dry_run": dry_run,
        "letters": planned.movable.total(),
        "by_reason": dict(planned.movable),
        order.action.done: account.done.total(),
        "moved": [{"id": moved.letter_id, "entry_id": moved.entry_id} for moved in account.named],
        "left": [
            {"id": moved.letter_id, "reason": moved.reason, "why": moved.outcome.value}
            for moved in account.failed[:_LEFT_MAX]
        ],
        "left_not_named": max(0, len(account.failed) - _LEFT_MAX),
    }


def describe(order: Order, planned: Plan) -> str:
    """What would be moved."""
    return f"{order.action.order} {_summary(planned.movable)}"


def say_failures(action: Action, failed: Iterable[Moved]) -> None:
    """Name what was not moved, and count it by reason where it is much."""
    by_outcome: dict[Outcome, list[Moved]] = {}
    for moved in failed:
        by_outcome.setdefault(moved.outcome, []).append(moved)
    for outcome, moves in by_outcome.items():
        for moved in moves[:_NAMED_MAX]:
            reason = f" ({printable(moved.reason)})" if moved.reason else ""
            typer.echo(f"{moved.letter_id}{reason} {_WHY[outcome]}", err=True)
        if len(moves) > _NAMED_MAX:
            counts = Counter(moved.reason for moved in moves)
            typer.echo(f"... not {action.done}: {_summary(counts)}", err=True)


def _sort(planned: Plan, head: LetterHead, action: Action) -> bool:
    """Note one letter as movable or not; whether it is."""
    reason = "" if head.cause is None else head.cause.reason
    hindered = hindrance(head, replay=action is Action.REPLAY)
    if hindered is None:
        planned.movable[reason] += 1
        return True
    planned.hindered.append(Moved(head.letter_id, reason, hindered))
    return False


def _moves(letters: Letters, order: Order, planned: Plan) -> AsyncIterator[list[Moved]]:
    move = _replays if order.action is Action.REPLAY else _drops
    return move(letters, order, planned)


async def _replays(letters: Letters, order: Order, planned: Plan) -> AsyncIterator[list[Moved]]:
    if not order.chosen.ids:
        async for page in letters.letters(planned.until, reason=order.chosen.reason):
            yield await letters.replay(page)
    for head in planned.named:
        letter = await letters.letter(head.letter_id)
        if letter is None:
            yield [Moved(head.letter_id, "", Outcome.GONE)]
        else:
            yield await letters.replay([letter], frame=order.frame)


async def _drops(letters: Letters, order: Order, planned: Plan) -> AsyncIterator[list[Moved]]:
    if not order.chosen.ids:
        async for page in letters.heads(planned.until, reason=order.chosen.reason):
            yield await letters.drop(page, dropped_at_ms=now_ms(), by=order.by)
    for head in planned.named:
        yield await letters.drop([head], dropped_at_ms=now_ms(), by=order.by)


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def _say_one(order: Order, moved: Moved, account: Account) -> None:
    if not order.chosen.ids:
        return
    account.named.append(moved)
    if not order.as_json:
        became = f" as {moved.entry_id}" if moved.entry_id else ""
        typer.echo(f"{order.action.done} {moved.letter_id}{became}")


def _summary(counts: Counter[str]) -> str:
    reasons = f": {by_reason(counts)}" if counts else ""
    return f"{letters_text(counts.total())}{reasons}"

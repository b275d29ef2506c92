"""`teltonika-processor consumers`: who is in the group; take the names of the dead out of it."""

import json
import sys
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Annotated, Final

import typer

from teltonika_processor.cli.arguments import JsonLines, JsonObject
from teltonika_processor.cli.confirmation import (
    DryRun,
    Yes,
    is_confirmed,
    require_somebody_to_ask,
)
from teltonika_processor.cli.redis_run import run_on_redis
from teltonika_processor.cli.status_json import consumer_objects
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.stream.connection import GroupMissingError, RedisClient
from teltonika_processor.stream.consumers import REAP_IDLE_MS, reap_these
from teltonika_processor.stream.ids import ms_of
from teltonika_processor.stream.overview import server_clock_ms
from teltonika_processor.stream.roster import Member, Roster, read_roster
from teltonika_processor.texts import age_text, count_text, printable

# Bound: names that one sentence lists.
_NAMED_MAX: Final = 10

_HEADINGS: Final = ("consumer", "running", "pending", "oldest pending", "idle", "last entry")
_NUMBERS: Final = frozenset({"pending", "oldest pending", "idle", "last entry"})

app = typer.Typer()
consumers = typer.Typer(no_args_is_help=True)
app.add_typer(consumers, name="consumers", help="The consumers of the group: list them, tidy up.")


@consumers.command("list")
def list_command(
    *,
    as_json: JsonLines = False,
) -> None:
    """List the consumers: whether an instance runs under the name, and what it holds."""

    async def run(client: RedisClient, settings: Settings) -> int:
        stream, group = settings.redis_telemetry_stream, settings.redis_consumer_group
        roster = await read_roster(client, stream, group, with_starting=True)
        at_ms = await server_clock_ms(client)
        if as_json:
            for found in consumer_objects(roster.members, at_ms):
                print(json.dumps(found))
        else:
            _print_roster(roster, group, at_ms)
        if roster.n_unseen:
            typer.echo(f"{roster.n_unseen:,} more were idle for longer", err=True)
        return 0

    run_on_redis("consumers", run)


@consumers.command("reap")
def reap_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="These only; all without one.")
    ] = None,
    *,
    idle: Annotated[
        int, typer.Option(min=0, metavar="MS", help="Those that were idle for longer.")
    ] = REAP_IDLE_MS,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Take the names of dead consumers out of the group.

    Dead is who holds no lease, has nothing pending and was idle for long enough. The instances do
    the same once a minute. A name with pending entries never goes: its entries would go with it.

    Exits with 0 if none is left that should go, 1 if one that was named stays or the answer was no.
    """
    require_somebody_to_ask("remove", yes=yes, dry_run=dry_run)

    async def run(client: RedisClient, settings: Settings) -> int:
        stream, group = settings.redis_telemetry_stream, settings.redis_consumer_group
        roster = await read_roster(client, stream, group)
        planned = _plan(roster.members, set(names or ()), idle)
        for name, why in planned.left.items():
            typer.echo(printable(f"{name} {why}"), err=True)
        if not planned.dead or dry_run:
            _say_plan(planned, dry_run=dry_run, as_json=as_json)
            return planned.code
        if not is_confirmed(f"remove {_listed(planned.dead)}", yes=yes):
            return EXIT_FINDING
        raw = [member.raw_name for member in planned.dead]
        try:
            gone = await reap_these(client, stream, group, raw, reap_idle_ms=idle)
        except GroupMissingError:
            gone = []
        _say_removed(planned, gone, as_json=as_json)
        return planned.code

    run_on_redis("consumers", run)


@dataclass(slots=True)
class _Plan:
    """Whom a reaping takes out.

    Attributes:
        dead: They may go.
        left: Who was named, or needs a hand, and stays; why, as the rest of a sentence.
        named: Who was named; empty: all are meant.
    """

    dead: Sequence[Member]
    left: dict[str, str]
    named: AbstractSet[str]

    @property
    def code(self) -> int:
        return EXIT_FINDING if self.named and self.left else 0


def _plan(members: Sequence[Member], named: AbstractSet[str], idle_ms: int) -> _Plan:
    """All that was named; of the others those that need a hand: pending entries of the dead."""
    chosen = [member for member in members if not named or member.name in named]
    missing = sorted(named - {member.name for member in chosen})
    left = dict.fromkeys(missing, "is not in the group")
    dead = []
    for member in chosen:
        why = hindrance(member, idle_ms)
        if why is None:
            dead.append(member)
        elif named or (member.pending and not member.is_running):
            left[member.name] = why
    return _Plan(dead, left, named)


def hindrance(member: Member, idle_ms: int) -> str | None:
    """Why a name may not be taken out of the group; None if it may."""
    if member.is_running:
        return "is running: an instance holds its lease"
    if member.pending:
        held = count_text(member.pending, "pending entry", "pending entries")
        return (
            f"holds {held}, which would go with it; first: "
            f"teltonika-processor pending claim --from {member.name}"
        )
    if member.idle_ms is not None and member.idle_ms <= idle_ms:
        return f"was idle for {member.idle_ms:,} ms only: --idle is {idle_ms:,}"
    return None


def _say_plan(planned: _Plan, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_reap_object(planned, [], dry_run=dry_run)))
    else:
        dead = planned.dead
        typer.echo(f"would remove {_listed(dead)}" if dead else "nothing to remove")


def _say_removed(planned: _Plan, gone: Sequence[bytes], *, as_json: bool) -> None:
    removed = [member for member in planned.dead if member.raw_name in gone]
    kept = [member.name for member in planned.dead if member.raw_name not in gone]
    planned.left.update(dict.fromkeys(kept, "came back meanwhile, or is gone"))
    if as_json:
        print(json.dumps(_reap_object(planned, removed, dry_run=False)))
    else:
        typer.echo(f"removed {_listed(removed)}" if removed else "removed nothing")
    for name in kept:
        typer.echo(printable(f"{name} {planned.left[name]}"), err=True)


def _reap_object(planned: _Plan, removed: Sequence[Member], *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "consumers": [member.name for member in planned.dead],
        "removed": [member.name for member in removed],
        "left": [{"consumer": name, "why": why} for name, why in planned.left.items()],
    }


def _listed(members: Sequence[Member]) -> str:
    names = ", ".join(printable(member.name) for member in members[:_NAMED_MAX])
    more = f" and {len(members) - _NAMED_MAX:,} more" if len(members) > _NAMED_MAX else ""
    return f"{count_text(len(members), 'consumer')}: {names}{more}"


def _print_roster(roster: Roster, group: str, at_ms: int) -> None:
    n_names = len(roster.members) + roster.n_unseen
    typer.echo(f"{count_text(n_names, 'consumer')} in {group}, {roster.n_running:,} running")
    if roster.members:
        rows = [_cells(member, at_ms) for member in roster.members]
        terminal = sys.stdout.isatty()
        print_rows(_HEADINGS, rows, terminal=terminal, unfolded=("consumer",), right=_NUMBERS)


def _cells(member: Member, at_ms: int) -> tuple[str, ...]:
    oldest = member.oldest_pending_id
    return (
        printable(member.name),
        _running_text(member),
        f"{member.pending:,}",
        "-" if oldest is None else age_text(at_ms - ms_of(oldest)),
        _age(member.idle_ms),
        _age(member.inactive_ms),
    )


def _running_text(member: Member) -> str:
    if not member.is_in_group:
        return "starting"
    return "yes" if member.is_running else "no"


def _age(age_ms: int | None) -> str:
    return "-" if age_ms is None else age_text(age_ms)

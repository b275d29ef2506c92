"""`teltonika-processor pending`: what was delivered and not acknowledged; have it claimed now."""

import json
import sys
from dataclasses import asdict
from typing import Annotated, Final

import typer

from teltonika_processor.cli.arguments import JsonLines, JsonObject
from teltonika_processor.cli.confirmation import (
    DryRun,
    Yes,
    refuse,
    require_somebody_to_ask,
)
from teltonika_processor.cli.pending_claim import ClaimOrder, claim
from teltonika_processor.cli.redis_run import run_on_redis
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.settings import Settings
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.letter import is_entry_id
from teltonika_processor.stream.pending import (
    PendingEntry,
    pending_by_consumer,
    pending_entries,
)
from teltonika_processor.stream.release import RELEASE_MAX
from teltonika_processor.texts import age_text, printable

# Bound: entries that one list shows.
_LIMIT_MAX: Final = 100_000

# A look for entries to claim may be under way, and has to settle them.
_WAIT_MORE_S: Final = 5.0

_HEADINGS: Final = ("id", "consumer", "device", "idle", "deliveries", "attempts", "trials")
_NUMBERS: Final = frozenset({"idle", "deliveries", "attempts", "trials"})
_UNFOLDED: Final = ("id", "device")

app = typer.Typer()
pending = typer.Typer(no_args_is_help=True)
app.add_typer(
    pending, name="pending", help="Entries that were delivered and not acknowledged: list, claim."
)

MinIdle = Annotated[
    int, typer.Option("--min-idle", min=0, metavar="MS", help="Those that were idle for so long.")
]


@pending.command("list")
def list_command(
    *,
    consumer: Annotated[
        str | None, typer.Option("--consumer", metavar="NAME", help="What this one holds.")
    ] = None,
    min_idle: MinIdle = 0,
    limit: Annotated[int, typer.Option(min=1, max=_LIMIT_MAX, help="Show so many at most.")] = 50,
    as_json: JsonLines = False,
) -> None:
    """List the pending entries, oldest first, and count them by consumer.

    `attempts` are failures seen on the entry, `trials` are times that it was tried alone and the
    process died.
    """

    async def run(client: RedisClient, settings: Settings) -> int:
        where = (client, settings.redis_telemetry_stream, settings.redis_consumer_group)
        counts = await pending_by_consumer(*where)
        found = await pending_entries(
            *where, consumer=consumer, min_idle_ms=min_idle, limit=limit + 1
        )
        shown = found[:limit]
        if as_json:
            for entry in shown:
                print(json.dumps(asdict(entry)))
        else:
            _print_list(shown, counts, settings.redis_telemetry_stream)
        if len(found) > limit:
            typer.echo(_more_text(counts, consumer, min_idle, limit), err=as_json)
        return 0

    run_on_redis("pending", run)


@pending.command("claim")
def claim_command(  # noqa: PLR0913 -- the options of the command
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Ids as `pending list` shows them.")
    ] = None,
    *,
    holder: Annotated[
        str | None, typer.Option("--from", metavar="NAME", help="All that this consumer holds.")
    ] = None,
    min_idle: MinIdle = 0,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also what an instance holds that runs; it is tried again."),
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=3600.0,
            metavar="SECONDS",
            help="Wait so long until they are claimed. [default: CLAIM_INTERVAL_MS and 5 s]",
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Have the entries of a dead instance claimed now, instead of after CLAIM_THRESHOLD_MS.

    They become claimable at once, and the running instances take them with their next look, within
    CLAIM_INTERVAL_MS. Exits with 0 once all are claimed or settled, 1 if some are not.
    """
    if bool(ids) == (holder is not None):
        refuse("give --from NAME or IDs: one of the two")
    for text in ids or ():
        if not is_entry_id(text):
            raise typer.BadParameter(f"{text!r} is not an id such as 1790000000000-0")
    if len(ids or ()) > RELEASE_MAX:
        refuse(f"at most {RELEASE_MAX} IDs at once")
    require_somebody_to_ask("claim", yes=yes, dry_run=dry_run)

    async def run(client: RedisClient, settings: Settings) -> int:
        order = ClaimOrder(
            holder=holder,
            ids=list(dict.fromkeys(ids or ())),
            min_idle_ms=min_idle,
            force=force,
            wait_s=settings.claim_interval_ms / 1e3 + _WAIT_MORE_S if wait is None else wait,
            dry_run=dry_run,
            yes=yes,
            as_json=as_json,
        )
        stream, group = settings.redis_telemetry_stream, settings.redis_consumer_group
        return await claim(client, stream, group, order)

    run_on_redis("pending", run)


def _print_list(entries: list[PendingEntry], counts: dict[str, int], stream: str) -> None:
    total = sum(counts.values())
    by_consumer = ", ".join(f"{printable(name)} {count:,}" for name, count in counts.items())
    typer.echo(f"{total:,} pending in {stream}" + (f" ({by_consumer})" if counts else ""))
    if entries:
        rows = [_cells(entry) for entry in entries]
        terminal = sys.stdout.isatty()
        print_rows(_HEADINGS, rows, terminal=terminal, unfolded=_UNFOLDED, right=_NUMBERS)


def _cells(entry: PendingEntry) -> tuple[str, ...]:
    return (
        entry.id,
        printable(entry.consumer),
        "(payload gone)" if entry.payload_gone else entry.imei or "-",
        age_text(entry.idle_ms),
        str(entry.deliveries),
        str(entry.attempts),
        str(entry.trials),
    )


def _more_text(counts: dict[str, int], consumer: str | None, min_idle: int, limit: int) -> str:
    if min_idle:
        return "there are more; a larger --limit shows them"
    total = sum(counts.values()) if consumer is None else counts.get(consumer, 0)
    return f"{max(1, total - limit):,} more; --limit {max(total, limit + 1)} shows all"

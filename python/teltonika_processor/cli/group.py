"""`teltonika-processor group`: let the consumer group read again what the stream still holds."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonObject, duration_s
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import (
    DryRun,
    Yes,
    is_confirmed,
    refuse,
    require_somebody_to_ask,
)
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.redis_run import redis_of
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.ids import NO_ID
from teltonika_processor.stream.letter import is_entry_id
from teltonika_processor.stream.rewind import Rewound, id_before, rewind

app = typer.Typer()
_group = typer.Typer(no_args_is_help=True)
app.add_typer(_group, name="group", help="The consumer group: read again what the stream holds.")


@_group.callback()
def group() -> None:
    """The consumer group: read again what the stream holds."""


@_group.command("rewind")
def rewind_command(  # noqa: PLR0913 -- the options of the command
    *,
    since: Annotated[
        int | None,
        typer.Option(
            parser=duration_s,
            metavar="AGE",
            help="What was added in this time, such as 90s, 10min, 2h, 1d.",
        ),
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="What was added after the entry with this id.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that the stream holds.")] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonObject = False,
) -> None:
    """Have entries read once more that were acknowledged, after Postgres lost what it had stored.

    Nothing is stored twice: what is there is a duplicate. Running instances go on; the group is
    never set forward. Exits with 0 if it stands there, or stood before it; 1 if the answer was no.
    """
    if sum((since is not None, after is not None, everything)) != 1:
        refuse("give --since AGE, or --after ID, or --all: one of the three")
    if after is not None and not is_entry_id(after):
        refuse(f"{after!r} is not an id such as 1790000000000-0")
    require_somebody_to_ask("rewind", yes=yes, dry_run=dry_run)
    with failures_told():
        settings = command_settings()
        planned = asyncio.run(_rewind(settings, since, after, dry_run=True))
        if planned.is_change and not dry_run:
            if not is_confirmed(f"rewind the group from {_move(planned)}", yes=yes):
                raise typer.Exit(EXIT_FINDING)
            planned = asyncio.run(_rewind(settings, None, planned.stands_at, dry_run=False))
    _print(planned, dry_run=dry_run, as_json=as_json)


async def _rewind(
    settings: Settings, seconds: int | None, after: str | None, *, dry_run: bool
) -> Rewound:
    async with redis_of(settings, "group") as client:
        to_id = await _id_of(client, seconds, after)
        names = (settings.redis_telemetry_stream, settings.redis_consumer_group)
        return await rewind(client, *names, to_id, dry_run=dry_run)


async def _id_of(client: RedisClient, seconds: int | None, after: str | None) -> str:
    if seconds is not None:
        return await id_before(client, seconds)
    return after or NO_ID


def _print(rewound: Rewound, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        done = rewound.is_change and not dry_run
        print(json.dumps({"dry_run": dry_run, **asdict(rewound), "done": done}))
    elif not rewound.is_change:
        print(f"nothing to rewind: the group stands at {rewound.stood_at}")
    elif dry_run:
        print(f"would rewind the group from {_move(rewound)}")
    else:
        print(f"the group was rewound from {_move(rewound)}")


def _move(rewound: Rewound) -> str:
    return f"{rewound.stood_at} to {rewound.stands_at}"

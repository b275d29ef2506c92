"""`device rehydrate`: every running instance loads the state of one device anew."""

import asyncio
import json
import uuid
from dataclasses import asdict
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import Imei, JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.redis_run import redis_of
from teltonika_processor.service.exit_codes import EXIT_FINDING, ExitCode
from teltonika_processor.settings import Settings
from teltonika_processor.stream.control import (
    ASK_TIMEOUT_MAX_S,
    ControlCaller,
    Outcome,
)
from teltonika_processor.stream.control_messages import Answer, Rehydrate


def rehydrate(
    imei: Imei,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1, max=ASK_TIMEOUT_MAX_S, metavar="SECONDS", help="Wait so long for the answers."
        ),
    ] = 5.0,
    as_json: JsonObject = False,
) -> None:
    """Drop the device's state in every running instance and load it from last_position.

    Exits with 0 if every instance did, 1 if one did not, did not answer, or none is running.
    """
    with failures_told():
        outcome = asyncio.run(_ask(command_settings(), imei, timeout))
    if as_json:
        _print_json(outcome)
    else:
        _print_lines(outcome, timeout)
    raise typer.Exit(ExitCode.DRAINED if outcome.all_did else EXIT_FINDING)


async def _ask(settings: Settings, imei: int, timeout_s: float) -> Outcome:
    stream, group = settings.redis_telemetry_stream, settings.redis_consumer_group
    async with redis_of(settings, "device") as client:
        caller = ControlCaller(client, stream=stream, group=group)
        return await caller.ask(Rehydrate(id=uuid.uuid4().hex, imei=imei), timeout_s=timeout_s)


def _print_json(outcome: Outcome) -> None:
    answers = [asdict(answer) for answer in outcome.answers]
    print(json.dumps({"answers": answers, "silent": outcome.silent, "all_did": outcome.all_did}))


def _print_lines(outcome: Outcome, timeout_s: float) -> None:
    for answer in outcome.answers:
        print(f"{answer.instance}: {told(answer)}")
    for name in outcome.silent:
        print(f"{name}: no answer within {timeout_s:g} s")
    if not outcome.answers and not outcome.silent:
        print("no instance is running")


def told(answer: Answer) -> str:
    """What one instance did, in words."""
    held = "was held" if answer.was_held else "was not held"
    if not answer.ok:
        return f"failed, loaded with the device's next frame ({held}): {answer.error}"
    source = "from last_position" if answer.found else "not in last_position"
    return f"rehydrated, {source} ({held})"

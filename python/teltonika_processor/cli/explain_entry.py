"""An entry of the stream, or a dead letter, explained."""

import asyncio

import typer

from teltonika_processor.cli.entry_output import transport_of
from teltonika_processor.cli.explain_output import Explained
from teltonika_processor.cli.redis_run import redis_of
from teltonika_processor.cli.whereabouts import say_where_it_went
from teltonika_processor.codec.explain import Knowledge, explain_frame, hint
from teltonika_processor.settings import Settings
from teltonika_processor.stream.letter import fault_of
from teltonika_processor.stream.lookup import FoundEntry, Lookup


def explain_entry(entry_id: str, settings: Settings, knowledge: Knowledge) -> Explained:
    """Find the entry and explain its frame.

    Raises:
        StreamUnavailable: Redis is away.
        ConfigError: Redis refuses the user, or the key holds something else.
    """
    found = asyncio.run(_find(entry_id, settings))
    if found is None:
        return Explained(entry_id, b"", None)
    letter = found.letter
    fault = fault_of(letter, frame_max_bytes=knowledge.frame_max_bytes)
    frame, transport = letter.frame, transport_of(letter)
    place = f"{'stream entry' if letter.cause is None else 'dead letter'} {letter.letter_id}"
    if frame is None or transport is None:
        return Explained(place, frame or b"", None, entry=found, verdict=fault)
    explanation = explain_frame(frame, transport, knowledge)
    likely = hint(frame, transport) if explanation.fault is not None else ""
    return Explained(place, frame, explanation, hint=likely, entry=found, verdict=fault)


async def _find(entry_id: str, settings: Settings) -> FoundEntry | None:
    stream = settings.redis_telemetry_stream
    async with redis_of(settings, "explain") as client:
        lookup = Lookup(client, stream)
        found = await lookup.find(entry_id)
        if found is None:
            nowhere = f"neither {stream} nor {lookup.letters.stream} has the entry {entry_id}"
            typer.echo(nowhere, err=True)
            await say_where_it_went(lookup.letters, entry_id)
        return found

"""What became of an entry that is not where it was looked for."""

import typer

from teltonika_processor.stream.letters import Letters
from teltonika_processor.texts import printable


async def say_where_it_went(letters: Letters, source_id: str) -> None:
    """Say on standard error whether the entry's dead letter was replayed or dropped."""
    if replay := await letters.replayed_as(source_id):
        typer.echo(f"the entry {source_id} was replayed as {replay}", err=True)
    if about := await letters.dropped(source_id):
        typer.echo(f"a dead letter of {source_id} was dropped: {printable(about)}", err=True)

"""What became of an entry, or of a dead letter, that is not where it was looked for."""

import typer

from teltonika_processor.stream.letters import Letters
from teltonika_processor.texts import printable


async def say_where_it_went(letters: Letters, found_id: str) -> None:
    """Say on standard error what an entry or a letter of this id became."""
    if replay := await letters.replayed_as(found_id):
        typer.echo(f"the entry {found_id} was replayed as {replay}", err=True)
    if about := await letters.dropped(found_id):
        typer.echo(f"a dead letter of {found_id} was dropped: {printable(about)}", err=True)
    if replay := await letters.letter_replayed_as(found_id):
        typer.echo(f"the dead letter {found_id} was replayed as {replay}", err=True)
    if about := await letters.letter_dropped(found_id):
        typer.echo(f"the dead letter {found_id} was dropped: {printable(about)}", err=True)

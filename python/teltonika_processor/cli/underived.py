"""A word beside crossings and laps that may still change."""

import typer

from teltonika_processor.store.connection import Session
from teltonika_processor.store.timing import count_underived
from teltonika_processor.texts import count_text


async def tell_underived(session: Session) -> None:
    """Say how many devices are yet to be derived again, if there are any."""
    n_devices = await count_underived(session)
    if n_devices:
        typer.echo(
            f"crossings of {count_text(n_devices, 'device')} are yet to be derived again: "
            "what is shown may change",
            err=True,
        )

"""Arguments that several commands take."""

import re

import typer


def imei_of(text: str) -> int:
    """The IMEI that somebody typed."""
    if not re.fullmatch("[0-9]{15}", text):
        raise typer.BadParameter("an IMEI is 15 digits")
    return int(text)

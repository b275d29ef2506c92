"""Passwords blotted out of what is written: the log, a panic's file, the stack of a bug.

No text of ours repeats an address; this is for the texts of others, such as an error of a library
with the address in it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from teltonika_processor.settings import Settings

HIDDEN: Final = "***"

# Bound: shorter ones are no secrets, and hiding them would hide half of a file.
_SECRET_MIN_CHARACTERS: Final = 3

Hide = Callable[[str], str]


def secrets_of(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """What must not be written even where an error's text repeats it, longest first."""
    found = {environ.get("PGPASSWORD", "")}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            found.update(_secrets_in(value.get_secret_value()))
    found.update({json.dumps(secret)[1:-1] for secret in found})  # as a line of JSON has it
    return sorted((s for s in found if len(s) >= _SECRET_MIN_CHARACTERS), key=len, reverse=True)


def hiding(secrets: Sequence[str]) -> Hide:
    """A function that blots out `secrets` in a text."""

    def hide(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, HIDDEN)
        return text

    return hide


def _secrets_in(url: str) -> Iterable[str]:
    parts = urlsplit(url)
    password = parts.netloc.rpartition("@")[0].partition(":")[2]
    if password or parts.query:
        yield url
    yield password
    yield unquote(password)
    yield from (value for name, value in parse_qsl(parts.query) if "pass" in name)

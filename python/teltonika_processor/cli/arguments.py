"""Arguments that several commands take."""

import re
from typing import Annotated, Final

import typer


def imei_of(text: str) -> int:
    """The IMEI that somebody typed."""
    if not re.fullmatch("[0-9]{15}", text):
        raise typer.BadParameter("an IMEI is 15 digits")
    return int(text)


Imei = Annotated[int, typer.Argument(parser=imei_of, metavar="IMEI", help="15 digits.")]

JsonObject = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]

_UNITS_S: Final = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"([0-9]{1,9})(s|min|m|h|d)")


def duration_s(text: str) -> int:
    """The duration that somebody typed, as ages are shown: 90s, 15min, 2h, 7d."""
    match = _DURATION.fullmatch(text.replace(" ", ""))
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration such as 90s, 15min, 2h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]

"""Findings for people, in the same words on a terminal and in a pipe, and as JSON lines."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Final

from rich.console import Console
from rich.text import Text

from teltonika_processor.doctor.findings import Finding, Status, n_of
from teltonika_processor.texts import printable

_STYLES: Final[Mapping[Status, str]] = MappingProxyType(
    {
        Status.OK: "green",
        Status.WARNING: "yellow",
        Status.FAILURE: "bold red",
        Status.UNKNOWN: "cyan",
    }
)
_MARKS: Final[Mapping[Status, str]] = MappingProxyType(
    {Status.OK: "+", Status.WARNING: "!", Status.FAILURE: "x", Status.UNKNOWN: "?"}
)

# Bound: on a narrower terminal lines are longer than it.
_ROOM_MIN: Final = 30

_PLURALS: Final[Mapping[Status, str]] = MappingProxyType(
    {Status.OK: "ok", Status.WARNING: "warnings", Status.FAILURE: "failures"}
)


def print_json(findings: Iterable[Finding], *, problems: bool) -> None:
    """One object a line."""
    for finding in _shown(findings, problems=problems):
        print(json.dumps(asdict(finding)))


def print_plain(findings: Sequence[Finding], *, problems: bool) -> None:
    """Aligned columns; why and what to do below each check that is not ok."""
    shown = list(_shown(findings, problems=problems))
    for finding, head in zip(shown, _heads(shown), strict=True):
        print(f"{head}  {printable(finding.found)}".rstrip())
        for label, text in _explanation(finding):
            print(f"    {label} {text}")
    print(summary(findings))


def print_terminal(findings: Sequence[Finding], *, problems: bool) -> None:
    """The same with colours and marks, folded between words at the width of the terminal."""
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    shown = list(_shown(findings, problems=problems))
    for finding, head in zip(shown, _heads(shown), strict=True):
        status, style = finding.status.value, _STYLES[finding.status]
        begin = f"{_MARKS[finding.status]} {head}  "
        found = _folded(printable(finding.found), begin, " " * len(begin), console.width)
        found.stylize(style, 0, 2 + len(status))
        console.print(found)
        for label, text in _explanation(finding):
            console.print(_folded(text, f"      {label} ", " " * 11, console.width))
    console.print(summary(findings))


def _heads(findings: Sequence[Finding]) -> list[str]:
    """Status, party and check of each, in columns."""
    rows = [(finding.status.value, finding.party.value, finding.check) for finding in findings]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)) for row in rows]


def _folded(text: str, first: str, further: str, width: int) -> Text:
    """The text behind `first`, further lines behind `further`; a long word is left whole."""
    room = max(width - len(further), _ROOM_MIN)
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    return Text(first + f"\n{further}".join(lines))


def summary(findings: Sequence[Finding]) -> str:
    """How many checks ended how, whether they are shown or not."""
    counted = [(status, n_of(findings, status)) for status in Status]
    parts = [_counted(status, n) for status, n in counted if n or status is Status.OK]
    return f"{len(findings)} checks: {', '.join(parts)}"


def _counted(status: Status, n: int) -> str:
    return f"{n} {status.value if n == 1 else _PLURALS.get(status, status.value)}"


def _shown(findings: Iterable[Finding], *, problems: bool) -> Iterator[Finding]:
    return (f for f in findings if not problems or f.status is not Status.OK)


def _explanation(finding: Finding) -> Iterator[tuple[str, str]]:
    if finding.status is not Status.OK:
        yield "why:", printable(finding.why)
        yield "do: ", printable(finding.remedy)

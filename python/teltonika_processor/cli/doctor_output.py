"""Findings for people, in the same words on a terminal and in a pipe, and as JSON lines."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from teltonika_processor.cli.texts import printable
from teltonika_processor.doctor.findings import Finding, Status, n_of

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
    widths = [max((len(cells[n]) for cells in map(_cells, shown)), default=0) for n in range(3)]
    for finding in shown:
        cells = _cells(finding)
        aligned = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
        print("  ".join([*aligned, printable(finding.found)]).rstrip())
        for label, text in _explanation(finding):
            print(f"    {label} {text}")
    print(summary(findings))


def print_terminal(findings: Sequence[Finding], *, problems: bool) -> None:
    """The same with colours and marks, folded at the width of the terminal."""
    table = Table.grid(padding=(0, 2))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in _shown(findings, problems=problems):
        style = _STYLES[finding.status]
        status, party, check = _cells(finding)
        table.add_row(
            Text(f"{_MARKS[finding.status]} {status}", style), party, check, _text(finding)
        )
    console = Console(markup=False, emoji=False, highlight=False)
    console.print(table)
    console.print(summary(findings))


def summary(findings: Sequence[Finding]) -> str:
    """How many checks ended how, whether they are shown or not."""
    counted = [(status, n_of(findings, status)) for status in Status]
    parts = [_counted(status, n) for status, n in counted if n or status is Status.OK]
    return f"{len(findings)} checks: {', '.join(parts)}"


def _counted(status: Status, n: int) -> str:
    return f"{n} {status.value if n == 1 else _PLURALS.get(status, status.value)}"


def _shown(findings: Iterable[Finding], *, problems: bool) -> Iterator[Finding]:
    return (f for f in findings if not problems or f.status is not Status.OK)


def _cells(finding: Finding) -> tuple[str, str, str]:
    return finding.status.value, finding.party.value, finding.check


def _explanation(finding: Finding) -> Iterator[tuple[str, str]]:
    if finding.status is not Status.OK:
        yield "why:", printable(finding.why)
        yield "do: ", printable(finding.remedy)


def _text(finding: Finding) -> Text:
    lines = [f"{label} {text}" for label, text in _explanation(finding)]
    return Text("\n".join([printable(finding.found), *lines]))

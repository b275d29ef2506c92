"""What `zones import` was asked, and what it says: lines, or one JSON object."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from teltonika_processor.cli.instants import ALWAYS, instant_text
from teltonika_processor.cli.zones_edit import DERIVED_AGAIN
from teltonika_processor.cli.zones_file import gate_lines, problem_object
from teltonika_processor.cli.zones_outlook import Crossings, outlook_object, print_outlook
from teltonika_processor.store.zones import Edited, ZoneColumns
from teltonika_processor.texts import count_text
from teltonika_processor.timing.zone_file import Problem

_DID: Final = ("added", "changed", "unchanged")


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """What the operator wants done; `valid_from` None: always."""

    zones: tuple[tuple[int, ZoneColumns], ...]
    valid_from: datetime | None
    is_past: bool
    is_standard_input: bool
    dry_run: bool
    yes: bool
    as_json: bool

    @property
    def columns(self) -> list[ZoneColumns]:
        """Of the zones, without the numbers of their features."""
        return [zone for _, zone in self.zones]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What is, or would be, done.

    Attributes:
        crossings: None: the past does not change, or nobody decides by it.
        is_shown: Whether the zones were shown before it was done.
        n_devices: Devices that were marked; None: it was not done.
    """

    order: ImportOrder
    edited: Sequence[Edited]
    swapped: Sequence[Problem]
    sessions: Mapping[str, Sequence[str]]
    crossings: Crossings | None = None
    is_shown: bool = False
    n_devices: int | None = None

    @property
    def changes_past(self) -> bool:
        """Whether crossings are derived again."""
        return self.order.is_past and any(one.did != "unchanged" for one in self.edited)

    @property
    def is_asked(self) -> bool:
        """Only where the past changes, or somebody mistyped."""
        return (self.changes_past or bool(self.swapped)) and not self.order.dry_run


def say(report: ImportReport) -> None:
    """What was, or would be, done."""
    order, edited = report.order, report.edited
    if order.as_json:
        print(json.dumps(_object(report)))
        return
    if not report.is_shown:
        show(report)
    would = "would import" if order.dry_run else "imported"
    print(f"{would} {counts_text(edited)}{_when(report)}")
    if report.changes_past and not order.dry_run:
        print(DERIVED_AGAIN)


def show(report: ImportReport) -> None:
    """What becomes of each zone, and which way gates count."""
    print_outlook(report.edited, report.sessions, report.crossings)
    does = {one.name: one.did for one in report.edited}
    zones = [(n, zone) for n, zone in report.order.zones if does[zone.name] != "unchanged"]
    for line in gate_lines(zones):
        print(line)


def _when(report: ImportReport) -> str:
    if all(one.did == "unchanged" for one in report.edited):
        return ""
    begin = report.order.valid_from
    return f", to count from {instant_text(begin)} on" if begin else ", to count for all time"


def _object(report: ImportReport) -> dict[str, object]:
    order = report.order
    counts = Counter(one.did for one in report.edited)
    return {
        "dry_run": order.dry_run,
        "valid_from": instant_text(order.valid_from, ALWAYS),
        **{did: counts[did] for did in _DID},
        "zones": [outlook_object(one, report.sessions, report.crossings) for one in report.edited],
        "likely_swapped": [problem_object(problem) for problem in report.swapped],
        "devices": report.n_devices,
    }


def counts_text(edited: Sequence[Edited]) -> str:
    """How many zones, and what becomes of them."""
    counts = Counter(one.did for one in edited)
    told = ", ".join(f"{counts[did]:,} {did}" for did in _DID)
    return f"{count_text(len(edited), 'zone')} ({told})"

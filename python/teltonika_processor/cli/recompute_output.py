"""What a re-run changes, for people and as one JSON object."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import typer

from teltonika_processor.cli.instants import crossing_text
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.model import format_imei
from teltonika_processor.store.rerun import Change, Compared, StoredRow, What
from teltonika_processor.texts import count_text, printable
from teltonika_processor.timing.rerun import Rerun

_ROWS: Final = ("what", "imei", "zone", "kind", "at", "was at", "cause")
_COUNTS: Final = ("imei", "zone", "added", "removed", "changed")


@dataclass(slots=True)
class Findings:
    """What would change, of all devices.

    Attributes:
        names: Of zones, by their ids.
        n_devices: Devices that are looked at.
        changes: By device and time.
        n_segments: Segments that were looked at.
        unfinished: Devices of which only the first fixes were looked at.
    """

    names: Mapping[int, str]
    n_devices: int
    changes: list[Change] = field(default_factory=list)
    n_segments: int = 0
    unfinished: list[int] = field(default_factory=list)

    @property
    def is_anything(self) -> bool:
        """Whether there is something to write, or to look at."""
        return bool(self.changes or self.unfinished)

    def add(self, compared: Compared) -> None:
        """Of some devices more."""
        self.changes += compared.changes
        self.n_segments += compared.n_segments
        self.unfinished += compared.unfinished

    def counts(self) -> Iterator[tuple[int, str, Counter[What]]]:
        """(device, zone, how many of each), by device and zone."""
        found: dict[tuple[int, int], Counter[What]] = {}
        for change in self.changes:
            found.setdefault((change.imei, change.zone_id), Counter())[change.what] += 1
        for (imei, zone_id), counter in sorted(found.items()):
            yield imei, self.name(zone_id), counter

    def name(self, zone_id: int) -> str:
        """What people call the zone."""
        return printable(self.names.get(zone_id, f"#{zone_id}"))

    def summary(self) -> str:
        """How many crossings, in words."""
        total = Counter(change.what for change in self.changes)
        said = (
            f"{total['added']:,} added, {total['removed']:,} removed, {total['changed']:,} changed"
        )
        devices = count_text(len({change.imei for change in self.changes}), "device")
        others = count_text(len(self.unfinished), "device")
        more = f", and of {others} more" if self.unfinished else ""
        return f"{said} crossings of {devices}{more}"


class RecomputeOutput:
    """Says it.

    Args:
        limit: Crossings that are shown one by one.
        as_json: One object at the end, and nothing else.
    """

    def __init__(self, limit: int, *, as_json: bool) -> None:
        self._limit: Final = limit
        self._as_json: Final = as_json

    def found(self, found: Findings) -> None:
        """What would change, before it is written."""
        for imei in found.unfinished:
            typer.echo(f"{format_imei(imei)}: too many fixes to compare; the first were", err=True)
        if self._as_json:
            return
        devices = count_text(found.n_devices, "device")
        looked = f"{devices}, {count_text(found.n_segments, 'segment')} looked at"
        if not found.changes:
            print(f"{looked}: every crossing is as it should be")
            return
        terminal = sys.stdout.isatty()
        shown = found.changes[: self._limit]
        if shown:
            print_rows(
                _ROWS,
                [_cells(found, change) for change in shown],
                terminal=terminal,
                unfolded=("what", "imei", "kind", "at", "was at", "cause"),
            )
        if hidden := len(found.changes) - len(shown):
            print(f"... and {hidden:,} more")
        print_rows(
            _COUNTS,
            [
                (
                    format_imei(imei),
                    zone,
                    *(f"{n[one]:,}" for one in ("added", "removed", "changed")),
                )
                for imei, zone, n in found.counts()
            ],
            terminal=terminal,
            unfolded=("imei",),
            right=("added", "removed", "changed"),
        )
        print(f"{looked}: {found.summary()}")

    def done(
        self, found: Findings, done: Rerun | None, duration_s: float, *, dry_run: bool
    ) -> None:
        """What was written; `done` is None where nothing was."""
        if self._as_json:
            print(json.dumps(_object(found, done, duration_s, dry_run=dry_run)))
        elif done is not None:
            print(
                f"derived again: {count_text(done.n_devices, 'device')}, "
                f"{count_text(done.n_segments, 'segment')}, in {duration_s:.1f} s"
            )


def _cells(found: Findings, change: Change) -> tuple[str, ...]:
    row = change.is_now or change.was
    assert row is not None  # noqa: S101 -- a change has one of the two
    return (
        change.what,
        format_imei(change.imei),
        found.name(change.zone_id),
        row.kind,
        _at(change.is_now),
        _at(change.was),
        row.cause,
    )


def _at(row: StoredRow | None) -> str:
    return crossing_text(None if row is None else row.at_us)


def _object(
    found: Findings, done: Rerun | None, duration_s: float, *, dry_run: bool
) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "devices": found.n_devices,
        "segments": found.n_segments,
        "differences": [
            {
                "imei": format_imei(imei),
                "zone": zone,
                "added": n["added"],
                "removed": n["removed"],
                "changed": n["changed"],
            }
            for imei, zone, n in found.counts()
        ],
        "not_compared_whole": [format_imei(imei) for imei in found.unfinished],
        "written": done is not None,
        "duration_s": round(duration_s, 3),
    }

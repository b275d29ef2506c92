"""Why a session has no lap, as far as it is known."""

from collections.abc import Iterator, Sequence

import typer

from teltonika_processor.cli.instants import instant_text
from teltonika_processor.model import format_imei
from teltonika_processor.store.session_zones import SessionZone
from teltonika_processor.store.zones import ZoneColumns
from teltonika_processor.texts import count_text, printable
from teltonika_processor.timing.zone_heading import counted_text


def tell_why_no_lap(zones: Sequence[SessionZone], imei: int | None) -> None:
    """Say on standard error what there is of each zone of a session.

    Args:
        zones: Of a session that has no lap of these devices.
        imei: The device that was asked for; None: all.
    """
    for line in _lines(zones, imei):
        typer.echo(line, err=True)


def _lines(zones: Sequence[SessionZone], imei: int | None) -> Iterator[str]:
    by = "" if imei is None else f" by {format_imei(imei)}"
    for number, zone in enumerate(zones):
        what = f"of {printable(zone.name)!r}{by} in this session"
        if not zone.n_crossings:
            yield f"no crossing {what}{_why(zone)}"
        else:
            devices = "" if by else f", of {count_text(zone.n_devices, 'device')}"
            wanted = "" if number else ": a lap takes two of one device"
            yield f"{count_text(zone.n_crossings, 'crossing')} {what}{devices}{wanted}"


def _why(zone: SessionZone) -> str:
    if zone.n_without_path:
        return f" but {zone.n_without_path:,} without a path between two fixes (gap or jump)"
    if not zone.counts:
        return _when(zone)
    headings = dict.fromkeys(filter(None, map(_heading, zone.gates)))
    return f": it counts {', or '.join(headings)}" if headings else ""


def _when(zone: SessionZone) -> str:
    if zone.counts_from is not None:
        return f": it counts from {instant_text(zone.counts_from)} on"
    if zone.counted_until is not None:
        return f": it counted until {instant_text(zone.counted_until)}"
    return ": there is no such zone"


def _heading(gate: ZoneColumns) -> str | None:
    try:
        return counted_text(gate)
    except (LookupError, TypeError, ValueError):  # somebody wrote the row by hand
        return None

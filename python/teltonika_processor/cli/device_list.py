"""`device list`: which devices there are, whether they are let in, when they were heard of."""

import asyncio
import json
import sys
import time
from dataclasses import asdict
from typing import Annotated, Final

import typer

from teltonika_processor.cli.arguments import JsonLines, duration_s, imei_of
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import refuse
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.settings import Settings
from teltonika_processor.store.devices import Filter, ListedDevice, device_pages, devices_session
from teltonika_processor.texts import age_text, name_text, time_text

# Bound: devices of one list, some 30 MB.
_LIMIT_MAX: Final = 100_000

_HEADINGS: Final = (
    *("imei", "name", "allowed", "first_seen_at", "last_seen_at", "age", "last_recorded_at"),
)
_UNFOLDED: Final = ("imei", "first_seen_at", "last_seen_at", "age", "last_recorded_at")


def list_devices(  # noqa: PLR0913 -- the options of the command
    *,
    allowed: Annotated[
        bool | None, typer.Option("--allowed/--denied", help="Those let in, or those kept out.")
    ] = None,
    seen_within: Annotated[
        int | None,
        typer.Option(parser=duration_s, metavar="DURATION", help="Heard of: 15min, 2h, 7d."),
    ] = None,
    silent_for: Annotated[
        int | None,
        typer.Option(parser=duration_s, metavar="DURATION", help="Not heard of, or never."),
    ] = None,
    after: Annotated[
        int | None, typer.Option(parser=imei_of, metavar="IMEI", help="Go on behind this one.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=_LIMIT_MAX, help="Show so many at most.")] = 50,
    as_json: JsonLines = False,
) -> None:
    """List the devices by IMEI, and when each was heard of.

    `last_seen_at` is the receive time of the newest fix; of a device without one up to an hour old.
    Exits with 0, with devices or without; 75 if Postgres was not reached.
    """
    if seen_within is not None and silent_for is not None:
        refuse("give --seen-within or --silent-for: one of the two")
    now_s = time.time()
    wanted = Filter(
        allowed=allowed,
        seen_from_s=None if seen_within is None else now_s - seen_within,
        seen_before_s=None if silent_for is None else now_s - silent_for,
    )
    with failures_told():
        found = asyncio.run(_found(command_settings(), wanted, after or 0, limit + 1))
    _print(found[:limit], now_ms=int(now_s * 1000), as_json=as_json)
    if len(found) > limit:
        more = f"there are more: --after {found[limit - 1].imei} goes on"
        typer.echo(more, err=as_json)


async def _found(settings: Settings, wanted: Filter, after: int, limit: int) -> list[ListedDevice]:
    dsn = settings.database_url.get_secret_value()
    async with devices_session(dsn, pooler=settings.database_pooler) as session:
        pages = device_pages(session, wanted, after=after, limit=limit)
        return [device async for page in pages for device in page]


def _print(devices: list[ListedDevice], *, now_ms: int, as_json: bool) -> None:
    if as_json:
        for device in devices:
            print(json.dumps(asdict(device)))
        return
    if not devices:
        print("no device")
        return
    rows = [_cells(device, now_ms) for device in devices]
    print_rows(_HEADINGS, rows, terminal=sys.stdout.isatty(), unfolded=_UNFOLDED)


def _cells(device: ListedDevice, now_ms: int) -> tuple[str, ...]:
    seen_at_ms = device.last_seen_at_ms
    return (
        device.imei,
        name_text(device.name),
        "yes" if device.allowed else "no",
        _time(device.first_seen_at_ms),
        _time(seen_at_ms),
        "-" if seen_at_ms is None else age_text(now_ms - seen_at_ms),
        _time(device.last_recorded_at_ms),
    )


def _time(unix_ms: int | None) -> str:
    return "-" if unix_ms is None else time_text(unix_ms)

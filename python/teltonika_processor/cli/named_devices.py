"""Devices that somebody named: whether there is one, and whether it has what is asked for."""

from collections.abc import Sequence
from datetime import datetime

import typer

from teltonika_processor.cli.instants import instant_text
from teltonika_processor.model import format_imei
from teltonika_processor.store.admission import known
from teltonika_processor.store.connection import Session
from teltonika_processor.store.last_positions import last_positions
from teltonika_processor.store.rerun import Stretch


async def is_device(session: Session, imei: int) -> bool:
    """Whether anybody has heard of it; says on standard error that nobody has."""
    if await known(session, [imei]) or await last_positions(session, [imei]):
        return True
    typer.echo(_no_device_text(imei), err=True)
    return False


async def have_fixes(session: Session, imeis: Sequence[int]) -> bool:
    """Whether each of them has a fix; says on standard error which have none."""
    with_fix = {imei for imei, *_ in await last_positions(session, imeis)}
    without = [imei for imei in dict.fromkeys(imeis) if imei not in with_fix]
    noted = await known(session, without) if without else {}
    for imei in without:
        no_fix = f"device {format_imei(imei)} has no fix"
        typer.echo(no_fix if imei in noted else _no_device_text(imei), err=True)
    return not without


def _no_device_text(imei: int) -> str:
    return f"there is no device {format_imei(imei)}"


def tell_left_out(imeis: Sequence[int] | None, since: datetime, wanted: Sequence[Stretch]) -> None:
    """Say on standard error who has no fix since then.

    Args:
        imeis: Those that were named; None: all devices.
        since: From when on.
        wanted: Of those that have one.
    """
    if imeis is None:
        if not wanted:
            typer.echo(f"no device has a fix since {instant_text(since)}", err=True)
        return
    found = {one.imei for one in wanted}
    for imei in dict.fromkeys(imeis):
        if imei not in found:
            device, moment = format_imei(imei), instant_text(since)
            typer.echo(f"device {device} has no fix since {moment}", err=True)

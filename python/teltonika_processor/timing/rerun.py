"""Folds the marks of a re-run until none is left, beside instances that fold too."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from teltonika_processor.store.connection import Session
from teltonika_processor.store.folding import FoldAgain, Folder, FoldLimits, ZonesChanged
from teltonika_processor.store.rerun import Stretch, mark, still_marked
from teltonika_processor.timing.marked import AGAIN_S, Marked
from teltonika_processor.timing.zone_cache import load_zones

# All of a day at one fix in ten seconds at once: reading holds nobody up.
_LIMITS: Final = FoldLimits(fixes=10_000)


@dataclass(frozen=True, slots=True)
class Rerun:
    """What a re-run came to.

    Attributes:
        n_devices: Devices that were marked.
        n_segments: Segments that this process looked at; instances may have done some.
        n_changed: How often this process replaced the crossings of a device.
    """

    n_devices: int
    n_segments: int = 0
    n_changed: int = 0


async def rerun(session: Session, wanted: Sequence[Stretch], *, is_pooled: bool = False) -> Rerun:
    """Mark the stretches and fold them.

    Args:
        session: Without an open transaction.
        wanted: Ascending, all from the same moment.
        is_pooled: Each transaction may have another server process.

    Raises:
        ZoneUnusable: A row of `zones` is no zone.
        Foreign errors, see ``sqlstate.FOREIGN_ERRORS``: the marks stay, and instances fold them.
    """
    await mark(session, wanted)
    folder = Folder(session, _LIMITS, is_pooled=is_pooled)
    done = Rerun(len(wanted))
    left = [one.imei for one in wanted]
    while left:
        done = await _fold_all(session, folder, left, done)
        left = await still_marked(session, wanted)
    return done


async def _fold_all(session: Session, folder: Folder, imeis: Sequence[int], done: Rerun) -> Rerun:
    marked = Marked()
    marked.add(imeis, time.monotonic())
    zones = await load_zones(session)
    while marked:
        group = marked.take(time.monotonic())
        if group is None:
            await asyncio.sleep(AGAIN_S)
            continue
        try:
            folded = await folder.fold(zones, group.imeis, holds=group.holds)
        except FoldAgain as error:
            if isinstance(error, ZonesChanged):
                zones = await load_zones(session)
            marked.put_back(group)
            continue
        marked.settle(
            group,
            passed_over=folded.passed_over,
            unfinished=folded.unfinished,
            now_s=time.monotonic(),
        )
        done = replace(
            done,
            n_segments=done.n_segments + folded.n_segments,
            n_changed=done.n_changed + folded.n_changed,
        )
    return done

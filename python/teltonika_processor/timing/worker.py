"""Folds what batches have marked, for as long as the process runs."""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, NoReturn

from teltonika_processor.codec.native import Zone, ZoneIndex
from teltonika_processor.store.connection import Session, SessionConfig, open_session, session_of
from teltonika_processor.store.folding import Folded, FoldLimits, ZonesChanged, fold, marked_devices
from teltonika_processor.store.zones import (
    StoredZone,
    all_zones,
    count_changes,
    finish_edits,
)
from teltonika_processor.tasks.retry import Surroundings, sleep_unless, until_done
from teltonika_processor.timing.marked import Marked, rest_s
from teltonika_processor.timing.zone_file import ALWAYS, native_zone

# What a crash left, and edits that were not finished, are looked for this often.
_SWEEP_S: Final = 5.0

# Bound: marked devices that one sweep brings.
_SWEEP_MAX: Final = 10_000


class FoldWorker:
    """One session that folds.

    Args:
        config: Where Postgres is.
        limits: What is a path, and how much is done at once.
        entries_wait: Whether entries wait in the stream.
        around: Log, clock, randomness.
        folded: Called with each try at a group, and the seconds that it took.
    """

    def __init__(
        self,
        config: SessionConfig,
        limits: FoldLimits,
        entries_wait: Callable[[], bool],
        around: Surroundings,
        folded: Callable[[Folded, float], None],
    ) -> None:
        self._config: Final = config
        self._limits: Final = limits
        self._entries_wait: Final = entries_wait
        self._around: Final = around
        self._folded: Final = folded
        self._marked: Final = Marked()
        self._is_marked: Final = asyncio.Event()
        self._index = ZoneIndex([])
        self._changes: int | None = None

    @property
    def n_marked(self) -> int:
        """Devices that are yet to be done, as far as this process knows."""
        return len(self._marked)

    def marked(self, imeis: Iterable[int]) -> None:
        """A batch marked these devices."""
        self._marked.add(imeis)
        self._is_marked.set()

    async def run(self) -> NoReturn:
        """Fold until cancelled; a server that is away is waited for.

        Raises:
            TeltonikaProcessorError: What no waiting mends.
        """
        while True:
            await until_done("fold", self._serve, self._around)

    async def _serve(self) -> None:
        """Never ends but by raising."""
        async with session_of(open_session, self._config) as session:
            self._changes = None
            sweep_at_s = float("-inf")
            while True:
                if time.monotonic() >= sweep_at_s:
                    await self._sweep(session)
                    sweep_at_s = time.monotonic() + _SWEEP_S
                group = self._marked.take(time.monotonic())
                if group:
                    await self._fold(session, group)
                else:
                    await self._until_due(sweep_at_s)

    async def _sweep(self, session: Session) -> None:
        async for _ in finish_edits(session):
            pass
        self._marked.add(await marked_devices(session, _SWEEP_MAX))

    async def _fold(self, session: Session, group: list[int]) -> None:
        began_s = time.monotonic()
        try:
            folded = await fold(session, self._index, self._changes, group, self._limits)
        except ZonesChanged:
            await self._load_zones(session)
            self._marked.add(group)
            return
        except BaseException:
            self._marked.add(group)
            raise
        now_s = time.monotonic()
        self._marked.put_back(folded.passed_over, now_s)
        self._marked.add(folded.unfinished)
        self._folded(folded, now_s - began_s)
        await asyncio.sleep(rest_s(now_s - began_s, entries_wait=self._entries_wait()))

    async def _load_zones(self, session: Session) -> None:
        """The number first: what changes behind it is noticed at the next fold."""
        changes = await count_changes(session)
        zones = [_native(zone) for zone in await all_zones(session)]
        self._index = await asyncio.to_thread(ZoneIndex, zones)
        self._changes = changes

    async def _until_due(self, sweep_at_s: float) -> None:
        self._is_marked.clear()
        next_s = self._marked.next_due_s()
        due_s = sweep_at_s if next_s is None else min(next_s, sweep_at_s)
        await sleep_unless(self._is_marked, max(0.0, due_s - time.monotonic()))


def _native(zone: StoredZone) -> Zone:
    """A row of `zones` as it is folded by.

    Raises:
        ZoneRefused: It is no zone: somebody wrote it by hand.
    """
    version = (
        zone.id,
        zone.version,
        ALWAYS[0] if zone.valid_from is None else _unix_us(zone.valid_from),
        ALWAYS[1] if zone.valid_to is None else _unix_us(zone.valid_to),
        zone.columns.hysteresis_m,
    )
    return native_zone(version, zone.columns)


def _unix_us(instant: datetime) -> int:
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")

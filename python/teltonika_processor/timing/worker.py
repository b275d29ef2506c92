"""Folds what batches have marked, for as long as the process runs."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

from teltonika_processor.errors import (
    DecoderBug,
    SinkRejected,
    TeltonikaProcessorError,
    TransientError,
)
from teltonika_processor.events import FoldCommitted, ZonesLoaded
from teltonika_processor.store.connection import (
    Session,
    SessionConfig,
    open_session,
    session_of,
    translated,
)
from teltonika_processor.store.folding import (
    FoldAgain,
    Folded,
    Folder,
    FoldLimits,
    KnownZones,
    ZonesChanged,
)
from teltonika_processor.tasks.retry import Outage, Surroundings, sleep_unless
from teltonika_processor.timing.failures import FoldFailures
from teltonika_processor.timing.marked import AGAIN_S, Group, Marked, rest_s
from teltonika_processor.timing.zone_cache import load_zones

# What fails for a cause that no waiting mends is tried again at this pace.
_FAILED_REST_S: Final = 1.0


class FoldWorker:
    """Folds on one session, which is opened when somebody is marked first.

    A fold that fails does not end the process: positions are stored meanwhile, marks are kept.

    Args:
        config: Where Postgres is.
        limits: How much is done at once.
        entries_wait: Whether entries wait in the stream.
        around: Log, clock in seconds, randomness.
    """

    def __init__(
        self,
        config: SessionConfig,
        limits: FoldLimits,
        entries_wait: Callable[[], bool],
        around: Surroundings,
    ) -> None:
        self._config: Final = config
        self._limits: Final = limits
        self._entries_wait: Final = entries_wait
        self._around: Final = around
        self._marked: Final = Marked()
        self._is_marked: Final = asyncio.Event()
        self._has_done_own: Final = asyncio.Event()
        self._has_done_own.set()
        self._failures: Final = FoldFailures(around)
        self._outage: Final = Outage("fold", around)
        self._zones: KnownZones | None = None

    @property
    def n_marked(self) -> int:
        """Devices that are yet to be done, as far as this process knows."""
        return len(self._marked)

    @property
    def oldest_mark_s(self) -> float:
        """For how long the first of them is known to be marked; 0 where there is none."""
        oldest_s = self._marked.oldest_s()
        return 0.0 if oldest_s is None else max(0.0, time.monotonic() - oldest_s)

    def marked(self, imeis: Iterable[int]) -> None:
        """A batch of this process marked these devices."""
        now_s = time.monotonic()
        self._marked.add(imeis, now_s)
        if self._marked.is_own_due(now_s):
            self._has_done_own.clear()
            self._is_marked.set()

    def found(self, imeis: Iterable[int]) -> None:
        """A sweep found these devices marked."""
        self._marked.find(imeis, time.monotonic())
        self._is_marked.set()

    async def until_done(self) -> None:
        """Wait until what batches of this process marked is done, or folding fails."""
        await self._has_done_own.wait()

    async def run(self) -> NoReturn:
        """Fold until cancelled; a server that is away is waited for."""
        while True:
            await self._until_due()
            try:
                await self._serve()
            except TransientError as error:
                self._has_done_own.set()  # who ends does not wait for a server that is away
                await asyncio.sleep(self._outage.failed(error))
            except TeltonikaProcessorError as error:
                self._failures.tell(error, self.n_marked)
                await asyncio.sleep(_FAILED_REST_S)

    async def _serve(self) -> NoReturn:
        """Never ends but by raising."""
        async with session_of(open_session, self._config) as session:
            self._zones = None
            is_pooled = self._config.pooler == "transaction"
            folder = Folder(session, self._limits, is_pooled=is_pooled)
            while True:
                group = self._marked.take(time.monotonic())
                if group is None:
                    await self._until_due()
                else:
                    await self._fold(session, folder, group)

    async def _fold(self, session: Session, folder: Folder, group: Group) -> None:
        began_s = time.monotonic()
        try:
            with translated():
                if self._zones is None:
                    self._zones = await self._load_zones(session)
                folded = await folder.fold(self._zones, group.imeis, holds=group.holds)
        except FoldAgain as again:
            if isinstance(again, ZonesChanged):
                self._zones = None
            self._marked.put_back(group)
            return
        except (SinkRejected, DecoderBug):
            self._marked.failed(group, time.monotonic())
            raise
        except BaseException:
            self._marked.put_back(group)
            self._has_done_own.set()
            raise
        self._outage.over()
        now_s = time.monotonic()
        self._marked.settle(
            group, passed_over=folded.passed_over, unfinished=folded.unfinished, now_s=now_s
        )
        self._note_whether_own_are_done(now_s)
        self._tell(folded, group, now_s, now_s - began_s)
        await asyncio.sleep(rest_s(now_s - began_s, entries_wait=self._entries_wait()))

    async def _load_zones(self, session: Session) -> KnownZones:
        zones = await load_zones(session)
        self._around.emit(
            ZonesLoaded(
                versions=zones.n_versions,
                gap_s=zones.limits.gap_s,
                jump_m_s=zones.limits.jump_m_s,
            )
        )
        return zones

    async def _until_due(self) -> None:
        """Wait until somebody is due."""
        while True:
            self._is_marked.clear()
            due_s, now_s = self._marked.next_due_s(), time.monotonic()
            if due_s is not None and due_s <= now_s:
                return
            self._note_whether_own_are_done(now_s)
            if due_s is None:
                await self._is_marked.wait()
            else:
                await sleep_unless(self._is_marked, due_s - now_s)

    def _note_whether_own_are_done(self, now_s: float) -> None:
        """Whoever was passed over is due in a moment, and is waited for too."""
        if not self._marked.is_own_due(now_s + AGAIN_S):
            self._has_done_own.set()

    # Saying

    def _tell(self, folded: Folded, group: Group, now_s: float, duration_s: float) -> None:
        if not folded.n_marked and not folded.passed_over:
            return  # somebody else had done them all
        finished = set(folded.done).difference(folded.unfinished)
        lag_s = max((now_s - group.since_s[imei] for imei in finished), default=None)
        self._around.emit(
            FoldCommitted(
                devices=folded.n_done,
                passed_over=len(folded.passed_over),
                unfinished=len(folded.unfinished),
                segments=folded.n_segments,
                changed=folded.n_changed,
                crossings=_by_zone(folded.crossings),
                revisions=dict(folded.revisions),
                held=group.holds,
                locked_ms=None if folded.locked_s is None else round(folded.locked_s * 1e3, 3),
                lag_ms=None if lag_s is None else round(lag_s * 1e3, 3),
                duration_ms=round(duration_s * 1e3, 3),
            )
        )


def _by_zone(crossings: Iterable[tuple[str, str, int]]) -> dict[str, dict[str, int]]:
    by_zone: dict[str, dict[str, int]] = {}
    for zone, kind, count in crossings:
        by_zone.setdefault(zone, {})[kind] = count
    return by_zone

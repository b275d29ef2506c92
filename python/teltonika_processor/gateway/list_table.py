"""Keeps the allow-list as `devices` says it, and writes down who was refused."""

import asyncio
import time
from array import array
from collections.abc import Callable
from typing import Final, NoReturn

from teltonika_processor.errors import TeltonikaProcessorError, TransientError
from teltonika_processor.gateway.admission import Admission
from teltonika_processor.gateway.list_news import (
    Listener,
    Outage,
    RefusalsUnrecorded,
    put_in_force,
)
from teltonika_processor.store.admission import (
    admission_session,
    allowed_pages,
    known,
    record_refused,
)
from teltonika_processor.store.connection import Session, SessionConfig
from teltonika_processor.tasks.backoff import Backoff

RELOAD_S: Final = 1.0
"""So long it takes until a device is let in, or kept out, that an operator allowed or denied."""

LOOK_S: Final = 1.0
"""The same, however long the list, for a device that was refused a short while ago."""

# Bound: reading a long list takes Postgres a fiftieth of the time at most: a million devices take
# some 2 s on a busy machine, and are read once in 100 s there.
_RESTS_PER_RELOAD: Final = 50

# Writing down is tried again after this; the list does not wait for it.
_RECORD_AGAIN_S: Final = 60.0


class TableKeeper:
    """Reads the whole list now and then, and looks at the devices just refused every second.

    One session does both. Nothing of it outlives a statement, so that a pooler may lie between.

    Args:
        admission: Gets the list.
        config: Where to read it; the time-outs of statements are ours.
        listener: Who is told.
        jitter: Uniform numbers in [0, 1).
        clock: Seconds, monotonic.
        wall_clock: Unix seconds.
        reload_s: Seconds from one whole list to the next.
        look_s: Seconds from one look at those just refused to the next.
    """

    def __init__(  # noqa: PLR0913 -- what a shell is given from outside
        self,
        admission: Admission,
        config: SessionConfig,
        listener: Listener,
        *,
        jitter: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        reload_s: float = RELOAD_S,
        look_s: float = LOOK_S,
    ) -> None:
        self._admission: Final = admission
        self._config: Final = config
        self._listener: Final = listener
        self._clock: Final = clock
        self._wall_clock: Final = wall_clock
        self._reload_s: Final = reload_s
        self._look_s: Final = look_s
        self._outage: Final = Outage(listener)
        self._backoff: Final = Backoff(jitter)
        self._reload_at_s = float("-inf")
        self._record_at_s = float("-inf")

    async def run(self) -> NoReturn:
        """Keep the list until cancelled.

        Raises:
            ConfigError: Before the first list: an address that is none, an unknown pooler.
            SchemaMismatch: Before the first list: no such table, or the role may not read it.
        """
        while True:
            try:
                async with admission_session(self._config) as session:
                    await self._serve(session)
            except TeltonikaProcessorError as error:
                if not isinstance(error, TransientError) and not self._admission.is_known:
                    raise
                wait_s = self._failed(error)
            else:
                wait_s = 0.0
            await asyncio.sleep(wait_s)

    async def _serve(self, session: Session) -> None:
        """Until the session is to be opened anew."""
        while True:
            if self._clock() >= self._reload_at_s:
                await self._reload(session)
            if not await self._look(session):
                return
            await asyncio.sleep(self._look_s)

    def _failed(self, error: TeltonikaProcessorError) -> float:
        """The seconds to wait; a list is read first when that is over."""
        now_s = self._clock()
        self._reload_at_s = now_s
        self._outage.goes_on(str(error), age_s=self._admission.age_s(now_s), now_s=now_s)
        return self._backoff.next_s()

    async def _reload(self, session: Session) -> None:
        began_s = self._clock()
        n_rows, imeis = 0, array("q")
        async for page in allowed_pages(session):
            n_rows += page.n_rows
            imeis.extend(page.allowed)
        now_s = self._clock()
        took_s = now_s - began_s
        self._admission.refused.table_seen(n_unasked=n_rows - len(imeis))
        await put_in_force(self._admission, imeis, self._listener, began_s=began_s, took_s=took_s)
        self._reload_at_s = now_s + max(self._reload_s, _RESTS_PER_RELOAD * took_s)
        self._backoff.attempts = 0
        self._outage.is_over(now_s)

    async def _look(self, session: Session) -> bool:
        """Let in who was allowed meanwhile, and write down the others; whether all went well."""
        refused = self._admission.refused
        watched = refused.watched(round(self._wall_clock() * 1000))
        if not watched:
            return True
        rows = await known(session, watched)
        allowed = [imei for imei, is_allowed in rows.items() if is_allowed]
        self._admission.admit(allowed)
        refused.forget(allowed)
        return await self._record(session, rows)

    async def _record(self, session: Session, rows: dict[int, bool]) -> bool:
        now_s = self._clock()
        if now_s < self._record_at_s:
            return True
        refusals = self._admission.refused.to_record(rows, now_s=now_s)
        if not refusals:
            return True
        try:
            await record_refused(session, refusals)
        except TeltonikaProcessorError as error:
            # At a standby, without the right, by a trigger of the operator's: the list goes on, by
            # a new session, which may be one at the primary.
            self._record_at_s = now_s + _RECORD_AGAIN_S
            self._listener.tell(RefusalsUnrecorded(str(error)))
            return False
        self._admission.refused.recorded(refusals, rows)
        return True

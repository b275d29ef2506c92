"""`simulate --verify`: are the acknowledged records in the log, and nothing that was not sent?"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from teltonika_processor.errors import TransientError
from teltonika_processor.simulate.keys import Key, SentKeys
from teltonika_processor.store.audit import absent_keys, audit_session
from teltonika_processor.store.connection import Pooler, Session
from teltonika_processor.store.simulated import keys_received, server_time
from teltonika_processor.tasks.retry import sleep_unless

# The gateway's clock may be so far behind that of Postgres.
_CLOCKS_APART: Final = timedelta(minutes=10)
_KEYS_AT_ONCE: Final = 50_000
_DEVICES_AT_ONCE: Final = 500
_LOOK_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the log says of a run.

    Attributes:
        n_acknowledged: Distinct records that must be stored.
        missing: Those of them that are not; the log's primary key lets none be there twice.
        invented: Rows of these devices, received during the run, that nobody sent.
        waited_s: Until all were there, or patience ended.
    """

    n_acknowledged: int
    missing: Sequence[Key]
    invented: Sequence[Key]
    waited_s: float

    @property
    def n_stored(self) -> int:
        """Acknowledged records that are there."""
        return self.n_acknowledged - len(self.missing)

    def findings(self) -> list[str]:
        """What is wrong; nothing: the log holds what it must and no more."""
        found = []
        if self.missing:
            found.append(f"{len(self.missing):,} acknowledged records are not stored")
        if self.invented:
            found.append(f"{len(self.invented):,} stored records were never sent")
        return found


class Verifier:
    """Looks at the log before a run and after it, by a session for each."""

    def __init__(self, dsn: str, pooler: Pooler, imeis: Sequence[int]) -> None:
        self._dsn: Final = dsn
        self._pooler: Final[Pooler] = pooler
        self._imeis: Final = imeis
        self._before: frozenset[Key] = frozenset()
        self._since: datetime | None = None

    async def begin(self) -> None:
        """Remember what is there of these devices.

        Raises:
            TransientError: Postgres was not reached.
        """
        async with audit_session(self._dsn, pooler=self._pooler) as session:
            self._since = await server_time(session) - _CLOCKS_APART
            self._before = frozenset([key async for key in self._received(session)])

    async def verify(
        self, sent: SentKeys, *, within_s: float, at_once: asyncio.Event
    ) -> Verification:
        """Wait until every acknowledged record is stored, and compare.

        Args:
            sent: What must be there, and what may be.
            within_s: How long is waited, for Postgres as well.
            at_once: Ends the wait.

        Raises:
            TransientError: Postgres was not reached all the time.
        """
        give_up_at = time.monotonic() + within_s
        while True:
            try:
                return await self._verify(sent, within_s, give_up_at, at_once)
            except TransientError:
                if time.monotonic() > give_up_at or at_once.is_set():
                    raise
            await sleep_unless(at_once, _LOOK_EVERY_S)

    async def _verify(
        self, sent: SentKeys, within_s: float, give_up_at: float, at_once: asyncio.Event
    ) -> Verification:
        async with audit_session(self._dsn, pooler=self._pooler) as session:
            n_acknowledged, missing = 0, set[Key]()
            for page in sent.acknowledged.pages(_KEYS_AT_ONCE):
                n_acknowledged += len(page)
                missing |= await absent_keys(session, page)
            while missing and time.monotonic() < give_up_at and not at_once.is_set():
                await sleep_unless(at_once, _LOOK_EVERY_S)
                missing = await absent_keys(session, sorted(missing))
            return Verification(
                n_acknowledged=n_acknowledged,
                missing=sorted(missing),
                invented=[key async for key in self._invented(session, sent)],
                waited_s=time.monotonic() - (give_up_at - within_s),
            )

    async def _invented(self, session: Session, sent: SentKeys) -> AsyncIterator[Key]:
        imei, expected = -1, set[Key]()
        async for key in self._received(session):
            if key[0] != imei:
                imei = key[0]
                expected = sent.may_be_stored(imei)
            if key not in expected and key not in self._before:
                yield key

    async def _received(self, session: Session) -> AsyncIterator[Key]:
        """Keys of rows of these devices, device by device."""
        if self._since is None:
            raise ValueError("begin() comes first")
        for some in _pages(self._imeis, _DEVICES_AT_ONCE):
            for key in sorted(await keys_received(session, some, self._since)):
                yield key


def _pages(imeis: Iterable[int], size: int) -> Iterator[list[int]]:
    rest = iter(imeis)
    while page := list(islice(rest, size)):
        yield page

"""`simulate --verify`: are the acknowledged records in the log, and nothing that was not sent?"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from teltonika_processor.errors import TransientError
from teltonika_processor.simulate.device import IMEIS
from teltonika_processor.simulate.keys import Key, SentKeys
from teltonika_processor.store.audit import absent_keys, audit_session
from teltonika_processor.store.connection import Pooler, Session
from teltonika_processor.store.simulated import (
    StoredKey,
    different_rows,
    keys_received,
    rows_by_imei,
    server_time,
)
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
        missing: Those of them that are not.
        invented: Rows of these devices, received during the run, that nobody sent, or that are
            there twice with clocks that differ by less than a millisecond.
        different: Rows of which a column holds something else than what was sent.
        n_unreadable: Those of `n_acknowledged` that cannot be asked for: the decoder takes other
            records from their frames, or none.
        n_earlier: Rows of these devices that came during the run with a time of receipt before it.
        n_elsewhere: Rows of other simulated devices that came during the run.
        waited_s: Until all were there, or patience ended.
    """

    n_acknowledged: int
    missing: Sequence[Key]
    invented: Sequence[StoredKey]
    different: Sequence[StoredKey] = ()
    n_unreadable: int = 0
    n_earlier: int = 0
    n_elsewhere: int = 0
    waited_s: float

    @property
    def n_stored(self) -> int:
        """Acknowledged records that are there."""
        return self.n_acknowledged - len(self.missing) - self.n_unreadable

    def findings(self) -> list[str]:
        """What is wrong; nothing: the log holds what it must and no more."""
        told = (
            (self.n_unreadable, "acknowledged records are in frames that cannot be decoded"),
            (len(self.missing), "acknowledged records are not stored"),
            (len(self.different), "stored records differ from what was sent"),
            (len(self.invented), "stored records were never sent"),
            (self.n_earlier, "stored records say that they were received before the run"),
            (
                self.n_elsewhere,
                "records of simulated trackers that are not of this run were stored",
            ),
        )
        found = [f"{number:,} {what}" for number, what in told if number]
        if not self.n_acknowledged:
            found.append("nothing was demanded of the log: no record was acknowledged for certain")
        return found


class Verifier:
    """Looks at the log before a run and after it, by a session for each."""

    def __init__(self, dsn: str, pooler: Pooler, imeis: Sequence[int]) -> None:
        self._dsn: Final = dsn
        self._pooler: Final[Pooler] = pooler
        self._imeis: Final = imeis
        self._before: frozenset[StoredKey] = frozenset()
        self._counts_before: Mapping[int, tuple[int, int]] = {}
        self._since: datetime | None = None

    async def begin(self) -> None:
        """Remember what is there of these devices.

        Raises:
            TransientError: Postgres was not reached.
        """
        async with audit_session(self._dsn, pooler=self._pooler) as session:
            self._since = await server_time(session) - _CLOCKS_APART
            self._before = frozenset([key async for key in self._received(session)])
            self._counts_before = await self._counts(session)

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
            waited_s = time.monotonic() - (give_up_at - within_s)
            n_unreadable = sent.acknowledged.n_unreadable
            n_earlier, n_elsewhere = _more(
                self._counts_before, await self._counts(session), frozenset(self._imeis)
            )
            return Verification(
                n_acknowledged=n_acknowledged + n_unreadable,
                missing=sorted(missing),
                invented=[key async for key in self._invented(session, sent)],
                different=[key async for key in _different(session, sent)],
                n_unreadable=n_unreadable,
                n_earlier=n_earlier,
                n_elsewhere=n_elsewhere,
                waited_s=waited_s,
            )

    async def _invented(self, session: Session, sent: SentKeys) -> AsyncIterator[StoredKey]:
        imei, expected = -1, set[StoredKey]()
        async for key in self._received(session):
            if key[0] != imei:
                imei = key[0]
                expected = {
                    (imei, recorded_at_ms * 1000, digest)
                    for imei, recorded_at_ms, digest in sent.may_be_stored(imei)
                }
            if key not in expected and key not in self._before:
                yield key

    async def _received(self, session: Session) -> AsyncIterator[StoredKey]:
        """Keys of rows of these devices, device by device."""
        for some in _pages(self._imeis, _DEVICES_AT_ONCE):
            for key in await keys_received(session, some, self._begun()):
                yield key

    async def _counts(self, session: Session) -> Mapping[int, tuple[int, int]]:
        return await rows_by_imei(session, *IMEIS, self._begun())

    def _begun(self) -> datetime:
        if self._since is None:
            raise ValueError("begin() comes first")
        return self._since


async def _different(session: Session, sent: SentKeys) -> AsyncIterator[StoredKey]:
    for keys in (sent.acknowledged, sent.possible):
        for rows in keys.rows():
            for key in await different_rows(session, rows):
                yield key


def _more(
    before: Mapping[int, tuple[int, int]],
    after: Mapping[int, tuple[int, int]],
    imeis: Collection[int],
) -> tuple[int, int]:
    """Rows that came meanwhile: of `imeis` with an earlier receipt, and of other devices."""
    n_earlier = n_elsewhere = 0
    for imei, (earlier, all_rows) in after.items():
        earlier_before, all_before = before.get(imei, (0, 0))
        if imei in imeis:
            n_earlier += max(earlier - earlier_before, 0)
        else:
            n_elsewhere += max(all_rows - all_before, 0)
    return n_earlier, n_elsewhere


def _pages(imeis: Iterable[int], size: int) -> Iterator[list[int]]:
    rest = iter(imeis)
    while page := list(islice(rest, size)):
        yield page

"""The looks of an audit at both servers, in the order that raises no false alarm.

The service runs meanwhile, and an entry only ever moves one way: undelivered, pending, then stored
or in the dead letters; a letter may then be dropped or replayed. Rows, letters and those two marks
stay. So the looks follow that way: what is not found where an earlier look went has moved on to
where a later one goes. The other way round an entry slips past: it is in no letter yet, then its
letter is written, then it is pending no more. XPENDING therefore comes before `positions` and the
letters, and the letters before what was dropped and replayed. Rows that are found need nothing
else, so they are asked for first, a page at once; that answer alone proves nothing against an
entry.

One thing goes backwards: a group that is made anew or set back turns pending entries into
undelivered ones. Therefore what is missing is looked for once more before it is named.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from teltonika_processor.codec.native import DecodedBatch, decode_entries
from teltonika_processor.processor.audit import (
    Account,
    DeliveredEntries,
    Evidence,
    InDoubt,
    Term,
    Verdict,
    id_order,
    judge,
    n_delivered,
    of_device,
)
from teltonika_processor.store.audit import absent_keys, audit_session
from teltonika_processor.store.connection import Pooler, Session
from teltonika_processor.stream.audit import (
    PAGE_ENTRIES,
    AuditedStream,
    HeldEntries,
    audited_stream,
)
from teltonika_processor.stream.audit_record import RecordedAudit, record_audit
from teltonika_processor.stream.entry import RawEntry, entry_id

# Every frame that can be decoded is: FRAME_MAX_BYTES of the processor may be another than ours, and
# what it refused for that has a letter.
_FRAME_MAX_BYTES: Final = 1 << 29

# Bound: doubts that are kept until the letters are read once for all of them, some 20 MB.
_DOUBTS_MAX: Final = 20_000
_DOUBTFUL_KEYS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTarget:
    """What is audited.

    Attributes:
        redis_url: Where the stream is.
        database_url: Where its records should be.
        pooler: What the database's URL leads to, see ``SessionConfig``.
        stream: The stream.
        group: The group whose entries are looked at.
        imei: The device whose entries are looked at; None for all.
        host: Who looks, for what is recorded.
    """

    redis_url: str
    database_url: str
    pooler: Pooler = "none"
    stream: str
    group: str
    imei: int | None
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit saw.

    Attributes:
        at_ms: Redis' Unix milliseconds when it began.
        duration_ms: How long it took.
        held: What the stream held at the beginning; None if there was no stream.
        first_id: The oldest entry that was seen, of any device; None if there was none.
        last_id: The newest one.
        account: What those of the device, or of all, came to.
    """

    at_ms: int
    duration_ms: int
    held: HeldEntries | None
    first_id: bytes | None
    last_id: bytes | None
    account: Account


async def audit(target: AuditTarget) -> AuditReport:
    """Look at every entry that the stream holds now.

    Raises:
        StreamUnavailable: Redis was not reached.
        SinkUnavailable: Postgres was not reached.
        SchemaMismatch: `positions` is not there, or the role may not read it.
        ConfigError: A URL or the stream's name is wrong.
    """
    async with (
        audited_stream(target.redis_url, target.stream, target.group) as stream,
        audit_session(target.database_url, pooler=target.pooler) as session,
    ):
        return await _Audit(stream, session, target.imei).run()


async def record(target: AuditTarget, report: AuditReport) -> bool:
    """Keep the outcome where every instance shows it; False: a later audit is kept already.

    Raises:
        StreamUnavailable: Redis was not reached.
        ConfigError: The user may not write.
    """
    account = report.account
    found = RecordedAudit(
        at_ms=report.at_ms,
        duration_ms=report.duration_ms,
        entries=account.n_entries,
        records=account.n_records,
        missing_entries=account.n_missing,
        missing_records=account.n_missing_records,
        by=target.host,
    )
    return await record_audit(target.redis_url, target.stream, found)


class _Audit:
    """One run: where it stands and what it found."""

    def __init__(self, stream: AuditedStream, session: Session, imei: int | None) -> None:
        self._stream: Final = stream
        self._session: Final = session
        self._imei: Final = imei
        self._account: Final = Account()
        self._first_id: bytes | None = None
        self._last_id: bytes | None = None
        self._doubts: list[InDoubt] = []
        self._n_doubtful_keys = 0
        self._end_id = b""
        # Replays made after the audit began: to be looked at when it is through, each once.
        self._late: set[bytes] = set()
        self._late_seen: set[bytes] = set()

    async def run(self) -> AuditReport:
        at_ms, began_s = await self._stream.now_ms(), time.monotonic()
        held = await self._stream.held()
        if held is not None and held.last_id is not None:
            # Up to what is there now: a gateway may write as fast as we read.
            self._end_id = held.last_id
            async for entries in self._stream.pages(self._end_id):
                await self._look_at(entries)
            await self._settle_doubts()
            await self._look_at_late_replays()
        return AuditReport(
            at_ms=at_ms,
            duration_ms=round((time.monotonic() - began_s) * 1e3),
            held=held,
            first_id=self._first_id,
            last_id=self._last_id,
            account=self._account,
        )

    async def _look_at_late_replays(self) -> None:
        while self._late:
            ids = sorted(self._late, key=id_order)
            self._late_seen |= self._late
            self._late = set()
            for first in range(0, len(ids), PAGE_ENTRIES):
                part = ids[first : first + PAGE_ENTRIES]
                await self._look_at(await self._stream.entries_of(part))
            await self._settle_doubts()

    # The first look, a page at once

    async def _look_at(self, entries: list[RawEntry]) -> None:
        if not entries:
            return
        self._first_id = self._first_id or entry_id(entries[0])
        self._last_id = entry_id(entries[-1])
        entries, batch = self._decoded(entries)
        self._account.n_records += batch.n_records
        n = n_delivered(entries, await self._stream.delivered_up_to())
        self._account.enter(Term.UNDELIVERED, len(entries) - n)
        if n:
            await self._look_at_delivered(entries[:n], batch)
        if self._has_many_doubts():
            await self._settle_doubts()

    def _decoded(self, entries: list[RawEntry]) -> tuple[list[RawEntry], DecodedBatch]:
        batch = decode_entries(entries, frame_max_bytes=_FRAME_MAX_BYTES)
        if self._imei is None:
            return entries, batch
        entries = of_device(entries, batch, self._imei)
        return entries, decode_entries(entries, frame_max_bytes=_FRAME_MAX_BYTES)

    async def _look_at_delivered(self, entries: list[RawEntry], batch: DecodedBatch) -> None:
        delivered = DeliveredEntries(entries, batch)
        doubts = delivered.in_doubt(await absent_keys(self._session, delivered.keys))
        self._account.enter(Term.STORED, len(entries) - len(doubts))
        self._doubts += doubts
        self._n_doubtful_keys += sum(len(doubt.keys) for doubt in doubts)

    def _has_many_doubts(self) -> bool:
        return len(self._doubts) >= _DOUBTS_MAX or self._n_doubtful_keys >= _DOUBTFUL_KEYS_MAX

    # The second look, and a third at what is still missing

    async def _settle_doubts(self) -> None:
        doubts, self._doubts, self._n_doubtful_keys = self._doubts, [], 0
        second = await self._judged(doubts)
        missing = [doubt for doubt, verdict in second if verdict.term is Term.MISSING]
        third = await self._judged(missing)
        accounted = [pair for pair in second if pair[1].term is not Term.MISSING]
        for doubt, verdict in (*accounted, *third):
            if verdict.term is Term.MISSING:
                self._account.enter_missing(doubt, verdict.missing)
            else:
                self._account.enter(verdict.term)

    async def _judged(self, doubts: Sequence[InDoubt]) -> list[tuple[InDoubt, Verdict]]:
        if not doubts:
            return []
        seen = await self._evidence(doubts)
        end = id_order(self._end_id)
        self._late |= {id_ for id_ in seen.held_replays if id_order(id_) > end} - self._late_seen
        return [(doubt, judge(doubt, seen)) for doubt in doubts]

    async def _evidence(self, doubts: Sequence[InDoubt]) -> Evidence:
        """Invariant: in this order, see above."""
        delivered_up_to = await self._stream.delivered_up_to()
        pending = await self._stream.pending_of([doubt.entry_id for doubt in doubts])
        doubts = [doubt for doubt in doubts if doubt.entry_id not in pending]
        keys = {key for doubt in doubts for key in doubt.keys}
        absent = await absent_keys(self._session, list(keys))
        ids = {
            doubt.entry_id for doubt in doubts if doubt.code or not absent.isdisjoint(doubt.keys)
        }
        letters = await self._stream.letters_of(ids)
        dropped = await self._stream.dropped_of(ids)
        replayed = await self._stream.replayed_of(ids)
        return Evidence(
            delivered_up_to=delivered_up_to,
            pending=pending,
            absent=absent,
            letters=letters,
            dropped=dropped,
            replayed=replayed,
            held_replays=await self._stream.held_of(replayed.values()),
        )

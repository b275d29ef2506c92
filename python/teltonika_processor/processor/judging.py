"""Judging: entries that failed are counted, kept pending, and dead-lettered in the end."""

from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from teltonika_processor.errors import TransientError
from teltonika_processor.events import (
    BreakerOpened,
    EntriesJudged,
    EntryDeadLettered,
    FrameRejected,
)
from teltonika_processor.processor import breaker
from teltonika_processor.processor.breaker import Breaker
from teltonika_processor.processor.ledger import Happened, Ledger
from teltonika_processor.processor.ratelimit import RateLimit
from teltonika_processor.processor.retry import Surroundings
from teltonika_processor.processor.work import Outcome, Reject, Totals, Work
from teltonika_processor.stream.dead_letters import DeadLetters, Failure, Verdicts
from teltonika_processor.stream.entry import RawEntry, entry_id, fields_of

# Bound: log lines of single entries, 20 of a kind in ten seconds; all of them are counted.
_LINES: Final = 20
_LINES_WINDOW_S: Final = 10.0

# Bound: entries that failed for no fault of theirs, one of which is tried while the breaker is
# open; a frame has 64 KB at most unless the setting says otherwise.
_CANDIDATES_MAX: Final = 16

# Trying again cannot help, and there is nobody whose newer version could.
_FINAL_CODES: Final = frozenset({"payload_trimmed", "crashed_processor"})


class Judge:
    """Gives entries that failed their fate.

    Args:
        dead_letters: Where failures are counted and letters written.
        ledger: Told of what became of each entry.
        totals: The accounts of this run.
        around: Log, clock in seconds, randomness.
        now_ms: Unix milliseconds, for the letters' ``failed_at_ms``.
    """

    def __init__(
        self,
        dead_letters: DeadLetters,
        ledger: Ledger,
        totals: Totals,
        around: Surroundings,
        now_ms: Callable[[], int],
    ) -> None:
        self._dead_letters: Final = dead_letters
        self._ledger: Final = ledger
        self._totals: Final = totals
        self._around: Final = around
        self._now_ms: Final = now_ms
        self._kept_lines: Final = RateLimit(burst=_LINES, interval_s=_LINES_WINDOW_S)
        self._letter_lines: Final = RateLimit(burst=_LINES, interval_s=_LINES_WINDOW_S)
        self.breaker: Final = Breaker()
        self.candidates: Final[deque[RawEntry]] = deque(maxlen=_CANDIDATES_MAX)

    async def judge(self, outcome: Outcome) -> None:
        """Judge all entries of `outcome` that failed, and tell the breaker of all of them."""
        failures = outcome.failures()
        self._note(outcome, failures)
        if not failures:
            return
        ids = [entry_id(part.entries[i]) for part, i in failures]
        self._ledger.record(ids, Happened.REJECTED)
        if outcome.parts[0].probe is not None:
            # What shows that the cause is still there is no fault of the entry's.
            self._ledger.record(ids, Happened.KEPT, now=self._around.clock())
            return
        await self._judge(failures, ids)

    def _note(self, outcome: Outcome, failures: list[tuple[Work, int]]) -> None:
        codes = [(part.batch.imei[i], part.rejects[i].code) for part, i in failures]
        evidence = self.breaker.note(outcome.n_entries, codes, now=self._around.clock())
        for (part, i), (_, code) in zip(failures, codes, strict=True):
            if code in breaker.CODES and part.probe is None:
                self.candidates.append(part.entries[i])
        if evidence is not None:
            self._around.emit(
                BreakerOpened(
                    devices=evidence.n_devices,
                    failed=evidence.n_failed,
                    entries=evidence.n_entries,
                    codes=evidence.codes,
                )
            )

    async def _judge(self, failures: list[tuple[Work, int]], ids: list[bytes]) -> None:
        started = self._around.clock()
        verdicts = await self._dead_letters.judge(
            [_failure_of(part.entries[i], part.rejects[i]) for part, i in failures],
            failed_at_ms=self._now_ms(),
        )
        await self._record(verdicts, ids)
        kept: Counter[str] = Counter()
        dead_lettered: Counter[str] = Counter()
        for (part, i), failed_id in zip(failures, ids, strict=True):
            reject, imei = part.rejects[i], part.batch.imei[i]
            if failed_id in verdicts.dead_lettered:
                dead_lettered[reject.code] += 1
                self._tell_letter(failed_id, reject, imei, verdicts.dead_lettered[failed_id])
            elif failed_id in verdicts.kept:
                kept[reject.code] += 1
                self._tell_kept(failed_id, reject, imei, verdicts.kept[failed_id])
            if part.trial is not None and failed_id in verdicts.kept:
                await part.trial.pause()
        duration_ms = round((self._around.clock() - started) * 1e3, 3)
        self._around.emit(
            EntriesJudged(
                batch_id=failures[0][0].batch_id,
                kept=kept,
                dead_lettered=dead_lettered,
                duration_ms=duration_ms,
            )
        )
        if verdicts.error is not None and not isinstance(verdicts.error, TransientError):
            raise verdicts.error

    async def _record(self, verdicts: Verdicts, ids: list[bytes]) -> None:
        """What was not judged stays pending like what was kept: the script is not repeated."""
        gone = [failed_id for failed_id in ids if _is_gone(verdicts, failed_id)]
        stays = [failed_id for failed_id in ids if not _is_gone(verdicts, failed_id)]
        self._ledger.record(gone, Happened.LETTER_WRITTEN)
        self._ledger.xacked(gone)
        self._ledger.record(stays, Happened.KEPT, now=self._around.clock())
        self._totals.entries += len(verdicts.dead_lettered)
        self._totals.dead_lettered += len(verdicts.dead_lettered)
        if verdicts.error is not None:
            self._around.retried("dead_letter", type(verdicts.error).__name__)

    def _tell_kept(self, failed_id: bytes, reject: Reject, imei: int, attempts: int) -> None:
        suppressed = self._kept_lines.admit(self._around.clock())
        if suppressed is not None:
            self._around.emit(
                FrameRejected(
                    entry_id=failed_id.decode(),
                    code=reject.code,
                    offset=reject.offset,
                    error=reject.error,
                    imei=imei,
                    attempts=attempts,
                    suppressed=suppressed,
                )
            )

    def _tell_letter(self, failed_id: bytes, reject: Reject, imei: int, attempts: int) -> None:
        suppressed = self._letter_lines.admit(self._around.clock())
        if suppressed is not None:
            self._around.emit(
                EntryDeadLettered(
                    entry_id=failed_id.decode(),
                    code=reject.code,
                    offset=reject.offset,
                    error=reject.error,
                    imei=imei,
                    attempts=attempts,
                    suppressed=suppressed,
                )
            )


def _is_gone(verdicts: Verdicts, failed_id: bytes) -> bool:
    return failed_id in verdicts.dead_lettered or failed_id in verdicts.not_pending


def _failure_of(entry: RawEntry, reject: Reject) -> Failure:
    return Failure(
        entry_id=entry_id(entry),
        fields=fields_of(entry),
        reason=reject.code,
        error=reject.error,
        offset=reject.offset,
        is_final=reject.code in _FINAL_CODES,
    )

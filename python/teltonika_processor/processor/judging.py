"""Judging: entries that failed are counted, kept pending, and dead-lettered in the end."""

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from teltonika_processor.errors import StreamUnavailable, TransientError
from teltonika_processor.events import (
    BreakerOpened,
    EntriesJudged,
    EntriesVanished,
    EntryDeadLettered,
    FrameRejected,
)
from teltonika_processor.processor import breaker
from teltonika_processor.processor.breaker import Breaker
from teltonika_processor.processor.ledger import Happened, Ledger
from teltonika_processor.processor.regroup import Regroup
from teltonika_processor.processor.work import Outcome, Reject, Totals, Work
from teltonika_processor.stream.connection import GroupMissingError
from teltonika_processor.stream.dead_letters import DeadLetters, Failure, Verdicts
from teltonika_processor.stream.entry import RawEntry, entry_id, fields_of
from teltonika_processor.tasks.ratelimit import RateLimit
from teltonika_processor.tasks.retry import (
    SAY_AGAIN_S,
    Surroundings,
    retry_scheduled,
    until_done,
)

# Bound: entries that failed for no fault of theirs, one of which is tried while the breaker is
# open; a frame has 64 KB at most unless the setting says otherwise.
_CANDIDATES_MAX: Final = 16

# Bound: a server that loses the group again and again; what was not judged is pending, if anywhere.
_GROUP_WITHIN_S: Final = 2.0

# Trying again cannot help, and there is nobody whose newer version could.
_TRIMMED: Final = "payload_trimmed"
_FINAL_CODES: Final = frozenset({_TRIMMED, "crashed_processor"})


@dataclass(frozen=True, slots=True)
class DeadLettering:
    """What it takes to judge failures.

    Attributes:
        dead_letters: Counts failures and writes letters.
        regroup: Makes the group anew, without which nothing can be judged.
        now_ms: Unix milliseconds, for the letters' ``failed_at_ms``.
    """

    dead_letters: DeadLetters
    regroup: Regroup
    now_ms: Callable[[], int]


class Judge:
    """Gives entries that failed their fate.

    Args:
        dead_lettering: Where they are judged.
        ledger: Told of what became of each entry.
        totals: The accounts of this run.
        around: Log, clock in seconds, randomness.
    """

    def __init__(
        self,
        dead_lettering: DeadLettering,
        ledger: Ledger,
        totals: Totals,
        around: Surroundings,
    ) -> None:
        self._dead_lettering: Final = dead_lettering
        self._ledger: Final = ledger
        self._totals: Final = totals
        self._around: Final = around
        self._kept_lines: Final = RateLimit.of_entries()
        self._letter_lines: Final = RateLimit.of_entries()
        self._outage_lines: Final = RateLimit(burst=1, interval_s=SAY_AGAIN_S)
        self.breaker: Final = Breaker()
        self.candidates: Final[deque[RawEntry]] = deque(maxlen=_CANDIDATES_MAX)

    async def judge(self, outcome: Outcome, *, spared: AbstractSet[bytes] = frozenset()) -> None:
        """Judge all entries of `outcome` that failed, and tell the breaker of all of them.

        Args:
            outcome: What became of some entries.
            spared: Ids of those whose failure is not counted.
        """
        failures = outcome.failures()
        self._note(outcome, failures)
        counted: list[tuple[Work, int]] = []
        uncounted: list[tuple[Work, int]] = []
        for part, i in failures:
            # A probe that fails shows that the cause is still there.
            is_uncounted = part.probe is not None or entry_id(part.entries[i]) in spared
            (uncounted if is_uncounted else counted).append((part, i))
        if uncounted:
            await self._keep(uncounted)
        if counted:
            await self._judge(counted)

    def _note(self, outcome: Outcome, failures: list[tuple[Work, int]]) -> None:
        codes = [(part.batch.imei[i], part.rejects[i].code) for part, i in failures]
        evidence = self.breaker.note(outcome.n_entries, codes, now=self._around.clock())
        if evidence is not None:
            self._around.emit(
                BreakerOpened(
                    devices=evidence.n_devices,
                    failed=evidence.n_failed,
                    entries=evidence.n_entries,
                    codes=evidence.codes,
                )
            )

    def _remember(self, failures: Iterable[tuple[Work, int]]) -> None:
        """Entries that are pending and failed for no fault of theirs may be probed."""
        for part, i in failures:
            entry = part.entries[i]
            if part.rejects[i].code in breaker.CODES and entry not in self.candidates:
                self.candidates.append(entry)

    async def _keep(self, failures: list[tuple[Work, int]]) -> None:
        """They stay pending, and nothing is counted."""
        ids = _ids_of(failures)
        self._ledger.record(ids, Happened.REJECTED)
        self._ledger.record(ids, Happened.KEPT, now=self._around.clock())
        self._remember(failures)
        for (part, i), kept_id in zip(failures, ids, strict=True):
            if part.probe is None:
                self._tell_kept(kept_id, part.rejects[i], part.batch.imei[i], attempts=0)
            if part.trial is not None:
                await part.trial.pause()

    async def _judge(self, failures: list[tuple[Work, int]]) -> None:
        started, ids = self._around.clock(), _ids_of(failures)
        self._ledger.record(ids, Happened.REJECTED)
        verdicts = await self._ask(
            [_failure_of(part.entries[i], part.rejects[i]) for part, i in failures]
        )
        lost = await self._dead_lettering.regroup.lost(verdicts.not_pending)
        self._record(verdicts, ids)
        self._remember(one for one, id_ in zip(failures, ids, strict=True) if id_ in verdicts.kept)
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
            if part.trial is not None and not verdicts.is_over(failed_id):
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
        self._tell_vanished(failures, verdicts, lost)
        if verdicts.error is not None and not isinstance(verdicts.error, TransientError):
            raise verdicts.error

    def _tell_vanished(
        self, failures: list[tuple[Work, int]], verdicts: Verdicts, lost: AbstractSet[bytes]
    ) -> None:
        """Our own pending entries that somebody trimmed, or that were lost with the group."""
        vanished = [
            failed_id
            for part, i in failures
            if (failed_id := entry_id(part.entries[i])) in lost
            or (part.rejects[i].code == _TRIMMED and failed_id in verdicts.dead_lettered)
        ]
        if vanished:
            first_id = vanished[0].decode()
            self._around.emit(EntriesVanished(count=len(vanished), first_id=first_id))

    async def _ask(self, failures: list[Failure]) -> Verdicts:
        """The verdicts; a group that is gone is made anew first.

        Without a group nothing was counted, so asking again is safe. Whether an entry went with the
        group or is pending once more shows afterwards.
        """
        where, verdicts = self._dead_lettering, Verdicts()

        async def ask() -> None:
            left = [one for one in failures if not verdicts.has(one.entry_id)]
            verdicts.add(await where.dead_letters.judge(left, failed_at_ms=where.now_ms()))
            if isinstance(verdicts.error, GroupMissingError):
                await where.regroup.restore()
                raise verdicts.error

        give_up_at = self._around.clock() + _GROUP_WITHIN_S
        with contextlib.suppress(StreamUnavailable):
            await until_done("dead_letter", ask, self._around, give_up_at=give_up_at)
        return verdicts

    def _record(self, verdicts: Verdicts, ids: list[bytes]) -> None:
        """What was not judged stays pending like what was kept: the script is not repeated."""
        gone = [failed_id for failed_id in ids if verdicts.is_over(failed_id)]
        stays = [failed_id for failed_id in ids if not verdicts.is_over(failed_id)]
        self._ledger.record(gone, Happened.LETTER_WRITTEN)
        self._ledger.xacked(gone)
        self._ledger.record(stays, Happened.KEPT, now=self._around.clock())
        self._totals.entries += len(verdicts.dead_lettered)
        self._totals.dead_lettered += len(verdicts.dead_lettered)
        if isinstance(verdicts.error, TransientError) and not _was_told(verdicts.error):
            self._tell_not_judged(verdicts.error)

    def _tell_not_judged(self, error: TransientError) -> None:
        self._around.retried("dead_letter", error.cause)
        if self._outage_lines.admit(self._around.clock()) is not None:
            self._around.emit(retry_scheduled("dead_letter", error, attempt=1, wait_s=0.0))

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


def _was_told(error: TransientError) -> bool:
    """Whether asking again for it has said so."""
    return isinstance(error, GroupMissingError)


def _ids_of(failures: Iterable[tuple[Work, int]]) -> list[bytes]:
    return [entry_id(part.entries[i]) for part, i in failures]


def _failure_of(entry: RawEntry, reject: Reject) -> Failure:
    return Failure(
        entry_id=entry_id(entry),
        fields=fields_of(entry),
        reason=reject.code,
        error=reject.error,
        offset=reject.offset,
        is_final=reject.code in _FINAL_CODES,
    )

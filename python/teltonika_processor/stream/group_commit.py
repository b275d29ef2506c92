"""Group commit: which appends go out in one write, and which reply is whose. Pure: no I/O.

Rules. Appends leave in the order in which they came. Those that wait when the loop comes round are
one batch, bounded in bytes and entries, and a few batches are in flight; none is ever sent twice.
Replies come in the order of the commands. An append is stored if Redis answered that very command
with an id and, where replicas are asked for, the WAIT behind its batch counted enough of them; of
everything else nobody knows whether it is. Each append is settled once.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import attrgetter
from typing import Final

from teltonika_processor.errors import ContractError

Done = Callable[[bool], None]
"""Told once whether an append is stored; False: nobody knows, or it was not."""

Settled = tuple[Done, bool]

REFUSED: Final = 0
"""The number of an append that was not taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitLimits:
    """How much goes out at once, and how much is held.

    Attributes:
        batch_entries: Appends in one write.
        batch_bytes: Bytes of one write; a longer command goes alone.
        batches_in_flight: Writes whose replies have not come. With one, 64 callers get 16 thousand
            appends/s, with four 26 (two busy cores, ``everysec``); eight gain nothing.
        held_bytes: Beyond this much unanswered, appends are not taken.
    """

    batch_entries: int = 256
    batch_bytes: int = 256 * 1024
    batches_in_flight: int = 4
    held_bytes: int = 64 * 1024 * 1024


class Batch:
    """The appends of one write; `first` is the number of its first one."""

    __slots__ = ("commands", "dones", "first", "n_bytes", "n_settled", "replies", "sent_at")

    def __init__(self, first: int) -> None:
        self.first: Final = first
        self.commands: list[bytes] = []
        # None: withdrawn.
        self.dones: list[Done | None] = []
        self.n_bytes = 0
        self.sent_at = 0.0
        self.n_settled = 0
        self.replies: list[object] = []


@dataclass(slots=True)
class Answered:
    """What replies settled.

    Attributes:
        settled: Whom to tell what, in order.
        batches: Those whose last reply this was.
        refused: The first reply that did not say that something is stored, if there is one; it may
            be None.
    """

    settled: list[Settled] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    refused: list[object] = field(default_factory=list)


class GroupCommit:
    """Appends that wait, and batches in flight.

    Args:
        limits: What is sent and held at most.
        replicas: How many must have a batch before its appends are stored.
        wait: The command behind each batch that asks for them; empty if none are needed.

    Attributes:
        n_bytes: Bytes of appends that are not settled, and of those settled in a batch that is not
            answered to its end.
    """

    def __init__(self, limits: CommitLimits, *, replicas: int = 0, wait: bytes = b"") -> None:
        self._limits: Final = limits
        self._replicas: Final = replicas
        self._wait: Final = wait
        self._waiting: Final[deque[Batch]] = deque()
        self._in_flight: Final[deque[Batch]] = deque()
        self._n_taken = 0
        self._is_closed = False
        self.n_bytes = 0

    @property
    def n_in_flight(self) -> int:
        """Batches whose replies have not all come."""
        return len(self._in_flight)

    @property
    def may_send(self) -> bool:
        """Whether one more batch may be in flight."""
        return len(self._in_flight) < self._limits.batches_in_flight

    @property
    def has_waiting(self) -> bool:
        """Whether there may be something to send."""
        return bool(self._waiting)

    @property
    def oldest_sent_at(self) -> float | None:
        """When the batch was sent whose replies come next."""
        return self._in_flight[0].sent_at if self._in_flight else None

    def add(self, command: bytes, done: Done) -> int:
        """Take one append; its number, by which it can be withdrawn, or REFUSED."""
        n_bytes = len(command)
        limits = self._limits
        held = self.n_bytes + n_bytes
        if held > limits.held_bytes or self._is_closed:
            return REFUSED
        self.n_bytes = held
        self._n_taken = number = self._n_taken + 1
        batch = self._waiting[-1] if self._waiting else self._new_batch(number)
        if (
            batch.n_bytes + n_bytes > limits.batch_bytes or len(batch.dones) >= limits.batch_entries
        ) and batch.dones:
            batch = self._new_batch(number)
        batch.commands.append(command)
        batch.dones.append(done)
        batch.n_bytes += n_bytes
        return number

    def _new_batch(self, first: int) -> Batch:
        batch = Batch(first)
        self._waiting.append(batch)
        return batch

    def withdraw(self, number: int) -> Done | None:
        """Take an append back that was not sent; whom to tell, or None: it was sent, or settled."""
        before = bisect_right(self._waiting, number, key=_first_of)
        if not before:
            return None
        batch = self._waiting[before - 1]
        at = number - batch.first
        return self._take_out(batch, at) if at < len(batch.dones) else None

    def _take_out(self, batch: Batch, at: int) -> Done | None:
        done, batch.dones[at] = batch.dones[at], None
        if done is not None:
            n_bytes = len(batch.commands[at])
            batch.commands[at] = b""
            batch.n_bytes -= n_bytes
            self.n_bytes -= n_bytes
        return done

    def next_batch(self, now: float) -> bytes:
        """What to write at `now`, once and whatever becomes of it; empty if there is nothing."""
        while self._waiting and self.may_send:
            batch = self._waiting.popleft()
            if batch.n_bytes:
                batch.dones = [done for done in batch.dones if done is not None]
                batch.sent_at = now
                self._in_flight.append(batch)
                batch.commands.append(self._wait)
                written = b"".join(batch.commands)
                batch.commands.clear()
                return written
        return b""

    def answer(self, replies: Sequence[object]) -> Answered:
        """Replies came, each to the next command.

        Raises:
            ContractError: There are more than commands, so none can be trusted; none is used.
        """
        if len(replies) > sum(map(self._n_missing, self._in_flight)):
            raise ContractError("Redis: more replies than commands")
        answered = Answered()
        at = 0
        while at < len(replies):
            batch = self._in_flight[0]
            part = replies[at : at + self._n_missing(batch)]
            at += len(part)
            self._take_replies(batch, part, answered)
            if not self._n_missing(batch):
                self._in_flight.popleft()
                self.n_bytes -= batch.n_bytes
                answered.batches.append(batch)
        return answered

    def _n_missing(self, batch: Batch) -> int:
        n_expected = len(batch.dones) + bool(self._wait)
        return n_expected - batch.n_settled - len(batch.replies)

    def _take_replies(self, batch: Batch, part: Sequence[object], answered: Answered) -> None:
        if not self._wait:
            _settle(batch, part, answered)
            return
        batch.replies += part
        if not self._n_missing(batch):
            *ids, n_replicas = batch.replies
            batch.replies.clear()
            enough = isinstance(n_replicas, int) and n_replicas >= self._replicas
            if not enough and not answered.refused:
                answered.refused.append(n_replicas)
            _settle(batch, ids, answered, enough=enough)
            batch.n_settled += 1

    def lost(self) -> list[Settled]:
        """The connection is lost: nobody knows what became of what is in flight."""
        settled: list[Settled] = []
        while self._in_flight:
            batch = self._in_flight.popleft()
            self.n_bytes -= batch.n_bytes
            settled += _untold(batch.dones[batch.n_settled :])
        return settled

    def close(self) -> list[Settled]:
        """Nothing is sent or taken any more."""
        self._is_closed = True
        settled = self.lost()
        while self._waiting:
            batch = self._waiting.popleft()
            self.n_bytes -= batch.n_bytes
            settled += _untold(batch.dones)
        return settled


_first_of: Final[Callable[[Batch], int]] = attrgetter("first")


def _settle(
    batch: Batch, replies: Sequence[object], answered: Answered, *, enough: bool = True
) -> None:
    """The next appends of `batch` have these replies, an id each if all is well."""
    dones = batch.dones[batch.n_settled : batch.n_settled + len(replies)]
    batch.n_settled += len(replies)
    stored = [type(reply) is bytes for reply in replies]
    if False in stored and not answered.refused:
        answered.refused.append(replies[stored.index(False)])
    told: Iterable[bool] = stored if enough else repeat(False)
    answered.settled += zip(dones, told, strict=False)  # type: ignore[arg-type] # none was withdrawn


def _untold(dones: Iterable[Done | None]) -> list[Settled]:
    return [(done, False) for done in dones if done is not None]

from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from teltonika_processor.errors import ContractError
from teltonika_processor.stream.group_commit import (
    REFUSED,
    CommitLimits,
    Done,
    GroupCommit,
    Settled,
)

ID = b"1700000000000-0"
WAIT = b"<wait>"


class Callers:
    """Appends by their names, and what each was told."""

    def __init__(self, commits: GroupCommit) -> None:
        self.commits = commits
        self.numbers: dict[str, int] = {}
        self.told: list[tuple[str, bool]] = []

    def append(self, *names: str) -> None:
        for name in names:
            self.numbers[name] = self.commits.add(name.encode(), self.done(name))

    def done(self, name: str) -> Done:
        return lambda stored: self.told.append((name, stored))

    def tell(self, settled: Sequence[Settled]) -> None:
        for done, stored in settled:
            done(stored)

    def answer(self, *replies: object) -> list[object]:
        """What was refused, after everybody was told."""
        answered = self.commits.answer(replies)
        self.tell(answered.settled)
        return answered.refused

    def withdraw(self, name: str) -> bool:
        done = self.commits.withdraw(self.numbers[name])
        if done is not None:
            done(False)
        return done is not None


def callers_of(*, replicas: int = 0, **limits: int) -> Callers:
    wait = WAIT if replicas else b""
    return Callers(GroupCommit(CommitLimits(**limits), replicas=replicas, wait=wait))


def test_what_waits_is_one_batch() -> None:
    callers = callers_of()
    callers.append("a", "b", "c")
    assert callers.commits.next_batch(0.0) == b"abc"
    assert callers.commits.next_batch(0.0) == b""


def test_a_batch_is_bounded_in_entries() -> None:
    callers = callers_of(batch_entries=2)
    callers.append("a", "b", "c")
    assert [callers.commits.next_batch(0.0) for _ in range(3)] == [b"ab", b"c", b""]


def test_a_batch_is_bounded_in_bytes_and_a_longer_command_goes_alone() -> None:
    callers = callers_of(batch_bytes=4)
    callers.append("aa", "bb", "c", "longer", "d")
    sent = [callers.commits.next_batch(0.0) for _ in range(5)]
    assert sent == [b"aabb", b"c", b"longer", b"d", b""]


def test_so_many_batches_are_in_flight_and_then_one_for_each_that_is_answered() -> None:
    callers = callers_of(batch_entries=1, batches_in_flight=2)
    callers.append("a", "b", "c")
    assert [callers.commits.next_batch(0.0) for _ in range(3)] == [b"a", b"b", b""]
    callers.answer(ID)
    assert [callers.commits.next_batch(0.0) for _ in range(2)] == [b"c", b""]


def test_replies_settle_in_order_across_batches_and_as_they_come() -> None:
    callers = callers_of(batch_entries=2)
    callers.append("a", "b", "c", "d")
    while callers.commits.next_batch(0.0):
        pass
    callers.answer(ID)
    assert callers.told == [("a", True)]
    callers.answer(ID, ID)
    callers.answer(ID)
    assert callers.told == [("a", True), ("b", True), ("c", True), ("d", True)]
    assert callers.commits.n_bytes == 0


@pytest.mark.parametrize("reply", [OSError("OOM"), None, 1, "OK"])
def test_only_an_id_means_stored(reply: object) -> None:
    callers = callers_of()
    callers.append("a", "b", "c")
    callers.commits.next_batch(0.0)
    assert callers.answer(ID, reply, ID) == [reply]
    assert callers.told == [("a", True), ("b", False), ("c", True)]


def test_the_first_refusal_is_the_one_that_is_told() -> None:
    callers = callers_of(batch_entries=1)
    callers.append("a", "b")
    callers.commits.next_batch(0.0)
    callers.commits.next_batch(0.0)
    first, second = OSError("first"), OSError("second")
    assert callers.answer(first, second) == [first]


def test_more_replies_than_commands_settle_nothing() -> None:
    callers = callers_of()
    callers.append("a")
    callers.commits.next_batch(0.0)
    with pytest.raises(ContractError, match="more replies than commands"):
        callers.answer(ID, ID)
    callers.tell(callers.commits.lost())
    assert callers.told == [("a", False)]


@pytest.mark.parametrize(("n_replicas", "stored"), [(1, False), (2, True), (3, True)])
def test_with_replicas_the_number_behind_the_batch_decides(n_replicas: int, stored: bool) -> None:  # noqa: FBT001 -- a fact of the case
    callers = callers_of(replicas=2)
    callers.append("a", "b")
    assert callers.commits.next_batch(0.0) == b"ab<wait>"
    callers.answer(ID, ID)
    assert callers.told == []
    assert callers.answer(n_replicas) == ([] if stored else [n_replicas])
    assert callers.told == [("a", stored), ("b", stored)]
    assert callers.commits.n_in_flight == 0


def test_with_replicas_an_error_is_not_stored_whatever_they_have() -> None:
    callers = callers_of(replicas=1)
    callers.append("a", "b")
    callers.commits.next_batch(0.0)
    error = OSError("OOM")
    assert callers.answer(ID, error, 1) == [error]
    assert callers.told == [("a", True), ("b", False)]


def test_a_refused_wait_means_not_stored() -> None:
    callers = callers_of(replicas=1)
    callers.append("a")
    callers.commits.next_batch(0.0)
    error = OSError("NOPERM")
    assert callers.answer(ID, error) == [error]
    assert callers.told == [("a", False)]


def test_with_replicas_replies_of_two_batches_may_come_in_any_pieces() -> None:
    callers = callers_of(replicas=1, batch_entries=2)
    callers.append("a", "b", "c")
    callers.commits.next_batch(0.0)
    callers.commits.next_batch(0.0)
    callers.answer(ID)
    callers.answer(ID, 1, ID)
    assert callers.told == [("a", True), ("b", True)]
    callers.answer(0)
    assert callers.told[2:] == [("c", False)]


def test_a_lost_connection_settles_what_is_in_flight_and_keeps_what_waits() -> None:
    callers = callers_of(batch_entries=2, batches_in_flight=2)
    callers.append("a", "b", "c", "d", "e")
    callers.commits.next_batch(0.0)
    callers.commits.next_batch(0.0)
    callers.answer(ID)
    callers.tell(callers.commits.lost())
    assert callers.told == [("a", True), ("b", False), ("c", False), ("d", False)]
    assert callers.commits.n_bytes == 1
    assert callers.commits.next_batch(0.0) == b"e"


def test_what_was_not_sent_can_be_withdrawn() -> None:
    callers = callers_of(batch_entries=2)
    callers.append("a", "b", "c")
    assert callers.withdraw("b")
    assert not callers.withdraw("b")
    callers.append("d")
    assert [callers.commits.next_batch(0.0) for _ in range(3)] == [b"a", b"cd", b""]
    callers.answer(ID, ID, ID)
    assert callers.told == [("b", False), ("a", True), ("c", True), ("d", True)]
    assert callers.commits.n_bytes == 0


def test_what_was_sent_cannot_be_withdrawn() -> None:
    callers = callers_of(batch_entries=1)
    callers.append("a", "b")
    callers.commits.next_batch(0.0)
    assert not callers.withdraw("a")
    callers.answer(ID)
    assert not callers.withdraw("a")
    assert callers.told == [("a", True)]
    assert callers.commits.withdraw(REFUSED) is None
    assert callers.commits.withdraw(99) is None


def test_a_batch_that_is_withdrawn_whole_is_not_sent() -> None:
    callers = callers_of(batch_entries=1, replicas=1)
    callers.append("a", "b")
    callers.withdraw("a")
    assert callers.commits.next_batch(0.0) == b"b<wait>"


def test_beyond_its_bound_nothing_is_taken() -> None:
    callers = callers_of(held_bytes=2, batch_entries=1)
    callers.append("a", "bb", "b", "c")
    assert [name for name, number in callers.numbers.items() if number != REFUSED] == ["a", "b"]
    callers.commits.next_batch(0.0)
    callers.append("d")
    assert callers.numbers["d"] == REFUSED
    callers.answer(ID)
    callers.append("e")
    assert callers.numbers["e"] != REFUSED


def test_the_oldest_in_flight_says_when_it_was_sent() -> None:
    callers = callers_of(batch_entries=1)
    callers.append("a", "b")
    assert callers.commits.oldest_sent_at is None
    callers.commits.next_batch(1.0)
    callers.commits.next_batch(2.0)
    assert callers.commits.oldest_sent_at == 1.0
    callers.answer(ID)
    assert callers.commits.oldest_sent_at == 2.0


def test_closed_settles_everybody_and_takes_nothing_more() -> None:
    callers = callers_of(batch_entries=1, batches_in_flight=1)
    callers.append("a", "b", "c")
    callers.withdraw("c")
    callers.commits.next_batch(0.0)
    callers.tell(callers.commits.close())
    assert callers.told == [("c", False), ("a", False), ("b", False)]
    callers.append("d")
    assert callers.numbers["d"] == REFUSED
    assert (callers.commits.n_bytes, callers.commits.next_batch(0.0)) == (0, b"")


class Histories(RuleBasedStateMachine):
    """Whatever happens: sent in order and once, settled once, True only for what had an id."""

    def __init__(self) -> None:
        super().__init__()
        self.callers = callers_of(batch_entries=3, batches_in_flight=2, batch_bytes=20)
        self.names = 0
        self.sent: list[str] = []
        self.replied: list[tuple[str, bool]] = []

    @rule(n=st.integers(1, 4))
    def append(self, n: int) -> None:
        for _ in range(n):
            self.names += 1
            self.callers.append(f"{self.names},")

    @rule()
    def send(self) -> None:
        while commands := self.callers.commits.next_batch(0.0):
            self.sent += commands.decode().split(",")[:-1]

    @precondition(lambda self: len(self.sent) > len(self.replied))
    @rule(stored=st.lists(st.booleans(), min_size=1, max_size=5))
    def answer(self, stored: list[bool]) -> None:
        awaited = self.sent[len(self.replied) :]
        part = list(zip(awaited, stored, strict=False))
        self.replied += part
        self.callers.answer(*(ID if ok else OSError() for _, ok in part))

    @rule()
    def lose(self) -> None:
        self.replied += [(name, False) for name in self.sent[len(self.replied) :]]
        self.callers.tell(self.callers.commits.lost())

    @precondition(lambda self: self.names)
    @rule(part=st.floats(0, 1))
    def withdraw(self, part: float) -> None:
        name = str(1 + int(part * (self.names - 1)))
        was_sent = name in self.sent
        assert not (self.callers.withdraw(f"{name},") and was_sent)

    @invariant()
    def sent_once_and_in_order(self) -> None:
        assert [int(name) for name in self.sent] == sorted({int(name) for name in self.sent})

    @invariant()
    def told_once_and_what_was_replied(self) -> None:
        told = [name.rstrip(",") for name, _ in self.callers.told]
        assert len(told) == len(set(told))
        of_sent = [
            (name.rstrip(","), ok) for name, ok in self.callers.told if name[:-1] in self.sent
        ]
        assert of_sent == self.replied

    @invariant()
    def bytes_are_those_of_batches_that_are_not_answered(self) -> None:
        told = {name for name, _ in self.callers.told}
        of_untold = sum(len(name) for name in self.callers.numbers if name not in told)
        assert of_untold <= self.callers.commits.n_bytes <= of_untold + 20
        assert (of_untold == 0) == (self.callers.commits.n_bytes == 0)

    def teardown(self) -> None:
        self.callers.tell(self.callers.commits.close())
        assert {name for name, _ in self.callers.told} == set(self.callers.numbers)
        assert len(self.callers.told) == len(self.callers.numbers)
        assert self.callers.commits.n_bytes == 0


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=40)

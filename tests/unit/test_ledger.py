from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from teltonika_processor.errors import LedgerViolation
from teltonika_processor.processor import ledger as ledgers
from teltonika_processor.processor.ledger import Fate, Happened, Ledger

ID = b"1-0"
OTHER = b"2-0"

PATHS = {
    None: [],
    Fate.PENDING: [Happened.DELIVERED],
    Fate.SETTLED: [Happened.DELIVERED, Happened.COMMITTED],
    Fate.TO_DEAD_LETTER: [Happened.DELIVERED, Happened.REJECTED],
    Fate.DEAD_LETTERED: [Happened.DELIVERED, Happened.REJECTED, Happened.LETTER_WRITTEN],
    Fate.RETRY: [Happened.DELIVERED, Happened.REJECTED, Happened.KEPT],
}

# What each event makes of each fate, None for an entry that the ledger does not know; the pairs
# that are missing are violations.
AFTER = {
    (None, Happened.DELIVERED): Fate.PENDING,
    (Fate.PENDING, Happened.DELIVERED): Fate.PENDING,
    (Fate.SETTLED, Happened.DELIVERED): Fate.SETTLED,
    (Fate.TO_DEAD_LETTER, Happened.DELIVERED): Fate.TO_DEAD_LETTER,
    (Fate.DEAD_LETTERED, Happened.DELIVERED): Fate.DEAD_LETTERED,
    (Fate.RETRY, Happened.DELIVERED): Fate.PENDING,
    (Fate.PENDING, Happened.COMMITTED): Fate.SETTLED,
    (Fate.PENDING, Happened.REJECTED): Fate.TO_DEAD_LETTER,
    (Fate.PENDING, Happened.GIVEN_BACK): Fate.RETRY,
    (Fate.TO_DEAD_LETTER, Happened.LETTER_WRITTEN): Fate.DEAD_LETTERED,
    (Fate.TO_DEAD_LETTER, Happened.KEPT): Fate.RETRY,
    (Fate.SETTLED, Happened.XACKED): None,
    (Fate.DEAD_LETTERED, Happened.XACKED): None,
    (Fate.RETRY, Happened.FORGOTTEN): None,
}


def tell(ledger: Ledger, happened: Happened, *ids: bytes, now: float = 0.0) -> None:
    """Tell the ledger of an event by the method that it has for it."""
    if happened is Happened.DELIVERED:
        ledger.deliver(ids, now=now)
    elif happened is Happened.XACKED:
        ledger.xacked(ids)
    else:
        ledger.record(ids, happened, now=now)


def ledger_at(fate: Fate | None, now: float = 0.0) -> Ledger:
    ledger = Ledger()
    for happened in PATHS[fate]:
        tell(ledger, happened, ID, now=now)
    assert ledger.fate(ID) is fate
    return ledger


@pytest.mark.parametrize(("fate", "happened"), list(product([None, *Fate], Happened)))
def test_every_pair_of_fate_and_event_is_decided(fate: Fate | None, happened: Happened) -> None:
    ledger = ledger_at(fate)
    if (fate, happened) not in AFTER:
        with pytest.raises(LedgerViolation):
            tell(ledger, happened, ID)
        assert ledger.fate(ID) is fate
    elif happened is Happened.FORGOTTEN:
        ledger.forget_retries(before=1.0)
        assert ledger.fate(ID) is None
    else:
        tell(ledger, happened, ID)
        assert ledger.fate(ID) is AFTER[fate, happened]


@pytest.mark.parametrize("fate", [None, *Fate])
def test_forgetting_retries_leaves_every_other_fate(fate: Fate | None) -> None:
    ledger = ledger_at(fate)
    ledger.forget_retries(before=1.0)
    assert ledger.fate(ID) is (None if fate is Fate.RETRY else fate)


@pytest.mark.parametrize(
    ("fate", "happened"),
    [
        (None, Happened.DELIVERED),
        (Fate.SETTLED, Happened.XACKED),
        (Fate.RETRY, Happened.FORGOTTEN),
    ],
)
def test_an_event_with_a_method_of_its_own_is_not_recorded(
    fate: Fate | None, happened: Happened
) -> None:
    ledger = ledger_at(fate)
    with pytest.raises(LedgerViolation, match="method of its own"):
        ledger.record([ID], happened)
    assert ledger.fate(ID) is fate


@pytest.mark.parametrize("fate", [None, Fate.PENDING, Fate.TO_DEAD_LETTER, Fate.RETRY])
def test_an_unsettled_entry_may_not_be_acknowledged(fate: Fate | None) -> None:
    ledger = ledger_at(fate)
    with pytest.raises(LedgerViolation):
        ledger.demand_settled([ID])


@pytest.mark.parametrize("fate", [Fate.SETTLED, Fate.DEAD_LETTERED])
def test_a_finished_entry_may_be_acknowledged(fate: Fate) -> None:
    ledger = ledger_at(fate)
    ledger.demand_settled([ID])
    assert ledger.fate(ID) is fate
    ledger.xacked([ID])
    assert len(ledger) == 0
    assert ID not in ledger


@pytest.mark.parametrize(
    "operation",
    [
        lambda ledger: ledger.record([ID, OTHER], Happened.COMMITTED),
        lambda ledger: ledger.xacked([ID, OTHER]),
        lambda ledger: ledger.demand_settled([OTHER, ID]),
    ],
)
def test_one_entry_that_may_not_move_keeps_all_where_they_are(
    operation: Callable[[Ledger], None],
) -> None:
    ledger = Ledger()
    ledger.deliver([ID, OTHER], now=0.0)
    ledger.record([ID], Happened.COMMITTED)
    with pytest.raises(LedgerViolation):
        operation(ledger)
    assert (ledger.fate(ID), ledger.fate(OTHER)) == (Fate.SETTLED, Fate.PENDING)


@pytest.mark.parametrize(
    ("fate", "in_flight"),
    [
        (None, False),
        (Fate.PENDING, True),
        (Fate.SETTLED, True),
        (Fate.TO_DEAD_LETTER, True),
        (Fate.DEAD_LETTERED, True),
        (Fate.RETRY, False),
    ],
)
def test_in_flight_is_what_is_worked_on(fate: Fate | None, *, in_flight: bool) -> None:
    ledger = ledger_at(fate)
    assert ledger.in_flight(ID) is in_flight
    assert ledger.holds_any([OTHER, ID]) is in_flight
    assert len(ledger) == int(in_flight)
    assert ledger.in_flight_since(1.0) == ([ID] if in_flight else [])
    assert ledger.n_retries == int(fate is Fate.RETRY)
    assert (ID in ledger) is (fate is not None)
    assert ledger.knows_any([OTHER, ID]) is (fate is not None)


def test_counts_name_every_fate() -> None:
    assert ledger_at(Fate.RETRY).counts() == {
        "pending": 0,
        "settled": 0,
        "to_dead_letter": 0,
        "dead_lettered": 0,
        "retry": 1,
    }


def test_the_oldest_retries_are_forgotten_beyond_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledgers, "RETRIES_MAX", 3)
    ids = [b"%d-0" % i for i in range(5)]
    ledger = Ledger()
    ledger.deliver(ids, now=0.0)
    ledger.record(ids, Happened.REJECTED)
    for at, entry_id in enumerate(reversed(ids)):
        ledger.record([entry_id], Happened.KEPT, now=float(at))
    assert ledger.n_retries == 3
    assert [entry_id in ledger for entry_id in ids] == [True, True, True, False, False]


def test_retries_are_forgotten_by_when_they_last_failed() -> None:
    ledger = Ledger()
    ledger.deliver([ID, OTHER], now=0.0)
    ledger.record([ID, OTHER], Happened.REJECTED)
    ledger.record([ID], Happened.KEPT, now=1.0)
    ledger.record([OTHER], Happened.KEPT, now=2.0)
    ledger.deliver([ID], now=3.0)
    ledger.record([ID], Happened.REJECTED)
    ledger.record([ID], Happened.KEPT, now=4.0)
    ledger.forget_retries(before=2.0)
    assert (ID in ledger, OTHER in ledger) == (True, True)
    ledger.forget_retries(before=4.0)
    assert (ID in ledger, OTHER in ledger) == (True, False)
    ledger.forget_retries(before=4.5)
    assert ID not in ledger


def test_in_flight_since_names_each_late_entry_once_in_the_order_of_delivery() -> None:
    ledger = Ledger()
    ledger.deliver([OTHER, ID], now=1.0)
    ledger.deliver([ID, b"3-0"], now=2.0)
    ledger.deliver([b"4-0"], now=3.0)
    assert ledger.in_flight_since(1.0) == []
    assert ledger.in_flight_since(3.0) == [OTHER, ID, b"3-0"]
    ledger.record([ID], Happened.COMMITTED)
    ledger.xacked([ID])
    assert ledger.in_flight_since(3.5) == [OTHER, b"3-0", b"4-0"]


@pytest.mark.parametrize("n_late", [0, 1])
def test_deliveries_that_are_over_are_not_remembered(n_late: int) -> None:
    ledger = Ledger()
    late = [b"0-%d" % i for i in range(n_late)]
    ledger.deliver(late, now=0.0)
    for n in range(10_000):
        ids = [b"%d-1" % (n + 1)]
        ledger.deliver(ids, now=float(n))
        ledger.record(ids, Happened.COMMITTED)
        ledger.xacked(ids)
    assert len(ledger._deliveries) <= 64
    assert ledger.in_flight_since(1.0) == late


def test_entries_that_wait_to_be_tried_again_keep_no_delivery_in_memory() -> None:
    ledger = Ledger()
    for n in range(10_000):
        bad, *good = [b"%d-%d" % (n, k) for k in range(3)]
        ledger.deliver([bad, *good], now=float(n))
        ledger.record(good, Happened.COMMITTED)
        ledger.xacked(good)
        ledger.record([bad], Happened.REJECTED)
        ledger.record([bad], Happened.KEPT, now=float(n))
    assert ledger.n_retries == 10_000
    assert len(ledger._deliveries) <= 64


def test_orphans_are_in_flight_since_before_the_group_was_lost() -> None:
    ledger = Ledger()
    ledger.deliver([ID, OTHER, b"3-0"], now=1.0)
    assert ledger.orphans() == []
    ledger.group_lost(now=2.0)
    ledger.deliver([b"4-0", OTHER], now=3.0)
    ledger.record([b"3-0"], Happened.COMMITTED)
    ledger.xacked([b"3-0"])
    assert ledger.orphans() == [ID]


EVENTS = st.lists(
    st.tuples(
        st.lists(st.sampled_from([b"1-0", b"2-0", b"3-0"]), min_size=1, unique=True),
        st.sampled_from([*Happened]),
    ),
    max_size=60,
)


@given(EVENTS)
def test_no_sequence_of_events_acknowledges_an_unsettled_entry(
    events: list[tuple[list[bytes], Happened]],
) -> None:
    ledger, durable = Ledger(), set[bytes]()
    for ids, happened in events:
        try:
            tell(ledger, happened, *ids)
        except LedgerViolation:
            # What is durable and not acknowledged may always be acknowledged.
            assert not (happened is Happened.XACKED and durable.issuperset(ids))
            continue
        if happened in (Happened.COMMITTED, Happened.LETTER_WRITTEN):
            durable.update(ids)
        if happened is Happened.XACKED:
            assert durable.issuperset(ids)
            durable.difference_update(ids)


class LedgerMachine(RuleBasedStateMachine):
    """The ledger against one entry at a time in a plain dictionary, by the literal table."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.fates: dict[bytes, Fate] = {}
        self.retry_since: dict[bytes, float] = {}
        self.now = 0.0

    @rule(
        ids=st.lists(st.integers(1, 6), min_size=1, unique=True),
        happened=st.sampled_from(Happened),
    )
    def tell(self, ids: list[int], happened: Happened) -> None:
        self.now += 1.0
        named = [b"%d-0" % one for one in ids]
        befores = {self.fates.get(one) for one in named}
        if happened is Happened.FORGOTTEN or any((b, happened) not in AFTER for b in befores):
            with pytest.raises(LedgerViolation):
                tell(self.ledger, happened, *named, now=self.now)
            return
        tell(self.ledger, happened, *named, now=self.now)
        for one in named:
            self._move(one, AFTER[self.fates.get(one), happened])

    def _move(self, one: bytes, after: Fate | None) -> None:
        if after is None:
            del self.fates[one]
        else:
            self.fates[one] = after
        if after is Fate.RETRY:
            self.retry_since[one] = self.now
        else:
            self.retry_since.pop(one, None)

    @precondition(lambda self: self.now > 0)
    @rule(age=st.integers(0, 4))
    def forget(self, age: int) -> None:
        self.ledger.forget_retries(before=self.now - age)
        late = [one for one, since in self.retry_since.items() if since < self.now - age]
        for one in late:
            self._move(one, None)

    @invariant()
    def says_the_same(self) -> None:
        for one in (b"%d-0" % i for i in range(1, 7)):
            assert self.ledger.fate(one) is self.fates.get(one)
        assert self.ledger.n_retries == len(self.retry_since)
        flying = {one for one, fate in self.fates.items() if fate is not Fate.RETRY}
        assert set(self.ledger.in_flight_since(self.now + 1)) == flying


TestLedgerMachine = LedgerMachine.TestCase

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teltonika_processor.errors import LedgerViolation
from teltonika_processor.processor.ledger import Fate, Happened, Ledger

ALLOWED = {
    (Fate.PENDING, Happened.COMMITTED): Fate.SETTLED,
    (Fate.PENDING, Happened.REJECTED): Fate.TO_DEAD_LETTER,
    (Fate.TO_DEAD_LETTER, Happened.LETTER_WRITTEN): Fate.DEAD_LETTERED,
}
PATHS = {
    Fate.PENDING: [],
    Fate.SETTLED: [Happened.COMMITTED],
    Fate.TO_DEAD_LETTER: [Happened.REJECTED],
    Fate.DEAD_LETTERED: [Happened.REJECTED, Happened.LETTER_WRITTEN],
}
ID = b"1-0"


def ledger_at(fate: Fate) -> Ledger:
    ledger = Ledger()
    ledger.deliver([ID])
    for happened in PATHS[fate]:
        ledger.record([ID], happened)
    assert ledger.fate(ID) is fate
    return ledger


@pytest.mark.parametrize(("fate", "happened"), list(product(Fate, Happened)))
def test_every_pair_of_fate_and_event_is_decided(fate: Fate, happened: Happened) -> None:
    ledger = ledger_at(fate)
    after = ALLOWED.get((fate, happened))
    if after is None:
        with pytest.raises(LedgerViolation):
            ledger.record([ID], happened)
        assert ledger.fate(ID) is fate
    else:
        ledger.record([ID], happened)
        assert ledger.fate(ID) is after


@pytest.mark.parametrize("fate", [Fate.PENDING, Fate.TO_DEAD_LETTER])
def test_an_unsettled_entry_may_not_be_acknowledged(fate: Fate) -> None:
    ledger = ledger_at(fate)
    with pytest.raises(LedgerViolation):
        ledger.demand_settled([ID])
    with pytest.raises(LedgerViolation):
        ledger.forget([ID])
    assert ID in ledger


@pytest.mark.parametrize("fate", [Fate.SETTLED, Fate.DEAD_LETTERED])
def test_a_finished_entry_may_be_acknowledged(fate: Fate) -> None:
    ledger = ledger_at(fate)
    ledger.demand_settled([ID])
    ledger.forget([ID])
    assert len(ledger) == 0


def test_redelivery_in_flight_keeps_the_fate() -> None:
    ledger = ledger_at(Fate.SETTLED)
    ledger.deliver([ID])
    assert ledger.fate(ID) is Fate.SETTLED


def test_an_unknown_entry_is_a_violation() -> None:
    with pytest.raises(LedgerViolation):
        Ledger().demand_settled([b"9-9"])
    with pytest.raises(LedgerViolation):
        Ledger().record([b"9-9"], Happened.COMMITTED)


EVENTS = st.lists(
    st.tuples(st.sampled_from([b"1-0", b"2-0", b"3-0"]), st.sampled_from([*Happened, None])),
    max_size=40,
)


@given(EVENTS)
def test_no_sequence_of_events_acknowledges_an_unsettled_entry(
    events: list[tuple[bytes, Happened | None]],
) -> None:
    ledger, committed, lettered = Ledger(), set[bytes](), set[bytes]()
    for entry_id, happened in events:
        ledger.deliver([entry_id])
        if happened is None:
            allowed = entry_id in committed | lettered
            try:
                ledger.forget([entry_id])
            except LedgerViolation:
                assert not allowed
            else:
                assert allowed
                committed.discard(entry_id)
                lettered.discard(entry_id)
            continue
        try:
            ledger.record([entry_id], happened)
        except LedgerViolation:
            continue
        if happened is Happened.COMMITTED:
            committed.add(entry_id)
        if happened is Happened.LETTER_WRITTEN:
            lettered.add(entry_id)

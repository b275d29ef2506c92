from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teltonika_processor.gateway.admission import Admission, Replaced, Verdict

NOW_MS = 1_790_000_000_000
IMEI = 356307042441013


def imeis(*numbers: int) -> "array[int]":
    return array("q", numbers)


def replaced(admission: Admission, *numbers: int, now_s: float = 0.0) -> tuple[list[int], Replaced]:
    """Whom a new list keeps out, and what it brought."""
    removed: list[int] = []
    work = admission.replace(imeis(*numbers), now_s=now_s)
    while True:
        try:
            removed += next(work)
        except StopIteration as end:
            return removed, end.value


def listing(*numbers: int) -> Admission:
    admission = Admission()
    replaced(admission, *numbers)
    return admission


def test_before_any_list_nobody_is_decided_and_nobody_is_noted() -> None:
    admission = Admission()
    assert admission.decide(IMEI, now_ms=NOW_MS) is Verdict.UNDECIDED
    assert (admission.is_known, admission.age_s(7.0), admission.n_allowed) == (False, None, 0)
    assert admission.refused.watched(NOW_MS) == []


def test_an_empty_list_refuses_everybody() -> None:
    admission = listing()
    assert admission.decide(IMEI, now_ms=NOW_MS) is Verdict.REFUSED
    assert admission.is_known


@pytest.mark.parametrize("listed", [[IMEI], [0, IMEI], [IMEI, 10**15 - 1], [1, 2, IMEI, 10**15]])
def test_who_is_on_the_list_is_let_in(listed: Sequence[int]) -> None:
    admission = listing(*listed)
    assert admission.decide(IMEI, now_ms=NOW_MS) is Verdict.ALLOWED
    assert admission.refused.n_refused == 0


@pytest.mark.parametrize("imei", [IMEI - 1, IMEI + 1, 0, 10**15 - 1])
def test_who_is_not_on_the_list_is_refused_and_watched(imei: int) -> None:
    admission = listing(IMEI)
    assert admission.decide(imei, now_ms=NOW_MS) is Verdict.REFUSED
    assert admission.refused.watched(NOW_MS) == [imei]


def test_open_lets_everybody_in_without_a_list() -> None:
    admission = Admission(is_open=True)
    assert admission.decide(IMEI, now_ms=NOW_MS) is Verdict.ALLOWED
    assert admission.is_known
    assert admission.lets_in(0)


def test_a_list_says_whom_it_keeps_out_and_is_in_force_by_then() -> None:
    admission = listing(1, 2, 3, 4)
    work = admission.replace(imeis(2, 4, 5), now_s=1.0)
    removed = list(next(work))
    assert admission.decide(1, now_ms=NOW_MS) is Verdict.REFUSED
    assert admission.decide(5, now_ms=NOW_MS) is Verdict.ALLOWED
    removed += [imei for piece in work for imei in piece]
    assert removed == [1, 3]


def test_what_a_list_brought_is_counted() -> None:
    admission = Admission()
    assert replaced(admission, 1, 2, 3) == ([], Replaced(3, n_added=3, n_removed=0))
    assert replaced(admission, 1, 2, 3) == ([], Replaced(3, n_added=0, n_removed=0))
    assert replaced(admission, 3, 4) == ([1, 2], Replaced(2, n_added=1, n_removed=2))
    assert replaced(admission) == ([3, 4], Replaced(0, n_added=0, n_removed=2))


def test_only_a_list_that_decides_otherwise_is_a_change() -> None:
    assert not Replaced(3, n_added=0, n_removed=0).is_change
    assert Replaced(3, n_added=1, n_removed=0).is_change
    assert Replaced(3, n_added=0, n_removed=1).is_change


def test_who_was_found_allowed_is_let_in_until_the_next_list() -> None:
    admission = listing(1)
    admission.admit([1, 7, 8])
    assert admission.decide(7, now_ms=NOW_MS) is Verdict.ALLOWED
    assert admission.n_allowed == 3
    assert replaced(admission, 1, 7) == ([8], Replaced(2, n_added=0, n_removed=1))
    assert admission.decide(8, now_ms=NOW_MS) is Verdict.REFUSED


def test_a_list_is_as_old_as_it_was_last_read_or_found_unchanged() -> None:
    admission = Admission()
    admission.confirm(now_s=5.0)
    assert admission.age_s(5.0) is None
    replaced(admission, 1, now_s=10.0)
    assert admission.age_s(12.5) == 2.5
    admission.confirm(now_s=12.0)
    assert admission.age_s(12.5) == 0.5


near = st.sets(st.integers(0, 4000), max_size=3000)


@given(before=near, added=near, after=near)
def test_lists_differ_as_sets_do(before: set[int], added: set[int], after: set[int]) -> None:
    admission = listing(*sorted(before))
    admission.admit(added)
    removed, said = replaced(admission, *sorted(after))
    let_in = before | added
    assert sorted(removed) == sorted(let_in - after)
    assert said == Replaced(len(after), len(after - let_in), len(let_in - after))
    assert all(admission.lets_in(imei) == (imei in after) for imei in range(0, 4001, 7))


def test_a_long_list_comes_in_short_pieces() -> None:
    admission = listing(*range(100_000))
    pieces = list(admission.replace(imeis(*range(50_000, 200_000)), now_s=0.0))
    assert max(map(len, pieces)) == 500
    assert sum(map(len, pieces)) == 50_000

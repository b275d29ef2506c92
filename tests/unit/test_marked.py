"""Who is due, with whom, and how: by rules, without a clock."""

import pytest

from teltonika_processor.timing.marked import (
    AGAIN_S,
    FAILED_AGAIN_S,
    GROUP_MAX,
    LOSSES_MAX,
    OWN_MAX,
    REST_MAX_S,
    Group,
    Marked,
    rest_s,
)


def taken(marked: Marked, now_s: float) -> Group:
    group = marked.take(now_s)
    assert group is not None
    return group


def test_whoever_is_marked_is_due_at_once_and_ascending() -> None:
    marked = Marked()
    marked.add([3, 1, 2], 10.0)
    marked.add([1], 11.0)
    assert (len(marked), marked.oldest_s(), marked.next_due_s()) == (3, 10.0, 0.0)
    assert taken(marked, 12.0) == Group([1, 2, 3], {1: 10.0, 2: 10.0, 3: 10.0})
    assert (len(marked), marked.oldest_s(), marked.next_due_s()) == (0, None, None)
    assert marked.take(12.0) is None


def test_a_group_is_bounded() -> None:
    marked = Marked()
    marked.add(range(GROUP_MAX + 1), 0.0)
    assert len(taken(marked, 0.0).imeis) == GROUP_MAX
    assert taken(marked, 0.0).imeis == [GROUP_MAX]


def test_our_own_go_before_those_of_a_sweep_which_have_a_part_of_each_group() -> None:
    marked = Marked()
    marked.find(range(1000, 1000 + 3 * GROUP_MAX), 1.0)
    marked.add(range(GROUP_MAX), 2.0)
    first = taken(marked, 3.0)
    assert first.found == frozenset(range(1000, 1000 + GROUP_MAX - OWN_MAX))
    assert first.imeis == [*range(OWN_MAX), *sorted(first.found)]
    assert marked.is_own_due(3.0)
    second = taken(marked, 3.0)
    assert second.imeis[: GROUP_MAX - OWN_MAX] == [*range(OWN_MAX, GROUP_MAX)]
    assert len(second.found) == OWN_MAX
    assert not marked.is_own_due(3.0)
    assert len(taken(marked, 3.0).found) == GROUP_MAX


def test_a_sweep_brings_nobody_forward_who_waits_and_a_batch_does() -> None:
    marked = Marked()
    marked.add([1], 0.0)
    marked.settle(taken(marked, 0.0), passed_over=[1], unfinished=[], now_s=5.0)
    marked.find([1, 2], 5.0)
    assert taken(marked, 5.0) == Group([2], {2: 5.0}, frozenset([2]))
    assert marked.take(5.0) is None
    marked.find([3], 6.0)
    marked.add([1, 3], 6.0)
    assert taken(marked, 6.0) == Group([1, 3], {1: 0.0, 3: 6.0})


def test_what_a_sweep_found_stays_that_until_a_batch_marks_it() -> None:
    marked = Marked()
    marked.find([1, 2], 0.0)
    group = taken(marked, 0.0)
    marked.add([2], 0.5)
    marked.put_back(group)
    assert marked.is_own_due(1.0)
    assert taken(marked, 1.0) == Group([1, 2], {1: 0.0, 2: 0.0}, frozenset([1]))
    assert len(marked) == 0


def test_whoever_was_passed_over_is_due_later_and_keeps_its_time() -> None:
    marked = Marked()
    marked.add([1, 2], 5.0)
    group = taken(marked, 6.0)
    marked.add([2], 6.5)
    marked.settle(group, passed_over=[1], unfinished=[2], now_s=7.0)
    assert marked.next_due_s() == 0.0
    assert taken(marked, 7.0) == Group([2], {2: 5.0})
    assert marked.take(7.0) is None
    assert taken(marked, 7.0 + AGAIN_S) == Group([1], {1: 5.0})


def test_whoever_loses_five_times_is_held_once_and_apart_from_others() -> None:
    marked = Marked()
    for now_s in range(LOSSES_MAX):
        marked.add([1], float(now_s))
        group = taken(marked, now_s)
        assert not group.holds
        marked.settle(group, passed_over=[1], unfinished=[], now_s=float(now_s))
    marked.add([1, 2], 100.0)
    held, other = taken(marked, 100.0), taken(marked, 100.0)
    assert (held.imeis, held.holds) == ([1], True)
    assert (other.imeis, other.holds) == ([2], False)
    marked.settle(held, passed_over=[1], unfinished=[], now_s=100.0)
    assert not taken(marked, 101.0).holds


def test_a_device_that_may_have_made_a_group_fail_is_done_alone() -> None:
    marked = Marked()
    marked.add([1, 2], 0.0)
    marked.failed(taken(marked, 0.0), 0.0)
    first, second = taken(marked, 0.0), taken(marked, 0.0)
    assert (first.imeis, second.imeis) == ([1], [2])
    marked.failed(first, 1.0)
    marked.settle(second, passed_over=[], unfinished=[], now_s=1.0)
    assert marked.next_due_s() == 1.0 + FAILED_AGAIN_S
    marked.add([2, 3], 2.0)
    assert taken(marked, 2.0).imeis == [2, 3]


def test_who_was_found_and_is_done_apart_has_its_turn_while_our_own_are_always_due() -> None:
    marked = Marked()
    marked.find([5000], 0.0)
    marked.failed(taken(marked, 0.0), 0.0)
    groups = list[list[int]]()
    for turn in range(10, 16):
        marked.add(range(GROUP_MAX), float(turn))
        group = taken(marked, float(turn))
        marked.settle(group, passed_over=[], unfinished=[], now_s=float(turn))
        groups.append(group.imeis)
    assert groups.count([5000]) == 1


def test_who_failed_alone_waits_although_a_batch_marks_it_again() -> None:
    marked = Marked()
    marked.add([1], 0.0)
    group = taken(marked, 0.0)
    marked.add([1], 0.0)
    marked.failed(group, 0.0)
    marked.add([1, 2], 0.5)
    assert taken(marked, 1.0).imeis == [2]
    assert marked.take(1.0) is None
    assert taken(marked, FAILED_AGAIN_S).imeis == [1]


def test_who_failed_alone_waits_although_a_batch_marks_it_as_its_own() -> None:
    marked = Marked()
    marked.find([1], 0.0)
    marked.failed(taken(marked, 0.0), 0.0)
    marked.add([1], 0.5)
    assert marked.take(1.0) is None
    assert taken(marked, FAILED_AGAIN_S).imeis == [1]


@pytest.mark.parametrize(
    ("fold_s", "entries_wait", "expected"),
    [(0.01, False, 0.0), (0.01, True, 0.04), (9.0, True, REST_MAX_S)],
)
def test_folds_rest_while_entries_wait(fold_s: float, entries_wait: bool, expected: float) -> None:  # noqa: FBT001
    assert rest_s(fold_s, entries_wait=entries_wait) == expected

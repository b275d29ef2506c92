from typing import TYPE_CHECKING, Any, cast

import pytest

from teltonika_processor.processor.aside import RETRY_EVERY_S, WORKS_MAX, Aside

if TYPE_CHECKING:
    from teltonika_processor.processor.work import Work

# The room does not look into what it keeps.
WORKS = cast("list[Work]", [f"work {n}" for n in range(WORKS_MAX)])


def aside_with(*times: float) -> Aside:
    aside = Aside()
    for work, at in zip(WORKS, times, strict=False):
        aside.add(work, now=at)
    return aside


def test_work_is_due_five_seconds_later() -> None:
    assert RETRY_EVERY_S == 5.0
    aside = aside_with(10.0)
    assert aside.due(now=14.999) is None
    assert aside.due(now=15.0) == WORKS[0]
    assert aside.due(now=100.0) is None


def test_each_piece_is_due_by_its_own_time_in_order() -> None:
    aside = aside_with(0.0, 2.0)
    assert (aside.due(now=5.0), aside.due(now=6.9)) == (WORKS[0], None)
    assert aside.due(now=7.0) == WORKS[1]


def test_what_is_set_aside_again_waits_behind_the_others() -> None:
    aside = aside_with(0.0, 0.0)
    first: Any = aside.due(now=5.0)
    aside.add(first, now=5.0)
    assert aside.due(now=5.0) == WORKS[1]
    assert aside.due(now=5.0) is None
    assert aside.due(now=10.0) == WORKS[0]


@pytest.mark.parametrize(("n_works", "has_room"), [(0, True), (7, True), (8, False)])
def test_there_is_room_for_eight(n_works: int, *, has_room: bool) -> None:
    aside = aside_with(*[0.0] * n_works)
    assert len(aside) == n_works
    assert aside.has_room is has_room


def test_room_is_there_again_once_one_is_due() -> None:
    aside = aside_with(*[0.0] * 8)
    assert aside.due(now=5.0) == WORKS[0]
    assert aside.has_room


def test_everything_is_taken_out_whether_due_or_not() -> None:
    aside = aside_with(0.0, 50.0)
    assert aside.take_all() == WORKS[:2]
    assert aside.take_all() == []
    assert len(aside) == 0
    assert aside.due(now=1000.0) is None

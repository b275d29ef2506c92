from teltonika_processor.gateway.deadlines import Deadlines


def test_a_deadline_is_due_at_the_first_tick_after_it_and_once() -> None:
    deadlines: Deadlines[str] = Deadlines(tick_s=1.0)
    deadlines.set("a", 110.5)
    assert deadlines.due(110.9) == []
    assert deadlines.due(111.0) == ["a"]
    assert deadlines.due(112.0) == []
    assert len(deadlines) == 0


def test_a_deadline_at_a_tick_is_due_at_it() -> None:
    deadlines: Deadlines[str] = Deadlines(tick_s=0.25)
    deadlines.set("a", 110.5)
    assert deadlines.due(110.4) == []
    assert deadlines.due(110.5) == ["a"]


def test_a_deadline_moved_to_later_is_due_then() -> None:
    deadlines: Deadlines[str] = Deadlines(tick_s=1.0)
    deadlines.set("a", 110.0)
    deadlines.set("a", 120.0)
    assert deadlines.due(115.0) == []
    assert deadlines.due(120.0) == ["a"]


def test_a_deadline_moved_to_earlier_is_due_then() -> None:
    deadlines: Deadlines[str] = Deadlines(tick_s=1.0)
    deadlines.set("a", 7300.0)
    deadlines.set("a", 110.0)
    assert deadlines.due(110.0) == ["a"]
    assert deadlines.due(7300.0) == []


def test_a_deadline_moved_to_the_beginning_of_its_own_tick_is_due_then() -> None:
    deadlines: Deadlines[str] = Deadlines(tick_s=1.0)
    deadlines.set("a", 110.5)
    deadlines.set("a", 110.0)
    assert deadlines.due(110.0) == ["a"]


def test_a_cleared_deadline_is_never_due() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 110.0)
    deadlines.set("b", 110.0)
    deadlines.clear("a")
    deadlines.clear("never")
    assert deadlines.due(111.0) == ["b"]
    deadlines.clear("b")


def test_a_key_that_was_due_can_have_a_deadline_again() -> None:
    deadlines: Deadlines[str] = Deadlines(tick_s=1.0)
    deadlines.set("a", 110.0)
    assert deadlines.due(110.0) == ["a"]
    deadlines.set("a", 112.0)
    assert deadlines.due(112.0) == ["a"]


def test_a_deadline_in_the_past_is_due_at_the_next_tick() -> None:
    deadlines: Deadlines[str] = Deadlines(tick_s=1.0)
    assert deadlines.due(100.0) == []
    deadlines.set("a", 50.0)
    assert deadlines.due(100.5) == []
    assert deadlines.due(101.0) == ["a"]


def test_the_earlier_tick_comes_first_also_after_a_long_sleep() -> None:
    deadlines: Deadlines[str] = Deadlines(tick_s=1.0)
    deadlines.set("late", 90_000.0)
    deadlines.set("early", 110.0)
    assert deadlines.due(1_000_000.0) == ["early", "late"]


def test_a_clock_that_stands_still_makes_nothing_due() -> None:
    deadlines: Deadlines[str] = Deadlines(tick_s=1.0)
    deadlines.set("a", 100.5)
    assert deadlines.due(100.0) == []
    assert deadlines.due(100.0) == []
    assert deadlines.due(99.0) == []
    assert deadlines.due(101.0) == ["a"]


def test_nothing_is_left_of_keys_that_are_gone() -> None:
    deadlines: Deadlines[int] = Deadlines(tick_s=1.0)
    for key in range(1000):
        deadlines.set(key, 7200.0 + key)
        deadlines.set(key, 20.0 + key)
        deadlines.set(key, 7200.0 + key)
        deadlines.clear(key)
    assert (len(deadlines), deadlines._tick_of, deadlines._keys_of) == (0, {}, {})

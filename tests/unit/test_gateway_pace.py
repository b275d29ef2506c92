from teltonika_processor.gateway.pace import Pace, Paces, Rate


def pauses(pace: Pace, *times_s: float) -> list[float]:
    return [round(pace.take(time_s), 9) for time_s in times_s]


def test_a_burst_is_free_and_then_one_waits_for_its_interval() -> None:
    pace = Pace(Rate.of(4.0, burst_s=1.0))
    assert pauses(pace, 100.0, 100.0, 100.0, 100.0) == [0.0, 0.0, 0.0, 0.25]


def test_who_goes_at_the_rate_never_waits() -> None:
    pace = Pace(Rate.of(4.0, burst_s=0.5))
    assert not any(pace.take(100.0 + 0.25 * n) for n in range(10_000))


def test_who_comes_when_told_waits_the_same_each_time() -> None:
    pace = Pace(Rate.of(4.0, burst_s=0.5))
    assert pauses(pace, 100.0, 100.0, 100.25, 100.5) == [0.0, 0.25, 0.25, 0.25]


def test_frames_glued_together_are_paid_for_one_by_one() -> None:
    pace = Pace(Rate.of(4.0, burst_s=0.25))
    assert pauses(pace, 100.0, 100.0, 100.0) == [0.25, 0.5, 0.75]
    assert pauses(pace, 100.75) == [0.25]


def test_several_at_once_are_paid_for_as_if_one_by_one() -> None:
    pace = Pace(Rate.of(4.0, burst_s=0.25))
    assert [pace.take(100.0, 3), pace.take(100.5, 2)] == [0.75, 0.75]


def test_after_a_rest_the_burst_is_there_again_but_not_more() -> None:
    pace = Pace(Rate.of(4.0, burst_s=0.5))
    assert pauses(pace, 100.0, 100.0) == [0.0, 0.25]
    assert pauses(pace, 5000.0, 5000.0, 5000.0) == [0.0, 0.25, 0.5]


def test_a_pause_below_a_millisecond_is_added_to_the_next() -> None:
    pace = Pace(Rate.of(2000.0, burst_s=0.001))
    assert pauses(pace, 100.0, 100.0, 100.0) == [0.0, 0.0, 0.001]


def test_a_rate_slower_than_its_burst_lets_one_through_at_once() -> None:
    pace = Pace(Rate.of_accepts(1.0))
    assert pauses(pace, 100.0, 101.0) == [1.0, 1.0]


def test_a_device_may_send_the_frames_of_ten_seconds_at_once() -> None:
    pace = Pace(Rate.of_frames(100.0))
    assert not any(pace.take(100.0) for _ in range(999))
    assert pauses(pace, 100.0) == [0.01]


def test_a_twentieth_of_a_seconds_connections_is_accepted_in_a_row() -> None:
    pace = Pace(Rate.of_accepts(500.0))
    assert not any(pace.take(100.0) for _ in range(24))
    assert pauses(pace, 100.0, 100.0) == [0.002, 0.004]


def test_two_devices_of_one_rate_do_not_share_its_burst() -> None:
    rate = Rate.of(4.0, burst_s=0.25)
    first, second = Pace(rate), Pace(rate)
    assert pauses(first, 100.0, 100.0) == [0.25, 0.5]
    assert pauses(second, 100.0) == [0.25]


def test_what_cannot_wait_is_let_through_up_to_the_burst_and_then_at_the_rate() -> None:
    paces = Paces[str](Rate.of(4.0, burst_s=0.75))
    assert [paces.of("a").may_go(100.0) for _ in range(5)] == [True] * 3 + [False] * 2
    # Those that were not let through are not counted.
    assert [paces.of("a").may_go(100.25) for _ in range(2)] == [True, False]
    assert [paces.of("a").may_go(200.0) for _ in range(4)] == [True] * 3 + [False]


def test_each_has_its_own_pace_and_the_quietest_is_forgotten_first() -> None:
    paces = Paces[str](Rate.of(1.0, burst_s=1.0), keys_max=2)
    assert [paces.of(key).may_go(100.0) for key in ("a", "b", "a")] == [True, True, False]
    assert paces.of("c").may_go(100.0)
    assert len(paces) == 2
    assert [paces.of(key).may_go(100.0) for key in ("a", "b")] == [False, True]

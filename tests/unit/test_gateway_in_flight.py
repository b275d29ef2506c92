from teltonika_processor.gateway.in_flight import BytesInFlight


def pressed(*names: str, max_bytes: int = 100) -> BytesInFlight[str]:
    """More than `max_bytes` in flight, ten bytes of each of `names`, which wait."""
    in_flight: BytesInFlight[str] = BytesInFlight(max_bytes=max_bytes)
    in_flight.take("first", max_bytes)
    for name in names:
        assert not in_flight.take(name, 10)
    return in_flight


def test_below_the_bound_everybody_is_read_on() -> None:
    in_flight: BytesInFlight[str] = BytesInFlight(max_bytes=100)
    assert in_flight.take("a", 60)
    assert in_flight.take("b", 40)
    assert in_flight.n_bytes == 100
    assert in_flight.give(60) == ()
    assert (in_flight.n_bytes, in_flight.n_waiting) == (40, 0)


def test_what_is_above_the_bound_is_taken_and_its_connection_waits() -> None:
    in_flight = pressed("a")
    assert (in_flight.n_bytes, in_flight.n_waiting) == (110, 1)


def test_nobody_is_read_again_above_half_of_the_bound() -> None:
    in_flight = pressed("a")
    assert in_flight.give(59) == ()
    assert in_flight.give(1) == ["a"]
    assert in_flight.n_waiting == 0


def test_who_brings_something_while_others_wait_waits_behind_them() -> None:
    in_flight = pressed("a")
    in_flight.give(40)
    assert not in_flight.take("b", 5)
    assert in_flight.give(25) == ["a", "b"]
    assert in_flight.take("b", 5)


def test_a_connection_waits_once_however_much_it_brought() -> None:
    in_flight = pressed("a", "b", "a")
    assert in_flight.n_waiting == 2
    assert in_flight.give(100) == ["a", "b"]


def test_those_that_waited_longest_are_read_again_a_few_at_once() -> None:
    names = [f"{n:02}" for n in range(20)]
    in_flight = pressed(*names, max_bytes=1000)
    assert in_flight.n_bytes == 1200
    assert in_flight.give(700) == names[:8]
    assert in_flight.give(10) == names[8:16]
    assert in_flight.give(10) == names[16:]


def test_all_are_read_again_once_nothing_is_in_flight() -> None:
    names = [f"{n:02}" for n in range(20)]
    in_flight = pressed(*names)
    assert in_flight.give(300) == names


def test_a_connection_that_closed_is_not_returned() -> None:
    in_flight = pressed("a", "b")
    in_flight.forget("a")
    in_flight.forget("never")
    assert in_flight.give(100) == ["b"]
    assert in_flight.n_bytes == 20


def test_a_new_connection_waits_like_the_others() -> None:
    in_flight = pressed("a")
    assert not in_flight.may_be_read("new")
    assert in_flight.n_bytes == 110
    assert in_flight.give(60) == ["a", "new"]
    assert in_flight.may_be_read("newer")


def test_one_frame_above_the_bound_by_itself_is_taken() -> None:
    in_flight: BytesInFlight[str] = BytesInFlight(max_bytes=100)
    assert not in_flight.take("a", 1000)
    assert in_flight.give(1000) == ["a"]

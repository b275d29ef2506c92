from teltonika_processor.gateway.poison import PoisonCounter

IMEI = 352093081452251
OTHER_IMEI = 352093081452252
FRAME = bytes.fromhex("00000000000000038e0000deadbeef")
OTHER_FRAME = bytes.fromhex("00000000000000038e0000deadbeee")


def told(poison: PoisonCounter, *frames: bytes, imei: int = IMEI) -> list[bool]:
    return [poison.damaged(imei, frame) for frame in frames]


def test_the_same_bytes_for_the_third_time_are_poison() -> None:
    assert told(PoisonCounter(repeats=3), FRAME, FRAME, FRAME) == [False, False, True]


def test_poison_at_the_first_time_where_one_is_enough() -> None:
    assert told(PoisonCounter(repeats=1), FRAME) == [True]


def test_other_damaged_bytes_in_between_start_the_count_anew() -> None:
    poison = PoisonCounter(repeats=3)
    assert told(poison, FRAME, FRAME, OTHER_FRAME) == [False, False, False]
    assert told(poison, FRAME, FRAME, FRAME) == [False, False, True]


def test_an_intact_frame_in_between_starts_the_count_anew() -> None:
    poison = PoisonCounter(repeats=3)
    told(poison, FRAME, FRAME)
    poison.intact(IMEI)
    assert told(poison, FRAME, FRAME, FRAME) == [False, False, True]


def test_devices_are_counted_apart() -> None:
    poison = PoisonCounter(repeats=3)
    told(poison, FRAME, FRAME)
    poison.intact(OTHER_IMEI)
    assert told(poison, FRAME, imei=OTHER_IMEI) == [False]
    assert told(poison, FRAME) == [True]


def test_poison_whose_letter_was_not_written_is_poison_at_the_next_repeat() -> None:
    poison = PoisonCounter(repeats=3)
    assert told(poison, FRAME, FRAME, FRAME, FRAME, FRAME)[2:] == [True, True, True]


def test_a_quarantined_frame_is_counted_anew() -> None:
    poison = PoisonCounter(repeats=3)
    told(poison, FRAME, FRAME, FRAME)
    poison.quarantined(IMEI, FRAME)
    assert len(poison) == 0
    assert told(poison, FRAME, FRAME, FRAME) == [False, False, True]


def test_what_came_while_the_letter_was_written_stays_counted() -> None:
    poison = PoisonCounter(repeats=2)
    told(poison, FRAME, FRAME, OTHER_FRAME)
    poison.quarantined(IMEI, FRAME)
    poison.quarantined(OTHER_IMEI, FRAME)
    assert told(poison, OTHER_FRAME) == [True]


def test_the_quietest_device_is_forgotten_first() -> None:
    poison = PoisonCounter(repeats=2, devices_max=2)
    told(poison, FRAME, imei=1)
    told(poison, FRAME, imei=2)
    told(poison, OTHER_FRAME, imei=1)
    told(poison, FRAME, imei=3)
    assert len(poison) == 2
    assert told(poison, OTHER_FRAME, imei=1) == [True]
    assert told(poison, FRAME, imei=2) == [False]


def test_a_device_counted_already_forgets_nobody_else() -> None:
    poison = PoisonCounter(repeats=2, devices_max=2)
    told(poison, FRAME, imei=1)
    told(poison, FRAME, imei=2)
    told(poison, OTHER_FRAME, imei=2)
    assert told(poison, FRAME, imei=1) == [True]

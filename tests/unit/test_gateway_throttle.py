from teltonika_processor.gateway.throttle import Throttle

IMEI = 352093081452251
OTHER = 352093081452252


def test_a_key_that_was_never_refused_is_asked_about() -> None:
    assert Throttle().left_s(IMEI, 100.0) == 0.0


def test_a_refused_key_is_blocked_for_a_minute() -> None:
    throttle = Throttle()
    assert throttle.refused(IMEI, 100.0) == 60.0
    assert throttle.left_s(IMEI, 130.0) == 30.0
    assert throttle.left_s(IMEI, 160.0) == 0.0
    assert throttle.left_s(OTHER, 130.0) == 0.0


def test_the_block_doubles_up_to_half_an_hour() -> None:
    throttle = Throttle()
    now_s, blocks = 100.0, []
    for _ in range(8):
        blocks.append(throttle.refused(IMEI, now_s))
        now_s += blocks[-1]
    assert blocks == [60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0, 1800.0]


def test_a_retry_while_blocked_prolongs_nothing() -> None:
    throttle = Throttle()
    throttle.refused(IMEI, 100.0)
    assert throttle.left_s(IMEI, 150.0) == 10.0
    assert throttle.refused(IMEI, 150.0) == 10.0
    assert throttle.refused(IMEI, 160.0) == 120.0


def test_who_stays_away_for_half_an_hour_starts_anew() -> None:
    throttle = Throttle()
    throttle.refused(IMEI, 100.0)
    assert throttle.refused(IMEI, 160.0 + 1800.0) == 120.0
    assert throttle.refused(IMEI, 2080.0 + 1800.1) == 60.0


def test_who_is_forgiven_starts_anew() -> None:
    throttle = Throttle()
    throttle.refused(IMEI, 100.0)
    throttle.forgive(IMEI)
    throttle.forgive(OTHER)
    assert throttle.left_s(IMEI, 101.0) == 0.0
    assert throttle.refused(IMEI, 101.0) == 60.0


def test_the_quietest_key_is_forgotten_first() -> None:
    throttle = Throttle(keys_max=2)
    throttle.refused("a", 100.0)
    throttle.refused("b", 100.0)
    assert throttle.left_s("a", 101.0) == 59.0
    throttle.refused("c", 102.0)
    assert len(throttle) == 2
    assert throttle.left_s("b", 103.0) == 0.0
    assert throttle.left_s("a", 103.0) == 57.0
    assert throttle.left_s("c", 103.0) == 59.0


def test_a_key_refused_again_forgets_nobody_else() -> None:
    throttle = Throttle(keys_max=2)
    throttle.refused("a", 100.0)
    throttle.refused("b", 100.0)
    throttle.refused("a", 160.0)
    throttle.refused("a", 161.0)
    assert throttle.left_s("b", 130.0) == 30.0

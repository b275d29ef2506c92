from teltonika_processor.store.writer_state import KnownDays, KnownDevices, Path, PathChoice


def test_a_day_is_asked_for_once_a_minute() -> None:
    days = KnownDays(known_s=60)
    assert days.unknown([3, 1, 2], now_s=100) == [3, 1, 2]
    days.learn([1, 2], now_s=100)
    assert days.unknown([1, 2, 3], now_s=159.9) == [3]
    assert days.unknown([1, 2, 3], now_s=160) == [1, 2, 3]


def test_forgotten_days_are_not_kept() -> None:
    days = KnownDays(known_s=60)
    for minute in range(100):
        days.learn([minute], now_s=60.0 * minute)
    assert len(days._until_s) == 1


def test_a_device_is_known_for_the_hour_at_most() -> None:
    devices = KnownDevices(known_s=3600)
    devices.learn([7], now_s=0)
    assert devices.unknown([7, 8], now_s=0) == [8]
    assert devices.unknown([7], now_s=1800) == []
    assert devices.unknown([7], now_s=3600) == [7]


def test_a_device_is_forgotten_after_a_pause_as_well() -> None:
    devices = KnownDevices(known_s=3600)
    devices.learn([7], now_s=0)
    assert devices.unknown([7], now_s=9000) == [7]


def test_very_many_devices_push_out_the_older_ones() -> None:
    devices = KnownDevices(known_s=3600, devices_max=4)
    devices.learn([1, 2], now_s=0)
    devices.learn([3, 4], now_s=0)
    devices.learn([5], now_s=0)
    assert devices.unknown([1, 2, 3, 4, 5], now_s=0) == [1, 2]


def test_a_device_that_was_dropped_is_asked_for_again_whichever_generation_it_was_in() -> None:
    devices = KnownDevices(known_s=3600)
    devices.learn([7, 8], now_s=0)
    devices.learn([9], now_s=1800)
    for imei in (7, 9, 1):
        devices.drop(imei)
    assert devices.unknown([7, 8, 9], now_s=1800) == [7, 9]


def test_unknown_devices_come_ascending() -> None:
    assert KnownDevices().unknown([9, 3, 5], now_s=0) == [3, 5, 9]


def paths(choice: PathChoice, n: int) -> list[Path]:
    chosen = []
    for _ in range(n):
        chosen.append(choice.choose(redelivered=False))
        choice.note(redelivered=False, duplicate=False)
    return chosen


def test_the_first_batch_is_direct() -> None:
    assert PathChoice().choose(redelivered=False) is Path.DIRECT


def test_a_duplicate_starts_a_run_of_staged_batches() -> None:
    choice = PathChoice(staged_after_duplicate=2)
    choice.note(redelivered=False, duplicate=True)
    assert paths(choice, 4) == [Path.STAGED, Path.STAGED, Path.DIRECT, Path.DIRECT]


def test_a_duplicate_within_the_run_starts_it_anew() -> None:
    choice = PathChoice(staged_after_duplicate=2)
    choice.note(redelivered=False, duplicate=True)
    choice.note(redelivered=False, duplicate=False)
    choice.note(redelivered=False, duplicate=True)
    assert paths(choice, 3) == [Path.STAGED, Path.STAGED, Path.DIRECT]


def test_redelivered_rows_are_staged_and_change_nothing() -> None:
    choice = PathChoice(staged_after_duplicate=2)
    assert choice.choose(redelivered=True) is Path.STAGED
    choice.note(redelivered=True, duplicate=True)
    assert choice.choose(redelivered=False) is Path.DIRECT

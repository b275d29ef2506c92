from teltonika_processor.processor.progress import Progress


def test_the_age_counts_from_the_last_touch() -> None:
    now = [100.0]
    progress = Progress(lambda: now[0])
    assert progress.age_s == 0.0
    now[0] = 107.5
    assert progress.age_s == 7.5
    progress.touch()
    assert progress.age_s == 0.0
    now[0] = 108.0
    assert progress.age_s == 0.5

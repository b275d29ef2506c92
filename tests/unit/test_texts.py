"""How values are written for people."""

import pytest

from teltonika_processor.texts import age_text, printable, size_text, time_text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (102_400, "100 KiB"),
        (1_258_291, "1.2 MiB"),
        (3 << 40, "3.0 TiB"),
        (5000 << 40, "5,000 TiB"),
    ],
)
def test_bytes_have_their_largest_unit(n_bytes: int, text: str) -> None:
    assert size_text(n_bytes) == text


@pytest.mark.parametrize(
    ("age_ms", "text"),
    [
        (-1, "0 s"),
        (59_999, "59 s"),
        (60_000, "1 min"),
        (3_600_000, "1 h"),
        (172_799_999, "47 h"),
        (172_800_000, "2 d"),
    ],
)
def test_ages_have_their_largest_whole_unit(age_ms: int, text: str) -> None:
    assert age_text(age_ms) == text


@pytest.mark.parametrize(
    ("unix_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_790_000_000_007, "2026-09-21T14:13:20.007Z"),
        (1 << 62, "4611686018427387904 ms"),
    ],
)
def test_times_are_utc_with_milliseconds(unix_ms: int, text: str) -> None:
    assert time_text(unix_ms) == text


def test_control_characters_are_escaped() -> None:
    assert printable("é\x1b[31m\n") == "é\\x1b[31m\\n"

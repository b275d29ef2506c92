import pytest

from teltonika_processor.stream.ids import age_s, id_parts, ms_of


@pytest.mark.parametrize(
    ("entry_id", "parts"),
    [
        (b"1790000000000-0", (1790000000000, 0)),
        (b"18446744073709551615-18446744073709551615", ((1 << 64) - 1, (1 << 64) - 1)),
        (b"1790000000000", None),
        (b"a-b", None),
        (b"-1-0", None),
        (b"1-0\n", None),
        (b"", None),
        (b"\xff-0", None),
    ],
)
def test_an_id_is_two_numbers(entry_id: bytes, parts: tuple[int, int] | None) -> None:
    assert id_parts(entry_id) == parts


def test_ids_compare_as_numbers_not_as_text() -> None:
    assert (id_parts(b"9-10") or (0, 0)) > (id_parts(b"9-9") or (0, 0))
    assert (id_parts(b"10-0") or (0, 0)) > (id_parts(b"9-0") or (0, 0))


def test_the_age_of_an_entry_is_that_of_its_id() -> None:
    assert ms_of("1790000000000-7") == 1_790_000_000_000
    assert age_s("1790000000000-7", now_ms=1_790_000_001_500) == 1.5
    assert age_s("1790000000000-7", now_ms=1_789_999_999_000) == 0.0
    assert age_s("0-0", now_ms=1_790_000_001_500) == 0.0

"""A list that is read from a file."""

from collections.abc import Generator
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teltonika_processor.gateway import list_file
from teltonika_processor.gateway.list_file import read_list

IMEI = 356307042441013

T = TypeVar("T")


def finished(work: Generator[None, None, T]) -> T:
    while True:
        try:
            next(work)
        except StopIteration as end:
            value: T = end.value
            return value


def read(content: bytes) -> list[int]:
    return list(finished(read_list("fleet.txt", content)))


def test_one_imei_a_line_with_comments_and_names() -> None:
    content = (
        b"\xef\xbb\xbf# the fleet\n490154203237518\r\n\n  356307042441013 , Van 2, red\n"
        b"490154203237518,\xff\xfe no UTF-8\n000000000000007"
    )
    assert read(content) == [7, IMEI, 490154203237518]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "fleet.txt: no device in it"),
        (b"# nobody\n", "fleet.txt: no device in it"),
        (b"#\n35630704244101\n", "fleet.txt, line 2: '35630704244101' is not an IMEI, which"),
        (b"1\n\n2\n356307042441013\n3", r"line 1: '1' is not an IMEI.*15 digits, and 2 more$"),
        (b"\x00\xff" * 99, r"line 1: '\\x00\\udcff"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(content: bytes, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read(content)


def test_a_file_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_file, "LINES_MAX", 600)
    assert read(b"356307042441013\n" * 600) == [IMEI]
    with pytest.raises(ValueError, match=r"^fleet.txt: more than 600 lines$"):
        read(b"356307042441013\n" * 601)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=3000))
def test_a_list_is_ascending_with_each_device_once(numbers: list[int]) -> None:
    content = "\n".join(f"{number:015d}" for number in numbers).encode()
    assert read(content) == sorted(set(numbers))

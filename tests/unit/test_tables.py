"""Tables for people, on terminals of several widths: literal lines."""

import pytest

from teltonika_processor.cli.tables import print_rows

HEADINGS = ("lap", "started_at", "duration", "remarks")
ROW = ("1", "2026-11-22T12:00:12.000000Z", "1:36.016", "too short, positions are gone")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> "Lines":
    return Lines(monkeypatch, capsys)


class Lines:
    """What a terminal of so many columns shows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(
        self,
        columns: int,
        headings: tuple[str, ...] = HEADINGS,
        row: tuple[str, ...] = ROW,
        *,
        terminal: bool = True,
    ) -> list[str]:
        self._monkeypatch.setenv("COLUMNS", f"{columns}")
        right = ("lap", "duration")
        print_rows(headings, [row], terminal=terminal, unfolded=("started_at",), right=right)
        return self._capsys.readouterr().out.splitlines()


def test_a_box_where_there_is_room(lines: Lines) -> None:
    assert lines(80) == [
        "┏━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┓",
        "┃ lap ┃ started_at                  ┃ duration ┃ remarks                       ┃",
        "┡━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┩",
        "│   1 │ 2026-11-22T12:00:12.000000Z │ 1:36.016 │ too short, positions are gone │",
        "└─────┴─────────────────────────────┴──────────┴───────────────────────────────┘",
    ]


def test_texts_are_folded_and_numbers_and_moments_are_not(lines: Lines) -> None:
    """63 columns: what is kept, and 12 characters of remarks."""
    assert lines(63) == [
        "┏━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━━━━┓",
        "┃ lap ┃ started_at                  ┃ duration ┃ remarks      ┃",
        "┡━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━━━━┩",
        "│   1 │ 2026-11-22T12:00:12.000000Z │ 1:36.016 │ too short,   │",
        "│     │                             │          │ positions    │",
        "│     │                             │          │ are gone     │",
        "└─────┴─────────────────────────────┴──────────┴──────────────┘",
    ]


def test_plain_columns_where_a_box_does_not_fit(lines: Lines) -> None:
    plain = [
        "lap  started_at                   duration  remarks",
        "  1  2026-11-22T12:00:12.000000Z  1:36.016  too short, positions are gone",
    ]
    assert lines(62) == plain
    assert lines(20) == plain
    assert lines(200, terminal=False) == plain


def test_a_heading_is_broken_between_words_only(lines: Lines) -> None:
    headings, row = ("setting", "default, if another"), ("A", "1")
    assert lines(26, headings, row)[1:3] == [
        "┃         ┃ default, if  ┃",
        "┃ setting ┃ another      ┃",
    ]
    assert lines(25, headings, row) == ["setting  default, if another", "A        1"]


def test_wide_characters_take_two_columns(lines: Lines) -> None:
    headings, row = ("lap", "name"), ("1", "日本")
    assert lines(14, headings, row)[3] == "│   1 │ 日本 │"
    assert lines(13, headings, row) == ["lap  name", "  1  日本"]

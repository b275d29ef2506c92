import pytest

from teltonika_processor.codec.hexdump import Mark, Part, hexdump

HELLO = b"\x00\x00hello, world\xff\x10next"


def test_a_line_holds_16_bytes_with_their_offset_and_text() -> None:
    assert hexdump(HELLO) == [
        "     0   00 00 68 65 6c 6c 6f 2c 20 77 6f 72 6c 64 ff 10   ..hello, world..",
        "    16   6e 65 78 74                                       next",
    ]


def test_the_marked_byte_stands_in_brackets_and_over_a_line_that_says_why() -> None:
    assert hexdump(HELLO, mark=Mark(14, "no text")) == [
        "     0   00 00 68 65 6c 6c 6f 2c 20 77 6f 72 6c 64[ff]10   ..hello, world..",
        "                                                   ^^ byte 14: no text",
        "    16   6e 65 78 74                                       next",
    ]


def test_brackets_move_nothing() -> None:
    plain = hexdump(bytes(32))
    for offset in range(32):
        marked = hexdump(bytes(32), mark=Mark(offset, ""))
        del marked[offset // 16 + 1]
        assert [line.replace("[", " ").replace("]", " ") for line in marked] == plain
        assert marked[offset // 16].index("[00]") == 8 + 3 * (offset % 16)


@pytest.mark.parametrize(
    ("size", "row"), [(0, "     0  [  ]"), (16, "    16  [  ]"), (3, "     0   00 00 00[  ]")]
)
def test_what_is_missing_behind_the_last_byte_is_marked(size: int, row: str) -> None:
    lines = hexdump(bytes(size), mark=Mark(size, "missing"), around=64)
    assert lines[-2].startswith(row)
    assert lines[-1].endswith(f"^^ byte {size}: missing")
    assert hexdump(bytes(size), mark=Mark(size, "missing")) == lines


def test_only_whole_lines_around_the_mark_are_shown_and_the_rest_is_counted() -> None:
    lines = hexdump(bytes(10_000), mark=Mark(5_000, "here"), around=64)
    assert lines[0] == "   ...  4,928 bytes before"
    assert lines[1].startswith("  4928   00")
    assert lines[-2].startswith("  5056   00")
    assert lines[-1] == "   ...  4,928 bytes after"
    # 64 bytes on both sides of byte 5,000 are bytes 4,936 to 5,064.
    assert len(lines) == 2 + 9 + 1


def test_without_a_mark_the_start_is_shown() -> None:
    lines = hexdump(bytes(1_000), around=64)
    assert lines[0].startswith("     0   00")
    assert lines[-1] == "   ...  920 bytes after"


def test_without_bounds_all_is_shown() -> None:
    assert len(hexdump(bytes(1_600))) == 100


def test_parts_are_named_on_the_line_where_they_start() -> None:
    parts = [Part(0, "head"), Part(2, "greeting"), Part(16, "more"), Part(99, "not there")]
    first, second = hexdump(HELLO, parts=parts)
    assert first.endswith("..hello, world..  head, greeting")
    assert second.endswith("next              more")


def test_nothing_is_one_empty_line() -> None:
    assert hexdump(b"") == ["     0"]

"""The format of captures: what is written is read again; what is wrong is named with its line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teltonika_processor.capture import (
    Captured,
    CaptureError,
    event_line,
    header_line,
    read_capture,
)

HEADER = '{"capture": "teltonika-processor", "version": 1}\n'
DATA = {"at_ms": 1, "connection": "a", "transport": "tcp", "event": "data", "hex": "ff"}

EVENTS = st.one_of(
    st.builds(
        Captured,
        st.integers(0, 253_402_300_799_999),
        st.text(min_size=1, max_size=200),
        st.just("tcp"),
        st.sampled_from(["open", "close"]),
    ),
    st.builds(
        Captured,
        st.integers(0, 253_402_300_799_999),
        st.text(min_size=1, max_size=200),
        st.just("tcp"),
        st.just("data"),
        st.binary(min_size=1),
    ),
    st.builds(
        Captured,
        st.integers(0, 253_402_300_799_999),
        st.text(min_size=1, max_size=200),
        st.just("udp"),
        st.just("datagram"),
        st.binary(min_size=1),
    ),
)


def test_lines_are_what_the_format_says() -> None:
    assert header_line() == HEADER
    handshake = Captured(1_790_000_000_000, "10.0.0.1:4711", "tcp", "data", b"\x00\x0f3")
    assert event_line(handshake) == (
        '{"at_ms": 1790000000000, "connection": "10.0.0.1:4711", "transport": "tcp", '
        '"event": "data", "hex": "000f33"}\n'
    )
    assert event_line(Captured(1, "a", "tcp", "open")) == (
        '{"at_ms": 1, "connection": "a", "transport": "tcp", "event": "open"}\n'
    )


@given(st.lists(EVENTS))
def test_what_is_written_is_read_again(events: list[Captured]) -> None:
    lines = [header_line(), *map(event_line, events)]
    assert all(line.isascii() for line in lines)
    assert list(read_capture(lines)) == events


def test_unknown_keys_and_empty_lines_are_passed_over() -> None:
    line = json.dumps({**DATA, "note": "seen at night"})
    assert list(read_capture([HEADER, "\n", line, "  "])) == [
        Captured(1, "a", "tcp", "data", b"\xff")
    ]


@pytest.mark.parametrize("lines", [[], ["\n"]])
def test_an_empty_file_is_no_capture(lines: list[str]) -> None:
    with pytest.raises(CaptureError, match=r"^line 1: nothing, expected \{\"capture\""):
        list(read_capture(lines))


@pytest.mark.parametrize(
    ("first", "why"),
    [
        ('{"capture": "other", "version": 1}', "line 1: no header of a capture, expected"),
        (json.dumps(DATA), "line 1: no header of a capture, expected"),
        ('{"capture": "teltonika-processor", "version": 2}', "line 1: version 2, expected 1"),
        ("\x00\x00\x00\x00", r"line 1: '.*' is no JSON object"),
    ],
)
def test_another_first_line_is_refused(first: str, why: str) -> None:
    with pytest.raises(CaptureError, match=f"^{why}"):
        list(read_capture([first]))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"transport": "sms"}, "transport is 'sms', expected tcp or udp"),
        ({"transport": ["tcp"]}, r"transport is \['tcp'\], expected tcp or udp"),
        ({"event": "datagram"}, "event is 'datagram', expected close or data or open"),
        ({"transport": "udp"}, "event is 'data', expected datagram"),
        ({"at_ms": 1.5}, "at_ms is 1.5, expected Unix milliseconds"),
        ({"at_ms": True}, "at_ms is True, expected Unix milliseconds"),
        ({"at_ms": -1}, "at_ms is -1, expected Unix milliseconds"),
        ({"connection": ""}, "connection is '', expected a name"),
        ({"connection": 7}, "connection is 7, expected a name"),
        ({"hex": "0"}, "hex is '0', expected bytes in hex"),
        ({"hex": ""}, "hex is '', expected bytes in hex"),
        ({"hex": None}, "hex is None, expected bytes in hex"),
        ({"hex": "zz" * 50}, "hex is 'z{39}, expected bytes in hex"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(changed: dict[str, object], why: str) -> None:
    lines = [HEADER, json.dumps(DATA), "", json.dumps({**DATA, **changed})]
    events = read_capture(lines)
    assert next(events).data == b"\xff"
    with pytest.raises(CaptureError, match=f"^line 4: {why}$") as raised:
        next(events)
    assert raised.value.line == 4


def test_a_last_line_without_an_end_is_skipped_where_it_is_no_event() -> None:
    cut: list[int] = []
    whole = [HEADER, json.dumps(DATA) + "\n"]
    events = [Captured(1, "a", "tcp", "data", b"\xff")]
    assert list(read_capture([*whole, json.dumps(DATA)[:30]], cut=cut.append)) == events
    assert cut == [3]
    assert list(read_capture([*whole, json.dumps(DATA)], cut=cut.append)) == events * 2
    with pytest.raises(CaptureError, match=r"^line 3: "):
        list(read_capture([*whole, "{\n"], cut=cut.append))
    assert cut == [3]


@pytest.mark.parametrize(
    "line", ["{", "[]", "[" * 100_000, "no", "1", f'{{"at_ms": {"9" * 5000}}}']
)
def test_a_line_that_is_no_object_is_named(line: str) -> None:
    with pytest.raises(CaptureError, match=r"^line 2: '.{1,40} is no JSON object$"):
        list(read_capture([HEADER, line]))

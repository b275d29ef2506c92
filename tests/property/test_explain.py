"""The walk for people and the native decoder: one fault at one byte, and the same values."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import teltonika_processor as tp
from documented import avl_vectors, documented, documented_invalid, frame_of, transport_of
from strategies import (
    TRANSPORTS,
    WireFrame,
    damaged_frames,
    foreign_bytes,
    truncated_frames,
    valid_frames,
    wrap,
)
from teltonika_processor.codec.dictionary_file import load_dictionary
from teltonika_processor.codec.explain import (
    Explanation,
    Knowledge,
    Span,
    explain_datagram,
    explain_frame,
    explain_pasted,
)

KNOWLEDGE = Knowledge(load_dictionary(), 65_536)

# Names of fields in an explanation, and of attributes of a decoded record.
FIELDS = {
    "timestamp": "recorded_at_ms",
    "priority": "priority",
    "longitude": "longitude_e7",
    "latitude": "latitude_e7",
    "altitude": "altitude_m",
    "angle": "angle_deg",
    "satellites": "satellites",
    "speed": "speed_kmh",
    "event IO id": "event_io_id",
    "generation type": "generation_type",
}

FLIP = st.tuples(st.integers(0, 10_000), st.integers(0, 7))


def explained(frame: WireFrame) -> Explanation:
    explanation = explain_frame(frame.data, frame.transport, KNOWLEDGE)
    assert_covered(explanation, len(frame.data))
    error = refusal(frame)
    if error is None:
        assert explanation.fault is None
        assert_values(explanation, frame)
    else:
        assert_fault(explanation, error)
    return explanation


def refusal(frame: WireFrame) -> tp.DecodeError | None:
    try:
        tp.decode_frame(frame.data, transport=frame.transport)
    except tp.DecodeError as error:
        return error
    return None


def leaves(explanation: Explanation) -> list[Span]:
    return [span for span in explanation.spans if not span.is_group]


def assert_covered(explanation: Explanation, n_bytes: int) -> None:
    """Every byte stands in one field; groups hold the spans behind them."""
    bounds = [(span.start, span.stop) for span in leaves(explanation)]
    assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds)][: len(bounds)]
    assert (bounds[-1][1] if bounds else 0) == n_bytes
    for group, behind in pairwise(explanation.spans):
        if group.is_group:
            assert behind.start == group.start
            assert behind.level == group.level + 1


def assert_fault(explanation: Explanation, error: tp.DecodeError) -> None:
    fault = explanation.fault
    assert fault is not None
    assert (fault.code, fault.offset, fault.message) == (error.code, error.offset, error.message)
    assert fault.expected
    marked = explanation.spans[fault.span]
    assert not marked.is_group
    if fault.code == "truncated":
        # The decoder names where the data field starts, the span what of it is cut.
        assert "missing" in marked.note or " of " in marked.note
        assert marked.start >= fault.offset
    else:
        assert marked.start == fault.offset


def assert_values(explanation: Explanation, frame: WireFrame) -> None:
    packet = tp.decode_frame(frame.data, transport=frame.transport)
    records: list[dict[str, Any]] = []
    for span in explanation.spans:
        if span.is_group and span.field.startswith("record "):
            records.append({"io": {}, "raw": frame.data[span.start : span.stop]})
        elif span.io_id is not None:
            records[-1]["io"][span.io_id] = span.raw
        elif span.field in FIELDS:
            records[-1][FIELDS[span.field]] = span.raw
    assert records == [
        {name: getattr(record, name) for name in FIELDS.values() if name in records[0]}
        | {"io": dict(record.io), "raw": bytes(record.raw)}
        for record in packet
    ]


@given(valid_frames())
def test_a_valid_frame_is_explained_with_the_values_that_are_decoded(frame: WireFrame) -> None:
    assert explained(frame).fault is None


@settings(max_examples=300)
@given(damaged_frames())
def test_a_damaged_frame_has_the_fault_of_the_decoder(frame: WireFrame) -> None:
    explained(frame)


@settings(max_examples=200)
@given(truncated_frames())
def test_a_truncated_frame_has_the_fault_of_the_decoder(frame: WireFrame) -> None:
    explained(frame)


@settings(max_examples=300)
@given(foreign_bytes())
@example(WireFrame(b"", "tcp"))
@example(WireFrame(b"", "udp"))
def test_foreign_bytes_have_the_fault_of_the_decoder(frame: WireFrame) -> None:
    explained(frame)


@settings(max_examples=300)
@given(valid_frames(), FLIP, TRANSPORTS)
def test_a_flipped_bit_is_the_fault_of_the_decoder(
    frame: WireFrame, flip: tuple[int, int], transport: Any
) -> None:
    position, bit = flip
    damaged = bytearray(frame.data)
    if damaged:
        damaged[position % len(damaged)] ^= 1 << bit
    explained(WireFrame(bytes(damaged), transport))


@pytest.mark.parametrize("vector", avl_vectors(), ids=lambda vector: vector["id"])
def test_documented_frames_cut_at_any_byte_have_the_fault_of_the_decoder(
    vector: dict[str, Any],
) -> None:
    frame, transport = frame_of(vector), transport_of(vector)
    for length in range(len(frame) + 1):
        explained(WireFrame(frame[:length], transport))


@pytest.mark.parametrize(
    "vector", [*documented(), *documented_invalid()], ids=lambda vector: vector["id"]
)
def test_documented_vectors_are_covered_as_a_person_pastes_them(vector: dict[str, Any]) -> None:
    content = bytes.fromhex(vector["hex"])
    explanation = explain_pasted(content, "tcp", KNOWLEDGE)
    assert_covered(explanation, len(content))
    if "code" in vector["expect"]:
        assert explanation.fault is not None
        assert explanation.fault.code in {vector["expect"]["code"], "not_avl"}


@settings(max_examples=100)
@given(
    st.lists(valid_frames().filter(lambda frame: frame.transport == "udp"), max_size=3),
    st.binary(max_size=3),
    st.none() | FLIP,
)
def test_a_datagram_is_covered_and_has_the_fault_of_its_first_array_that_has_one(
    arrays: list[WireFrame], behind: bytes, flip: tuple[int, int] | None
) -> None:
    datagram = bytearray(b"".join(channel_packet(array.data) for array in arrays) + behind)
    if flip and datagram:
        datagram[flip[0] % len(datagram)] ^= 1 << flip[1]
    explanation = explain_datagram(bytes(datagram), KNOWLEDGE)
    assert_covered(explanation, len(datagram))
    if flip is None and arrays and not behind:
        assert explanation.fault is None


def channel_packet(array: bytes) -> bytes:
    fields = b"\xca\xfe\x01\x05\x00\x0f356307042441013" + array
    return len(fields).to_bytes(2) + fields


@given(damaged_frames(), TRANSPORTS)
def test_a_frame_in_either_transport_is_never_a_bug(frame: WireFrame, transport: Any) -> None:
    explained(wrap(frame.data, transport))

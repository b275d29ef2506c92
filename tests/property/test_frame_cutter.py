"""`FrameCutter`: the units of a connection do not depend on how its bytes were split."""

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from documented import avl_vectors, documented
from strategies import data_fields, tcp_frame
from teltonika_processor.codec.native import (
    UNIT_AVL,
    UNIT_COMMAND,
    UNIT_DAMAGED,
    UNIT_HANDSHAKE,
    UNIT_PING,
    FrameCutter,
)

FRAME_MAX_BYTES = 4096

Unit = tuple[int, bytes, int]
Sent = tuple[bytes, Unit]

PING: Sent = (b"\xff", (UNIT_PING, b"", 1))
DOCUMENTED = [bytes.fromhex(v["hex"]) for v in avl_vectors() if v["transport"] == "tcp"]
COMMANDS = [bytes.fromhex(v["hex"]) for v in documented() if v["transport"] == "command"]

OPENINGS = st.sampled_from(
    [
        *(
            b"",
            b"\xff",
            b"\x00\x0f35630704244101x",
            b"\x00\x0f356307042441013",
            b"GET / HTTP/1.1\r\n",
        ),
        *(
            b"\x16\x03\x01\x02\x00",
            b"\x0f\x00\x2f\x09localhost\x63\xdd\x01",
            b"\x00\x00\x00\x05\x00",
        ),
        *(bytes(6) + b"\x0f\xf4", bytes(6) + b"\x0f\xf5", bytes(7) + b"\x02"),
    ]
)


def units_of(reads: list[bytes]) -> list[Unit]:
    """What was cut, pings one by one: those in a row are one unit only within a read."""
    cutter = FrameCutter(frame_max_bytes=FRAME_MAX_BYTES)
    units: list[Unit] = []
    for read in reads:
        for kind, value, number in cutter.feed(read):
            units += [PING[1]] * number if kind == UNIT_PING else [(kind, value, number)]
        assert cutter.n_buffered < FRAME_MAX_BYTES
    return units


def byte_by_byte(sent: bytes) -> list[bytes]:
    return [sent[at : at + 1] for at in range(len(sent))]


@st.composite
def splits(draw: st.DrawFn, sent: bytes) -> list[bytes]:
    """Draw reads that hold `sent`, empty ones among them."""
    ends = sorted(draw(st.lists(st.integers(0, len(sent)), max_size=12)))
    return [sent[start:end] for start, end in pairwise([0, *ends, len(sent)])]


def avl(frame: bytes) -> Sent:
    return frame, (UNIT_AVL, frame, frame[9])


def command(frame: bytes) -> Sent:
    return frame, (UNIT_COMMAND, frame, frame[8])


@st.composite
def damaged(draw: st.DrawFn) -> Sent:
    """Draw a frame with a byte behind its length overwritten."""
    frame = draw(st.builds(tcp_frame, data_fields()) | st.sampled_from(DOCUMENTED + COMMANDS))
    at = draw(st.integers(8, len(frame) - 1))
    change = draw(st.integers(1, 255))
    frame = frame[:at] + bytes([frame[at] ^ change]) + frame[at + 1 :]
    return frame, (UNIT_DAMAGED, frame, frame[9])


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Unit]]:
    """Draw what a device sends, with the units that it is."""
    imei = draw(st.integers(0, 10**15 - 1).map(lambda number: f"{number:015}".encode()))
    handshake = (b"\x00\x0f" + imei, (UNIT_HANDSHAKE, imei, 0))
    unit = st.one_of(
        st.just(PING),
        st.builds(avl, st.builds(tcp_frame, data_fields()) | st.sampled_from(DOCUMENTED)),
        st.builds(command, st.sampled_from(COMMANDS)),
        damaged(),
    )
    pings = draw(st.lists(st.just(PING), max_size=2))
    parts = [*pings, handshake, *draw(st.lists(unit, max_size=6))]
    return b"".join(sent for sent, _ in parts), [unit for _, unit in parts]


@given(conversation=conversations(), data=st.data())
def test_a_conversation_is_cut_into_what_was_sent_however_it_was_split(
    conversation: tuple[bytes, list[Unit]], data: st.DataObject
) -> None:
    sent, expected = conversation
    assert units_of([sent]) == expected
    assert units_of(data.draw(splits(sent))) == expected
    assert units_of(byte_by_byte(sent)) == expected


@given(
    opening=OPENINGS, behind=conversations() | st.tuples(st.binary(), st.just([])), data=st.data()
)
def test_whatever_comes_in_is_cut_alike_however_it_was_split(
    opening: bytes, behind: tuple[bytes, list[Unit]], data: st.DataObject
) -> None:
    sent = opening + behind[0]
    whole = units_of([sent])
    assert units_of(data.draw(splits(sent))) == whole
    assert units_of(byte_by_byte(sent)) == whole


@given(sent=st.binary(max_size=60))
@example(sent=b"\x00\x00\x00")
@example(sent=b"\xff\xff\x00\x0f")
def test_any_bytes_are_cut_without_an_exception(sent: bytes) -> None:
    assert units_of([sent]) == units_of(byte_by_byte(sent))

"""Hypothesis strategies: records, frames of every layout, damage and truncation.

Frames are put together here byte by byte, by neither of the encoders under test: their values do
not fit the narrowest width, ids repeat, and the total (which delimits nothing) can be wrong.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

from hypothesis import strategies as st

from teltonika_processor.codec.reference import crc16

Transport = Literal["tcp", "udp"]

TRANSPORTS: Final[st.SearchStrategy[Transport]] = st.sampled_from(["tcp", "udp"])

# Layout: codec id, width of ids, width of counts, bytes of generation type, group behind N8.
LAYOUTS: Final = {
    "8": (0x08, 1, 1, 0, None),
    "8 with N16": (0x08, 1, 1, 0, 16),
    "8E": (0x8E, 2, 2, 0, "length"),
    "16": (0x10, 2, 1, 1, None),
}


@dataclass(frozen=True)
class WireFrame:
    """One input of a decoder."""

    data: bytes
    transport: Transport


def tcp_frame(data_field: bytes) -> bytes:
    """Put preamble, length and CRC around a data field."""
    crc = crc16(data_field).to_bytes(4, "big")
    return bytes(4) + len(data_field).to_bytes(4, "big") + data_field + crc


def wrap(data_field: bytes, transport: Transport) -> WireFrame:
    """Put the transport's envelope around a data field."""
    return WireFrame(tcp_frame(data_field) if transport == "tcp" else data_field, transport)


@st.composite
def wire_records(draw: st.DrawFn, layout: str) -> bytes:
    """Draw the bytes of one AVL record."""
    _, id_width, count_width, generation_width, tail = LAYOUTS[layout]
    groups: list[list[bytes]] = []
    for width in (1, 2, 4, 8):
        element = st.binary(min_size=id_width + width, max_size=id_width + width)
        groups.append(draw(st.lists(element, max_size=3)))
    if tail == 16:
        groups.append(draw(st.lists(st.binary(min_size=17, max_size=17), max_size=2)))
    elif tail == "length":
        pairs = draw(st.lists(st.tuples(_bytes(id_width), st.binary(max_size=20)), max_size=3))
        groups.append([io_id + len(value).to_bytes(2, "big") + value for io_id, value in pairs])
    n_elements = sum(map(len, groups))
    # A wrong total loses no record, but the 16-byte group, announced by nothing, needs a right one.
    total = n_elements if tail == 16 else draw(st.sampled_from([n_elements, 0, 255]))
    head = draw(_bytes(24 + id_width + generation_width))
    counted = (len(group).to_bytes(count_width, "big") + b"".join(group) for group in groups)
    return head + total.to_bytes(count_width, "big") + b"".join(counted)


@st.composite
def data_fields(draw: st.DrawFn) -> bytes:
    """Draw a well-formed AVL packet: codec id, count, records, count."""
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    records = draw(st.lists(wire_records(layout), max_size=4))
    codec_id, count = bytes([LAYOUTS[layout][0]]), bytes([len(records)])
    return codec_id + count + b"".join(records) + count


def valid_frames() -> st.SearchStrategy[WireFrame]:
    """Well-formed frames of every layout and both transports."""
    return st.builds(wrap, data_fields(), TRANSPORTS)


@st.composite
def damaged_frames(draw: st.DrawFn) -> WireFrame:
    """Draw a frame that was damaged before its envelope was made, or after."""
    transport = draw(TRANSPORTS)
    if draw(st.booleans()):
        data_field = draw(data_fields())
        return wrap(data_field[:1] + draw(_damaged(data_field[1:])), transport)
    whole = wrap(draw(data_fields()), transport).data
    return WireFrame(draw(_damaged(whole)), transport)


@st.composite
def truncated_frames(draw: st.DrawFn) -> WireFrame:
    """Draw a frame that ends early, on the wire or (with a sound envelope) inside."""
    transport = draw(TRANSPORTS)
    data_field = draw(data_fields())
    if draw(st.booleans()):
        cut = draw(st.integers(0, len(data_field) - 1))
        return wrap(data_field[:cut] + data_field[1:2], transport)
    whole = wrap(data_field, transport).data
    return WireFrame(whole[: draw(st.integers(0, len(whole) - 1))], transport)


def foreign_bytes() -> st.SearchStrategy[WireFrame]:
    """Bytes that no tracker sent, some behind a frame's first eight bytes."""
    start = st.sampled_from([b"", bytes(4), bytes(7), bytes(7) + b"\x05", bytes(7) + b"\x40"])
    data = st.builds(bytes.__add__, start, st.binary(max_size=100))
    return st.builds(WireFrame, data, TRANSPORTS)


def any_frames() -> st.SearchStrategy[WireFrame]:
    """Frames of every kind above."""
    return st.one_of(valid_frames(), damaged_frames(), truncated_frames(), foreign_bytes())


def records(codec_id: int) -> st.SearchStrategy[dict[str, Any]]:
    """Fields of one record that the codec can carry, as the encoders take them.

    A value of an IO element may be a pair (value, width in bytes).
    """
    io_id = st.integers(0, 0xFF if codec_id == 0x08 else 0xFFFF)
    # Each edge of a width, and every size of integer.
    number = st.integers(0, 64).map(lambda n_bits: (1 << n_bits) - 1) | st.integers(0, 2**64 - 1)
    wide = st.sampled_from([1, 2, 4, 8]).flatmap(
        lambda width: st.tuples(st.integers(0, (1 << 8 * width) - 1), st.just(width))
    )
    value = st.one_of(number, wide, *([st.binary(max_size=40)] if codec_id == 0x8E else []))
    return st.fixed_dictionaries(
        {
            "recorded_at_ms": st.integers(0, 2**64 - 1),
            "priority": st.integers(0, 0xFF),
            "longitude_e7": st.integers(-(2**31), 2**31 - 1),
            "latitude_e7": st.integers(-(2**31), 2**31 - 1),
            "altitude_m": st.integers(-(2**15), 2**15 - 1),
            "angle_deg": st.integers(0, 0xFFFF),
            "satellites": st.integers(0, 0xFF),
            "speed_kmh": st.integers(0, 0xFFFF),
            "event_io_id": io_id,
            "generation_type": st.integers(0, 0xFF) if codec_id == 0x10 else st.none(),
            "io": st.dictionaries(io_id, value, max_size=8),
        }
    )


def _bytes(n: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=n, max_size=n)


def _damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """Overwrite, insert or remove a few bytes of `data`."""
    position = st.integers(0, len(data))

    def replace(start: int, n_removed: int, inserted: bytes) -> bytes:
        return data[:start] + inserted + data[start + n_removed :]

    overwritten = st.builds(lambda at, byte: replace(at, 1, byte), position, _bytes(1))
    replaced = st.builds(replace, position, st.integers(0, 4), st.binary(max_size=4))
    return overwritten | replaced

"""The decoder: checks and fields one after the other, in the order in which errors are reported.

Integers are big-endian everywhere.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from teltonika_processor.codec.layouts import (
    CODEC_8,
    CODEC_8_WITH_SIXTEEN,
    COMMAND_CODECS,
    LAYOUTS,
    Layout,
    Transport,
)
from teltonika_processor.codec.reference.layout import (
    FRAME_MAX_BYTES,
    AvlPacket,
    AvlRecord,
    crc16,
)
from teltonika_processor.errors import DecodeError


def decode_frame(
    frame: bytes, *, transport: Transport = "tcp", frame_max_bytes: int = FRAME_MAX_BYTES
) -> AvlPacket:
    """Decode one frame: a whole TCP frame, or the AVL data array of a UDP channel packet.

    Raises:
        DecodeError: The first check that failed, with its code and where the field starts.
        TypeError: `frame` is not `bytes`.
        ValueError: Another transport, or `frame_max_bytes` below 15 or above 512 MiB.
    """
    _check_arguments(frame, transport, frame_max_bytes)
    if transport == "tcp":
        start, stop = _check_tcp_envelope(frame, frame_max_bytes)
    else:
        start, stop = _check_udp_envelope(frame, frame_max_bytes)
    reader = _Reader(frame, start, stop)
    codec_id = reader.unsigned(1)
    layout = _layout_of(codec_id, start)
    _check_counts(reader.unsigned(1), frame, start, stop)
    return AvlPacket(codec_id, _read_records(frame, start, stop, layout))


def decode_batch(
    frames: Sequence[bytes],
    *,
    transport: Transport = "tcp",
    frame_max_bytes: int = FRAME_MAX_BYTES,
) -> list[AvlPacket | DecodeError]:
    """Decode F frames to one outcome each, in order; bad content never raises."""
    outcomes: list[AvlPacket | DecodeError] = []
    for frame in frames:
        try:
            packet = decode_frame(frame, transport=transport, frame_max_bytes=frame_max_bytes)
        except DecodeError as error:
            outcomes.append(error)
        else:
            outcomes.append(packet)
    return outcomes


def _check_arguments(frame: bytes, transport: str, frame_max_bytes: int) -> None:
    if not isinstance(frame, bytes):
        raise TypeError(f"frame must be bytes, not {type(frame).__name__}")
    if transport not in {"tcp", "udp"}:
        raise ValueError(f"transport is {transport!r}, expected 'tcp' or 'udp'")
    # Bound: an empty TCP frame has 15 bytes; Redis holds no string above 512 MiB.
    if not 15 <= frame_max_bytes <= 512 << 20:
        raise ValueError(f"frame_max_bytes is {frame_max_bytes}, expected 15 to {512 << 20}")


# The envelope: each check in the order in which it is reported.


def _check_tcp_envelope(frame: bytes, frame_max_bytes: int) -> tuple[int, int]:
    """Return where the data field starts and stops."""
    if any(frame[:4]):
        raise DecodeError("bad_preamble", 0, f"expected four zero bytes, found {frame[:4].hex()}")
    if len(frame) < 8:
        field = 0 if len(frame) < 4 else 4
        raise DecodeError("truncated", field, f"{len(frame)} bytes, a frame starts with 8")
    length = int.from_bytes(frame[4:8])
    if length < 3 or 12 + length > frame_max_bytes:
        message = f"data field of {length} bytes, expected 3 to {frame_max_bytes - 12}"
        raise DecodeError("length_out_of_range", 4, message)
    stop = 8 + length
    if len(frame) < stop + 4:
        field = 8 if len(frame) < stop else stop
        raise DecodeError("truncated", field, f"{len(frame)} of {stop + 4} bytes")
    if len(frame) > stop + 4:
        raise DecodeError("trailing_bytes", stop + 4, f"{len(frame) - stop - 4} after the CRC")
    _check_crc(frame, stop)
    return 8, stop


def _check_crc(frame: bytes, stop: int) -> None:
    found = int.from_bytes(frame[stop : stop + 4])
    calculated = crc16(frame[8:stop])
    if found != calculated:
        message = f"frame has 0x{found:04X}, its data give 0x{calculated:04X}"
        raise DecodeError("crc_mismatch", stop, message)


def _check_udp_envelope(array: bytes, frame_max_bytes: int) -> tuple[int, int]:
    """Return where the data field starts and stops: it is all there is."""
    if len(array) > frame_max_bytes:
        message = f"{len(array)} bytes, expected at most {frame_max_bytes}"
        raise DecodeError("length_out_of_range", 0, message)
    return 0, len(array)


def _layout_of(codec_id: int, offset: int) -> Layout:
    if codec_id in COMMAND_CODECS:
        message = f"codec id 0x{codec_id:02X} carries commands, not AVL records"
        raise DecodeError("not_avl", offset, message)
    if codec_id not in LAYOUTS:
        raise DecodeError("unsupported_codec", offset, f"codec id 0x{codec_id:02X}")
    return LAYOUTS[codec_id]


def _check_counts(first: int, frame: bytes, start: int, stop: int) -> None:
    reader = _Reader(frame, max(stop - 1, start + 2), stop)
    second = reader.unsigned(1)
    if first != second:
        raise DecodeError("record_count_mismatch", stop - 1, f"first {first}, second {second}")


# The records.


class _Reader:
    """Reads integers one after the other and never beyond `stop`."""

    def __init__(self, frame: bytes, position: int, stop: int) -> None:
        self.frame: Final = frame
        self.position = position
        self.stop: Final = stop
        self.totals_agree = True

    def take(self, n_bytes: int) -> bytes:
        left = self.stop - self.position
        if n_bytes > left:
            message = f"a field of {n_bytes} bytes, {left} left in the data field"
            raise DecodeError("truncated", self.position, message)
        self.position += n_bytes
        return self.frame[self.position - n_bytes : self.position]

    def unsigned(self, n_bytes: int) -> int:
        return int.from_bytes(self.take(n_bytes))

    def signed(self, n_bytes: int) -> int:
        return int.from_bytes(self.take(n_bytes), signed=True)


class _Reading(NamedTuple):
    """Records that fit exactly; whether each stated as many elements as its groups hold."""

    records: tuple[AvlRecord, ...]
    totals_agree: bool


def _read_records(frame: bytes, start: int, stop: int, layout: Layout) -> tuple[AvlRecord, ...]:
    """Read the records by the layout that explains the packet best.

    Nothing announces the 16-byte values of Codec 8. So the first of these holds: the documented
    layout with every total equal to the sum of its groups, that with 16-byte values and the same,
    the documented layout with a wrong total, its error.
    """
    try:
        documented = _read_exactly(frame, start, stop, layout)
    except DecodeError:
        with_sixteen = _reading_with_sixteen(frame, start, stop)
        if with_sixteen is None:
            raise
        return with_sixteen.records
    if documented.totals_agree:
        return documented.records
    return (_reading_with_sixteen(frame, start, stop) or documented).records


def _reading_with_sixteen(frame: bytes, start: int, stop: int) -> _Reading | None:
    if frame[start] != CODEC_8:
        return None
    try:
        reading = _read_exactly(frame, start, stop, CODEC_8_WITH_SIXTEEN)
    except DecodeError:
        return None
    return reading if reading.totals_agree else None


def _read_exactly(frame: bytes, start: int, stop: int, layout: Layout) -> _Reading:
    reader = _Reader(frame, start + 2, stop - 1)
    records = tuple(_read_record(reader, layout) for _ in range(frame[start + 1]))
    if reader.position != stop - 1:
        message = f"{stop - 1 - reader.position} bytes between the last record and its count"
        raise DecodeError("trailing_bytes", reader.position, message)
    return _Reading(records, reader.totals_agree)


def _read_record(reader: _Reader, layout: Layout) -> AvlRecord:
    """Read one record. Longitude precedes latitude on the wire."""
    start = reader.position
    return AvlRecord(
        recorded_at_ms=reader.unsigned(8),
        priority=reader.unsigned(1),
        longitude_e7=reader.signed(4),
        latitude_e7=reader.signed(4),
        altitude_m=reader.signed(2),
        angle_deg=reader.unsigned(2),
        satellites=reader.unsigned(1),
        speed_kmh=reader.unsigned(2),
        event_io_id=reader.unsigned(layout.event_id),
        generation_type=reader.unsigned(1) if layout.has_generation_type else None,
        io=_read_io(reader, layout),
        raw=memoryview(reader.frame)[start : reader.position],
    )


def _read_io(reader: _Reader, layout: Layout) -> dict[int, int | bytes]:
    """Read the IO elements; of an id that repeats the last one counts.

    The total delimits nothing: the groups' own counts decide.
    """
    total = reader.unsigned(layout.count)
    n_elements = 0
    io: dict[int, int | bytes] = {}
    for width in (1, 2, 4, 8):
        n_group = reader.unsigned(layout.count)
        for _ in range(n_group):
            io_id = reader.unsigned(layout.io_id)
            io[io_id] = reader.unsigned(width)
        n_elements += n_group
    if layout.long_group != "none":
        n_group = reader.unsigned(layout.count)
        for _ in range(n_group):
            io_id = reader.unsigned(layout.io_id)
            io[io_id] = reader.take(16 if layout.long_group == "sixteen" else reader.unsigned(2))
        n_elements += n_group
    reader.totals_agree &= total == n_elements
    return io

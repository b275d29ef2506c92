"""The plain-Python reference: Codec 8, 8 Extended and 16 from the protocol, slow and obvious.

It has the shape of the native decoder and must give the same records, or the same code at the same
offset. The benches compare with it and the differential tests trust it; no service uses it.

Source: Teltonika wiki, "Teltonika Data Sending Protocols". Integers are big-endian everywhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from teltonika_processor.errors import DecodeError

Transport = Literal["tcp", "udp"]

FRAME_MAX_BYTES: Final = 65_536

CODEC_8: Final = 0x08
CODEC_8_EXTENDED: Final = 0x8E
CODEC_16: Final = 0x10
COMMAND_CODECS: Final = frozenset({0x0C, 0x0D, 0x0E, 0x0F})


@dataclass(frozen=True, slots=True)
class AvlRecord:
    """One AVL record; values are those of the wire. `raw` views the caller's bytes."""

    recorded_at_ms: int
    priority: int
    longitude_e7: int
    latitude_e7: int
    altitude_m: int
    angle_deg: int
    satellites: int
    speed_kmh: int
    event_io_id: int
    generation_type: int | None
    io: Mapping[int, int | bytes]
    raw: memoryview


@dataclass(frozen=True, slots=True)
class AvlPacket:
    """The AVL packet of one frame."""

    codec_id: int
    records: tuple[AvlRecord, ...]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[AvlRecord]:
        return iter(self.records)


@dataclass(frozen=True, slots=True)
class Layout:
    """Widths in bytes of the fields that differ between the AVL codecs.

    `long_group`: what follows the 8-byte group: nothing, 16-byte values, or values with a length.
    """

    event_id: int
    count: int
    io_id: int
    has_generation_type: bool = False
    long_group: Literal["none", "sixteen", "variable"] = "none"


LAYOUTS: Final[Mapping[int, Layout]] = {
    CODEC_8: Layout(event_id=1, count=1, io_id=1),
    CODEC_8_EXTENDED: Layout(event_id=2, count=2, io_id=2, long_group="variable"),
    CODEC_16: Layout(event_id=2, count=1, io_id=2, has_generation_type=True),
}

# Source: some FM63xx units send a fifth group of 16-byte values in Codec 8, announced by nothing.
CODEC_8_WITH_SIXTEEN: Final = Layout(event_id=1, count=1, io_id=1, long_group="sixteen")


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


def encode_frame(
    records: Sequence[Mapping[str, Any] | AvlRecord],
    *,
    codec_id: int = CODEC_8_EXTENDED,
    transport: Transport = "tcp",
) -> bytes:
    """Encode records as a frame; an integer takes the narrowest group that holds it.

    Raises:
        ValueError: A value has no place in this codec.
    """
    if codec_id not in LAYOUTS:
        raise ValueError(f"codec id 0x{codec_id:02X} is no AVL codec")
    fields = [r if isinstance(r, Mapping) else _fields_of(r) for r in records]
    layout = _layout_for(codec_id, fields)
    count = _unsigned(len(fields), 1, "number of records")
    body = b"".join(_encode_record(record, layout) for record in fields)
    packet = bytes([codec_id]) + count + body + count
    if transport == "udp":
        return packet
    return bytes(4) + len(packet).to_bytes(4) + packet + crc16(packet).to_bytes(4)


def crc16(data: bytes | bytearray | memoryview) -> int:
    """CRC-16/IBM (ARC: reflected 0xA001, initial 0) of `data`."""
    crc = 0
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC_TABLE: Final = tuple(_crc_of_byte(byte) for byte in range(256))


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


def _read_records(frame: bytes, start: int, stop: int, layout: Layout) -> tuple[AvlRecord, ...]:
    """Read the records; Codec 8 that does not fit is tried once more with 16-byte values."""
    try:
        return _read_exactly(frame, start, stop, layout)
    except DecodeError:
        if frame[start] != CODEC_8:
            raise
        try:
            return _read_exactly(frame, start, stop, CODEC_8_WITH_SIXTEEN)
        except DecodeError:
            pass
        raise


def _read_exactly(frame: bytes, start: int, stop: int, layout: Layout) -> tuple[AvlRecord, ...]:
    reader = _Reader(frame, start + 2, stop - 1)
    records = tuple(_read_record(reader, layout) for _ in range(frame[start + 1]))
    if reader.position != stop - 1:
        message = f"{stop - 1 - reader.position} bytes between the last record and its count"
        raise DecodeError("trailing_bytes", reader.position, message)
    return records


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

    The total is not trusted: the groups' own counts decide.
    """
    reader.unsigned(layout.count)
    io: dict[int, int | bytes] = {}
    for width in (1, 2, 4, 8):
        for _ in range(reader.unsigned(layout.count)):
            io_id = reader.unsigned(layout.io_id)
            io[io_id] = reader.unsigned(width)
    if layout.long_group != "none":
        for _ in range(reader.unsigned(layout.count)):
            io_id = reader.unsigned(layout.io_id)
            io[io_id] = reader.take(16 if layout.long_group == "sixteen" else reader.unsigned(2))
    return io


# The encoder.


def _fields_of(record: AvlRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in AvlRecord.__slots__}


def _layout_for(codec_id: int, records: Sequence[Mapping[str, Any]]) -> Layout:
    """Choose the layout; Codec 8 gets its group of 16-byte values only where a record needs it."""
    needs_long = any(isinstance(v, bytes) for record in records for v in record["io"].values())
    if codec_id == CODEC_8 and needs_long:
        return CODEC_8_WITH_SIXTEEN
    return LAYOUTS[codec_id]


def _encode_record(record: Mapping[str, Any], layout: Layout) -> bytes:
    parts = [
        _unsigned(record["recorded_at_ms"], 8, "recorded_at_ms"),
        _unsigned(record["priority"], 1, "priority"),
        _signed(record["longitude_e7"], 4, "longitude_e7"),
        _signed(record["latitude_e7"], 4, "latitude_e7"),
        _signed(record["altitude_m"], 2, "altitude_m"),
        _unsigned(record["angle_deg"], 2, "angle_deg"),
        _unsigned(record["satellites"], 1, "satellites"),
        _unsigned(record["speed_kmh"], 2, "speed_kmh"),
        _unsigned(record["event_io_id"], layout.event_id, "event_io_id"),
    ]
    if layout.has_generation_type:
        parts.append(_unsigned(record["generation_type"] or 0, 1, "generation_type"))
    elif record["generation_type"] is not None:
        raise ValueError("only Codec 16 has a generation type")
    return b"".join([*parts, _encode_io(record["io"], layout)])


def _encode_io(io: Mapping[int, int | bytes], layout: Layout) -> bytes:
    groups: dict[int, list[bytes]] = {1: [], 2: [], 4: [], 8: []}
    long_group = []
    for io_id, value in io.items():
        encoded_id = _unsigned(io_id, layout.io_id, "IO id")
        if isinstance(value, bytes):
            long_group.append(encoded_id + _encode_long(value, layout))
        else:
            width = _narrowest_width(value)
            groups[width].append(encoded_id + value.to_bytes(width))
    parts = [_unsigned(len(io), layout.count, "number of IO elements")]
    for group in [*groups.values()] + ([long_group] if layout.long_group != "none" else []):
        parts += [_unsigned(len(group), layout.count, "number of IO elements"), *group]
    return b"".join(parts)


def _encode_long(value: bytes, layout: Layout) -> bytes:
    if layout.long_group == "variable":
        return _unsigned(len(value), 2, "length of an IO value") + value
    if layout.long_group == "sixteen" and len(value) == 16:
        return value
    raise ValueError(f"an IO value of {len(value)} bytes has no place in this codec")


def _narrowest_width(value: int) -> int:
    for width in (1, 2, 4, 8):
        if 0 <= value < 1 << 8 * width:
            return width
    raise ValueError(f"IO value {value} is not an unsigned integer of 64 bits")


def _unsigned(value: int, n_bytes: int, name: str) -> bytes:
    return _integer(value, n_bytes, name, signed=False)


def _signed(value: int, n_bytes: int, name: str) -> bytes:
    return _integer(value, n_bytes, name, signed=True)


def _integer(value: int, n_bytes: int, name: str, *, signed: bool) -> bytes:
    try:
        return value.to_bytes(n_bytes, signed=signed)
    except OverflowError:
        raise ValueError(f"{name} {value} does not fit in {n_bytes} bytes") from None

"""The encoder: records to frames, and a refusal of what the codec cannot carry."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from teltonika_processor.codec.layouts import (
    CODEC_8,
    CODEC_8_EXTENDED,
    CODEC_8_WITH_SIXTEEN,
    LAYOUTS,
    Layout,
    Transport,
)
from teltonika_processor.codec.reference.layout import AvlRecord, crc16


def encode_frame(
    records: Sequence[Mapping[str, Any] | AvlRecord],
    *,
    codec_id: int = CODEC_8_EXTENDED,
    transport: Transport = "tcp",
) -> bytes:
    """Encode records as a frame.

    A record is an `AvlRecord` or a mapping with the names of its attributes. Its `io` maps an IO id
    to an int, sent in the narrowest of 1, 2, 4 and 8 bytes; to (int, width in bytes); or to bytes.

    Raises:
        ValueError: A value has no place in this codec.
        TypeError: A field is unknown, or the time is missing.
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


def _fields_of(record: AvlRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in AvlRecord.__slots__}


def _layout_for(codec_id: int, records: Sequence[Mapping[str, Any]]) -> Layout:
    """Choose the layout; Codec 8 gets its group of 16-byte values only where a record needs it."""
    needs_long = any(
        isinstance(v, bytes) for record in records for v in record.get("io", {}).values()
    )
    if codec_id == CODEC_8 and needs_long:
        return CODEC_8_WITH_SIXTEEN
    return LAYOUTS[codec_id]


def _encode_record(record: Mapping[str, Any], layout: Layout) -> bytes:
    """Encode one record; a field that is absent, but for the time, is 0."""
    if unknown := set(record) - set(AvlRecord.__slots__):
        raise TypeError(f"unknown fields {sorted(unknown)}")
    if "recorded_at_ms" not in record:
        raise TypeError("recorded_at_ms is missing")
    parts = [_integer(record.get(name, 0), *field, name) for name, field in _HEAD.items()]
    parts.append(_unsigned(record.get("event_io_id", 0), layout.event_id, "event_io_id"))
    generation_type = record.get("generation_type")
    if layout.has_generation_type:
        parts.append(_unsigned(generation_type or 0, 1, "generation_type"))
    elif generation_type is not None:
        raise ValueError("only Codec 16 has a generation type")
    return b"".join([*parts, _encode_io(record.get("io", {}), layout)])


def _encode_io(io: Mapping[int, int | tuple[int, int] | bytes], layout: Layout) -> bytes:
    groups: dict[int, list[bytes]] = {1: [], 2: [], 4: [], 8: []}
    long_group = []
    for io_id, value in io.items():
        encoded_id = _unsigned(io_id, layout.io_id, "IO id")
        if isinstance(value, bytes):
            long_group.append(encoded_id + _encode_long(value, layout))
        else:
            number, width = value if isinstance(value, tuple) else (value, _narrowest_width(value))
            if width not in groups:
                raise ValueError(f"IO width {width}, expected 1, 2, 4 or 8")
            groups[width].append(encoded_id + _unsigned(number, width, "IO value"))
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
    return _integer(value, n_bytes, _UNSIGNED, name)


def _integer(value: int, n_bytes: int, signed: bool, name: str) -> bytes:  # noqa: FBT001 -- _SIGNED
    try:
        return value.to_bytes(n_bytes, signed=signed)
    except OverflowError:
        raise ValueError(f"{name} {value} does not fit in {n_bytes} bytes") from None


_SIGNED: Final = True
_UNSIGNED: Final = False

# Bytes and sign of the fields that all codecs share, in their order.
_HEAD: Final = {
    "recorded_at_ms": (8, _UNSIGNED),
    "priority": (1, _UNSIGNED),
    "longitude_e7": (4, _SIGNED),
    "latitude_e7": (4, _SIGNED),
    "altitude_m": (2, _SIGNED),
    "angle_deg": (2, _UNSIGNED),
    "satellites": (1, _UNSIGNED),
    "speed_kmh": (2, _UNSIGNED),
}

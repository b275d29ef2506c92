"""The native extension: one call per batch, columns instead of objects.

Shapes: F frames or stream entries, R AVL records, K IO elements, in input order.
Columns are read-only memoryviews of the item type named beside them; they keep the batch alive.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, final

STREAM_ENTRY_VERSION: int
"""The newest version of the stream entry contract that this build reads: 1."""

FRAME_MAX_BYTES: int
"""Default upper bound of a TCP frame in bytes: 65,536. The vendor's 1,280 is a gateway's policy."""

CLOCK_AHEAD_MAX_MS: int
"""Default: a record further ahead of its receive time than this is `clock_suspect` (1 day)."""

def error_catalogue() -> list[tuple[int, str, str]]:
    """Every reject code as (number, code, meaning), in the order of the numbers; 0 is not listed."""

def crc16(data: bytes | bytearray | memoryview, /) -> int:
    """CRC-16/IBM (ARC: reflected 0xA001, initial 0) of `data`."""

@final
class AvlRecord:
    """One AVL record of a frame. Values are those of the wire."""

    @property
    def recorded_at_ms(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def longitude_e7(self) -> int: ...
    @property
    def latitude_e7(self) -> int: ...
    @property
    def altitude_m(self) -> int: ...
    @property
    def angle_deg(self) -> int: ...
    @property
    def satellites(self) -> int: ...
    @property
    def speed_kmh(self) -> int: ...
    @property
    def event_io_id(self) -> int: ...
    @property
    def generation_type(self) -> int | None: ...
    @property
    def io(self) -> Mapping[int, int | bytes]: ...
    @property
    def raw(self) -> memoryview: ...

@final
class AvlPacket:
    """The AVL packet of one frame."""

    @property
    def codec_id(self) -> int: ...
    @property
    def records(self) -> tuple[AvlRecord, ...]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[AvlRecord]: ...

Transport = Literal["tcp", "udp"]

def decode_frame(frame: bytes, *, transport: Transport = "tcp", frame_max_bytes: int = ...) -> AvlPacket:
    """Decode one frame: a whole TCP frame, or the AVL data array of a UDP channel packet."""

def decode_batch(
    frames: Sequence[bytes],
    *,
    transport: Transport = "tcp",
    frame_max_bytes: int = ...,
) -> DecodedBatch:
    """Decode F frames to columns, with one outcome per frame; never raises for their content."""

def decode_entries(
    entries: Sequence[Any],
    *,
    frame_max_bytes: int = ...,
) -> DecodedBatch:
    """Decode F stream entries `[id, [field, value, ...]]` as XREADGROUP returns them in RESP2.

    `[id, None]` (the payload was trimmed while pending) is the reject `payload_trimmed`.
    """

@final
class DecodedBatch:
    """Columns over R records in input order, and one outcome per frame."""

    @property
    def n_frames(self) -> int: ...
    @property
    def n_records(self) -> int: ...
    @property
    def n_elements(self) -> int: ...
    @property
    def n_rejected(self) -> int: ...
    # per frame [F]
    @property
    def reject_code(self) -> memoryview: ...  # uint8, 0 where the frame decoded
    @property
    def reject_offset(self) -> memoryview: ...  # uint32, where the offending field starts
    @property
    def codec_id(self) -> memoryview: ...  # uint8, 0 where unknown
    @property
    def imei(self) -> memoryview: ...  # int64, 0 where unknown
    @property
    def received_at_ms(self) -> memoryview: ...  # int64, 0 where unknown
    @property
    def record_offsets(self) -> memoryview: ...  # uint32 [F+1]: records of frame i are [o[i], o[i+1])
    # per record [R]
    @property
    def recorded_at_ms(self) -> memoryview: ...  # uint64
    @property
    def priority(self) -> memoryview: ...  # uint8
    @property
    def longitude_e7(self) -> memoryview: ...  # int32
    @property
    def latitude_e7(self) -> memoryview: ...  # int32
    @property
    def altitude_m(self) -> memoryview: ...  # int16
    @property
    def angle_deg(self) -> memoryview: ...  # uint16
    @property
    def satellites(self) -> memoryview: ...  # uint8
    @property
    def speed_kmh(self) -> memoryview: ...  # uint16
    @property
    def event_io_id(self) -> memoryview: ...  # uint16
    @property
    def generation_type(self) -> memoryview: ...  # int16, -1 but for Codec 16
    @property
    def io_offsets(self) -> memoryview: ...  # uint32 [R+1]
    # per element [K]
    @property
    def io_id(self) -> memoryview: ...  # uint16
    @property
    def io_value(self) -> memoryview: ...  # uint64; (offset << 32 | length) into the frame where variable
    def rejects(self) -> list[tuple[int, str, int, str]]:
        """(frame index, code, offset, text) of every rejected frame, in input order."""
    def chunks(self, max_records: int) -> list[tuple[int, int]]:
        """Cut the F entries into runs [start, stop) of at most `max_records` records (one entry at least)."""
    def rows(
        self, start: int = 0, stop: int | None = None, *, clock_ahead_max_ms: int = ...
    ) -> Rows:
        """The distinct storable rows of the entries [start, stop), in the order writers must use."""

@final
class Rows:
    """Distinct rows sorted by (UTC day, imei, recorded_at, digest), with the sane copy of each kept."""

    @property
    def n_rows(self) -> int: ...
    @property
    def n_records(self) -> int:
        """Storable records before duplicates were removed."""
    @property
    def n_suspect(self) -> int: ...
    @property
    def days(self) -> list[int]:
        """UTC days (since 1970-01-01) that hold at least one row that is not `clock_suspect`, ascending."""
    @property
    def imeis(self) -> list[int]:
        """Distinct devices, ascending."""
    @property
    def received_at_max_ms(self) -> int: ...
    def copy_positions(self, *, io: Literal["jsonb", "json"] = "jsonb") -> CopyData:
        """PostgreSQL binary COPY of POSITION_COLUMNS."""
    def copy_last_positions(self) -> CopyData:
        """PostgreSQL binary COPY of LAST_POSITION_COLUMNS: the newest valid fix of each device, by imei."""

@final
class CopyData:
    """Bytes for `COPY .. FROM STDIN (FORMAT binary)`, read through the buffer protocol."""

    @property
    def n_rows(self) -> int: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

POSITION_COLUMNS: tuple[str, ...]
LAST_POSITION_COLUMNS: tuple[str, ...]

def encode_frame(
    records: Sequence[Mapping[str, Any] | AvlRecord],
    *,
    codec_id: int = 0x8E,
    transport: Transport = "tcp",
) -> bytes:
    """Encode records as a frame: for tests, simulators and benches."""

"""The native extension: one call per batch, columns instead of objects.

Shapes: F frames or stream entries, R AVL records, K IO elements, in input order.
Columns are read-only memoryviews of the item type named beside them; they keep the batch alive.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, final

from typing_extensions import Buffer

__all__ = [
    "CLOCK_AHEAD_MAX_MS",
    "ENTRY_FIELDS",
    "FRAME_MAX_BYTES",
    "LAST_POSITION_COLUMNS",
    "MARK_COLUMNS",
    "POSITION_COLUMNS",
    "REVISION_COLUMNS",
    "STREAM_ENTRY_VERSION",
    "TIMING_RECORD_COLUMNS",
    "UNIT_AVL",
    "UNIT_COMMAND",
    "UNIT_DAMAGED",
    "UNIT_FOREIGN",
    "UNIT_HANDSHAKE",
    "UNIT_LOST",
    "UNIT_PING",
    "AvlPacket",
    "AvlRecord",
    "ChannelPacket",
    "CopyData",
    "DecodedBatch",
    "DeviceState",
    "EntryPacker",
    "Fold",
    "FrameCutter",
    "Rows",
    "Zone",
    "ZoneIndex",
    "ZoneRefused",
    "channel_packets",
    "crc16",
    "decode_batch",
    "decode_entries",
    "decode_frame",
    "encode_frame",
    "error_catalogue",
]

STREAM_ENTRY_VERSION: int
"""The newest version of the stream entry contract that this build reads: 1."""

ENTRY_FIELDS: tuple[str, str, str, str, str]
"""Fields of a stream entry that are read: imei, frame, v, transport, received_at_ms."""

FRAME_MAX_BYTES: int
"""Default upper bound of a TCP frame in bytes: 65,536. The vendor's 1,280 is a gateway's policy."""

CLOCK_AHEAD_MAX_MS: int
"""Default: a record further ahead of its receive time than this is `clock_suspect` (1 day)."""

def error_catalogue() -> list[tuple[int, str, str]]:
    """Every reject code as (number, code, meaning), by number; 0 is not listed."""

def crc16(data: bytes | bytearray | memoryview, /) -> int:
    """CRC-16/IBM (ARC: reflected 0xA001, initial 0) of `data`."""

@final
class AvlRecord:
    """One AVL record of a frame. Values are those of the wire."""

    @property
    def recorded_at_ms(self) -> int:
        """Device clock: Unix milliseconds, unsigned 64-bit."""
    @property
    def priority(self) -> int:
        """0 low, 1 high, 2 panic; other values are passed on."""
    @property
    def longitude_e7(self) -> int:
        """Longitude in 1e-7 degree, east positive."""
    @property
    def latitude_e7(self) -> int:
        """Latitude in 1e-7 degree, north positive."""
    @property
    def altitude_m(self) -> int:
        """Altitude in metres, signed."""
    @property
    def angle_deg(self) -> int:
        """Degrees clockwise from north."""
    @property
    def satellites(self) -> int:
        """Satellites in use; 0 means that the position is not a current fix."""
    @property
    def speed_kmh(self) -> int:
        """Speed in km/h."""
    @property
    def event_io_id(self) -> int:
        """IO id that caused the record; 0 for none."""
    @property
    def generation_type(self) -> int | None:
        """Generation type of Codec 16; None for the other codecs."""
    @property
    def io(self) -> Mapping[int, int | bytes]:
        """Read-only: IO id to unsigned value, or to bytes where of variable length or of 16."""
    @property
    def raw(self) -> memoryview:
        """The raw record: a read-only view into the caller's frame."""

@final
class AvlPacket:
    """The AVL packet of one frame: iterable, its records in wire order."""

    @property
    def codec_id(self) -> int:
        """0x08 Codec 8, 0x8E Codec 8 Extended, 0x10 Codec 16."""
    @property
    def records(self) -> tuple[AvlRecord, ...]:
        """R records in wire order."""
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[AvlRecord]: ...

_Transport: TypeAlias = Literal["tcp", "udp"]

def decode_frame(
    frame: bytes, *, transport: _Transport = "tcp", frame_max_bytes: int = ...
) -> AvlPacket:
    """Decode one frame.

    Args:
        frame: A whole TCP frame, preamble to CRC; with `udp`, the AVL packet of a UDP channel
            packet, codec id to number of data 2.
        transport: How the AVL packet is wrapped.
        frame_max_bytes: Upper bound of the frame, 15 to 536,870,912 bytes.

    Raises:
        DecodeError: The first check that failed, with its code and where the field starts.
        TypeError: `frame` is not `bytes`.
        ValueError: Another transport, or `frame_max_bytes` out of its range.
    """

def decode_batch(
    frames: Sequence[bytes],
    *,
    transport: _Transport = "tcp",
    frame_max_bytes: int = ...,
) -> DecodedBatch:
    """Decode F frames to columns, with one outcome per frame; never raises for their content.

    The frames are held, not copied. The GIL is free meanwhile, unless the batch is tiny.

    Args:
        frames: F frames, each as `decode_frame` takes it.
        transport: How their AVL packets are wrapped.
        frame_max_bytes: Upper bound of each frame, 15 to 536,870,912 bytes.

    Raises:
        TypeError: A frame is not `bytes`.
        ValueError: Another transport, `frame_max_bytes` out of its range, or 4 GiB of frames.
    """

def decode_entries(
    entries: Sequence[Any],
    *,
    frame_max_bytes: int = ...,
) -> DecodedBatch:
    """Decode F stream entries `[id, [field, value, ...]]` as XREADGROUP returns them in RESP2.

    Fields are those of `ENTRY_FIELDS`, in any order; others are ignored. `[id, None]` (the payload
    was trimmed while pending) is the reject `payload_trimmed`. Other rejects of entries, in this
    order: `unsupported_version` (`v` is not 1, or a transport other than `tcp` and `udp`),
    `missing_field`, `bad_imei` (not 15 ASCII digits). Where `received_at_ms` is not from 2010 until
    `CLOCK_AHEAD_MAX_MS` behind the milliseconds of its id, an entry gets those.

    An entry with a record whose time Postgres cannot hold is the reject `timestamp_out_of_range` at
    that timestamp, but all its records stand in the columns.

    Raises:
        TypeError: An entry or a part of it is of another type: a bug of the caller.
        ValueError: An entry of another shape, `frame_max_bytes` out of its range, or 4 GiB.
    """

@final
class DecodedBatch:
    """Columns over R records in input order, and one outcome per frame.

    A column is a read-only memoryview of the named item type; it keeps the batch alive.
    """

    @property
    def n_frames(self) -> int:
        """F, the number of frames or entries."""
    @property
    def n_records(self) -> int:
        """R, the number of AVL records."""
    @property
    def n_elements(self) -> int:
        """K, the number of IO elements."""
    @property
    def n_rejected(self) -> int:
        """How many of the F frames have a reject code."""
    @property
    def reject_code(self) -> memoryview:
        """Number of the reject code in `error_catalogue`, 0 where the frame decoded: uint8 [F]."""
    @property
    def reject_offset(self) -> memoryview:
        """Where the offending field starts in its frame: uint32 [F]."""
    @property
    def codec_id(self) -> memoryview:
        """Codec id of the frame, or the one it was rejected for; 0 where unknown: uint8 [F]."""
    @property
    def imei(self) -> memoryview:
        """Device of each entry, 0 where unknown: int64 [F]."""
    @property
    def received_at_ms(self) -> memoryview:
        """Gateway clock of each entry in Unix ms, 0 where unknown: int64 [F]."""
    @property
    def record_offsets(self) -> memoryview:
        """The records of frame i are [o[i], o[i+1]): uint32 [F+1]."""
    @property
    def recorded_at_ms(self) -> memoryview:
        """Device clock in Unix ms, unsigned as on the wire: uint64 [R]."""
    @property
    def priority(self) -> memoryview:
        """0 low, 1 high, 2 panic: uint8 [R]."""
    @property
    def longitude_e7(self) -> memoryview:
        """Longitude in 1e-7 degree: int32 [R]."""
    @property
    def latitude_e7(self) -> memoryview:
        """Latitude in 1e-7 degree: int32 [R]."""
    @property
    def altitude_m(self) -> memoryview:
        """Altitude in metres: int16 [R]."""
    @property
    def angle_deg(self) -> memoryview:
        """Degrees clockwise from north: uint16 [R]."""
    @property
    def satellites(self) -> memoryview:
        """Satellites in use, 0 without a current fix: uint8 [R]."""
    @property
    def speed_kmh(self) -> memoryview:
        """Speed in km/h: uint16 [R]."""
    @property
    def event_io_id(self) -> memoryview:
        """IO id that caused the record, 0 for none: uint16 [R]."""
    @property
    def generation_type(self) -> memoryview:
        """Generation type of Codec 16, -1 for the other codecs: int16 [R]."""
    @property
    def io_offsets(self) -> memoryview:
        """The elements of record r are [o[r], o[r+1]), in wire order: uint32 [R+1]."""
    @property
    def n_variable(self) -> memoryview:
        """How many of a record's last elements are variable-length or 16 bytes long: uint16 [R]."""
    @property
    def io_id(self) -> memoryview:
        """IO id: uint16 [K]."""
    @property
    def io_value(self) -> memoryview:
        """Unsigned value, or (offset << 32 | length) into the frame where variable: uint64 [K]."""
    def __len__(self) -> int: ...
    def rejects(self) -> list[tuple[int, str, int, str]]:
        """(frame index, code, offset, text) of every rejected frame, in input order."""
    def chunks(self, max_records: int) -> list[tuple[int, int]]:
        """Cut the F entries into runs [start, stop) of at most `max_records`, or one entry.

        Raises:
            ValueError: `max_records` is negative.
        """
    def rows(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        clock_ahead_max_ms: int = ...,
        state: DeviceState | None = None,
    ) -> Rows:
        """The distinct storable rows of the entries [start, stop), in the order of writing.

        Only a batch of `decode_entries` has rows: frames alone say neither device nor time.

        Args:
            start: First entry.
            stop: Entry behind the last; without it, all of them.
            clock_ahead_max_ms: How far ahead of its receive time a record may be.
            state: Leaves out what it knows to be stored: copies of committed frames, and newest
                fixes that cannot win in `last_position`. Of devices that it does not hold nothing
                is left out.

        Raises:
            ValueError: The batch is one of `decode_batch`, [start, stop) is no part of its entries,
                or `clock_ahead_max_ms` is negative.
            DecoderBug: The native code panicked.
        """

@final
class Rows:
    """Distinct rows by (UTC day, imei, recorded_at, digest), with the sane copy of each kept."""

    @property
    def n_rows(self) -> int:
        """Distinct storable records."""
    @property
    def n_records(self) -> int:
        """Storable records before duplicates were removed, those of `n_retransmitted` included."""
    @property
    def n_retransmitted(self) -> int:
        """Storable records of frames that the state remembers as committed: they are no rows."""
    @property
    def n_suspect(self) -> int:
        """Rows whose every copy has an impossible clock."""
    @property
    def days(self) -> list[int]:
        """UTC days (since 1970-01-01) that hold a row that is not `clock_suspect`, ascending."""
    @property
    def imeis(self) -> list[int]:
        """Distinct devices, ascending."""
    @property
    def received_at_max_ms(self) -> int:
        """The latest receive time of the records in Unix ms; 0 if there are none."""
    @property
    def imei(self) -> memoryview:
        """Device of each row, in the rows' order: int64 [n_rows]."""
    @property
    def recorded_at_ms(self) -> memoryview:
        """Device clock of each row in Unix ms: int64 [n_rows]."""
    @property
    def digest(self) -> memoryview:
        """Signed xxh3-64 of the raw record of each row: int64 [n_rows]."""
    @property
    def entry(self) -> memoryview:
        """Index, in the batch, of the entry that each row came in: uint32 [n_rows].

        Of copies in several entries it is that of the kept one.
        """
    def copy_positions(self, *, io: Literal["jsonb", "json"] = "jsonb") -> CopyData:
        """PostgreSQL binary COPY of POSITION_COLUMNS.

        Args:
            io: Type of the column `io`.

        Raises:
            ValueError: Another type.
            DecoderBug: The native code panicked.
        """
    def copy_last_positions(self) -> CopyData:
        """Binary COPY of LAST_POSITION_COLUMNS: the newest valid fix of each device, by imei.

        Of rows made with a state, a fix that does not beat the position held is left out.

        Raises:
            DecoderBug: The native code panicked.
        """
    def copy_marks(self) -> CopyData:
        """Binary COPY of MARK_COLUMNS: the runs of each device's fixes that take part in timing.

        By (imei, time); a hole of more than ten minutes ends a run.

        Raises:
            DecoderBug: The native code panicked.
        """

@final
class DeviceState:
    """A bounded cache of what commits said of each device: its newest fix, its last four frames.

    Call in this order for a batch: `cold`, `hydrate` with what `last_position` has of those,
    `DecodedBatch.rows(state=...)`, and `committed` after the COMMIT of positions and last
    positions. Beyond its bound it forgets who has not sent for longest. It may forget anything at
    any time: that costs time, never truth. After a panic (`DecoderBug`) it is empty.
    """

    def __new__(cls, devices_max: int) -> DeviceState:
        """An empty state of at most `devices_max` devices, 1 to 10,000,000.

        A device takes at most 150 bytes.

        Raises:
            ValueError: `devices_max` is out of its range.
        """
    def cold(self, batch: DecodedBatch, start: int = 0, stop: int | None = None) -> list[int]:
        """The devices of the entries [start, stop) that are not held: distinct, ascending.

        Only entries with a record count. Each distinct device is a hit or a miss; those held become
        the ones that sent last.

        Raises:
            ValueError: The batch is one of `decode_batch`, or [start, stop) is no part of it.
            DecoderBug: The native code panicked.
        """
    def hydrate(
        self, asked: Sequence[int], found: Sequence[tuple[int, int, int, float, float]]
    ) -> None:
        """Hold the devices `asked`; those not `found` are known to have no last position.

        A position that a commit raised meanwhile is not lowered.

        Args:
            asked: Devices, as `cold` gave them.
            found: Rows of `last_position`: imei, recorded_at in Unix microseconds, digest,
                longitude and latitude in degrees.

        Raises:
            ValueError: `found` has a device that was not asked for; nothing has changed.
            OverflowError: A number is beyond int64; nothing has changed.
            DecoderBug: The native code panicked.
        """
    def committed(self, rows: Rows) -> None:
        """Remember what the COMMIT of `rows` and of their last positions has made true.

        Never call it before the COMMIT, nor for a part of the rows. Devices that are not held, or
        no longer, stay unknown.

        Raises:
            DecoderBug: The native code panicked.
        """
    def drop(self, imei: int) -> bool:
        """Forget a device; whether it was held."""
    def clear(self) -> None:
        """Forget every device and give their memory back; the counts stay."""
    def position(self, imei: int) -> tuple[int, int, float, float] | None:
        """The newest committed fix held of a device: none if it has none or is not held.

        Returns:
            recorded_at in Unix microseconds, digest, longitude and latitude in degrees.
        """
    def holds(self, imei: int) -> bool:
        """Whether a device is held, with a position or without."""
    @property
    def n_devices(self) -> int:
        """Devices held."""
    @property
    def n_bytes(self) -> int:
        """Bytes allocated for them."""
    @property
    def hits(self) -> int:
        """How many devices `cold` found held, since the start."""
    @property
    def misses(self) -> int:
        """How many devices `cold` found not held, since the start."""
    @property
    def evictions(self) -> int:
        """How many devices were forgotten for the bound, since the start."""

@final
class CopyData(Buffer):
    """Bytes for `COPY .. FROM STDIN (FORMAT binary)`, read through the buffer protocol."""

    @property
    def n_rows(self) -> int:
        """Rows in the stream."""
    def __len__(self) -> int: ...

TIMING_RECORD_COLUMNS: tuple[str, ...]
"""Columns of `Fold.copy_records`, in its order."""

REVISION_COLUMNS: tuple[str, ...]
"""Columns of `Fold.copy_revisions`, in its order."""

@final
class ZoneRefused(ValueError):  # noqa: N818 -- a refusal
    """A geometry that is no zone: args are text, code and (polygon, ring, point) or None."""

@final
class Zone:
    """One version of a zone, checked.

    `version` is (zone id, version, valid from and valid to in Unix microseconds, hysteresis in
    metres); points are (longitude, latitude) in degrees.
    """

    @staticmethod
    def circle(
        version: tuple[int, int, int, int, float], centre: tuple[float, float], radius_m: float
    ) -> Zone:
        """A circle on the sphere, with its radius in metres.

        Raises:
            ZoneRefused: It is none.
        """
    @staticmethod
    def area(
        version: tuple[int, int, int, int, float],
        polygons: list[list[list[tuple[float, float]]]],
    ) -> Zone:
        """Polygons, each an outer ring and its holes.

        Raises:
            ZoneRefused: They are none.
        """
    @staticmethod
    def area_faults(
        version: tuple[int, int, int, int, float],
        polygons: list[list[list[tuple[float, float]]]],
        max: int,  # noqa: A002 -- as the extension has it
    ) -> list[tuple[str, str, tuple[int, int, int] | None]]:
        """What is wrong with polygons, up to `max`, as `ZoneRefused` says it; or nothing."""
    @staticmethod
    def gate(
        version: tuple[int, int, int, int, float],
        points: list[tuple[float, float]],
        direction: str,
    ) -> Zone:
        """A line; direction is `left_to_right`, `right_to_left` or `both`.

        Raises:
            ZoneRefused: It is none.
            ValueError: Another direction.
        """

@final
class ZoneIndex:
    """Versions of zones, found by where they are."""

    def __new__(cls, zones: list[Zone], /) -> ZoneIndex:
        """Of these versions, in any order.

        Raises:
            ValueError: The same version of a zone twice.
        """
    def __len__(self) -> int: ...

@final
class Fold:
    """One try at deriving the crossings of a group of devices: see `store.folding`.

    What it takes is binary COPY; what it gives as lists are rows of `VALUES` lists.
    """

    def __new__(
        cls,
        index: ZoneIndex,
        marks: bytes,
        *,
        gap_us: int,
        jump_m_s: float,
        fixes: int,
        right: int,
        window_us: int,
    ) -> Fold:
        """Of the marks that were copied out.

        Raises:
            ValueError: A limit is out of its range, or `marks` is no such stream.
        """
    @property
    def imeis(self) -> list[int]:
        """The devices, ascending."""
    def reads(self) -> list[tuple[str, str, list[str]]]:
        """(low, high, stretches) for each group of stretches that are near in time.

        A stretch is (imei, first, last); the two instants lie a day before and behind the group.
        """
    def add_positions(self, positions: bytes, /) -> None:
        """Take fixes: (imei, side, instant, digest, longitude, latitude, satellites).

        Raises:
            ValueError: It is no such stream.
        """
    def needs(self) -> tuple[list[str], list[str], list[str], list[str], list[str]]:
        """What is missing: next, left, right, history, members; each time more on the right."""
    def left_was_read(self) -> None:
        """What was asked for by `left` is in the next positions, or is not there."""
    def add_next(self, next_fixes: bytes, /) -> None:
        """Take the answer to `next`: (imei, instant).

        Raises:
            ValueError: It is no such stream.
        """
    def add_history(self, older: bytes, /) -> None:
        """Take the answer to `history`: imei of those with crossings older than their first fix.

        Raises:
            ValueError: It is no such stream.
        """
    def add_members(self, members: bytes, /) -> None:
        """Take the answer to `members`: (imei, zone id) of those inside.

        Raises:
            ValueError: It is no such stream.
        """
    def derive(self) -> int:
        """Derive; how many segments were looked at.

        Raises:
            DecoderBug: The native code panicked.
        """
    def versions(self) -> list[str]:
        """(imei, version) of the marks as they were read."""
    def keep(self, imeis: list[int], /) -> None:
        """Go on with these alone, which ascend."""
    def replaced(self) -> list[str]:
        """(imei, behind, upto) of the crossings that are replaced."""
    def compare(self, stored: bytes, /) -> list[int]:
        """Take the crossings that are stored there; the devices whose differ, ascending.

        Raises:
            ValueError: It is no such stream.
        """
    def copy_records(self, imeis: list[int], /) -> CopyData:
        """TIMING_RECORD_COLUMNS of these devices, which ascend."""
    def copy_revisions(self, imeis: list[int], /) -> CopyData:
        """REVISION_COLUMNS of these devices, which ascend."""
    def count_revisions(self, imeis: list[int], /) -> list[tuple[str, int]]:
        """(cause, how many) of the rows of these devices that were replaced."""
    def count_crossings(self, imeis: list[int], /) -> list[tuple[str, str, int]]:
        """(kind of zone, kind, how many) of their rows that are new or differ."""
    def rest(self) -> list[str]:
        """(imei, ranges) of the marks that stay."""
    def unfinished(self) -> list[int]:
        """The devices of which a part stays marked, ascending."""

UNIT_PING: int
"""Bytes FF in a row of one read, which are not answered: (0, b"", how many)."""

UNIT_HANDSHAKE: int
"""The IMEI handshake: (1, its 15 digits, 0)."""

UNIT_AVL: int
"""A frame with a good CRC and any codec but 12 to 15: (2, frame, number of data 1).

An unknown codec, counts that differ and records that cannot be decoded are frames like any other.
"""

UNIT_COMMAND: int
"""A frame with a good CRC of Codec 12 to 15, which is not answered: (3, frame, codec id)."""

UNIT_DAMAGED: int
"""A frame whose CRC is wrong; its length still delimits it: (4, frame, number of data 1)."""

UNIT_FOREIGN: int
"""A client that is no tracker: (5, b"http", b"tls", b"minecraft" or b"dual_cam", 0); the last."""

UNIT_LOST: int
"""Framing is lost, or the handshake holds no IMEI: (6, reject code, offset); the last unit.

Codes: `bad_preamble`, `length_out_of_range`, `bad_imei`; `decoder_bug` where native code panicked.
The offset is where the offending field starts, in bytes from the first of the connection.
"""

@final
class FrameCutter:
    """Cuts the bytes of one TCP connection into units.

    The units are the same however the bytes were split into reads. It holds the beginning of one
    unit at most: less than `frame_max_bytes`, and at most twice what was received of it.
    """

    def __new__(cls, *, frame_max_bytes: int) -> FrameCutter:
        """A cutter before the first byte of a connection.

        Args:
            frame_max_bytes: Upper bound of a whole frame, 15 to 536,870,912 bytes. A length above
                it is `length_out_of_range` as soon as its field is there.

        Raises:
            ValueError: `frame_max_bytes` is out of its range.
        """
    def feed(self, data: bytes, /) -> list[tuple[int, bytes, int]]:
        """The units that are whole with this read, in their order: (kind, value, number).

        Kinds are the `UNIT_` constants, which say what value and number are. A frame before the
        handshake is given like any other; a second handshake is `bad_preamble`. Where `data` is one
        whole frame and nothing was held, the value is `data` itself. Behind `UNIT_FOREIGN` or
        `UNIT_LOST` every byte is dropped.

        Raises:
            TypeError: `data` is not `bytes`. Bad content never raises.
        """
    @property
    def n_buffered(self) -> int:
        """Bytes held of a unit that is not whole yet."""

@final
class ChannelPacket:
    """One channel packet of a datagram, or why it was rejected."""

    @property
    def imei(self) -> str | None:
        """The device as it claims, 15 digits; None where rejected."""
    @property
    def packet_id(self) -> int:
        """Packet id, echoed in the reply; 0 where rejected."""
    @property
    def avl_packet_id(self) -> int:
        """AVL packet id, by which the device recognises the reply; 0 where rejected."""
    @property
    def avl_packet(self) -> bytes:
        """The AVL packet, codec id to number of data 2, not verified; empty where rejected."""
    @property
    def n_data(self) -> int:
        """Number of data 1; 0 where the AVL packet is too short for it."""
    @property
    def codec_id(self) -> int:
        """Codec id; 0 where the AVL packet is empty."""
    @property
    def is_command(self) -> bool:
        """Whether it is one of Codec 12 to 15, which are not answered."""
    @property
    def reject(self) -> str | None:
        """`truncated`, `channel_length_mismatch` or `bad_imei`; None where well-formed."""
    @property
    def offset(self) -> int:
        """Where the AVL packet starts in the datagram; where rejected, the offending field."""
    def reply(self, n_accepted: int, /) -> bytes:
        """The 7 bytes that say how many records were accepted, from the first on.

        Raises:
            OverflowError: `n_accepted` is not one byte.
        """

def channel_packets(datagram: bytes, /, *, packets_max: int = ...) -> list[ChannelPacket]:
    """Read the channel packets of one UDP datagram, of which there is at least one.

    Behind a `bad_imei` the next one is read; nothing follows `truncated` or
    `channel_length_mismatch`.

    Args:
        datagram: Its payload.
        packets_max: The rest is not looked at; as many as there are by default.

    Raises:
        TypeError: `datagram` is not `bytes`. Bad content never raises.
        OverflowError: `packets_max` is negative.
    """

@final
class EntryPacker:
    """Packs stream entries of version 1 as XADD commands, for one stream and one gateway."""

    def __new__(
        cls, stream: bytes, gateway: bytes, *, keep_entries: int | None = None
    ) -> EntryPacker:
        """A packer for the stream of this name, with the gateway's name in every entry.

        Args:
            stream: Its name.
            gateway: In the field of that name.
            keep_entries: Each XADD drops the oldest entries above about so many, at least 1; None
                drops nothing.

        Raises:
            ValueError: `keep_entries` is 0.
            OverflowError: It is negative, or 2**64 or more.
        """
    def xadd(
        self,
        imei: bytes,
        frame: bytes,
        transport: _Transport,
        received_at_ms: int,
        connection: bytes,
    ) -> bytes:
        """The whole command in RESP; the server gives the entry its id.

        Fields, in this order: imei, frame, v, transport, received_at_ms, gateway, connection.

        Args:
            imei: 15 ASCII digits; not verified.
            frame: With `tcp` a whole frame, preamble to CRC; with `udp` the AVL packet.
            transport: How the AVL packet came.
            received_at_ms: Gateway clock in Unix ms, 0 to 2**64 - 1.
            connection: Which of the gateway's connections brought it.

        Raises:
            ValueError: Another transport, or `received_at_ms` out of its range.
            TypeError: An argument is of another type.
        """

POSITION_COLUMNS: tuple[str, ...]
"""Columns of `positions` that `copy_positions` writes, in its order."""

LAST_POSITION_COLUMNS: tuple[str, ...]
"""Columns of `last_position` that `copy_last_positions` writes, in its order."""

MARK_COLUMNS: tuple[str, ...]
"""Columns of `Rows.copy_marks`, in its order."""

def encode_frame(
    records: Sequence[Mapping[str, Any] | AvlRecord],
    *,
    codec_id: int = 0x8E,
    transport: _Transport = "tcp",
) -> bytes:
    """Encode records as a frame: for tests, simulators and benches.

    A record is an `AvlRecord`, or a mapping with the names of its attributes, of which only
    `recorded_at_ms` must be there. `io` maps an IO id to an int (sent in the smallest of 1, 2, 4
    and 8 bytes that holds it), to a pair (int, width in bytes), or to bytes (sent with their length
    in Codec 8 Extended; 16 of them in Codec 8 go to the 16-byte group of some FM63 units). So a
    decoded frame encodes to the same values, but not to the same bytes where it sent a small value
    in a wide field.

    Raises:
        ValueError: The codec cannot carry the records; nothing is cut or wrapped.
        TypeError: A record or value has another type, a name is unknown or `recorded_at_ms` is
            missing.
    """

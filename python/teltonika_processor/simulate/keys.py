"""The keys under which what was sent must be found in the log. Pure.

Kept are 16 bytes a record, time and digest, so that what is missing can be named, which a count or
a hash for each device could not; and the frames, compressed, so that columns can be compared. The
digests are the processor's own, taken from the frames as they were sent, many frames at a time; the
times are compared with those that the records were made with, and records that its decoder does not
find are counted.
"""

import struct
import zlib
from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from teltonika_processor.codec.native import ENTRY_FIELDS, Rows, decode_entries
from teltonika_processor.simulate.outbox import Parcel

Key = tuple[int, int, int]
"""(imei, recorded_at in Unix ms, digest), as the log has it."""

_IMEI, _FRAME, _, _TRANSPORT, _ = (name.encode() for name in ENTRY_FIELDS)

# One native call for so many frames; a frame alone costs five times as much.
_FRAMES_AT_ONCE: Final = 500
# Chunks of that many frames that are compared with the log at a time.
_CHUNKS_AT_ONCE: Final = 10
# IMEI, bytes of the frame, bytes of the transport's name.
_HEAD: Final = struct.Struct(">QHB")
# Half the size for a fifth of the time of the default.
_QUICKLY: Final = 1


class Keys:
    """Keys of records, by device."""

    def __init__(self) -> None:
        self._pairs: Final[dict[int, array[int]]] = {}
        self._waiting: Final[list[tuple[str, Parcel]]] = []
        self._chunks: Final[list[bytes]] = []
        self._built: Final[dict[int, Parcel]] = {}
        self._n_unreadable = 0

    @property
    def n_unreadable(self) -> int:
        """Records without a key: the decoder takes others from their frames, or none."""
        self._digest()
        return self._n_unreadable

    def add(self, imei: str, parcel: Parcel) -> None:
        """Those of the records of `parcel`."""
        if not parcel.records:  # built before the run, and sent again and again
            if id(parcel) in self._built:
                return
            self._built[id(parcel)] = parcel
        self._waiting.append((imei, parcel))
        if len(self._waiting) >= _FRAMES_AT_ONCE:
            self._digest()

    def imeis(self) -> list[int]:
        """Devices that have keys, ascending."""
        self._digest()
        return sorted(self._pairs)

    def of(self, imei: int) -> set[Key]:
        """The distinct keys of one device."""
        self._digest()
        pairs = self._pairs.get(imei, array("q"))
        return {(imei, pairs[n], pairs[n + 1]) for n in range(0, len(pairs), 2)}

    def pages(self, n_keys: int) -> Iterator[list[Key]]:
        """All distinct keys, at least `n_keys` at a time, a device's keys together."""
        page: list[Key] = []
        for imei in self.imeis():
            page += self.of(imei)
            if len(page) >= n_keys:
                yield page
                page = []
        if page:
            yield page

    def rows(self) -> Iterator[Rows]:
        """The rows that the log must hold, some thousand at a time; a row may come again."""
        self._digest()
        for first in range(0, len(self._chunks), _CHUNKS_AT_ONCE):
            chunks = self._chunks[first : first + _CHUNKS_AT_ONCE]
            yield decode_entries([entry for chunk in chunks for entry in _unpacked(chunk)]).rows()

    def _digest(self) -> None:
        if not self._waiting:
            return
        waiting = self._waiting.copy()
        self._waiting.clear()
        batch = decode_entries(
            [_entry(imei.encode(), one.wire, one.transport.encode()) for imei, one in waiting]
        )
        rows = batch.rows()
        self._n_unreadable += batch.n_records - rows.n_records
        offsets, times = batch.record_offsets, batch.recorded_at_ms
        for (_, parcel), first, end in zip(waiting, offsets, offsets[1:], strict=False):
            if not _is_read(parcel, times[first:end]):
                self._n_unreadable += parcel.n_records
        recorded: Sequence[int] = rows.recorded_at_ms
        for imei, recorded_at_ms, digest in zip(rows.imei, recorded, rows.digest, strict=True):
            pairs = self._pairs.get(imei)
            if pairs is None:
                pairs = self._pairs[imei] = array("q")
            pairs.append(recorded_at_ms)
            pairs.append(digest)
        self._chunks.append(_packed(waiting))


def _is_read(parcel: Parcel, times_ms: Sequence[int]) -> bool:
    """Whether the decoder found as many records as were sent, of the times that they were made."""
    if parcel.records:
        return [record.recorded_at_ms for record in parcel.records] == list(times_ms)
    return len(times_ms) == parcel.n_records


def _entry(imei: bytes, wire: bytes, transport: bytes) -> list[bytes | list[bytes]]:
    return [b"1-1", [_IMEI, imei, _FRAME, wire, _TRANSPORT, transport]]


def _packed(parcels: Sequence[tuple[str, Parcel]]) -> bytes:
    parts = []
    for imei, parcel in parcels:
        transport = parcel.transport.encode()
        parts += [_HEAD.pack(int(imei), len(parcel.wire), len(transport)), parcel.wire, transport]
    return zlib.compress(b"".join(parts), _QUICKLY)


def _unpacked(chunk: bytes) -> Iterator[list[bytes | list[bytes]]]:
    packed, at = zlib.decompress(chunk), 0
    while at < len(packed):
        imei, n_wire, n_transport = _HEAD.unpack_from(packed, at)
        at += _HEAD.size
        wire, transport = packed[at : at + n_wire], packed[at + n_wire : at + n_wire + n_transport]
        at += n_wire + n_transport
        yield _entry(b"%015d" % imei, wire, transport)


class SentKeys:
    """What must be stored, and what may be.

    Attributes:
        acknowledged: By a reply that cannot have been another frame's.
        possible: In doubt, or sent and never acknowledged.
    """

    def __init__(self) -> None:
        self.acknowledged: Final = Keys()
        self.possible: Final = Keys()

    def settled(self, imei: str, parcel: Parcel, *, in_doubt: bool) -> None:
        """A parcel was acknowledged."""
        (self.possible if in_doubt else self.acknowledged).add(imei, parcel)

    def may_be_stored(self, imei: int) -> set[Key]:
        """All keys of a device."""
        return self.acknowledged.of(imei) | self.possible.of(imei)

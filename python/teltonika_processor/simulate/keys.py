"""The keys under which what was sent must be found in the log. Pure.

Kept are 16 bytes a record, time and digest, and not the records: so what is missing can be named,
which a count or a hash for each device could not. The digests are the processor's own, taken from
the frames as they were sent, many frames at a time.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from teltonika_processor.codec.native import ENTRY_FIELDS, decode_entries
from teltonika_processor.simulate.outbox import Parcel

Key = tuple[int, int, int]
"""(imei, recorded_at in Unix ms, digest), as the log has it."""

_IMEI, _FRAME, _, _TRANSPORT, _ = (name.encode() for name in ENTRY_FIELDS)

# One native call for so many frames; a frame alone costs five times as much.
_FRAMES_AT_ONCE: Final = 500


class Keys:
    """Keys of records, by device."""

    def __init__(self) -> None:
        self._pairs: Final[dict[int, array[int]]] = {}
        self._entries: Final[list[list[bytes | list[bytes]]]] = []
        self._built: Final[dict[int, Parcel]] = {}

    def add(self, imei: str, parcel: Parcel) -> None:
        """Those of the records of `parcel`."""
        if not parcel.records:  # built before the run, and sent again and again
            if id(parcel) in self._built:
                return
            self._built[id(parcel)] = parcel
        fields = [_IMEI, imei.encode(), _FRAME, parcel.wire]
        self._entries.append([b"1-1", [*fields, _TRANSPORT, parcel.transport.encode()]])
        if len(self._entries) >= _FRAMES_AT_ONCE:
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

    def _digest(self) -> None:
        if not self._entries:
            return
        rows = decode_entries(self._entries).rows()
        self._entries.clear()
        times: Sequence[int] = rows.recorded_at_ms
        for imei, recorded_at_ms, digest in zip(rows.imei, times, rows.digest, strict=True):
            pairs = self._pairs.get(imei)
            if pairs is None:
                pairs = self._pairs[imei] = array("q")
            pairs.append(recorded_at_ms)
            pairs.append(digest)


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

    def imeis(self) -> list[int]:
        """Devices that have keys, ascending."""
        return sorted({*self.acknowledged.imeis(), *self.possible.imeis()})

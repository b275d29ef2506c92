"""What a device keeps until the server has it. Pure."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from operator import attrgetter
from typing import Final, Literal, NamedTuple, Protocol

from teltonika_processor.simulate.envelope import avl_packet, wrap
from teltonika_processor.simulate.published import Transport

Order = Literal["oldest", "newest"]

# Source: vendor wiki, "AVL packet": 1,280 bytes at most, the two counts and the codec id included.
PACKET_MAX_BYTES: Final = 1280
_PACKET_OVERHEAD: Final = 3
_RECORDS_MAX: Final = 255
# Within the first record of a TCP frame: the counts stay as they are.
_POISONED_BYTE: Final = 20
_NEVER_TAKEN_APART: Final[Sequence["MadeRecord"]] = ()


class MadeRecord(NamedTuple):
    """One AVL record as a device holds it."""

    recorded_at_ms: int
    priority: int
    raw: bytes


class Parcel(NamedTuple):
    """Records that travel together.

    Attributes:
        wire: Whole TCP frame, or AVL packet of UDP.
        n_records: What a right reply says.
        records: What it was built of; empty where it was built before the run.
    """

    wire: bytes
    n_records: int
    records: Sequence[MadeRecord] = _NEVER_TAKEN_APART

    @property
    def transport(self) -> Transport:
        """What it is wrapped for: a frame begins with zeros, an AVL packet with its codec id."""
        return "udp" if self.wire[0] else "tcp"


class Outbox(Protocol):
    """Where a link gets what it sends."""

    @property
    def n_made(self) -> int:
        """Records that were ever in it."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""

    def take(self) -> Parcel | None:
        """What is to be sent next; the outbox forgets it."""

    def put_back(self, parcel: Parcel) -> None:
        """It was not acknowledged before the connection was lost."""

    def n_kept(self) -> int:
        """Records that are not taken."""


class RecordOutbox:
    """Records by time; frames are built of them when they are sent, high priority first.

    So records whose connection was lost may travel in another company the next time, as those of a
    device do.
    """

    def __init__(
        self,
        codec_id: int,
        *,
        transport: Transport = "tcp",
        records_max: int = 1,
        order: Order = "oldest",
        packet_max_bytes: int = PACKET_MAX_BYTES,
    ) -> None:
        """Keep nothing yet.

        Args:
            codec_id: Of the records that will be added.
            transport: What the frames are wrapped for.
            records_max: Greatest number in a frame, 1 to 255.
            order: Which of equal priority go first.
            packet_max_bytes: Bound of an AVL packet; one record is sent whatever its size.
        """
        self._codec_id: Final = codec_id
        self._transport: Final[Transport] = transport
        self.records_max = min(records_max, _RECORDS_MAX)
        self._newest_first: Final = order == "newest"
        self._packet_max_bytes: Final = packet_max_bytes
        self._kept: list[MadeRecord] = []
        self._is_sorted = True
        self.n_made = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._kept

    def n_kept(self) -> int:
        """Records that are not taken."""
        return len(self._kept)

    def add(self, records: Iterable[MadeRecord]) -> None:
        """The device made records."""
        before = len(self._kept)
        self._kept += records
        self.n_made += len(self._kept) - before
        self._is_sorted = len(self._kept) <= 1

    def put_back(self, parcel: Parcel) -> None:
        """It was not acknowledged before the connection was lost."""
        self._kept += parcel.records
        self._is_sorted = False

    def take(self) -> Parcel | None:
        """The next frame, as many records as there are and fit."""
        if not self._kept:
            return None
        if not self._is_sorted:
            self._sort()
        n_records = self._n_fitting()
        records = tuple(self._kept[: -n_records - 1 : -1])
        del self._kept[-n_records:]
        packet = avl_packet(self._codec_id, [record.raw for record in records])
        return Parcel(wrap(packet, self._transport), n_records, records)

    def _sort(self) -> None:
        # The last one goes first: taking from the end costs nothing.
        self._kept.sort(key=attrgetter("recorded_at_ms"), reverse=not self._newest_first)
        self._kept.sort(key=attrgetter("priority"))
        self._is_sorted = True

    def _n_fitting(self) -> int:
        left = self._packet_max_bytes - _PACKET_OVERHEAD
        n_records = 0
        for record in reversed(self._kept[-self.records_max :]):
            left -= len(record.raw)
            if left < 0 and n_records:
                break
            n_records += 1
        return n_records


class BuiltOutbox:
    """Frames that were built before the run, sent in turn, and then from the first one again."""

    def __init__(self, parcels: Iterable[Parcel], *, n_frames: int = 0) -> None:
        """Take the frames.

        Args:
            parcels: At least one.
            n_frames: How many may be sent until more are granted; below 0: without end.
        """
        self._turns: Final = cycle(parcels)
        self._left = n_frames
        self._back: Final[list[Parcel]] = []
        self.n_made = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not (self._left or self._back)

    def n_kept(self) -> int:
        """Records of what was put back: all others are made by being taken."""
        return sum(parcel.n_records for parcel in self._back)

    def grant(self, n_frames: int) -> None:
        """So many more may be sent."""
        self._left += n_frames

    def stop(self) -> None:
        """What was not taken yet is not sent."""
        self._left = 0

    def put_back(self, parcel: Parcel) -> None:
        """It is the next one again."""
        self._back.append(parcel)

    def take(self) -> Parcel | None:
        """The next frame."""
        if self._back:
            return self._back.pop()
        if not self._left:
            return None
        self._left -= 1
        parcel = next(self._turns)
        self.n_made += parcel.n_records
        return parcel


class PoisonOutbox:
    """Frames of another outbox with one bit flipped, the same one each time."""

    def __init__(self, inner: Outbox) -> None:
        self._inner: Final = inner

    @property
    def n_made(self) -> int:
        """Records that were ever in it."""
        return self._inner.n_made

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return self._inner.is_empty

    def n_kept(self) -> int:
        """Records that are not taken."""
        return self._inner.n_kept()

    def put_back(self, parcel: Parcel) -> None:
        """It was not acknowledged before the connection was lost."""
        # The inner one may give back the very bytes: they must be good ones.
        self._inner.put_back(_flipped(parcel))

    def take(self) -> Parcel | None:
        """The next frame, which no server can decode."""
        parcel = self._inner.take()
        return parcel and _flipped(parcel)


def _flipped(parcel: Parcel) -> Parcel:
    """With one bit flipped; twice, it is as it was."""
    wire = bytearray(parcel.wire)
    wire[_POISONED_BYTE] ^= 1
    return parcel._replace(wire=bytes(wire))

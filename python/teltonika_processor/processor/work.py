"""What the reader hands to the writers. Pure: no I/O, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from teltonika_processor.codec.native import DecodedBatch
from teltonika_processor.stream.entry import RawEntry, entry_id


@dataclass(slots=True)
class Totals:
    """The accounts of one run.

    `entries` and `dead_lettered` are counted as Redis confirms them, the rest as Postgres commits;
    what was confirmed in a reply that got lost is missing.
    """

    entries: int = 0
    records: int = 0
    stored: int = 0
    duplicates: int = 0
    dead_lettered: int = 0


@dataclass(frozen=True, slots=True)
class Reject:
    """Why an entry goes to the dead letters."""

    code: str
    offset: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Entries [start, stop) of a decoded read: one transaction, if nothing is refused."""

    batch_id: int
    batch: DecodedBatch
    entries: Sequence[RawEntry]
    rejects: dict[int, Reject]
    start: int
    stop: int
    redelivered: bool

    def halves(self) -> tuple[Self, Self]:
        """Two parts with at least one entry each."""
        middle = (self.start + self.stop) // 2
        return replace(self, stop=middle), replace(self, start=middle)

    @property
    def n_entries(self) -> int:
        """Entries of this part, at least one."""
        return self.stop - self.start

    def decoded_ids(self) -> list[bytes]:
        """Ids of the entries that are to be settled."""
        rejected = self.rejected()
        if not rejected:
            return list(map(entry_id, self.entries[self.start : self.stop]))
        decoded = set(range(self.start, self.stop)).difference(rejected)
        return [entry_id(self.entries[i]) for i in sorted(decoded)]

    def rejected(self) -> list[int]:
        """Indices of the entries that are to be dead-lettered."""
        return [i for i in self.rejects if self.start <= i < self.stop]

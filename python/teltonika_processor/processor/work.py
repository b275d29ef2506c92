"""What the reader hands to the writers. Pure: no I/O, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from teltonika_processor.codec.native import DecodedBatch
from teltonika_processor.processor.trial import Trial
from teltonika_processor.stream.entry import RawEntry, entry_id

Source = Literal["new", "own", "claimed"]


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
class Delivery:
    """Entries of one read, and where they came from."""

    source: Source
    entries: list[RawEntry]

    @property
    def redelivered(self) -> bool:
        """Whether the entries were delivered before."""
        return self.source != "new"


@dataclass(frozen=True, slots=True)
class Reject:
    """Why an entry fails; `sqlstate` where it was Postgres that refused it."""

    code: str
    offset: int
    error: str
    sqlstate: str = ""


@dataclass(slots=True)
class Probe:
    """One entry tried while the breaker is open; `stored` once it is."""

    stored: bool = False


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
    # A fault that nobody knows is taken for a refusal once it was met so often.
    faults_max: int = 5
    trial: Trial | None = None
    probe: Probe | None = None

    def halves(self) -> tuple[Self, Self]:
        """Two parts with at least one entry each."""
        middle = (self.start + self.stop) // 2
        return replace(self, stop=middle), replace(self, start=middle)

    @property
    def is_single(self) -> bool:
        """Whether it is tried alone: a suspect, or a probe."""
        return self.trial is not None or self.probe is not None

    @property
    def n_entries(self) -> int:
        """Entries of this part, at least one."""
        return self.stop - self.start

    def ids(self) -> list[bytes]:
        """Ids of all entries of this part."""
        return list(map(entry_id, self.entries[self.start : self.stop]))

    def decoded_ids(self) -> list[bytes]:
        """Ids of the entries that are to be settled."""
        rejected = self.rejected()
        if not rejected:
            return self.ids()
        decoded = set(range(self.start, self.stop)).difference(rejected)
        return [entry_id(self.entries[i]) for i in sorted(decoded)]

    def rejected(self) -> list[int]:
        """Indices of the entries that failed."""
        return [i for i in self.rejects if self.start <= i < self.stop]


@dataclass(slots=True)
class Outcome:
    """What became of one piece of work, part by part; parts that were set aside are missing.

    Attributes:
        parts: Those that came to an end.
        n_commits_before: Commits of this process when Postgres refused some of it first.
    """

    parts: list[Work] = field(default_factory=list)
    n_commits_before: int | None = None

    @property
    def n_entries(self) -> int:
        """Entries that came to an end."""
        return sum(part.n_entries for part in self.parts)

    def failures(self) -> list[tuple[Work, int]]:
        """(part, index of the entry) of those that failed."""
        return [(part, i) for part in self.parts for i in part.rejected()]

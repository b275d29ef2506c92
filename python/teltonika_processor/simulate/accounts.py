"""What a run must end with, summed from what each frame must become."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from teltonika_processor.simulate.published import PublishedFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedAccounts:
    """The accounts that a run over the frames must balance with.

    Attributes:
        entries: Stream entries.
        records: Records that can be stored, duplicates included.
        stored: Distinct records.
        suspects: Those of them that have an impossible clock.
        devices: Distinct IMEIs of stored records.
        dead_letters: Entries by reject code.
    """

    entries: int
    records: int
    stored: int
    suspects: int
    devices: int
    dead_letters: Mapping[str, int]

    @property
    def duplicates(self) -> int:
        """Records that came again."""
        return self.records - self.stored


def expected_accounts(frames: Iterable[PublishedFrame]) -> ExpectedAccounts:
    """Sum the expectations of frames in the order of publishing."""
    entries = records = stored = suspects = 0
    imeis: set[str] = set()
    dead_letters: Counter[str] = Counter()
    for frame in frames:
        entries += 1
        records += frame.expected.n_records
        stored += frame.expected.n_new
        suspects += frame.expected.n_suspect
        if frame.expected.n_records:
            imeis.add(frame.imei)
        if frame.expected.reject is not None:
            dead_letters[frame.expected.reject] += 1
    return ExpectedAccounts(
        entries=entries,
        records=records,
        stored=stored,
        suspects=suspects,
        devices=len(imeis),
        dead_letters=dict(sorted(dead_letters.items())),
    )

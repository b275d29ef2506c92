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
        suspects: Distinct records that have an impossible clock.
        stored_by_imei: Distinct records of each device that has any.
        dead_letters: Entries by reject code.
    """

    entries: int
    records: int
    suspects: int
    stored_by_imei: Mapping[str, int]
    dead_letters: Mapping[str, int]

    @property
    def stored(self) -> int:
        """Distinct records."""
        return sum(self.stored_by_imei.values())

    @property
    def duplicates(self) -> int:
        """Records that came again."""
        return self.records - self.stored


def expected_accounts(frames: Iterable[PublishedFrame]) -> ExpectedAccounts:
    """Sum the expectations of frames in the order of publishing."""
    entries = records = suspects = 0
    stored_by_imei: Counter[str] = Counter()
    dead_letters: Counter[str] = Counter()
    for frame in frames:
        entries += 1
        records += frame.expected.n_records
        suspects += frame.expected.n_suspect
        if frame.expected.n_new:
            stored_by_imei[frame.imei] += frame.expected.n_new
        if frame.expected.reject is not None:
            dead_letters[frame.expected.reject] += 1
    return ExpectedAccounts(
        entries=entries,
        records=records,
        suspects=suspects,
        stored_by_imei=dict(stored_by_imei),
        dead_letters=dict(sorted(dead_letters.items())),
    )

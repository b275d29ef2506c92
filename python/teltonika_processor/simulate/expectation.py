"""What a run must end with, summed from what each frame must become."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from teltonika_processor.simulate.published import PublishedFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedAccounts:
    """The accounts that a run over the frames must balance with.

    Attributes:
        records: What the frames say that they hold, and what a gateway acknowledges.
        unreadable: Those of them that cannot be stored: their frames are dead letters.
        suspects: Distinct records that have an impossible clock.
        stored_by_imei: Distinct records of each device that has any.
        dead_letters: Frames by reject code.
    """

    records: int
    unreadable: int
    suspects: int
    stored_by_imei: Mapping[str, int]
    dead_letters: Mapping[str, int]

    @property
    def stored(self) -> int:
        """Distinct records."""
        return sum(self.stored_by_imei.values())

    @property
    def copies(self) -> int:
        """Records that were made from others on purpose, byte by byte."""
        return self.records - self.unreadable - self.stored


def expected_accounts(frames: Iterable[PublishedFrame]) -> ExpectedAccounts:
    """Sum the expectations of frames in the order of publishing."""
    records = storable = suspects = 0
    stored_by_imei: Counter[str] = Counter()
    dead_letters: Counter[str] = Counter()
    for frame in frames:
        records += frame.n_data
        storable += frame.expected.n_records
        suspects += frame.expected.n_suspect
        if frame.expected.n_new:
            stored_by_imei[frame.imei] += frame.expected.n_new
        if frame.expected.reject is not None:
            dead_letters[frame.expected.reject] += 1
    return ExpectedAccounts(
        records=records,
        unreadable=records - storable,
        suspects=suspects,
        stored_by_imei=dict(stored_by_imei),
        dead_letters=dict(sorted(dead_letters.items())),
    )

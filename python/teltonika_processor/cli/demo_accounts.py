"""The accounts of the demo: what the simulator made against what the two servers say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teltonika_processor.simulate import ExpectedAccounts
from teltonika_processor.store.accounts import NewestPosition, StoredAccounts
from teltonika_processor.stream.accounts import GroupProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAccounts:
    """What was found at the end; nothing of it is the processor's word but its exit code.

    Attributes:
        progress: Of the consumer group, from Redis.
        dead_letters: By reject code, from Redis.
        stored: From Postgres.
        exit_code: Of the processor, after SIGTERM.
        drain_s: From the first entry read to the last one acknowledged.
        rows: A look at the newest positions.
    """

    progress: GroupProgress
    dead_letters: Mapping[str, int]
    stored: StoredAccounts
    exit_code: int
    drain_s: float
    rows: Sequence[NewestPosition]


@dataclass(frozen=True, slots=True)
class AccountLine:
    """One number of the accounts; nested lines are parts of the one before.

    `found` is None where the servers do not keep the number: no row remembers its duplicates.
    """

    label: str
    expected: int
    found: int | None
    nested: bool = False

    @property
    def balances(self) -> bool:
        """Whether nothing speaks against the expectation."""
        return self.found is None or self.expected == self.found


def compare(expected: ExpectedAccounts, found: FoundAccounts) -> list[AccountLine]:
    """Every line of the accounts; the run is right if all of them balance."""
    progress, stored = found.progress, found.stored
    acknowledged = progress.read - progress.pending if progress.has_read_all else 0
    return [
        AccountLine("stream entries published", expected.entries, progress.added),
        AccountLine("stream entries acknowledged", expected.entries, acknowledged),
        AccountLine("AVL records in them that can be stored", expected.records, None),
        AccountLine("stored, each exactly once", expected.stored, stored.stored, nested=True),
        AccountLine("duplicates, not stored again", expected.duplicates, None, nested=True),
        AccountLine(
            "devices with every record of theirs",
            len(expected.stored_by_imei),
            _matching(expected.stored_by_imei, stored.stored_by_imei),
        ),
        AccountLine("records marked as of an impossible clock", expected.suspects, stored.suspects),
        *_dead_letter_lines(expected.dead_letters, found.dead_letters),
        AccountLine("exit code of the processor", 0, found.exit_code),
    ]


def _matching(expected: Mapping[str, int], found: Mapping[str, int]) -> int:
    """Devices that have what they must have, less those that must not be there at all."""
    right = sum(found.get(imei) == n_records for imei, n_records in expected.items())
    return right - len(found.keys() - expected.keys())


def _dead_letter_lines(expected: Mapping[str, int], found: Mapping[str, int]) -> list[AccountLine]:
    total = AccountLine("dead letters", sum(expected.values()), sum(found.values()))
    codes = sorted(expected.keys() | found.keys())
    return [
        total,
        *(
            AccountLine(code, expected.get(code, 0), found.get(code, 0), nested=True)
            for code in codes
        ),
    ]

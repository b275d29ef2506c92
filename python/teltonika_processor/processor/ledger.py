"""The ledger decides what may be acknowledged. Pure: no I/O, no clock.

Rules. Only SETTLED and DEAD_LETTERED may be acknowledged. An entry settles when every record of it
is committed; the worst fate of its records is its fate. Redelivery of an id that is still in
flight never restarts it. A failed XACK changes nothing: the id stays here and is tried again.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import IntEnum, auto
from typing import Final

from teltonika_processor.errors import LedgerViolation


class Fate(IntEnum):  # IntEnum: its hash is that of int, and every entry is looked up by it
    """Where an entry stands between XREADGROUP and XACK."""

    PENDING = auto()
    SETTLED = auto()
    TO_DEAD_LETTER = auto()
    DEAD_LETTERED = auto()


class Happened(IntEnum):
    """What was seen to happen to an entry."""

    COMMITTED = auto()
    REJECTED = auto()
    LETTER_WRITTEN = auto()


TRANSITIONS: Final = {
    (Fate.PENDING, Happened.COMMITTED): Fate.SETTLED,
    (Fate.PENDING, Happened.REJECTED): Fate.TO_DEAD_LETTER,
    (Fate.TO_DEAD_LETTER, Happened.LETTER_WRITTEN): Fate.DEAD_LETTERED,
}
"""Every other pair is a bug and raises LedgerViolation."""

_AFTER: Final[Mapping[Happened, Mapping[Fate | None, Fate]]] = {
    happened: {before: after for (before, event), after in TRANSITIONS.items() if event is happened}
    for happened in Happened
}
_DONE: Final[frozenset[Fate | None]] = frozenset({Fate.SETTLED, Fate.DEAD_LETTERED})


class Ledger:
    """Fates of the entries in flight."""

    def __init__(self) -> None:
        self._fates: Final[dict[bytes, Fate]] = {}

    def __len__(self) -> int:
        return len(self._fates)

    def __contains__(self, entry_id: object) -> bool:
        return entry_id in self._fates

    def holds_any(self, ids: Collection[bytes]) -> bool:
        """Whether one of `ids` is still in flight."""
        return not self._fates.keys().isdisjoint(ids)

    def fate(self, entry_id: bytes) -> Fate | None:
        """The fate of an entry in flight; None once acknowledged or never delivered."""
        return self._fates.get(entry_id)

    def deliver(self, ids: Iterable[bytes]) -> None:
        """Entries arrived; an id already in flight keeps its fate."""
        for entry_id in ids:
            self._fates.setdefault(entry_id, Fate.PENDING)

    def record(self, ids: Iterable[bytes], happened: Happened) -> None:
        """Move entries on.

        Raises:
            LedgerViolation: The table has no such transition.
        """
        fates, after_of = self._fates, _AFTER[happened]
        for entry_id in ids:
            before = fates.get(entry_id)
            if before not in after_of:
                raise LedgerViolation(f"{happened.name} for an entry that is {_name(before)}")
            fates[entry_id] = after_of[before]

    def demand_settled(self, ids: Collection[bytes]) -> None:
        """Allow XACK of `ids`.

        Raises:
            LedgerViolation: One of them is neither settled nor dead-lettered.
        """
        fates = self._fates
        for entry_id in ids:
            if fates.get(entry_id) not in _DONE:
                raise LedgerViolation(f"XACK for an entry that is {_name(fates.get(entry_id))}")

    def forget(self, ids: Collection[bytes]) -> None:
        """Acknowledged entries leave the ledger.

        Raises:
            LedgerViolation: One of them is neither settled nor dead-lettered.
        """
        self.demand_settled(ids)
        for entry_id in ids:
            del self._fates[entry_id]


def _name(fate: Fate | None) -> str:
    return "unknown" if fate is None else fate.name

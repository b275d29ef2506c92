"""The ledger decides what may be acknowledged. Pure: no I/O, time is an argument.

Rules. Only SETTLED and DEAD_LETTERED may be acknowledged. An entry settles when every record of it
is committed; the worst fate of its records is its fate. RETRY is an entry that failed and stays
pending: it is tried again when it is delivered anew, and forgotten if somebody else took it.
Delivery of an id that is still in flight never restarts it. A failed XACK changes nothing: the id
stays here and is tried again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum, auto
from itertools import takewhile
from typing import Final

from teltonika_processor.errors import LedgerViolation

RETRIES_MAX: Final = 50_000
"""Bound: entries remembered as RETRY, the oldest are forgotten first; some 10 MB."""

# Deliveries that are looked through for such as are over; then at twice of what remained.
_DELIVERIES_MIN: Final = 64


class Fate(IntEnum):  # IntEnum: its hash is that of int, and every entry is looked up by it
    """Where an entry stands between its delivery and its XACK."""

    PENDING = auto()
    SETTLED = auto()
    TO_DEAD_LETTER = auto()
    DEAD_LETTERED = auto()
    RETRY = auto()


class Happened(IntEnum):
    """What was seen to happen to an entry."""

    DELIVERED = auto()
    COMMITTED = auto()
    REJECTED = auto()
    LETTER_WRITTEN = auto()
    KEPT = auto()
    GIVEN_BACK = auto()
    XACKED = auto()
    FORGOTTEN = auto()


GONE: Final = None
"""Not in the ledger: never delivered, acknowledged, or left to whoever claims it."""

TRANSITIONS: Final[Mapping[tuple[Fate | None, Happened], Fate | None]] = {
    (GONE, Happened.DELIVERED): Fate.PENDING,
    (Fate.RETRY, Happened.DELIVERED): Fate.PENDING,
    (Fate.PENDING, Happened.DELIVERED): Fate.PENDING,
    (Fate.SETTLED, Happened.DELIVERED): Fate.SETTLED,
    (Fate.TO_DEAD_LETTER, Happened.DELIVERED): Fate.TO_DEAD_LETTER,
    (Fate.DEAD_LETTERED, Happened.DELIVERED): Fate.DEAD_LETTERED,
    (Fate.PENDING, Happened.COMMITTED): Fate.SETTLED,
    (Fate.PENDING, Happened.REJECTED): Fate.TO_DEAD_LETTER,
    (Fate.PENDING, Happened.GIVEN_BACK): Fate.RETRY,
    (Fate.TO_DEAD_LETTER, Happened.LETTER_WRITTEN): Fate.DEAD_LETTERED,
    (Fate.TO_DEAD_LETTER, Happened.KEPT): Fate.RETRY,
    (Fate.SETTLED, Happened.XACKED): GONE,
    (Fate.DEAD_LETTERED, Happened.XACKED): GONE,
    (Fate.RETRY, Happened.FORGOTTEN): GONE,
}
"""Every other pair is a bug and raises LedgerViolation."""

_AFTER: Final[Mapping[Happened, Mapping[Fate | None, Fate | None]]] = {
    happened: {before: after for (before, event), after in TRANSITIONS.items() if event is happened}
    for happened in Happened
}
_NOT_IN_FLIGHT: Final[frozenset[Fate | None]] = frozenset({GONE, Fate.RETRY})


class Ledger:
    """Fates of the entries in flight, and of those that wait to be tried again."""

    def __init__(self) -> None:
        self._fates: Final[dict[bytes, Fate]] = {}
        # Oldest first; an id that is no longer RETRY leaves it.
        self._retry_since: Final[dict[bytes, float]] = {}
        self._deliveries: list[tuple[float, Sequence[bytes]]] = []
        self._deliveries_max = _DELIVERIES_MIN
        self._group_lost_at = float("-inf")

    def __len__(self) -> int:
        """Entries in flight; RETRY is none."""
        return len(self._fates) - len(self._retry_since)

    def __contains__(self, entry_id: object) -> bool:
        """Whether the ledger knows the entry, RETRY included."""
        return entry_id in self._fates

    @property
    def n_retries(self) -> int:
        """Entries that failed and wait, still pending, to be tried again."""
        return len(self._retry_since)

    def in_flight(self, entry_id: bytes) -> bool:
        """Whether the entry is being worked on."""
        return self._fates.get(entry_id) not in _NOT_IN_FLIGHT

    def holds_any(self, ids: Collection[bytes]) -> bool:
        """Whether one of `ids` is in flight."""
        return self.knows_any(ids) and any(map(self.in_flight, ids))

    def knows_any(self, ids: Iterable[bytes]) -> bool:
        """Whether the ledger knows one of `ids`, RETRY included; in C, since every read asks."""
        return not self._fates.keys().isdisjoint(ids)

    def fate(self, entry_id: bytes) -> Fate | None:
        """The fate of an entry; None once acknowledged or never delivered."""
        return self._fates.get(entry_id)

    def ids(self) -> list[bytes]:
        """All ids, for a look from outside."""
        return list(self._fates)

    def counts(self) -> dict[str, int]:
        """How many entries have each fate, for a look from outside."""
        fates = list(self._fates.values())
        return {fate.name.lower(): fates.count(fate) for fate in Fate}

    def deliver(self, ids: Sequence[bytes], *, now: float) -> None:
        """Entries arrived at `now`; an id in flight keeps its fate."""
        if self.knows_any(ids):
            self._deliver_again(ids)
        else:
            self._fates.update(dict.fromkeys(ids, Fate.PENDING))
        if len(self._deliveries) >= self._deliveries_max:
            self._deliveries = [part for part in self._deliveries if self.holds_any(part[1])]
            self._deliveries_max = max(_DELIVERIES_MIN, 2 * len(self._deliveries))
        self._deliveries.append((now, ids))

    def _deliver_again(self, ids: Sequence[bytes]) -> None:
        """Those in flight keep their fate, the others are pending."""
        for entry_id in ids:
            if not self.in_flight(entry_id):
                self._fates[entry_id] = Fate.PENDING
                self._retry_since.pop(entry_id, None)

    def record(self, ids: Collection[bytes], happened: Happened, *, now: float = 0.0) -> None:
        """Move entries on, all of them or none.

        Args:
            ids: The entries, each once.
            happened: What was seen; not DELIVERED, XACKED or FORGOTTEN, which have their methods.
            now: When, for entries that become RETRY.

        Raises:
            LedgerViolation: The table has no such transition for one of them.
        """
        after_of = _AFTER[happened]
        # Each of these events has one fate before it, so they all move alike.
        for before in self._demand(ids, after_of, happened.name):
            after = after_of[before]
            if after is GONE or happened is Happened.DELIVERED:
                raise LedgerViolation(f"{happened.name} has a method of its own")
            self._fates.update(dict.fromkeys(ids, after))
            if after is Fate.RETRY:
                self._retry_since.update(dict.fromkeys(ids, now))
        while len(self._retry_since) > RETRIES_MAX:
            self._forget(next(iter(self._retry_since)))

    def demand_settled(self, ids: Collection[bytes]) -> None:
        """Allow XACK of `ids`.

        Raises:
            LedgerViolation: One of them is neither settled nor dead-lettered.
        """
        self._demand(ids, _AFTER[Happened.XACKED], "XACK")

    def xacked(self, ids: Collection[bytes]) -> None:
        """Acknowledged entries leave the ledger, all of them or none.

        Raises:
            LedgerViolation: One of them is neither settled nor dead-lettered.
        """
        self.demand_settled(ids)
        for entry_id in ids:
            del self._fates[entry_id]

    def _demand(
        self, ids: Collection[bytes], after_of: Mapping[Fate | None, Fate | None], what: str
    ) -> set[Fate | None]:
        """The fates of `ids`, found without a step of Python for each."""
        befores = set(map(self._fates.get, ids))
        for before in befores:
            if before not in after_of:
                raise LedgerViolation(f"{what} for an entry that is {_name(before)}")
        return befores

    def forget_retries(self, *, before: float) -> None:
        """Entries that became RETRY before this time are somebody else's, or come anew."""
        late = list(takewhile(lambda one: one[1] < before, self._retry_since.items()))
        for entry_id, _ in late:
            self._forget(entry_id)

    def retries(self) -> list[bytes]:
        """Ids that failed and wait to be tried again."""
        return list(self._retry_since)

    def forget_gone(self, ids: Iterable[bytes]) -> None:
        """Entries that waited to be tried again are in the stream no more; others stay."""
        for entry_id in ids:
            if entry_id in self._retry_since:
                self._forget(entry_id)

    def in_flight_since(self, before: float) -> list[bytes]:
        """Ids delivered before this time that are still in flight, each once."""
        found: dict[bytes, None] = {}
        for delivered_at, ids in self._deliveries:
            if delivered_at >= before:
                break
            found.update(dict.fromkeys(filter(self.in_flight, ids)))
        return list(found)

    def group_lost(self, *, now: float) -> None:
        """The consumer group is gone: what was delivered until `now` is pending nowhere."""
        self._group_lost_at = now

    def orphans(self) -> list[bytes]:
        """Ids in flight whose delivery ended with the group; those delivered anew are none."""
        lost = self.in_flight_since(self._group_lost_at)
        if not lost:
            return lost
        anew = {one for at, ids in self._deliveries if at >= self._group_lost_at for one in ids}
        return [one for one in lost if one not in anew]

    def _forget(self, entry_id: bytes) -> None:
        del self._retry_since[entry_id]
        del self._fates[entry_id]


def _name(fate: Fate | None) -> str:
    return "unknown" if fate is None else fate.name

"""Which devices this process has to derive again, and how soon. Pure: no I/O, time is an argument.

Rules. A device that a batch of this process marked is due at once, before those that a sweep found:
a re-run of the whole fleet must not hold up the crossings of now, but has a part of each group, and
leads one now and then: who is done apart from others gets a turn only so. One that could not be
done now, because somebody else held its mark or it was marked again, is due a little later; whoever
lost so five times is done once with its mark held meanwhile. One that may have made a whole group
fail is done alone, and who fails alone has to wait, whoever marks it meanwhile. While entries wait
in the stream a worker rests four times as long as its last fold took: marks merge meanwhile.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

GROUP_MAX: Final = 100
"""Bound: devices of one transaction, which holds their marks for some milliseconds."""

OWN_MAX: Final = 75
"""Of a group so many are those of our batches where others are due too."""

OWN_LEADS_MAX: Final = 3
"""After so many groups one begins with somebody that a sweep found."""

AGAIN_S: Final = 0.02
"""After so long somebody who was passed over is tried again."""

FAILED_AGAIN_S: Final = 5.0
"""After so long a device that failed alone is tried again."""

LOSSES_MAX: Final = 5
"""Who was passed over so often is done by the lock of its row."""

RESTS_PER_FOLD: Final = 4

REST_MAX_S: Final = 1.0
"""Bound: a slow fold must not stop folding."""


@dataclass(frozen=True, slots=True)
class Group:
    """Devices that are done together.

    Attributes:
        imeis: Ascending.
        since_s: Since when each is known to be marked.
        found: Those of them that a sweep found.
        holds: Whether their marks are held from before they are read.
    """

    imeis: list[int]
    since_s: Mapping[int, float]
    found: frozenset[int] = frozenset()
    holds: bool = False


class Marked:
    """Devices in the order in which they are due."""

    def __init__(self) -> None:
        # When each is due; in the order of being added, so those due at once come first.
        self._due: Final[dict[int, float]] = {}
        # The same of those that a sweep found; none is in both.
        self._found: Final[dict[int, float]] = {}
        self._since: Final[dict[int, float]] = {}
        self._losses: Final[dict[int, int]] = {}
        self._alone: Final[set[int]] = set()
        self._n_own_leads = 0

    def __len__(self) -> int:
        """Devices that are yet to be done."""
        return len(self._due) + len(self._found)

    def oldest_s(self) -> float | None:
        """Since when the first of them is known to be marked; None where nobody waits."""
        return min(self._since.values(), default=None)

    def add(self, imeis: Iterable[int], now_s: float) -> None:
        """A batch of this process marked them: they are due now, but for who has failed alone."""
        for imei in imeis:
            found_s = self._found.pop(imei, 0.0)
            self._due[imei] = self._due.get(imei, found_s) if imei in self._alone else 0.0
            self._since.setdefault(imei, now_s)

    def find(self, imeis: Iterable[int], now_s: float) -> None:
        """A sweep found them marked: those that are not known yet are due now, behind our own."""
        for imei in imeis:
            if imei not in self._due:
                self._found.setdefault(imei, 0.0)
                self._since.setdefault(imei, now_s)

    def take(self, now_s: float) -> Group | None:
        """A group of those that are due; None where nobody is."""
        due = self._in_turn(now_s)
        first = next(due, None)
        if first is None:
            return None
        self._n_own_leads = 0 if first in self._found else self._n_own_leads + 1
        imeis = [first]
        holds = self._loses(first)
        if first not in self._alone:
            for imei in due:
                if len(imeis) == GROUP_MAX:
                    break
                if imei not in self._alone and self._loses(imei) is holds:
                    imeis.append(imei)
        imeis.sort()
        found = frozenset(imei for imei in imeis if self._found.pop(imei, None) is not None)
        for imei in imeis:
            self._due.pop(imei, None)
        return Group(imeis, {imei: self._since.pop(imei) for imei in imeis}, found, holds)

    def _in_turn(self, now_s: float) -> Iterator[int]:
        own = (imei for imei, due_s in self._due.items() if due_s <= now_s)
        found = (imei for imei, due_s in self._found.items() if due_s <= now_s)
        leads = islice(found, 1) if self._n_own_leads >= OWN_LEADS_MAX else iter(())
        return chain(leads, islice(own, OWN_MAX), islice(found, GROUP_MAX - OWN_MAX), own, found)

    def put_back(self, group: Group) -> None:
        """Nothing was done of the group, for no fault of its devices."""
        self._give_back(group, group.imeis, due_s=0.0)

    def failed(self, group: Group, now_s: float) -> None:
        """The group cannot be done as it is: one of its devices may be why."""
        is_single = len(group.imeis) == 1
        due_s = now_s + FAILED_AGAIN_S if is_single else 0.0
        self._alone.update(group.imeis)
        self._give_back(group, group.imeis, due_s=due_s)
        for imei in self._due.keys() & set(group.imeis):
            self._due[imei] = due_s  # also of who was marked meanwhile

    def settle(
        self, group: Group, *, passed_over: Iterable[int], unfinished: Iterable[int], now_s: float
    ) -> None:
        """The group was done but for some; whoever was marked meanwhile is due already."""
        lost = list(passed_over)
        over = group.imeis if group.holds else set(group.imeis).difference(lost)
        for imei in self._losses.keys() & set(over):
            del self._losses[imei]
        if not group.holds:
            for imei in lost:
                self._losses[imei] = self._losses.get(imei, 0) + 1
        self._alone.difference_update(group.imeis)
        self._give_back(group, lost, due_s=now_s + AGAIN_S)
        self._give_back(group, unfinished, due_s=0.0)

    def next_due_s(self) -> float | None:
        """When somebody is due; None where nobody waits."""
        return min(chain(self._due.values(), self._found.values()), default=None)

    def is_own_due(self, now_s: float) -> bool:
        """Whether somebody is due whom a batch of this process marked."""
        return any(due_s <= now_s for due_s in self._due.values())

    def _loses(self, imei: int) -> bool:
        return self._losses.get(imei, 0) >= LOSSES_MAX

    def _give_back(self, group: Group, imeis: Iterable[int], *, due_s: float) -> None:
        for imei in imeis:
            if imei in group.found and imei not in self._due:
                self._found.setdefault(imei, due_s)
            else:
                self._found.pop(imei, None)
                self._due.setdefault(imei, due_s)
            self._since[imei] = group.since_s[imei]


def rest_s(fold_s: float, *, entries_wait: bool) -> float:
    """How long to rest after a fold that took so long."""
    return min(REST_MAX_S, RESTS_PER_FOLD * fold_s) if entries_wait else 0.0

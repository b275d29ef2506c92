"""The breaker: many devices fail for a cause that is not theirs. Pure: time is an argument.

Rules. Counted are only failures that are not the frame's own: ours (`decoder_bug`), the database's
(`refused_by_postgres`), a deploy's (`unsupported_version`). It opens when they come from at least
`DEVICES_MIN` devices and make up half of the entries of the last `WINDOW_S`. While it is open
nothing is read but one entry every `PROBE_EVERY_S`; one that is stored closes it. Undecodable
frames never open it: a field of broken trackers must not stop the others.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

CODES: Final = frozenset({"decoder_bug", "refused_by_postgres", "unsupported_version"})
DEVICES_MIN: Final = 20
WINDOW_S: Final = 60.0
PROBE_EVERY_S: Final = 10.0

# Bound: the window is kept in slices of one second, each with so many devices at most.
_SLICE_S: Final = 1.0
_DEVICES_MAX: Final = 1000


@dataclass(slots=True)
class _Slice:
    began_at: float
    n_entries: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    devices: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What opened the breaker: counts of the last `WINDOW_S`."""

    n_entries: int
    n_devices: int
    codes: dict[str, int]

    @property
    def n_failed(self) -> int:
        """Entries that failed for a counted cause."""
        return sum(self.codes.values())

    @property
    def is_damning(self) -> bool:
        """Whether reading should pause."""
        return self.n_devices >= DEVICES_MIN and 2 * self.n_failed >= self.n_entries


class Breaker:
    """Counts what became of entries, and says when to pause and when to probe."""

    def __init__(self) -> None:
        self._slices: Final[deque[_Slice]] = deque()
        self._opened_at: float | None = None
        self._probe_at = 0.0
        self.probes = 0

    @property
    def is_open(self) -> bool:
        """Whether reading pauses."""
        return self._opened_at is not None

    def note(
        self, n_entries: int, failures: Iterable[tuple[int, str]], *, now: float
    ) -> Evidence | None:
        """Take note of what became of `n_entries`; the evidence if this opened the breaker.

        Args:
            n_entries: Entries that came to an end, those that failed included.
            failures: (imei, code) of those that failed; other codes than `CODES` are left out.
            now: Seconds.
        """
        current = self._slice(now)
        current.n_entries += n_entries
        counted = [(imei, code) for imei, code in failures if code in CODES]
        for imei, code in counted:
            current.codes[code] += 1
            if len(current.devices) < _DEVICES_MAX:
                current.devices.add(imei)
        if self.is_open or not counted:
            return None
        evidence = self._evidence()
        if not evidence.is_damning:
            return None
        self._opened_at, self.probes = now, 0
        self._probe_at = now + PROBE_EVERY_S
        return evidence

    def wait_s(self, *, now: float) -> float:
        """Seconds until the next probe, 0 if it is due."""
        return max(0.0, self._probe_at - now)

    def probed(self, *, stored: bool, now: float) -> float | None:
        """One entry was tried; if it was stored, how long the breaker was open, in seconds."""
        self.probes += 1
        self._probe_at = now + PROBE_EVERY_S
        if not stored or self._opened_at is None:
            return None
        open_s, self._opened_at = now - self._opened_at, None
        self._slices.clear()
        return open_s

    def _slice(self, now: float) -> _Slice:
        while self._slices and self._slices[0].began_at <= now - WINDOW_S:
            self._slices.popleft()
        if not self._slices or self._slices[-1].began_at <= now - _SLICE_S:
            self._slices.append(_Slice(now))
        return self._slices[-1]

    def _evidence(self) -> Evidence:
        codes: Counter[str] = Counter()
        devices: set[int] = set()
        for part in self._slices:
            codes.update(part.codes)
            devices |= part.devices
        n_entries = sum(part.n_entries for part in self._slices)
        return Evidence(n_entries, len(devices), dict(sorted(codes.items())))

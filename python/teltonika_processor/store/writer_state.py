"""What writers remember to spare Postgres a statement. Pure: time is an argument."""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final

# Bound: a detached or dropped partition is noticed within this time; until then rows of its day go
# to the default partition.
DAYS_KNOWN_S: Final = 60.0

# `devices.last_seen_at` is as old as this at most while a device sends.
DEVICES_KNOWN_S: Final = 3600.0

# Bound: about 100 bytes a device.
DEVICES_KNOWN_MAX: Final = 100_000

# Duplicates come in runs: a retransmission, a claim. Below 45 % of batches with a duplicate the
# direct path wins (measured), so the staged one is left soon.
STAGED_AFTER_DUPLICATE: Final = 4


class KnownDays:
    """UTC days that had a partition lately."""

    def __init__(self, known_s: float = DAYS_KNOWN_S) -> None:
        self._known_s: Final = known_s
        self._until_s: dict[int, float] = {}

    def unknown(self, days: Iterable[int], now_s: float) -> list[int]:
        """Those of `days` that have to be asked for, in their order."""
        return [day for day in days if self._until_s.get(day, now_s) <= now_s]

    def learn(self, days: Iterable[int], now_s: float) -> None:
        """Take note that these days have their partition now."""
        self._until_s = {day: until for day, until in self._until_s.items() if until > now_s}
        self._until_s.update(dict.fromkeys(days, now_s + self._known_s))

    def forget(self) -> None:
        """Every day has to be asked for."""
        self._until_s = {}


class KnownDevices:
    """Devices registered lately, in two generations: the older one is forgotten as a whole.

    So a device is known for `known_s` at most, half of it at least unless very many devices come,
    and nothing is done per device but set arithmetic.
    """

    def __init__(
        self, known_s: float = DEVICES_KNOWN_S, devices_max: int = DEVICES_KNOWN_MAX
    ) -> None:
        self._generation_s: Final = known_s / 2
        self._generation_max: Final = devices_max // 2
        self._younger: set[int] = set()
        self._older: set[int] = set()
        self._younger_until_s = 0.0

    def unknown(self, imeis: Sequence[int], now_s: float) -> list[int]:
        """Those of `imeis` that have to be registered, ascending."""
        self._age(now_s)
        return sorted(set(imeis) - self._younger - self._older)

    def learn(self, imeis: Iterable[int], now_s: float) -> None:
        """Take note that these devices are registered."""
        self._age(now_s)
        self._younger.update(imeis)

    def drop(self, imei: int) -> None:
        """This device has to be registered again."""
        self._younger.discard(imei)
        self._older.discard(imei)

    def forget(self) -> None:
        """Every device has to be registered."""
        self._younger, self._older = set(), set()

    def _age(self, now_s: float) -> None:
        if now_s >= self._younger_until_s + self._generation_s:
            self._younger = set()
        elif now_s < self._younger_until_s and len(self._younger) < self._generation_max:
            return
        self._older, self._younger = self._younger, set()
        self._younger_until_s = now_s + self._generation_s


class Path(Enum):
    """How rows come into `positions`."""

    DIRECT = "direct"
    STAGED = "staged"


class PathChoice:
    """Direct until a duplicate is met, then staged for the next few batches.

    Rules. Redelivered rows take the staged path and change nothing. A duplicate on the direct path
    starts a run of staged batches; a duplicate within the run starts it anew.
    """

    def __init__(self, staged_after_duplicate: int = STAGED_AFTER_DUPLICATE) -> None:
        self._run: Final = staged_after_duplicate
        self._staged_left = 0

    def choose(self, *, redelivered: bool) -> Path:
        """The path of the next batch."""
        return Path.STAGED if redelivered or self._staged_left else Path.DIRECT

    def note(self, *, redelivered: bool, duplicate: bool) -> None:
        """Take note of a committed batch: whether it held a row that was stored before."""
        if redelivered:
            return
        self._staged_left = self._run if duplicate else max(0, self._staged_left - 1)

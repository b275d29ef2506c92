"""Devices that were refused lately, and which of them get a row in `devices`. Pure: no I/O.

Rules. Whoever was refused within `WATCHED_MS` is looked at again and again, so that an operator who
lets a device in need not wait for the whole list. A row is made for an unknown device only if

- its last digit is its check digit: nine of ten numbers that somebody made up have a wrong one, and
  a tracker never has, while the list itself may hold any number;
- not more than `ROWS_PER_MINUTE` were made within a minute, and not more than `UNASKED_ROWS_MAX`
  rows are there of devices that nobody allowed: anybody can send numbers.

A row that is there is only touched, once in `TOUCHED_AGAIN_MS`. All refusals are counted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from teltonika_processor.imei_lines import has_check_digit
from teltonika_processor.store.admission import Refusal
from teltonika_processor.tasks.ratelimit import RateLimit

WATCHED_MAX: Final = 4096
"""Bound: devices watched, some 1 MB; those refused longest ago are forgotten first."""

WATCHED_MS: Final = 60_000

TOUCHED_AGAIN_MS: Final = 60_000

ROWS_PER_MINUTE: Final = 60

UNASKED_ROWS_MAX: Final = 100_000
"""Bound: rows of devices that are not allowed, from which on no more are made; some 15 MB."""


@dataclass(slots=True)
class _Device:
    """One device that was refused, in Unix ms.

    Attributes:
        recorded_ms: When it was seen last as its row says.
        gets_no_row: It has a wrong check digit.
        is_held_back: It waits for its row, and was counted.
    """

    first_ms: int
    last_ms: int
    recorded_ms: int | None = None
    gets_no_row: bool = False
    is_held_back: bool = False


class RefusedDevices:
    """Who was refused.

    Attributes:
        n_refused: Refusals.
        n_without_check_digit: Devices refused that are none, by their last digit.
        n_held_back: Devices whose row had to wait, and may never be made.
        n_rows_made: Rows that were made.
    """

    def __init__(self) -> None:
        # Refused longest ago first.
        self._devices: Final[dict[int, _Device]] = {}
        self._rate: Final = RateLimit(burst=ROWS_PER_MINUTE, interval_s=60.0)
        self._n_unasked = 0
        self.n_refused = 0
        self.n_without_check_digit = 0
        self.n_held_back = 0
        self.n_rows_made = 0

    def note(self, imei: int, now_ms: int) -> None:
        """A device was refused."""
        self.n_refused += 1
        device = self._devices.pop(imei, None)
        if device is None:
            device = _Device(now_ms, now_ms)
            if len(self._devices) >= WATCHED_MAX:
                del self._devices[next(iter(self._devices))]
        device.last_ms = now_ms
        self._devices[imei] = device

    def watched(self, now_ms: int) -> list[int]:
        """Whom to look at now; the others are forgotten."""
        gone = now_ms - WATCHED_MS
        for imei in [one for one, device in self._devices.items() if device.last_ms <= gone]:
            del self._devices[imei]
        return list(self._devices)

    def forget(self, imeis: Iterable[int]) -> None:
        """Devices are let in now."""
        for imei in imeis:
            self._devices.pop(imei, None)

    def table_seen(self, *, n_unasked: int) -> None:
        """So many rows of devices that are not allowed were counted."""
        self._n_unasked = n_unasked

    def to_record(self, known: Mapping[int, bool], *, now_s: float) -> list[Refusal]:
        """Whose rows to touch or make now.

        Args:
            known: Who has a row.
            now_s: By any clock that does not go back.
        """
        return [
            Refusal(imei, device.first_ms, device.last_ms)
            for imei, device in self._devices.items()
            if (_is_stale(device) if imei in known else self._gets_row(imei, device, now_s))
        ]

    def recorded(self, refusals: Iterable[Refusal], known: Mapping[int, bool]) -> None:
        """These were written; those that were not `known` have got a row."""
        for refusal in refusals:
            if refusal.imei not in known:
                self._n_unasked += 1
                self.n_rows_made += 1
            if device := self._devices.get(refusal.imei):
                device.recorded_ms = refusal.last_ms

    def _gets_row(self, imei: int, device: _Device, now_s: float) -> bool:
        if device.gets_no_row:
            return False
        if not has_check_digit(imei):
            device.gets_no_row = True
            self.n_without_check_digit += 1
            return False
        if self._n_unasked >= UNASKED_ROWS_MAX or self._rate.admit(now_s) is None:
            self.n_held_back += not device.is_held_back
            device.is_held_back = True
            return False
        return True


def _is_stale(device: _Device) -> bool:
    recorded_ms = device.recorded_ms
    return recorded_ms is None or device.last_ms - recorded_ms >= TOUCHED_AGAIN_MS

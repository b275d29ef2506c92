"""One simulated device: a clock, a route, an IO profile and one codec."""

import random
from collections.abc import Callable
from typing import Final

from teltonika_processor.simulate.envelope import avl_packet, wrap
from teltonika_processor.simulate.models import Model
from teltonika_processor.simulate.outbox import MadeRecord
from teltonika_processor.simulate.profile import (
    CODEC_8,
    CODEC_8_EXTENDED,
    CODEC_16,
    CODECS,
    Head,
    IoProfile,
)
from teltonika_processor.simulate.routes import Drive, Route

_CODEC_SHARES: Final = ((CODEC_8_EXTENDED, 70), (CODEC_8, 25), (CODEC_16, 5))
_PERIODS_MS: Final = (5000, 10_000, 15_000, 30_000, 60_000)
_NO_FIX_SHARE: Final = 0.02
_COLD_START_SHARE: Final = 0.3
_SPARE_EVENT_SHARE: Final = 0.08
_EVENT_SHARE: Final = 0.06
_SAME_MILLISECOND_SHARE: Final = 0.01
_PERIODIC: Final = 0
_PRIORITY_OFFSET: Final = 8

IMEIS: Final = (1_000_000_000_000, 1_099_999_999_999)
"""The least and the greatest IMEI that `imei_of` makes, as numbers."""

# Source: records of real devices whose clock was never set count from here.
UNSET_CLOCK_MS: Final = 1_072_915_200_000  # 2004-01-01T00:00:00Z
_TCP: Final = "tcp"
_UDP: Final = "udp"


class Device:
    """Makes records in the order of time.

    Attributes:
        imei: 15 digits with a valid check digit.
        period_ms: Time between records, without jitter.
        time_ms: Time of the last record, Unix milliseconds.
        transport: What its frames travel by.
        n_unset_clock: Records whose time counts from 2004 on.
        first_record_ms: True time of the first record that `made_at` made, Unix milliseconds: its
            drive starts with it. None: there is none yet.
    """

    def __init__(  # noqa: PLR0913 -- what a device is
        self,
        index: int,
        *,
        rng: random.Random,
        started_at_ms: int,
        udp_share: float,
        codec_id: int | None = None,
        route: Callable[[random.Random], Drive] = Route,
        model: Model | None = None,
    ) -> None:
        """Draw what it is like.

        Args:
            index: Its number in the fleet, which makes its IMEI.
            rng: Everything that is drawn.
            started_at_ms: Unix milliseconds; its first record is a little later.
            udp_share: Part of the fleet that sends by UDP, 0 to 1.
            codec_id: What it speaks; None: drawn.
            route: Makes its drive.
            model: Whose IO elements it sends; None: drawn of those of all.
        """
        self.imei: Final = imei_of(index)
        # Every so many devices, never by chance: a fleet of a few must have one by TCP.
        by_udp = int((index + 1) * udp_share) > int(index * udp_share)
        self.transport: Final = _UDP if by_udp else _TCP
        codec_ids, weights = zip(*_CODEC_SHARES, strict=True)
        drawn: int = rng.choices(codec_ids, weights)[0]
        self.codec_id: Final = codec_id or drawn
        self.period_ms: Final[int] = rng.choice(_PERIODS_MS)
        self.time_ms = started_at_ms + rng.randrange(self.period_ms)
        self._rng: Final = rng
        self._route: Final = route(rng)
        self._profile: Final = IoProfile(CODECS[self.codec_id], rng, model)
        self._was_periodic = False
        self._started_at_ms: Final = started_at_ms
        self._without_fix_left = 0
        self._unset_clock_left = 0
        self.n_unset_clock = 0
        self.first_record_ms: int | None = None

    def begin_without_fix(self, n_records: int) -> None:
        """Its next records have no position: it was switched on just now."""
        self._without_fix_left = n_records

    def begin_with_unset_clock(self, n_records: int) -> None:
        """Its next records count the time from 2004 on: nobody has set its clock."""
        self._unset_clock_left = n_records

    def frame(self, n_records: int) -> bytes:
        """The next `n_records` records, wrapped for the device's transport."""
        records = [self.record() for _ in range(n_records)]
        return wrap(avl_packet(self.codec_id, records), self.transport)

    def made_at(self, at_ms: int) -> MadeRecord:
        """The next record, of this time or, where it is not later than the last, of the next one.

        Now and then it is an event of the very millisecond of the last record.
        """
        raw = self.record(at_ms)
        self._without_fix_left -= self._without_fix_left > 0
        self.n_unset_clock += self._unset_clock_left > 0
        self._unset_clock_left -= self._unset_clock_left > 0
        return MadeRecord(int.from_bytes(raw[:_PRIORITY_OFFSET]), raw[_PRIORITY_OFFSET], raw)

    def record(self, at_ms: int | None = None) -> bytes:
        """The next record, one period after the last unless `at_ms` says when. No two are equal."""
        kind = self._rng.random()
        # An event of the very millisecond of a periodic record: same time, another event id.
        if self._was_periodic and kind > 1 - _SAME_MILLISECOND_SHARE:
            self._was_periodic = False
            return self._profile.encode(self._head(priority=2), self._profile.draw_event_id())
        self._advance(at_ms)
        self._was_periodic = kind >= _SPARE_EVENT_SHARE + _EVENT_SHARE
        if kind < _SPARE_EVENT_SHARE:
            return self._profile.encode_spare(self._head(priority=1))
        if not self._was_periodic:
            return self._profile.encode(self._head(priority=1), self._profile.draw_event_id())
        return self._profile.encode(self._head(priority=0), _PERIODIC)

    def _advance(self, at_ms: int | None) -> None:
        if at_ms is None:
            elapsed_ms = self.period_ms + int(self._rng.random() * 40)
        else:
            elapsed_ms = max(at_ms - self.time_ms, 1)
        self.time_ms += elapsed_ms
        if at_ms is not None and self.first_record_ms is None:
            self.first_record_ms, elapsed_ms = self.time_ms, 0
        self._route.advance(elapsed_ms / 1000)
        self._profile.change()
        self._profile.drive(self._route.speed_kmh, int(self._route.odometer_m))

    def _head(self, *, priority: int) -> Head:
        route = self._route
        time_ms = self._shown_time_ms()
        if self._without_fix_left:
            return (time_ms, priority, 0, 0, 0, 0, 0, 0)
        if self._rng.random() < _NO_FIX_SHARE:
            # Source: vendor wiki; without a fix the last place is repeated, or 0/0 after a restart.
            cold = self._rng.random() < _COLD_START_SHARE
            place = (0, 0, 0) if cold else self._place()
            return (time_ms, priority, *place, 0, 0, 0)
        satellites = 4 + int(self._rng.random() * 14)
        return (
            time_ms,
            priority,
            *self._place(),
            route.angle_deg,
            satellites,
            route.speed_kmh,
        )

    def _shown_time_ms(self) -> int:
        if not self._unset_clock_left:
            return self.time_ms
        return UNSET_CLOCK_MS + self.time_ms - self._started_at_ms

    def _place(self) -> tuple[int, int, int]:
        return self._route.longitude_e7, self._route.latitude_e7, self._route.altitude_m


def imei_of(index: int) -> str:
    """IMEI of the device with this number: 00 as test devices have, a number, the check digit."""
    body = f"0010{index * 97:010d}"
    return body + str(luhn_digit(body))


def luhn_digit(body: str) -> int:
    """Check digit of 14 digits. Source: 3GPP TS 23.003, annex B."""
    doubled = (2 * int(digit) for digit in body[1::2])
    total = sum(map(int, body[::2])) + sum(value // 10 + value % 10 for value in doubled)
    return -total % 10

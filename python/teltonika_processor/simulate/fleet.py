"""A seeded fleet: the same seed and start make the same bytes, whatever the clock says."""

import heapq
import random
from collections.abc import Iterator
from typing import Final

from teltonika_processor.simulate.device import Device
from teltonika_processor.simulate.published import Expected, PublishedFrame

_LATENCY_MAX_MS: Final = 3000
# A device holds its connection for this many frames or so.
_FRAMES_PER_CONNECTION: Final = 50


class Fleet:
    """Devices that drive, and send their records in frames as the time passes.

    Every device has one codec (70 % Codec 8E, 25 % Codec 8, 5 % Codec 16) and 12-25 IO elements of
    1, 2, 4 or 8 bytes that its records mostly repeat; 8 % of the 8E records carry one of variable
    length. 2 % of the records have no fix. No two records are equal.
    """

    def __init__(
        self,
        *,
        devices: int,
        seed: int,
        started_at_ms: int,
        records_per_frame: tuple[int, int] = (1, 25),
        udp_share: float = 0.05,
    ) -> None:
        """Make the devices.

        Args:
            devices: How many.
            seed: Of everything that follows.
            started_at_ms: Unix milliseconds; the first records are a little later.
            records_per_frame: Least and greatest number, both included.
            udp_share: Part of the devices that send by UDP, 0 to 1.
        """
        self._rng = random.Random(seed)
        self._records_per_frame = records_per_frame
        self._devices = [
            Device(index, rng=self._rng, started_at_ms=started_at_ms, udp_share=udp_share)
            for index in range(devices)
        ]
        self._n_sent = [0] * devices
        # When each device sends next: (time, device, number of records).
        self._due = [self._plan(index) for index in range(devices)]
        heapq.heapify(self._due)

    def frames(self, n_frames: int) -> Iterator[PublishedFrame]:
        """The next frames, roughly in the order in which a gateway receives them."""
        for _ in range(n_frames):
            yield self._send(records_max=self._records_per_frame[1])

    def frames_with(self, n_records: int) -> Iterator[PublishedFrame]:
        """The next frames with `n_records` records altogether; the last frame may be short."""
        left = n_records
        while left > 0:
            frame = self._send(records_max=left)
            left -= frame.expected.n_records
            yield frame

    def _send(self, *, records_max: int) -> PublishedFrame:
        _, index, planned = self._due[0]
        device = self._devices[index]
        n_records = min(planned, records_max)
        frame = device.frame(n_records)
        received_at_ms = device.time_ms + self._rng.randrange(_LATENCY_MAX_MS)
        connection = f"{device.transport}-{index}-{self._n_sent[index] // _FRAMES_PER_CONNECTION}"
        self._n_sent[index] += 1
        heapq.heapreplace(self._due, self._plan(index))
        return PublishedFrame(
            imei=device.imei,
            frame=frame,
            transport=device.transport,
            received_at_ms=received_at_ms,
            connection=connection,
            expected=Expected(n_records=n_records, n_new=n_records),
        )

    def _plan(self, index: int) -> tuple[int, int, int]:
        n_records = self._rng.randint(*self._records_per_frame)
        device = self._devices[index]
        return device.time_ms + n_records * device.period_ms, index, n_records

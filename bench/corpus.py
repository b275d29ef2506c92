"""Frames of the simulated fleet, in the shapes that the scenarios measure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

from teltonika_processor.simulate import Fleet, PublishedFrame

DEVICES: Final = 2000
# Noon, so that a corpus falls on one UTC day: 2026-01-15.
STARTED_AT_MS: Final = 1_768_478_400_000


@dataclass(frozen=True, slots=True)
class Frame:
    """One TCP frame and what its stream entry says of it."""

    imei: int
    frame: bytes
    received_at_ms: int

    @classmethod
    def of(cls, published: PublishedFrame) -> Self:
        if published.frame is None:
            raise ValueError("the fleet's frames are whole")
        return cls(int(published.imei), published.frame, published.received_at_ms)

    def fields(self) -> dict[Any, Any]:
        """Fields of the stream entry."""
        return {
            "imei": f"{self.imei:015d}",
            "v": 1,
            "transport": "tcp",
            "received_at_ms": self.received_at_ms,
            "frame": self.frame,
        }

    def entry(self) -> list[object]:
        """The stream entry as XREADGROUP returns it."""
        pairs: list[bytes] = []
        for name, value in self.fields().items():
            pairs += [as_bytes(name), as_bytes(value)]
        return [b"%d-0" % self.received_at_ms, pairs]


def fleet_frames(n_records: int, *, seed: int) -> list[Frame]:
    """Frames of 1 to 25 records, `n_records` altogether."""
    return frames_of(fleet(seed, (1, 25)).frames_with(n_records))


def fixed_frames(
    n_frames: int, *, records_a_frame: int, seed: int, devices: int = DEVICES
) -> list[Frame]:
    """Frames that all have the same number of records."""
    each = (records_a_frame, records_a_frame)
    return frames_of(fleet(seed, each, devices=devices).frames(n_frames))


def fleet(seed: int, records_per_frame: tuple[int, int], *, devices: int = DEVICES) -> Fleet:
    return Fleet(
        devices=devices,
        seed=seed,
        started_at_ms=STARTED_AT_MS,
        records_per_frame=records_per_frame,
        udp_share=0.0,
    )


def frames_of(published: Iterable[PublishedFrame]) -> list[Frame]:
    return [Frame.of(one) for one in published]


def as_bytes(value: str | int | bytes) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()

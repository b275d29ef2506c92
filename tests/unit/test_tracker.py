"""Trackers whose frames are built before a run."""

import pytest

from teltonika_processor.codec import reference
from teltonika_processor.simulate.outbox import PACKET_MAX_BYTES
from teltonika_processor.simulate.tracker import FleetPlan, Tracker, trackers_of

NOW_MS = 1_790_000_000_000
_ENVELOPE_BYTES = 12


def tracker(least: int, most: int) -> Tracker:
    """One that speaks Codec 8 Extended, with 20 frames to send."""
    plan = FleetPlan(
        devices=1,
        seed=1,
        started_at_ms=NOW_MS,
        codec_id=0x8E,
        records_per_frame=(least, most),
        built_frames=20,
    )
    (one,) = trackers_of(plan, jitter=lambda: 0.5)
    one.grant(20)
    return one


def wires(one: Tracker) -> list[bytes]:
    return [parcel.wire for parcel in iter(one.link.outbox.take, None)]


def test_built_frames_hold_the_numbers_of_records_in_turn() -> None:
    assert [frame[9] for frame in wires(tracker(1, 3))] == [1, 2, 3] * 6 + [1, 2]


@pytest.mark.parametrize("most", [25, 255])
def test_built_frames_keep_the_vendors_limit_and_lose_no_record(most: int) -> None:
    frames = wires(tracker(most, most))
    sizes = [len(frame) - _ENVELOPE_BYTES for frame in frames]
    assert max(sizes) <= PACKET_MAX_BYTES
    assert min(sizes) > PACKET_MAX_BYTES // 2
    records = [record for frame in frames for record in reference.decode_frame(frame).records]
    assert len({bytes(record.raw) for record in records}) == len(records) > 100
    assert all(record.recorded_at_ms < NOW_MS for record in records)

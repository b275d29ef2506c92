"""Trackers of a model send its elements, with values that its sensors can have."""

import random

import pytest

from teltonika_processor.codec import reference
from teltonika_processor.simulate.device import Device
from teltonika_processor.simulate.envelope import avl_packet
from teltonika_processor.simulate.models import MODELS, VALUE_RANGES
from teltonika_processor.simulate.profile import CODECS
from teltonika_processor.simulate.routes import Motorway, Route
from teltonika_processor.simulate.tracker import FleetPlan, trackers_of

STARTED_AT_MS = 1_790_000_000_000


def records_of(device: Device, n_records: int) -> list[reference.AvlRecord]:
    made = [device.record() for _ in range(n_records)]
    return list(reference.decode_frame(avl_packet(device.codec_id, made), transport="udp").records)


@pytest.mark.parametrize("codec_id", CODECS)
@pytest.mark.parametrize("name", MODELS)
def test_elements_are_those_of_the_model(name: str, codec_id: int) -> None:
    model = MODELS[name]
    device = Device(
        0,
        rng=random.Random(1),
        started_at_ms=STARTED_AT_MS,
        udp_share=1.0,
        codec_id=codec_id,
        model=model,
    )
    records = records_of(device, 200)
    known = {io_id for ids in model.ids.values() for io_id in ids} | set(model.variable_ids)
    sent = {io_id for record in records for io_id in record.io}
    assert sent <= known
    left_out = {io_id for io_id in known - set(model.variable_ids) if io_id > 0xFF}
    assert sent >= known - left_out - set(model.variable_ids)
    for record in records:
        for io_id, value in record.io.items():
            if io_id in VALUE_RANGES and io_id != model.ids[1][-1]:
                least, most = VALUE_RANGES[io_id]
                assert isinstance(value, int)
                assert least <= value <= most


@pytest.mark.parametrize("codec_id", CODECS)
@pytest.mark.parametrize("name", MODELS)
def test_elements_of_the_drive_follow_it(name: str, codec_id: int) -> None:
    device = Device(
        0,
        rng=random.Random(3),
        started_at_ms=STARTED_AT_MS,
        udp_share=1.0,
        codec_id=codec_id,
        model=MODELS[name],
    )
    records = records_of(device, 250)
    speeds_seen = {record.io.get(24, record.speed_kmh) == record.speed_kmh for record in records}
    assert speeds_seen == {True}
    moving = [record for record in records if record.speed_kmh]
    standing = [record for record in records if not record.speed_kmh and record.satellites]
    assert {(record.io[239], record.io[240]) for record in moving} == {(1, 1)}
    assert standing
    assert {(record.io[239], record.io[240]) for record in standing} == {(0, 0)}
    for io_id in (16, 199):
        metres = [record.io[io_id] for record in records if io_id in record.io]
        assert metres == sorted(metres)
        assert not metres or metres[-1] > metres[0]


def test_mixed_trackers_are_each_of_one_model() -> None:
    plan = FleetPlan(
        devices=40, seed=1, started_at_ms=STARTED_AT_MS, codec_id=0x8E, models=list(MODELS.values())
    )
    known = {
        name: {io_id for ids in model.ids.values() for io_id in ids} | set(model.variable_ids)
        for name, model in MODELS.items()
    }
    found = set()
    for tracker in trackers_of(plan, jitter=lambda: 0.5):
        tracker.make(20, since_ms=STARTED_AT_MS, at_ms=STARTED_AT_MS + 20_000)
        sent = {
            io_id
            for parcel in tracker.link.unacknowledged()
            for record in reference.decode_frame(parcel.wire).records
            for io_id in record.io
        }
        fits = [name for name, ids in known.items() if sent <= ids]
        assert fits
        found.add(fits[0])
    assert found == set(MODELS)


def speeds(route: Route) -> list[int]:
    found = []
    for _ in range(500):
        route.advance(1.0)
        found.append(route.speed_kmh)
    return found


def test_a_motorway_is_fast_and_hardly_turns() -> None:
    route = Motorway(random.Random(2))
    before = route.angle_deg
    found = speeds(route)
    assert sum(speed >= 80 for speed in found) > 480
    assert max(found) <= 130
    turned = abs((route.angle_deg - before + 180) % 360 - 180)
    assert turned < 90

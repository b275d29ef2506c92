"""The simulated fleet: same seed, same bytes; it knows what it made."""

import collections
import hashlib
import itertools
import json
import random
import struct
from pathlib import Path

import pytest

from teltonika_processor.codec import reference
from teltonika_processor.errors import DecodeError
from teltonika_processor.simulate import (
    Expected,
    ExpectedAccounts,
    Fleet,
    PublishedFrame,
    documented_frames,
    expected_accounts,
)
from teltonika_processor.simulate.device import Device, imei_of, luhn_digit
from teltonika_processor.simulate.faults import (
    DAMAGE,
    MISSENT,
    NEVER_FROM_A_DEVICE,
    damaged,
    missent,
    poisoned,
    retransmitted,
    with_impossible_clock,
)

STARTED_AT_MS = 1_760_000_000_000  # 2025-10-09T08:53:20Z
VECTORS = Path(__file__).parents[1] / "vectors" / "documented.jsonl"


def fleet(*, devices: int = 20, seed: int = 1, udp_share: float = 0.05) -> Fleet:
    return Fleet(devices=devices, seed=seed, started_at_ms=STARTED_AT_MS, udp_share=udp_share)


@pytest.fixture(scope="module")
def frames() -> list[PublishedFrame]:
    return list(fleet().frames_with(10_000))


@pytest.fixture(scope="module")
def records(frames: list[PublishedFrame]) -> list[tuple[str, int, reference.AvlRecord]]:
    """(IMEI, codec id, record) of everything the fleet sent, read by the reference decoder."""
    return [
        (published.imei, packet.codec_id, record)
        for published in frames
        for packet in [decode(published)]
        for record in packet.records
    ]


def decode(published: PublishedFrame) -> reference.AvlPacket:
    assert published.frame is not None
    return reference.decode_frame(published.frame, transport=published.transport)


def test_same_seed_makes_the_same_bytes() -> None:
    sent = [published.frame or b"" for published in fleet().frames(100)]
    assert (
        hashlib.sha256(b"".join(sent)).hexdigest()
        == "101da0d3157c9eb173675c4159171c49e8f9f149244a9cf75f1c64e0c68795a3"
    )


def test_another_seed_makes_other_bytes() -> None:
    first, second = (next(fleet(seed=seed).frames(1)).frame for seed in (1, 2))
    assert first != second


def test_wanted_number_of_records_is_made_exactly(
    records: list[tuple[str, int, reference.AvlRecord]],
) -> None:
    assert len(records) == 10_000


def test_no_two_records_are_equal(
    records: list[tuple[str, int, reference.AvlRecord]],
) -> None:
    assert len({(imei, bytes(record.raw)) for imei, _, record in records}) == 10_000


def test_some_records_share_their_millisecond(
    records: list[tuple[str, int, reference.AvlRecord]],
) -> None:
    times = {(imei, record.recorded_at_ms) for imei, _, record in records}
    assert 9_850 <= len(times) < 10_000


def test_an_event_of_the_same_millisecond_takes_the_place_of_the_record_that_was_due() -> None:
    """As the help of `simulate` says: 8 of 1,000, so that a second is left out behind them."""
    device = Device(0, rng=random.Random(1), started_at_ms=STARTED_AT_MS, udp_share=0.0)
    due_ms = [STARTED_AT_MS + 120_000 + 1000 * number for number in range(20_000)]
    made = [device.made_at(at_ms) for at_ms in due_ms]
    steps_ms = [
        after.recorded_at_ms - before.recorded_at_ms for before, after in itertools.pairwise(made)
    ]
    counts = collections.Counter(steps_ms)
    assert counts.keys() == {0, 1000, 2000}
    assert 0.006 < counts[0] / len(made) < 0.010
    assert abs(counts[0] - counts[2000]) <= 1
    twins = [one for one, step_ms in zip(made[1:], steps_ms, strict=True) if not step_ms]
    assert {one.priority for one in twins} == {2}
    priorities = collections.Counter(one.priority for one in made)
    assert 0.84 < priorities[0] / len(made) < 0.86
    assert 0.13 < priorities[1] / len(made) < 0.15


def test_records_hold_12_to_25_elements_of_every_width() -> None:
    seen = [
        record.io
        for published in fleet(devices=200).frames(400)
        for record in decode(published).records
    ]
    assert min(map(len, seen)) == 12
    assert max(map(len, seen)) == 25
    values = [value for io in seen for value in io.values()]
    assert any(isinstance(value, bytes) for value in values)
    assert any(isinstance(value, int) and value >= 2**63 for value in values)


def test_event_is_always_present_in_its_record(
    records: list[tuple[str, int, reference.AvlRecord]],
) -> None:
    events = [record for _, _, record in records if record.event_io_id]
    assert len(events) > 1000
    assert all(record.event_io_id in record.io for record in events)


def test_places_are_on_all_quarters_of_the_globe_and_below_the_sea() -> None:
    seen = [
        record
        for published in fleet(devices=200).frames(400)
        for record in decode(published).records
    ]
    assert any(record.longitude_e7 < 0 and record.latitude_e7 < 0 for record in seen)
    assert any(record.longitude_e7 < 0 < record.latitude_e7 for record in seen)
    assert any(record.longitude_e7 > 0 > record.latitude_e7 for record in seen)
    assert any(record.altitude_m < 0 for record in seen)
    assert any(record.satellites == 0 for record in seen)


def test_devices_speak_the_three_codecs_in_their_shares() -> None:
    devices = fleet(devices=2000)._devices
    codecs = collections.Counter(device.codec_id for device in devices)
    assert 0.66 < codecs[0x8E] / 2000 < 0.74
    assert 0.21 < codecs[0x08] / 2000 < 0.29
    assert 0.03 < codecs[0x10] / 2000 < 0.07


def test_eight_percent_of_8e_records_carry_a_variable_length_element(
    records: list[tuple[str, int, reference.AvlRecord]],
) -> None:
    extended = [record for _, codec_id, record in records if codec_id == 0x8E]
    long = [r for r in extended if any(isinstance(value, bytes) for value in r.io.values())]
    assert 0.07 < len(long) / len(extended) < 0.09


def test_records_come_before_they_are_received(frames: list[PublishedFrame]) -> None:
    for published in frames:
        times = [record.recorded_at_ms for record in decode(published).records]
        assert times == sorted(times)
        assert STARTED_AT_MS <= times[0] <= times[-1] <= published.received_at_ms


def test_frames_hold_as_many_records_as_they_may() -> None:
    one = Fleet(devices=5, seed=3, started_at_ms=STARTED_AT_MS, records_per_frame=(13, 13))
    assert [len(decode(published)) for published in one.frames(20)] == [13] * 20


def test_imeis_have_15_digits_and_a_valid_check_digit() -> None:
    assert luhn_digit("35630704244101") == 3  # the IMEI of the vendor's handshake example
    assert imei_of(0) == "001000000000009"
    assert len({imei_of(index) for index in range(1000)}) == 1000


@pytest.mark.parametrize("code", DAMAGE)
def test_damage_is_refused_with_its_code(code: str, frames: list[PublishedFrame]) -> None:
    rng = random.Random(5)
    spoiled = [damaged(one, code, rng) for one in frames[:20] if one.transport == "tcp"]
    assert {refusal(published) for published in spoiled} == {code}
    assert {published.expected.reject for published in spoiled} == {code}


@pytest.mark.parametrize("udp_share", [0.0, 1.0])
@pytest.mark.parametrize("code", MISSENT)
def test_what_firmware_spoils_is_refused_with_its_code(code: str, udp_share: float) -> None:
    rng = random.Random(5)
    spoiled = [missent(one, code, rng) for one in fleet(udp_share=udp_share).frames(20)]
    assert {refusal(published) for published in spoiled} == {code}
    assert {published.expected.reject for published in spoiled} == {code}


def test_damage_is_either_a_devices_or_never_from_one() -> None:
    assert {*MISSENT, *NEVER_FROM_A_DEVICE} == set(DAMAGE)
    assert not {*MISSENT} & {*NEVER_FROM_A_DEVICE}


def test_poison_has_a_wrong_crc_and_its_own_code(frames: list[PublishedFrame]) -> None:
    poison = poisoned(frames[0], random.Random(1))
    assert refusal(poison) == "crc_mismatch"
    assert poison.expected == Expected(n_records=0, n_new=0, reject="poison_frame")
    assert poison.n_data == frames[0].n_data


def refusal(published: PublishedFrame) -> str | None:
    """What the stream contract says of an entry, in the order of its fields."""
    if published.version > 1:
        return "unsupported_version"
    if published.frame is None:
        return "missing_field"
    if len(published.imei) != 15:
        return "bad_imei"
    try:
        packet = decode(published)
    except DecodeError as error:
        return error.code
    # The last instant of Postgres: 294276-12-31T23:59:59.999999Z.
    late = any(record.recorded_at_ms > 9_224_318_015_999_999 for record in packet.records)
    return "timestamp_out_of_range" if late else None


def test_retransmission_is_the_same_frame_later(frames: list[PublishedFrame]) -> None:
    copy = retransmitted(frames[0])
    assert (copy.imei, copy.frame) == (frames[0].imei, frames[0].frame)
    assert copy.received_at_ms > frames[0].received_at_ms
    assert (copy.expected.n_records, copy.expected.n_new) == (frames[0].expected.n_records, 0)


def test_impossible_clocks_are_of_2004_and_of_next_year(frames: list[PublishedFrame]) -> None:
    suspects = [with_impossible_clock(frames[0], number) for number in range(2)]
    assert [published.expected.n_new for published in suspects] == [1, 1]
    times = [decode(published).records[0].recorded_at_ms for published in suspects]
    assert times[0] == 1_072_915_200_000
    assert times[1] > frames[0].received_at_ms + 86_400_000


def test_accounts_sum_what_each_frame_must_become() -> None:
    def published(imei: str, expected: Expected) -> PublishedFrame:
        return PublishedFrame(
            imei=imei,
            frame=bytes((8, expected.n_records or 4)),
            transport="udp",
            received_at_ms=0,
            connection="",
            expected=expected,
        )

    accounts = expected_accounts(
        [
            published("1", Expected(n_records=3, n_new=3)),
            published("1", Expected(n_records=3, n_new=0)),
            published("2", Expected(n_records=2, n_new=1, n_suspect=1)),
            published("3", Expected(n_records=0, n_new=0, reject="truncated")),
        ]
    )
    assert accounts == ExpectedAccounts(
        records=12,
        unreadable=4,
        suspects=1,
        stored_by_imei={"1": 3, "2": 1},
        dead_letters={"truncated": 1},
    )
    assert (accounts.stored, accounts.copies) == (4, 4)


def test_entry_fields_are_those_of_the_contract() -> None:
    published = next(fleet(udp_share=0).frames(1))
    fields = published.fields("demo")
    assert list(fields) == [
        *("imei", "v", "transport", "received_at_ms", "gateway", "connection", "frame"),
    ]
    assert (fields["v"], fields["transport"], fields["gateway"]) == (1, "tcp", "demo")


def test_udp_frames_are_the_bare_avl_packet() -> None:
    published = next(fleet(udp_share=1).frames(1))
    assert published.transport == "udp"
    assert published.frame is not None
    assert published.frame[0] in {0x08, 0x8E, 0x10}
    assert published.frame[1] == published.frame[-1]


def test_udp_devices_are_an_exact_share_and_never_the_first() -> None:
    transports = [device.transport for device in fleet(devices=100)._devices]
    assert transports.count("udp") == 5
    assert transports[0] == "tcp"


def test_documented_frames_are_those_of_the_vectors() -> None:
    vectors = [json.loads(line) for line in VECTORS.read_text().splitlines()]
    with_records = {v["id"]: v for v in vectors if "records" in v["expect"]}
    documented = list(documented_frames(received_at_ms=STARTED_AT_MS))
    assert len(documented) == 15
    for published in documented:
        vector = with_records.pop(published.connection)
        assert published.frame is not None
        assert published.frame.hex() in vector["hex"]
        recorded = [record.recorded_at_ms for record in decode(published).records]
        assert recorded == [record["timestamp_ms"] for record in vector["expect"]["records"]]
        assert published.expected.n_suspect == sum(time < 1_262_304_000_000 for time in recorded)
    assert not with_records
    assert expected_accounts(documented).stored == 23


def test_documented_records_are_all_different() -> None:
    keys = {
        (published.imei, bytes(record.raw))
        for published in documented_frames(received_at_ms=STARTED_AT_MS)
        for record in decode(published).records
    }
    assert len(keys) == 23


def test_first_time_of_a_frame_is_where_the_faults_write_it(
    frames: list[PublishedFrame],
) -> None:
    published = frames[0]
    assert published.frame is not None
    start = 10 if published.transport == "tcp" else 2
    (time,) = struct.unpack_from(">Q", published.frame, start)
    assert time == decode(published).records[0].recorded_at_ms

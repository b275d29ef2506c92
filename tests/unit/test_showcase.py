"""What the demo lets loose is what it says, and becomes what it expects."""

import random
from collections import Counter, defaultdict

from teltonika_processor.codec import reference
from teltonika_processor.errors import DecodeError
from teltonika_processor.simulate.device import IMEIS, imei_of, luhn_digit
from teltonika_processor.simulate.grand_prix import make_grand_prix
from teltonika_processor.simulate.link import nobody
from teltonika_processor.simulate.outbox import Parcel
from teltonika_processor.simulate.showcase import Showcase, make_showcase
from teltonika_processor.simulate.tracker import Sender

NOW_MS = 1_790_000_000_000
SIMULATED_MAX = 100_000
"""Trackers that `simulate --devices` takes at most."""

RESPONSE = bytes.fromhex("000000000000001a0c010600000012")
"""How a Codec 12 response of 18 characters begins."""


def showcase(*, devices: int = 20, records: int = 2000, seed: int = 1) -> Showcase:
    return make_showcase(
        devices=devices,
        records=records,
        seed=seed,
        now_ms=NOW_MS,
        jitter=random.Random(1).random,
        settled=nobody,
    )


def sent_by(sender: Sender) -> list[Parcel]:
    """All that it would send, taken out of its outbox."""
    return list(iter(sender.link.outbox.take, None))


def decoded(sender: Sender, wire: bytes) -> tuple[str | None, list[reference.AvlRecord]]:
    """Reject code and records of a frame, behind a response to a command if one comes first."""
    frame = wire[wire.index(b"\x01\x00\x00", 33) + 5 :] if wire.startswith(RESPONSE) else wire
    try:
        packet = reference.decode_frame(frame, transport=sender.transport)
    except DecodeError as error:
        return error.code, []
    return None, list(packet.records)


def test_everything_becomes_what_is_expected() -> None:
    shown = showcase()
    n_records, stored = 0, defaultdict[str, set[bytes]](set)
    codes: Counter[str | None] = Counter()
    for sender in shown.senders:
        for parcel in sent_by(sender):
            n_records += parcel.n_records
            code, records = decoded(sender, parcel.wire)
            codes[code] += 1
            for record in records:
                # The last instant of Postgres: 294276-12-31T23:59:59.999999Z.
                if record.recorded_at_ms <= 9_224_318_015_999_999:
                    stored[sender.link.imei].add(bytes(record.raw))
                else:
                    codes["timestamp_out_of_range"] += 1
    expected = shown.expected
    assert expected.records == n_records == 2133
    assert expected.stored_by_imei == {imei: len(found) for imei, found in stored.items()}
    assert expected.stored == 2047
    # From devices a frame with a wrong CRC is poison; the entries with one have no device.
    assert codes.pop("crc_mismatch") == expected.dead_letters["poison_frame"] == 2
    del codes[None]
    direct = Counter(one.expected.reject for one in shown.direct)
    assert {**codes, **direct, "poison_frame": 2} == expected.dead_letters
    assert sum(expected.dead_letters.values()) == 26


def test_records_of_2004_are_counted() -> None:
    shown = showcase()
    by_time = Counter(
        record.recorded_at_ms < 1_262_304_000_000
        for tracker in shown.fleet
        for parcel in sent_by(tracker)
        for record in decoded(tracker, parcel.wire)[1]
    )
    # Four of bad firmware, and as many of the vendor's examples.
    assert by_time[True] == shown.expected.suspects - 8 == 17


def test_the_same_seed_makes_the_same_frames() -> None:
    def frames(seed: int) -> list[bytes]:
        shown = showcase(seed=seed)
        return [parcel.wire for sender in shown.senders for parcel in sent_by(sender)]

    assert frames(1) == frames(1) != frames(2)


def test_a_fleet_may_have_fewer_records_than_devices() -> None:
    shown = showcase(devices=20, records=7)
    assert [one.link.outbox.n_made for one in shown.fleet] == [1] * 7 + [0] * 13
    assert shown.expected.stored == 47 + 7


def test_nobody_allowed_the_stranger_and_it_says_nothing() -> None:
    shown = showcase()
    assert shown.stranger.link.imei not in shown.allowed
    assert shown.stranger.link.is_idle
    assert len(shown.allowed) == len(set(shown.allowed)) == 20 + 3 + 4


def test_entries_that_no_device_causes_are_all_different() -> None:
    direct = showcase().direct
    assert len({(one.imei, one.frame, one.version) for one in direct}) == len(direct) == 14


def test_nobody_has_an_imei_of_those_that_simulate_makes() -> None:
    """So that a demo that is kept can be simulated at, and --verify finds its own rows."""
    shown = showcase(devices=10_000, records=10_000)
    race = make_grand_prix(
        cars=100,
        laps=1,
        seed=1,
        now_ms=NOW_MS,
        times_faster=1.0,
        jitter=random.Random(1).random,
        settled=nobody,
    )
    of_demo = [
        *(sender.link.imei for sender in shown.senders),
        *(entry.imei for entry in shown.direct),
        *(car.imei for car in race.cars),
    ]
    of_simulate = {imei_of(number) for number in range(SIMULATED_MAX)}
    assert of_simulate.isdisjoint(of_demo)
    own = [imei for imei in of_demo if imei.startswith("0010") and len(imei) == 15]
    assert len(own) > 10_100
    assert all(str(luhn_digit(imei[:14])) == imei[14] for imei in own)
    assert max(map(int, own)) <= IMEIS[1]


def test_one_of_twenty_of_its_fleet_is_by_udp() -> None:
    for devices, n_by_udp in ((1, 0), (19, 0), (20, 1), (100, 5)):
        fleet = showcase(devices=devices, records=100).fleet
        assert [tracker.transport for tracker in fleet].count("udp") == n_by_udp

"""What the faults of the wire make of bytes, and who has them."""

import random
from collections import Counter
from collections.abc import Callable

import pytest

from teltonika_processor.codec import reference
from teltonika_processor.errors import DecodeError
from teltonika_processor.simulate.device import UNSET_CLOCK_MS, Device
from teltonika_processor.simulate.envelope import avl_packet, tcp_frame
from teltonika_processor.simulate.outbox import (
    BuiltOutbox,
    MadeRecord,
    Outbox,
    Parcel,
    PoisonOutbox,
    RecordOutbox,
)
from teltonika_processor.simulate.wire_faults import (
    BY_UDP,
    Fault,
    Spoken,
    Wire,
    faulty_devices,
    with_a_bit_flipped,
)

FRAME = tcp_frame(avl_packet(0x08, [bytes(30), bytes(30)]))
HANDSHAKE = b"\x00\x0f356307042441013"


def spoken(data: bytes, *faults: Fault, times: int = 200) -> list[Spoken]:
    wire = Wire(frozenset(faults), random.Random(1), response_s=5.0)
    return [wire.speak(data) for _ in range(times)]


def joined(one: Spoken) -> bytes:
    return b"".join(piece.data for piece in one.pieces)


def test_without_a_fault_of_the_wire_all_is_said_at_once() -> None:
    for one in spoken(FRAME, Fault.NO_FIX, Fault.DUPLICATE, Fault.GAP):
        assert [(piece.wait_s, piece.data) for piece in one.pieces] == [(0.0, FRAME)]
        assert (one.cuts, one.is_lost) == (False, False)


def test_split_pieces_are_the_whole_in_its_order() -> None:
    said = spoken(FRAME, Fault.SPLIT)
    assert {joined(one) for one in said} == {FRAME}
    assert {len(one.pieces) for one in said} == set(range(2, 9))
    assert all(0.0 <= piece.wait_s <= 0.03 for one in said for piece in one.pieces)
    assert [joined(one) for one in spoken(b"\xff", Fault.SPLIT, times=3)] == [b"\xff"] * 3


def test_slow_is_a_byte_at_a_time_and_over_before_the_time_out() -> None:
    (one,) = spoken(bytes(1292), Fault.SLOW, times=1)
    assert [len(piece.data) for piece in one.pieces] == [1] * 1292
    assert sum(piece.wait_s for piece in one.pieces) <= 1.25
    assert spoken(b"\xff", Fault.SLOW, times=1)[0].pieces[0].wait_s == 0.01


def test_glue_is_pings_around() -> None:
    said = {joined(one) for one in spoken(HANDSHAKE, Fault.GLUE)}
    assert said == {
        b"\xff" * before + HANDSHAKE + b"\xff" * behind
        for before in range(3)
        for behind in range(3)
    }


def test_damage_spoils_one_bit_of_a_frame_now_and_then_and_no_handshake() -> None:
    said = spoken(FRAME, Fault.DAMAGE)
    lost = [one for one in said if one.is_lost]
    assert 10 <= len(lost) <= 30
    for one in lost:
        differing = int.from_bytes(joined(one)) ^ int.from_bytes(FRAME)
        assert differing.bit_count() == 1
    assert {joined(one) for one in said if not one.is_lost} == {FRAME}
    assert {joined(one) for one in spoken(HANDSHAKE, Fault.DAMAGE)} == {HANDSHAKE}


def test_disconnect_cuts_at_any_byte() -> None:
    cut = [one for one in spoken(HANDSHAKE, Fault.DISCONNECT, times=4000) if one.cuts]
    assert 300 <= len(cut) <= 500
    assert {len(joined(one)) for one in cut} == set(range(18))
    assert all(HANDSHAKE.startswith(joined(one)) for one in cut)


def test_replies_are_missed_and_gaps_begin_now_and_then() -> None:
    faults = frozenset({Fault.DUPLICATE, Fault.GAP})
    wire = Wire(faults, random.Random(1), response_s=5.0, period_s=10.0)
    assert 0 < sum(wire.misses_reply() for _ in range(200)) < 50
    gaps = [gap_s for gap_s in (wire.gap_s() for _ in range(200)) if gap_s]
    assert 0 < len(gaps) < 50
    assert all(50.0 <= gap_s <= 500.0 for gap_s in gaps)
    assert max(gaps) > 2 * min(gaps)


def test_each_fault_has_its_share_and_one_device_at_least() -> None:
    shares = {Fault.SPLIT: 0.5, Fault.SLOW: 0.001, Fault.GARBAGE: 1.0}
    faulty = faulty_devices(range(100), [], shares, random.Random(1))
    counts = Counter(fault for faults in faulty.values() for fault in faults)
    assert counts == {Fault.SPLIT: 50, Fault.SLOW: 1}
    assert faulty_devices([], [], shares, random.Random(1)) == {}


def test_a_device_by_udp_has_what_needs_no_connection() -> None:
    faulty = faulty_devices(
        [0], [1], dict.fromkeys(set(Fault) - {Fault.DEAF}, 1.0), random.Random(1)
    )
    assert faulty[1] == BY_UDP
    assert faulty[0] == set(Fault) - {Fault.DEAF, Fault.GARBAGE}


def test_a_deaf_device_has_no_other_fault() -> None:
    shares = dict.fromkeys(Fault, 1.0)
    faulty = faulty_devices(range(3), [], shares, random.Random(1))
    assert faulty == dict.fromkeys(range(3), frozenset({Fault.DEAF}))


def test_a_flipped_bit_is_always_a_wrong_crc() -> None:
    rng = random.Random(1)
    for _ in range(200):
        with pytest.raises(DecodeError, match="crc_mismatch"):
            reference.decode_frame(with_a_bit_flipped(FRAME, rng), transport="tcp")


def record_outbox() -> Outbox:
    outbox = RecordOutbox(0x08)
    outbox.add([MadeRecord(1, 0, bytes(30))])
    return outbox


def built_outbox() -> Outbox:
    return BuiltOutbox([Parcel(FRAME, 2)], n_frames=1)


@pytest.mark.parametrize("inner", [record_outbox, built_outbox])
def test_poison_is_the_same_damage_each_time(inner: Callable[[], Outbox]) -> None:
    outbox = PoisonOutbox(inner())
    assert not outbox.is_empty
    first = outbox.take()
    assert first is not None
    assert outbox.n_made == first.n_records
    assert outbox.take() is None
    for _ in range(3):
        with pytest.raises(DecodeError, match="crc_mismatch"):
            reference.decode_frame(first.wire, transport="tcp")
        outbox.put_back(first)
        assert outbox.n_kept() == first.n_records
        assert outbox.take() == first


def device() -> Device:
    return Device(0, rng=random.Random(1), started_at_ms=1_790_000_000_000, udp_share=0.0)


def test_a_device_without_a_fix_at_first_is_nowhere() -> None:
    one = device()
    one.begin_without_fix(3)
    made = [one.made_at(1_790_000_060_000 + n * 1000) for n in range(5)]
    assert [record.raw[9:24] == bytes(15) for record in made] == [True] * 3 + [False] * 2


def test_a_clock_that_was_never_set_counts_from_2004() -> None:
    one = device()
    one.begin_with_unset_clock(2)
    made = [one.made_at(1_790_000_060_000 + n * 1000) for n in range(3)]
    assert [record.recorded_at_ms for record in made] == [
        UNSET_CLOCK_MS + 60_000,
        UNSET_CLOCK_MS + 61_000,
        1_790_000_062_000,
    ]
    assert [int.from_bytes(record.raw[:8]) for record in made] == [
        record.recorded_at_ms for record in made
    ]

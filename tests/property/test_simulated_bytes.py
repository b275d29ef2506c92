"""What simulated devices say is what the gateway's own cutter takes for it."""

import random

from hypothesis import given
from hypothesis import strategies as st

from teltonika_processor.codec.native import (
    UNIT_AVL,
    UNIT_DAMAGED,
    UNIT_HANDSHAKE,
    UNIT_PING,
    FrameCutter,
    channel_packets,
)
from teltonika_processor.simulate.datagram_link import DatagramLink
from teltonika_processor.simulate.foreigners import OPENINGS
from teltonika_processor.simulate.link import DeviceLink, LinkState
from teltonika_processor.simulate.tracker import FleetPlan, Tracker, trackers_of
from teltonika_processor.simulate.wire_faults import Fault, Wire

STARTED_AT_MS = 1_790_000_000_000
ON_THE_WIRE = st.sets(
    st.sampled_from([Fault.SPLIT, Fault.GLUE, Fault.SLOW, Fault.DAMAGE]), max_size=4
)


def tracker(seed: int, *, udp: bool, n_records: int) -> Tracker:
    """One with `n_records` to send, three a frame."""
    plan = FleetPlan(
        devices=1,
        seed=seed,
        started_at_ms=STARTED_AT_MS,
        udp_share=float(udp),
        records_per_frame=(1, 3),
    )
    (one,) = trackers_of(plan, jitter=lambda: 0.5)
    one.make(n_records, since_ms=STARTED_AT_MS, at_ms=STARTED_AT_MS + 60_000)
    return one


@given(seed=st.integers(0, 1000), n_records=st.integers(1, 12), faults=ON_THE_WIRE)
def test_a_conversation_is_cut_into_what_was_meant(
    seed: int, n_records: int, faults: set[Fault]
) -> None:
    link = tracker(seed, udp=False, n_records=n_records).link
    assert isinstance(link, DeviceLink)
    wire = Wire(frozenset(faults), random.Random(seed), response_s=5.0)
    cutter = FrameCutter(frame_max_bytes=4096)
    out, units = link.connected(0.0), []
    while out:
        spoken = wire.speak(out)
        heard = [unit for piece in spoken.pieces for unit in cutter.feed(piece.data)]
        said = [unit for unit in heard if unit[0] != UNIT_PING]
        units += said
        ((kind, value, number),) = said
        if kind == UNIT_HANDSHAKE:
            assert value == link.imei.encode()
            out = link.received(b"\x01", 1.0)
        elif kind == UNIT_AVL:
            out = link.received(number.to_bytes(4), 1.0)
        else:
            assert (kind, spoken.is_lost) == (UNIT_DAMAGED, True)
            out = link.due(6.0)
        if link.state is LinkState.LEAVING:
            return
    assert cutter.n_buffered == 0
    assert link.account.records_acknowledged == n_records
    assert sum(unit[2] for unit in units if unit[0] == UNIT_AVL) == n_records


@given(seed=st.integers(0, 1000), n_records=st.integers(1, 12))
def test_datagrams_are_read_and_their_replies_are_right(seed: int, n_records: int) -> None:
    link = tracker(seed, udp=True, n_records=n_records).link
    assert isinstance(link, DatagramLink)
    out = link.wake(0.0)
    while out:
        (packet,) = channel_packets(out)
        assert (packet.imei, packet.reject) == (link.imei, None)
        out = link.received(packet.reply(packet.n_data), 1.0)
    assert link.account.records_acknowledged == n_records
    assert link.account.replies_wrong == link.account.replies_stray == 0


def test_no_opening_of_a_stranger_passes_for_a_device() -> None:
    for opening in OPENINGS:
        kinds = {kind for kind, _, _ in FrameCutter(frame_max_bytes=4096).feed(opening)}
        assert kinds.isdisjoint({UNIT_HANDSHAKE, UNIT_AVL, UNIT_PING})

"""A device's side of a conversation: what it says, keeps, repeats and gives up."""

import math

import pytest

from by_the_book import BookServer
from teltonika_processor.simulate.datagram_link import DatagramLink
from teltonika_processor.simulate.link import (
    TRANSITIONS,
    DeviceLink,
    Link,
    LinkState,
    Patience,
    Seen,
    Settled,
    nobody,
)
from teltonika_processor.simulate.outbox import (
    BuiltOutbox,
    MadeRecord,
    Parcel,
    RecordOutbox,
)

IMEI = "356307042441013"
HANDSHAKE = b"\x00\x0f356307042441013"
CODEC_8 = 0x08
PATIENCE = Patience(response_s=5.0, ping_s=60.0, reconnect_base_s=2.0, reconnect_max_s=8.0)


def record(number: int, priority: int = 0) -> MadeRecord:
    """An AVL record of Codec 8 without elements."""
    time_ms = 1_790_000_000_000 + number
    raw = time_ms.to_bytes(8, "big") + bytes((priority,)) + bytes(15) + bytes(6)
    return MadeRecord(time_ms, priority, raw)


def outbox_of(*numbers: int, records_max: int = 1) -> RecordOutbox:
    outbox = RecordOutbox(CODEC_8, records_max=records_max)
    outbox.add(map(record, numbers))
    return outbox


def link_of(outbox: RecordOutbox | BuiltOutbox, settled: Settled = nobody) -> DeviceLink:
    return DeviceLink(IMEI, outbox, PATIENCE, jitter=lambda: 1.0, settled=settled)


def waiting(*numbers: int, records_max: int = 1) -> tuple[DeviceLink, bytes]:
    """A link whose first frame is in flight since 10.0, and that frame."""
    link = link_of(outbox_of(*numbers, records_max=records_max))
    link.connected(9.0)
    frame = link.received(b"\x01", 10.0)
    assert link.state is LinkState.WAITING
    return link, frame


def test_the_imei_is_said_first_and_nothing_before_it_is_accepted() -> None:
    link = link_of(outbox_of(1))
    assert link.connected(1.0) == HANDSHAKE
    assert link.wake(1.5) == b""
    assert link.received(b"\x01", 2.0)[:8] == b"\x00\x00\x00\x00\x00\x00\x00\x21"


def test_the_right_number_settles_and_the_next_frame_follows() -> None:
    seen: list[tuple[str, int, float, bool]] = []

    def settled(imei: str, parcel: Parcel, waited_s: float, *, in_doubt: bool) -> None:
        seen.append((imei, parcel.n_records, waited_s, in_doubt))

    link = link_of(outbox_of(1, 2, 3, records_max=2), settled)
    link.connected(9.0)
    assert link.received(b"\x01", 10.0)[9] == 2
    assert link.received(b"\x00\x00\x00\x02", 10.5)[9] == 1
    assert link.received(b"\x00\x00\x00\x01", 11.5) == b""
    assert seen == [(IMEI, 2, 0.5, False), (IMEI, 1, 1.0, False)]
    assert (link.account.records_acknowledged, link.n_kept()) == (3, 0)
    assert link.state is LinkState.READY


def test_another_number_brings_the_same_bytes_again() -> None:
    link, frame = waiting(1, 2)
    assert link.received(b"\x00\x00\x00\x02", 10.1) == frame
    assert (link.account.replies_wrong, link.account.frames_resent, link.n_kept()) == (1, 1, 2)
    assert link.received(b"\x00\x00\x00\x01", 10.2)[9] == 1


def test_silence_brings_the_same_bytes_again_after_the_time_out() -> None:
    link, frame = waiting(1)
    assert link.deadline == 15.0
    assert link.due(15.0) == frame
    assert (link.account.timeouts, link.account.records_sent) == (1, 2)
    assert link.deadline == 20.0


def test_five_failures_in_a_row_end_the_connection_and_lose_nothing() -> None:
    link, frame = waiting(1)
    for n in range(1, 5):
        assert link.due(10.0 + 5.0 * n) == frame
    assert link.due(35.0) == b""
    assert link.state is LinkState.LEAVING
    assert link.received(b"\x00\x00\x00\x01", 35.1) == b""
    assert link.lost() == 2.0
    assert link.n_kept() == 1
    link.connected(37.0)
    assert link.received(b"\x01", 38.0) == frame


def test_failures_are_counted_anew_after_a_right_reply() -> None:
    link, _ = waiting(1, 2)
    for n in range(4):
        link.due(15.0 + n)
    link.received(b"\x00\x00\x00\x01", 20.0)
    for n in range(4):
        link.due(25.0 + n)
    assert link.state is LinkState.WAITING


def test_a_lost_connection_gives_the_records_back() -> None:
    link, frame = waiting(1, 2)
    assert link.lost() == 2.0
    assert (link.account.connections_lost, link.n_kept()) == (1, 2)
    assert link.connected(20.0) == HANDSHAKE
    assert link.received(b"\x01", 20.1) == frame


def test_waits_between_connections_double_until_one_is_accepted() -> None:
    link = link_of(outbox_of(1))
    assert [link.unreached() for _ in range(4)] == [2.0, 4.0, 8.0, 8.0]
    link.connected(1.0)
    link.received(b"\x01", 1.0)
    assert link.lost() == 2.0


def test_a_refused_device_leaves_and_waits_longer_each_time() -> None:
    link = link_of(outbox_of(1))
    waits = []
    for now in (1.0, 2.0):
        link.connected(now)
        assert link.received(b"\x00", now) == b""
        assert link.state is LinkState.LEAVING
        waits.append(link.lost())
    assert waits == [2.0, 4.0]
    assert (link.account.refusals, link.account.frames_sent) == (2, 0)


@pytest.mark.parametrize("answer", [b"\x02", b"H", b"\xff\x01"])
def test_nonsense_after_the_handshake_is_left(answer: bytes) -> None:
    link = link_of(outbox_of(1))
    link.connected(1.0)
    assert link.received(answer, 1.0) == b""
    assert (link.state, link.account.replies_wrong) == (LinkState.LEAVING, 1)


def test_a_handshake_that_nobody_answers_is_left() -> None:
    link = link_of(outbox_of(1))
    link.connected(1.0)
    assert link.deadline == 6.0
    assert link.due(6.0) == b""
    assert link.state is LinkState.LEAVING


def test_pings_are_sent_while_there_is_nothing_to_say() -> None:
    outbox = outbox_of()
    link = link_of(outbox)
    link.connected(1.0)
    assert link.received(b"\x01", 2.0) == b""
    assert link.deadline == 62.0
    assert link.due(62.0) == b"\xff"
    assert link.deadline == 122.0
    outbox.add([record(1)])
    assert link.wake(63.0)[9] == 1
    assert link.account.pings == 1


def test_a_second_reply_to_a_frame_puts_the_next_ones_in_doubt() -> None:
    link, frame = waiting(1, 2, 3, 4)
    assert link.due(15.0) == frame
    link.received(b"\x00\x00\x00\x01", 15.1)
    assert link.account.records_in_doubt == 0
    link.received(b"\x00\x00\x00\x01", 15.2)
    link.received(b"\x00\x00\x00\x01", 35.2)
    assert link.account.records_in_doubt == 2


def test_a_silence_as_long_as_the_time_out_ends_the_doubt() -> None:
    outbox = outbox_of(1)
    link = link_of(outbox)
    link.connected(9.0)
    link.received(b"\x01", 10.0)
    link.due(15.0)
    assert link.received(b"\x00\x00\x00\x01", 15.1) == b""
    for number, now in enumerate((20.0, 25.2), start=2):
        outbox.add([record(number)])
        link.wake(now)
        link.received(b"\x00\x00\x00\x01", now + 0.1)
    assert (link.account.records_acknowledged, link.account.records_in_doubt) == (3, 1)


def test_another_number_is_not_wrong_where_a_second_reply_may_come() -> None:
    link, frame = waiting(1, 2, 3, records_max=2)
    assert link.due(15.0) == frame
    following = link.received(b"\x00\x00\x00\x02", 15.1)
    assert link.received(b"\x00\x00\x00\x02", 15.2) == following
    assert (link.account.replies_wrong, link.account.replies_stray) == (0, 1)
    assert link.received(b"\x00\x00\x00\x02", 15.3) == following
    assert (link.account.replies_wrong, link.account.replies_stray) == (1, 1)
    assert link.received(b"\x00\x00\x00\x01", 15.4) == b""
    assert (link.account.records_acknowledged, link.account.records_in_doubt) == (3, 0)


def test_a_reply_that_is_not_heard_was_one_all_the_same() -> None:
    link, frame = waiting(1, 2)
    assert link.again(b"\x00\x00\x00\x01", 10.1) == frame
    link.received(b"\x00\x00\x00\x01", 10.2)
    link.received(b"\x00\x00\x00\x01", 10.3)
    assert (link.account.records_acknowledged, link.account.records_in_doubt) == (2, 0)


def test_a_copy_that_was_damaged_gets_no_reply_and_puts_nothing_in_doubt() -> None:
    link, _ = waiting(1, 2)
    link.lost_copy()
    link.due(15.0)
    link.received(b"\x00\x00\x00\x01", 15.1)
    link.received(b"\x00\x00\x00\x01", 15.2)
    assert (link.account.records_acknowledged, link.account.records_in_doubt) == (2, 0)


def test_a_reply_to_nothing_is_counted_and_no_more() -> None:
    link, _ = waiting(1)
    link.received(b"\x00\x00\x00\x01\x00\x00\x00\x01", 10.1)
    assert (link.account.replies_stray, link.state) == (1, LinkState.READY)


def test_high_priority_goes_first_then_the_oldest() -> None:
    outbox = RecordOutbox(CODEC_8, records_max=2)
    outbox.add([record(1), record(2), record(3, priority=1), record(4)])
    assert times_of(outbox) == [[3, 1], [2, 4]]


def test_the_newest_go_first_where_that_is_configured() -> None:
    outbox = RecordOutbox(CODEC_8, records_max=2, order="newest")
    outbox.add([record(1), record(2), record(3)])
    assert times_of(outbox) == [[3, 2], [1]]


def test_what_comes_back_is_sorted_in_again() -> None:
    outbox = RecordOutbox(CODEC_8, records_max=2)
    outbox.add([record(1), record(2), record(3)])
    first = outbox.take()
    assert first is not None
    outbox.add([record(4, priority=1)])
    outbox.put_back(first)
    assert outbox.n_kept() == 4
    assert times_of(outbox) == [[4, 1], [2, 3]]


def times_of(outbox: RecordOutbox) -> list[list[int]]:
    parcels = iter(outbox.take, None)
    return [[one.recorded_at_ms % 1000 for one in parcel.records] for parcel in parcels]


def test_a_frame_holds_what_fits_1280_bytes_and_one_record_at_least() -> None:
    outbox = RecordOutbox(CODEC_8, records_max=255)
    outbox.add(map(record, range(100)))
    sizes = [parcel.n_records for parcel in iter(outbox.take, None)]
    assert sizes == [42, 42, 16]  # 30 bytes each, and 3 round them
    huge = RecordOutbox(CODEC_8, records_max=5, packet_max_bytes=10)
    huge.add([record(1), record(2)])
    assert [parcel.n_records for parcel in iter(huge.take, None)] == [1, 1]


def test_built_frames_go_round_until_their_number_is_sent() -> None:
    parcels = [Parcel(b"a", 1), Parcel(b"b", 2)]
    outbox = BuiltOutbox(parcels, n_frames=3)
    first = outbox.take()
    assert first is not None
    outbox.put_back(first)
    assert (outbox.n_kept(), outbox.n_made) == (1, 1)
    assert [parcel.wire for parcel in iter(outbox.take, None)] == [b"a", b"b", b"a"]
    assert (outbox.n_kept(), outbox.n_made) == (0, 4)


def test_every_pair_of_state_and_event_is_in_the_table_or_a_bug() -> None:
    states = {LinkState.AWAY, LinkState.GREETING, LinkState.READY, LinkState.WAITING}
    assert {state for state, _ in TRANSITIONS} == states | {LinkState.LEAVING}
    link = link_of(outbox_of())
    with pytest.raises(KeyError):
        link.lost()
    assert {after for (_, seen), after in TRANSITIONS.items() if seen is Seen.LOST} == {
        LinkState.AWAY
    }


def test_a_conversation_by_the_book() -> None:
    server = BookServer()
    link = link_of(outbox_of(1, 2, 3))
    out = link.connected(0.0)
    now = 0.0
    while out:
        now += 1.0
        out = link.received(server.feed(out), now)
    assert server.imei == IMEI
    assert [frame[9] for frame in server.frames] == [1, 1, 1]


def datagram_link(*numbers: int) -> DatagramLink:
    outbox = RecordOutbox(CODEC_8, transport="udp")
    outbox.add(map(record, numbers))
    return DatagramLink(IMEI, outbox, PATIENCE)


def test_a_datagram_holds_ids_imei_and_the_avl_packet() -> None:
    datagram = datagram_link(1).wake(1.0)
    assert datagram[:2] == (len(datagram) - 2).to_bytes(2, "big")
    assert datagram[2:23] == b"\x00\x01\x01\x01" + HANDSHAKE
    assert datagram[23:25] == b"\x08\x01"
    assert datagram[-1:] == b"\x01"


def test_a_reply_by_udp_must_name_the_packet_and_the_number() -> None:
    link = datagram_link(1, 2)
    link.wake(1.0)
    assert link.received(bytes.fromhex("0005 0001 01 01 01"), 1.1)[5] == 2
    again = link.received(bytes.fromhex("0005 0002 01 02 00"), 1.2)
    assert (again[5], link.account.replies_wrong, link.account.frames_resent) == (3, 1, 1)
    assert link.received(bytes.fromhex("0005 0002 01 02 01"), 1.3) == b""
    assert link.account.replies_stray == 1
    assert link.received(bytes.fromhex("0005 0003 01 03 01"), 1.4) == b""
    assert (link.account.records_acknowledged, link.n_kept()) == (2, 0)
    assert link.received(b"", 1.5) == b""
    assert link.account.replies_stray == 2


def test_silence_by_udp_brings_the_records_again_under_another_id() -> None:
    link = datagram_link(1)
    first = link.wake(1.0)
    for n in range(1, 8):
        again = link.due(1.0 + 5.0 * n)
        assert again[5] == 1 + n
        assert again[6:] == first[6:]
    assert (link.account.timeouts, link.account.records_in_doubt) == (7, 0)


def test_a_device_by_udp_with_nothing_to_say_waits_for_nothing() -> None:
    link = datagram_link()
    assert link.wake(1.0) == b""
    assert link.due(61.0) == b""
    assert link.deadline == math.inf


def test_a_link_alone_sends_nothing() -> None:
    link = Link(IMEI, outbox_of(1), PATIENCE)
    with pytest.raises(NotImplementedError):
        link._encoded(Parcel(b"", 0))

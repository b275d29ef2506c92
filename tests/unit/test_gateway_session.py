"""`Session`: the rules of a connection as conversations, and its table."""

import time
from itertools import product

import pytest

from conversing import (
    GETINFO,
    HOLD_S,
    IDLE_S,
    IMEI,
    OTHER_IMEI,
    STRANGER,
    WALL_CLOCK_MS,
    Phone,
    World,
    allow,
    avl,
    damaged,
    handshake,
    new_context,
    said,
)
from teltonika_processor.codec.native import (
    UNIT_AVL,
    UNIT_COMMAND,
    UNIT_DAMAGED,
    UNIT_FOREIGN,
    UNIT_HANDSHAKE,
    UNIT_LOST,
    UNIT_PING,
)
from teltonika_processor.gateway.effects import Phase, Shelf
from teltonika_processor.gateway.session import TRANSITIONS, Session

ALL_UNITS = range(7)
PING = b"\xff"
ONE, TWO, THREE = avl(1), avl(2), avl(3)
DAMAGED = damaged(5)
TELEMETRY, RESPONSES, LETTERS = Shelf.TELEMETRY, Shelf.RESPONSES, Shelf.DEAD_LETTERS


@pytest.fixture
def world() -> World:
    return World(new_context(IMEI, OTHER_IMEI))


# The table


def test_every_pair_is_in_the_table_or_knowingly_not() -> None:
    missing = {
        # The cutter gives these only at the opening of a connection.
        (Phase.OPEN, UNIT_HANDSHAKE),
        (Phase.OPEN, UNIT_FOREIGN),
        # Units are kept for later.
        *((Phase.WAITING, unit) for unit in ALL_UNITS),
    }
    assert set(product(Phase, ALL_UNITS)) - set(TRANSITIONS) == missing
    assert not set(TRANSITIONS) & missing


def test_the_table_does_what_it_says() -> None:
    names = {pair: handler.__name__ for pair, handler in TRANSITIONS.items()}
    opening = {unit: names[Phase.OPENING, unit] for unit in ALL_UNITS}
    assert opening == {
        UNIT_PING: "_early_ping",
        UNIT_HANDSHAKE: "_identify",
        UNIT_AVL: "_unasked",
        UNIT_COMMAND: "_unasked",
        UNIT_DAMAGED: "_unasked",
        UNIT_FOREIGN: "_foreign",
        UNIT_LOST: "_unreadable",
    }
    assert {unit: name for (phase, unit), name in names.items() if phase is Phase.OPEN} == {
        UNIT_PING: "_ping",
        UNIT_AVL: "_publish",
        UNIT_COMMAND: "_forward",
        UNIT_DAMAGED: "_judge",
        UNIT_LOST: "_slipped",
    }
    silent = (Phase.HELD, Phase.LEAVING, Phase.CLOSED)
    assert {names[phase, unit] for phase in silent for unit in ALL_UNITS} == {"_ignore"}


def test_a_second_handshake_from_the_cutter_would_be_a_bug() -> None:
    session = Session(new_context(IMEI), object(), 0.0)
    handshakes = [(UNIT_HANDSHAKE, b"356307042441013", 0)] * 2
    with pytest.raises(KeyError):
        session.take(handshakes, 0.0)


# The handshake


def test_an_allowed_device_is_answered_01() -> None:
    session = Session(new_context(IMEI), object(), 0.0)
    effects = session.take([(UNIT_HANDSHAKE, b"356307042441013", 0)], 0.0)
    assert said(effects) == [("Answer", b"\x01"), ("Identified", 356307042441013)]
    assert (session.phase, session.imei) == (Phase.OPEN, 356307042441013)


def test_a_device_that_is_not_allowed_is_answered_00_and_closed(world: World) -> None:
    phone = world.identified(STRANGER)
    assert (phone.sent, phone.ending) == (b"\x00", "not_allowed")
    assert not phone.session.reads
    assert world.context.admission.refused.watched(WALL_CLOCK_MS) == [STRANGER]


def test_a_refused_device_is_closed_without_a_word_for_a_minute(world: World) -> None:
    world.identified(STRANGER)
    world.now_s = 59.0
    phone = world.identified(STRANGER)
    assert (phone.sent, phone.ending) == (b"", "throttled")
    world.now_s = 60.0
    phone = world.identified(STRANGER)
    assert (phone.sent, phone.ending) == (b"\x00", "not_allowed")
    assert world.context.admission.refused.n_refused == 2


def test_a_refused_device_that_is_allowed_meanwhile_is_answered_at_once(world: World) -> None:
    world.identified(STRANGER)
    allow(world.context.admission, STRANGER)
    assert world.identified(STRANGER).sent == b"\x01"
    # It is forgiven: the next refusal is a first one.
    allow(world.context.admission, IMEI)
    assert world.identified(STRANGER).ending == "not_allowed"


def test_where_no_list_was_read_a_device_is_closed_without_a_word() -> None:
    world = World(new_context())
    phone = world.identified()
    assert (phone.sent, phone.ending) == (b"", "admission_unknown")
    assert world.context.admission.refused.n_refused == 0
    allow(world.context.admission, IMEI)
    assert world.identified().sent == b"\x01"


def test_where_everybody_is_let_in_a_stranger_is() -> None:
    assert World(new_context(is_open=True)).identified(STRANGER).sent == b"\x01"


@pytest.mark.parametrize(
    ("opening", "ending"),
    [
        (avl(1), "no_handshake"),
        (damaged(1), "no_handshake"),
        (GETINFO, "no_handshake"),
        (b"\x00\x0e12345678901234", "bad_handshake"),
        (b"\x00\x0f35630704244101x", "bad_handshake"),
        (b"GET / HTTP/1.1\r\n\r\n", "foreign_client"),
        (b"\x16\x03\x01\x02\x00\x01\x00", "foreign_client"),
        (b"\x0f\x00\x2f\x09localhost\x63\xdd\x01\x01\x00", "foreign_client"),
        (b"\x00\x00\x00\x05\x00\x01\x43\x83\xba\xe9\x7a\x21\x00\x00\x00\x00", "foreign_client"),
    ],
)
def test_what_opens_no_conversation_is_closed_without_a_word(
    world: World, opening: bytes, ending: str
) -> None:
    phone = world.connect().says(opening + handshake() + avl(2))
    assert (phone.sent, phone.published, phone.ending) == (b"", [], ending)


def test_foreign_clients_are_counted_by_name(world: World) -> None:
    for _ in range(2):
        world.connect().says(b"GET / HTTP/1.1\r\n\r\n")
    world.connect().says(b"\x16\x03\x01\x02\x00")
    assert world.context.tally.foreign_clients == {"http": 2, "tls": 1}
    assert world.context.tally.endings == {"foreign_client": 3}


# Frames and replies


def test_a_frame_is_answered_once_it_is_durable_and_not_before(world: World) -> None:
    phone = world.identified().says(TWO)
    assert (phone.published, phone.sent) == ([(TELEMETRY, TWO)], b"\x01")
    phone.settle()
    assert phone.sent == b"\x01" + bytes.fromhex("00000002")
    assert (world.context.tally.replies, world.context.tally.frames) == (1, {TELEMETRY: 1})


def test_a_frame_glued_to_the_handshake_is_published_behind_the_01() -> None:
    session = Session(new_context(IMEI), object(), 0.0)
    units = [(UNIT_HANDSHAKE, b"356307042441013", 0), (UNIT_AVL, THREE, 3)]
    assert said(session.take(units, 0.0)) == [
        ("Answer", b"\x01"),
        ("Identified", 356307042441013),
        ("Publish", TELEMETRY, THREE),
    ]


def test_a_reply_later_than_a_device_waits_is_not_sent_and_nothing_behind_it(
    world: World,
) -> None:
    phone = world.identified().says(ONE + TWO)
    world.now_s = 3.0
    phone.says(THREE)
    world.now_s = 4.0
    phone.settle()
    world.now_s = 4.5
    phone.settle()
    assert (phone.sent, phone.ending) == (b"\x01\x00\x00\x00\x01", "not_durable")
    phone.settle()
    assert phone.sent == b"\x01\x00\x00\x00\x01"
    assert world.context.tally.frames == {TELEMETRY: 3}
    assert len(world.context.registry) == 0


def test_more_than_eight_pings_before_the_handshake_are_no_device(world: World) -> None:
    assert world.connect().says(PING * 8 + handshake()).sent == b"\x01"
    phone = world.connect().says(PING * 8)
    assert phone.ending is None
    phone.says(PING + handshake(OTHER_IMEI))
    assert (phone.sent, phone.ending) == (b"", "bad_handshake")
    assert world.context.tally.pings == 8 + 9


def test_pings_are_counted_and_never_answered(world: World) -> None:
    phone = world.connect().says(PING + handshake() + PING * 2 + ONE + PING + TWO + PING)
    phone.settle_all()
    assert phone.sent == b"\x01" + bytes.fromhex("00000001 00000002")
    assert world.context.tally.pings == 5
    assert phone.ending is None


def test_replies_come_in_the_order_of_the_frames(world: World) -> None:
    phone = world.identified().says(THREE + ONE + TWO)
    assert phone.published == [(TELEMETRY, THREE), (TELEMETRY, ONE), (TELEMETRY, TWO)]
    phone.settle_all()
    assert phone.sent == b"\x01" + bytes.fromhex("00000003 00000001 00000002")


@pytest.mark.parametrize("n_records", [0, 255])
def test_a_reply_is_the_number_of_data_1_whatever_it_is(world: World, n_records: int) -> None:
    phone = world.identified().says(avl(n_records))
    phone.settle()
    assert phone.sent == b"\x01\x00\x00\x00" + bytes([n_records])


def test_a_frame_whose_counts_differ_is_published_and_answered_by_the_first(world: World) -> None:
    # Codec 8E, number of data 1 is 2, number of data 2 is 1.
    frame = bytes.fromhex("00000000 00000003 8e0201 00008ba0")
    phone = world.identified().says(frame)
    assert phone.published == [(TELEMETRY, frame)]
    phone.settle()
    assert phone.sent == b"\x01" + bytes.fromhex("00000002")


def test_a_command_frame_goes_to_the_responses_and_is_not_answered(world: World) -> None:
    phone = world.identified().says(ONE + GETINFO + TWO)
    assert phone.published == [(TELEMETRY, ONE), (RESPONSES, GETINFO), (TELEMETRY, TWO)]
    phone.settle_all()
    assert phone.sent == b"\x01" + bytes.fromhex("00000001 00000002")
    assert world.context.tally.replies == 2


def test_a_frame_that_comes_again_while_in_flight_is_answered_once(world: World) -> None:
    phone = world.identified().says(ONE + ONE).says(ONE)
    assert phone.published == [(TELEMETRY, ONE)]
    phone.settle()
    assert phone.sent == b"\x01" + bytes.fromhex("00000001")
    assert world.context.tally.repeated_frames == 2


def test_a_frame_that_comes_again_behind_another_in_flight_is_answered_once(world: World) -> None:
    phone = world.identified().says(ONE + TWO + ONE)
    assert phone.published == [(TELEMETRY, ONE), (TELEMETRY, TWO)]
    phone.settle_all()
    assert phone.sent == b"\x01" + bytes.fromhex("00000001 00000002")


def test_a_frame_that_comes_again_after_its_reply_is_published_and_answered_again(
    world: World,
) -> None:
    phone = world.identified().says(ONE)
    phone.settle()
    phone.says(ONE).settle()
    assert phone.published == [(TELEMETRY, ONE)] * 2
    assert phone.sent == b"\x01" + bytes.fromhex("00000001") * 2


# An unknown fate


def test_behind_an_unknown_fate_nothing_is_answered_though_it_be_durable(world: World) -> None:
    phone = world.identified().says(ONE + TWO + THREE)
    phone.settle()
    phone.settle(durable=False)
    phone.settle(durable=True)
    assert phone.sent == b"\x01" + bytes.fromhex("00000001")
    assert phone.session.phase is Phase.HELD
    tally = world.context.tally
    assert (tally.unknown_fates, tally.replies, tally.frames) == (1, 1, {TELEMETRY: 2})


def test_behind_an_unknown_fate_nothing_is_read_or_published(world: World) -> None:
    phone = world.identified().says(ONE)
    phone.settle(durable=False)
    assert not phone.session.reads
    effects = phone.session.take([(UNIT_AVL, TWO, 2), (UNIT_PING, b"", 1)], 0.0)
    assert effects == []
    assert world.context.tally.pings == 0


def test_a_connection_with_an_unknown_fate_ends_within_the_hold(world: World) -> None:
    phone = world.identified()
    world.now_s = 100.0
    phone.says(ONE)
    world.now_s = 103.0
    phone.settle(durable=False)
    assert phone.session.deadline_s == 103.0 + HOLD_S
    phone.expire()
    assert phone.ending == "not_durable"


def test_a_leaving_connection_with_an_unknown_fate_answers_nothing_more(world: World) -> None:
    phone = world.identified().says(ONE + TWO)
    phone.leave("draining")
    phone.settle(durable=False)
    phone.settle()
    assert (phone.sent, phone.ending) == (b"\x01", "draining")


def test_a_newer_frame_that_is_given_up_leaves_the_older_one_its_fate(world: World) -> None:
    """It was not sent, as the connection is gone; the letter in front of it was."""
    phone = world.identified()
    for _ in range(3):
        phone.says(damaged(1))
    phone.says(TWO)
    phone.hang_up()
    phone.give_up()
    phone.settle()
    assert phone.quarantined == [damaged(1)]
    assert world.context.tally.frames == {Shelf.DEAD_LETTERS: 1}
    assert len(world.context.poison) == 0


def test_many_frames_of_unknown_fate_take_time_in_proportion(world: World) -> None:
    """One read holds 11,000 of the shortest; the loop stands still meanwhile."""
    phone = world.identified()
    frames = [b"%d" % number for number in range(11_000)]
    phone.session.take([(UNIT_AVL, frame, 1) for frame in frames], 0.0)
    began = time.process_time()
    for frame in frames:
        phone.session.settled(frame, 0.0, durable=False)
    assert time.process_time() - began < 1.0
    assert phone.session.n_in_flight == 0


# Two connections of a device


def test_a_quiet_older_connection_is_closed_and_the_newer_one_answered(world: World) -> None:
    older, newer = world.identified(), world.identified()
    assert (older.ending, newer.sent) == ("superseded", b"\x01")
    assert newer.session.phase is Phase.OPEN
    assert world.context.tally.endings == {"superseded": 1}


def test_the_newer_one_is_answered_once_the_frame_of_the_older_is_settled(world: World) -> None:
    older = world.identified().says(ONE)
    newer = world.identified().says(TWO)
    assert (older.ending, newer.sent, newer.session.reads) == (None, b"", False)
    older.settle()
    assert (older.sent, older.ending) == (b"\x01\x00\x00\x00\x01", "superseded")
    assert newer.sent == b"\x01"
    newer.says(TWO).settle()
    assert newer.sent == b"\x01\x00\x00\x00\x02"


def test_what_came_behind_the_handshake_of_the_newer_one_waits_with_it(world: World) -> None:
    older = world.identified().says(ONE)
    newer = world.connect().says(handshake() + PING + TWO + GETINFO)
    assert newer.published == []
    older.settle()
    assert newer.published == [(TELEMETRY, TWO), (RESPONSES, GETINFO)]
    newer.settle_all()
    assert newer.sent == b"\x01\x00\x00\x00\x02"
    assert world.context.tally.pings == 1


def test_an_older_connection_that_is_lost_ends_when_its_frame_is_settled(world: World) -> None:
    older = world.identified().says(ONE)
    older.hang_up()
    newer = world.identified()
    assert newer.sent == b""
    older.settle()
    assert (older.sent, newer.sent) == (b"\x01", b"\x01")


def test_an_older_connection_whose_fate_is_unknown_makes_room_without_an_answer(
    world: World,
) -> None:
    older = world.identified().says(ONE + TWO)
    newer = world.identified()
    older.settle(durable=False)
    assert newer.sent == b""
    older.settle()
    assert (older.sent, older.ending, newer.sent) == (b"\x01", "superseded", b"\x01")


def test_a_held_older_connection_is_closed_at_once(world: World) -> None:
    older = world.identified().says(ONE)
    older.settle(durable=False)
    newer = world.identified()
    assert (older.ending, newer.sent) == ("superseded", b"\x01")


def test_of_three_the_newest_is_answered(world: World) -> None:
    first = world.identified().says(ONE)
    second, third = world.identified(), world.identified()
    assert (second.ending, second.sent, third.sent) == ("superseded", b"", b"")
    first.settle()
    assert (first.sent, third.sent) == (b"\x01\x00\x00\x00\x01", b"\x01")


def test_an_heir_that_is_lost_is_not_answered(world: World) -> None:
    older = world.identified().says(ONE)
    newer = world.identified()
    newer.hang_up()
    older.settle()
    assert (newer.sent, older.ending) == (b"", "superseded")
    assert world.identified().sent == b"\x01"


def test_an_heir_that_is_not_allowed_any_more_is_refused(world: World) -> None:
    older = world.identified().says(ONE)
    newer = world.connect().says(handshake() + TWO)
    allow(world.context.admission, OTHER_IMEI)
    older.settle()
    assert (newer.sent, newer.ending, newer.published) == (b"\x00", "not_allowed", [])
    assert len(world.context.registry) == 0


def test_an_heir_ends_after_the_hold_though_the_older_one_never_does(world: World) -> None:
    world.identified().says(ONE)
    world.now_s = 5.0
    newer = world.identified()
    assert newer.session.deadline_s == 5.0 + HOLD_S
    newer.expire()
    assert (newer.sent, newer.ending) == (b"", "not_durable")


def test_devices_do_not_supersede_each_other(world: World) -> None:
    one, other = world.identified(IMEI), world.identified(OTHER_IMEI)
    assert (one.ending, other.sent) == (None, b"\x01")
    assert len(world.context.registry) == 2


# Leaving


def test_a_connection_that_leaves_answers_what_is_in_flight_and_ends(world: World) -> None:
    phone = world.identified().says(ONE + TWO)
    phone.leave("draining")
    phone.says(THREE)
    phone.settle()
    assert phone.ending is None
    phone.settle()
    assert (phone.sent, phone.ending) == (b"\x01\x00\x00\x00\x01\x00\x00\x00\x02", "draining")
    assert phone.published == [(TELEMETRY, ONE), (TELEMETRY, TWO)]


def test_what_comes_to_a_connection_that_leaves_is_not_taken(world: World) -> None:
    phone = world.identified().says(ONE)
    phone.leave("superseded")
    assert phone.session.take([(UNIT_AVL, TWO, 2), (UNIT_DAMAGED, DAMAGED, 5)], 0.0) == []
    assert world.context.tally.damaged_frames == 0


def test_the_first_reason_to_leave_counts(world: World) -> None:
    phone = world.identified().says(ONE)
    phone.leave("superseded")
    phone.leave("draining")
    phone.settle()
    assert phone.ending == "superseded"
    assert world.context.tally.endings == {"superseded": 1}


@pytest.mark.parametrize("opening", [b"", b"\x00\x0f", handshake()])
def test_with_nothing_in_flight_leaving_is_ending(world: World, opening: bytes) -> None:
    phone = world.connect().says(opening)
    phone.leave("draining")
    assert phone.ending == "draining"


def test_framing_that_is_lost_ends_it_after_what_is_in_flight(world: World) -> None:
    phone = world.identified().says(ONE + b"\x01\x02\x03\x04" + TWO)
    assert (phone.session.phase, phone.ending) == (Phase.LEAVING, None)
    phone.settle()
    assert (phone.sent, phone.ending) == (b"\x01\x00\x00\x00\x01", "framing_lost")
    assert phone.published == [(TELEMETRY, ONE)]


def test_a_connection_that_is_closed_answers_nothing_and_frees_its_device(world: World) -> None:
    phone = world.identified().says(ONE)
    phone.hang_up()
    phone.settle()
    assert phone.sent == b"\x01"
    assert world.context.tally.endings == {"closed_by_device": 1}
    assert len(world.context.registry) == 0


# Deadlines


def test_a_connection_without_a_handshake_ends_whatever_else_it_sends(world: World) -> None:
    phone = world.connect()
    world.now_s = 9.0
    phone.says(PING + handshake()[:9])
    assert phone.session.deadline_s == 10.0
    phone.expire()
    assert (phone.sent, phone.ending) == (b"", "handshake_timeout")


def test_a_quiet_connection_ends_after_the_idle_time_from_its_last_unit(world: World) -> None:
    phone = world.identified()
    assert phone.session.deadline_s == IDLE_S
    world.now_s = 50.0
    phone.says(PING)
    assert phone.session.deadline_s == 50.0 + IDLE_S
    phone.says(ONE)
    world.now_s = 53.0
    phone.settle()
    assert phone.session.deadline_s == 53.0 + IDLE_S
    phone.expire()
    assert phone.ending == "idle"


def test_a_frame_that_does_not_become_durable_ends_its_connection(world: World) -> None:
    phone = world.identified()
    world.now_s = 50.0
    phone.says(ONE)
    world.now_s = 70.0
    phone.says(PING + TWO)
    assert phone.session.deadline_s == 50.0 + HOLD_S
    phone.expire()
    assert (phone.sent, phone.ending) == (b"\x01", "not_durable")


def test_a_device_that_always_has_a_frame_in_flight_is_not_ended_while_they_are_settled(
    world: World,
) -> None:
    phone = world.identified().says(avl(0))
    for number in range(1, 100):
        world.now_s += 1.0
        phone.says(avl(number))
        phone.settle()
        assert phone.session.deadline_s >= world.now_s + HOLD_S - 1.0
    assert phone.ending is None


def test_a_leaving_connection_keeps_the_deadline_of_its_frame(world: World) -> None:
    phone = world.identified().says(ONE)
    world.now_s = 20.0
    phone.leave("draining")
    assert phone.session.deadline_s == HOLD_S
    phone.expire()
    assert phone.ending == "not_durable"


def test_an_ended_connection_ends_once(world: World) -> None:
    phone = world.identified()
    phone.expire()
    phone.expire()
    phone.leave("draining")
    phone.hang_up()
    assert world.context.tally.endings == {"idle": 1}


# Poison


def poisoned(world: World) -> Phone:
    """A connection whose damaged frame came for the third time."""
    return world.identified().says(DAMAGED).says(DAMAGED).says(DAMAGED)


def test_a_damaged_frame_is_not_answered_and_the_link_is_kept(world: World) -> None:
    phone = world.identified().says(DAMAGED + ONE)
    phone.settle()
    assert (phone.sent, phone.ending) == (b"\x01\x00\x00\x00\x01", None)
    assert phone.published == [(TELEMETRY, ONE)]
    assert world.context.tally.damaged_frames == 1


def test_the_same_damaged_frame_in_a_row_is_quarantined_then_answered(world: World) -> None:
    phone = poisoned(world)
    assert (phone.published, phone.sent) == ([(LETTERS, DAMAGED)], b"\x01")
    assert phone.quarantined == []
    phone.settle()
    assert phone.quarantined == [DAMAGED]
    assert phone.sent == b"\x01\x00\x00\x00\x05"
    assert world.context.tally.frames == {LETTERS: 1}


def test_after_its_quarantine_the_frame_is_counted_anew(world: World) -> None:
    phone = poisoned(world)
    phone.settle()
    phone.says(DAMAGED + DAMAGED)
    assert phone.published == [(LETTERS, DAMAGED)]
    phone.says(DAMAGED)
    assert phone.published == [(LETTERS, DAMAGED)] * 2


@pytest.mark.parametrize("between", [ONE, GETINFO, damaged(6)])
def test_another_frame_in_between_starts_the_count_anew(world: World, between: bytes) -> None:
    phone = world.identified().says(DAMAGED + DAMAGED + between + DAMAGED + DAMAGED)
    assert (LETTERS, DAMAGED) not in phone.published
    phone.says(DAMAGED)
    assert phone.published[-1] == (LETTERS, DAMAGED)


def test_pings_and_a_new_connection_do_not_start_the_count_anew(world: World) -> None:
    phone = world.identified().says(DAMAGED + PING)
    phone.hang_up()
    phone = world.identified().says(DAMAGED + PING + DAMAGED)
    assert phone.published == [(LETTERS, DAMAGED)]


def test_a_quarantine_whose_fate_is_unknown_is_not_answered_and_tried_at_the_next_repeat(
    world: World,
) -> None:
    phone = poisoned(world)
    phone.settle(durable=False)
    assert (phone.sent, phone.quarantined) == (b"\x01", [])
    phone.expire()
    again = world.identified().says(DAMAGED)
    assert again.published == [(LETTERS, DAMAGED)]
    again.settle()
    assert again.sent == b"\x01\x00\x00\x00\x05"


def test_poison_that_comes_again_while_in_flight_is_quarantined_once(world: World) -> None:
    phone = poisoned(world).says(DAMAGED + DAMAGED)
    assert phone.published == [(LETTERS, DAMAGED)]
    phone.settle()
    assert phone.sent == b"\x01\x00\x00\x00\x05"


def test_where_one_is_enough_the_first_damaged_frame_is_quarantined() -> None:
    world = World(new_context(IMEI, poison_repeats=1))
    assert world.identified().says(DAMAGED).published == [(LETTERS, DAMAGED)]

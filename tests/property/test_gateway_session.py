"""`Session`: whatever devices send, however it is split, and whatever becomes of their frames."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from conversing import (
    GETINFO,
    HANDSHAKE_S,
    HOLD_S,
    IDLE_S,
    IMEI,
    OTHER_IMEI,
    Phone,
    World,
    allow,
    avl,
    damaged,
    handshake,
    new_context,
)
from teltonika_processor.codec.native import FrameCutter
from teltonika_processor.gateway.effects import Phase, Shelf
from teltonika_processor.gateway.session import Session

IMEIS: Final = (IMEI, OTHER_IMEI)
PING: Final = b"\xff"

# Different counts, so that each reply says which frame it is for.
WORDS: Final = st.sampled_from(
    [PING, GETINFO, *map(avl, range(1, 17)), *[damaged(200)] * 3, damaged(201), b"\x01\x02\x03"]
)

TALK: Final = st.lists(WORDS, min_size=1, max_size=5)
IMEIS_OFTEN_ONE: Final = st.sampled_from([IMEI, IMEI, IMEI, OTHER_IMEI])
CUTS: Final = st.sampled_from([0, 0, 0, 0, 1, 5, 20])


def reply_to(shelf: Shelf, frame: bytes) -> bytes:
    """What answers a frame that is durable."""
    return b"" if shelf is Shelf.RESPONSES else bytes(3) + frame[9:10]


def answers_due(phone: Phone) -> list[bytes]:
    """Of those durable before the first unknown fate, in the order of publishing."""
    answers = []
    for (shelf, frame), is_durable in zip(phone.published, phone.settled, strict=False):
        if not is_durable:
            break
        answers.append(reply_to(shelf, frame))
    return answers


def is_prefix(sent: bytes, answers: Sequence[bytes]) -> bool:
    """Whether `sent` is the first of `answers`, so many as there are."""
    return sent in {b"".join(answers[:n]) for n in range(len(answers) + 1)}


class Conversations(RuleBasedStateMachine):
    """Two devices with any number of connections, a list that changes, and any fates."""

    phones: Bundle[Phone] = Bundle("phones")

    @initialize()
    def begin(self) -> None:
        self.world = World(new_context(*IMEIS))
        self.unsent: dict[Phone, bytes] = {}

    @rule(target=phones, imei=IMEIS_OFTEN_ONE, pings=st.integers(0, 1), words=TALK, cut=CUTS)
    def connect(self, imei: int, pings: int, words: list[bytes], cut: int) -> Phone:
        phone = self.world.connect()
        self.unsent[phone] = PING * pings + handshake(imei)
        self._send(phone, words, cut)
        return phone

    @rule(phone=phones, words=TALK, cut=CUTS)
    def talk(self, phone: Phone, words: list[bytes], cut: int) -> None:
        self._send(phone, words, cut)

    def _send(self, phone: Phone, words: list[bytes], cut: int) -> None:
        """All but `cut` bytes of what the device has to say arrive in one read."""
        to_send = self.unsent[phone] + b"".join(words)
        at = max(0, len(to_send) - cut)
        if phone.session.reads and not phone.is_gone:
            self.unsent[phone] = to_send[at:]
            phone.says(to_send[:at])

    @precondition(lambda self: self._in_flight())
    @rule(data=st.data(), durable=st.sampled_from([True, True, True, False]))
    def settle(self, data: st.DataObject, durable: bool) -> None:  # noqa: FBT001 -- drawn
        data.draw(st.sampled_from(self._in_flight())).settle(durable=durable)

    @precondition(lambda self: self._given_up_at_once())
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self._given_up_at_once())).give_up()

    def _given_up_at_once(self) -> list[Phone]:
        """Those that answer nothing more withdraw what was not sent."""
        silent = {Phase.HELD, Phase.CLOSED}
        return [phone for phone in self._in_flight() if phone.session.phase in silent]

    def _in_flight(self) -> list[Phone]:
        return [phone for phone in self.world.phones if phone.in_flight]

    @rule(phone=phones)
    def hang_up(self, phone: Phone) -> None:
        phone.hang_up()

    @rule(phone=phones, why=st.sampled_from(["draining", "no_longer_allowed"]))
    def leave(self, phone: Phone, why: str) -> None:
        if not phone.is_gone:
            phone.leave(why)  # type: ignore[arg-type] # both are endings

    @rule(allowed=st.sampled_from([IMEIS, IMEIS, IMEIS[:1], IMEIS[1:]]))
    def change_the_list(self, allowed: Sequence[int]) -> None:
        allow(self.world.context.admission, *allowed)

    @rule(seconds=st.sampled_from([0.25, 4.0, 29.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now_s += seconds
        self._expire()

    def _expire(self) -> None:
        for phone in self.world.phones:
            is_over = phone.ending is not None or phone.is_gone
            if not is_over and phone.session.deadline_s <= self.world.now_s:
                phone.expire()

    @invariant()
    def replies_are_a_prefix_of_what_is_durable_before_the_first_unknown_fate(self) -> None:
        for phone in self.world.phones:
            assert phone.sent[:1] in {b"", b"\x00", b"\x01"}
            if phone.sent[:1] == b"\x01":
                assert is_prefix(phone.sent[1:], answers_due(phone))
            else:
                assert (phone.sent[1:], phone.published) == (b"", [])

    @invariant()
    def who_stays_open_was_answered_all(self) -> None:
        for phone in self.world.phones:
            if phone.session.phase in {Phase.OPEN, Phase.HELD, Phase.LEAVING}:
                assert phone.sent == b"\x01" + b"".join(answers_due(phone))

    @invariant()
    def of_a_device_one_connection_has_the_word(self) -> None:
        for imei in IMEIS:
            phones = [phone for phone in self.world.phones if phone.session.imei == imei]
            speaking = [
                phone
                for phone in phones
                if phone.in_flight or phone.session.phase in {Phase.OPEN, Phase.HELD, Phase.LEAVING}
            ]
            assert len(speaking) <= 1
            waiting = [phone for phone in phones if phone.session.phase is Phase.WAITING]
            assert len(waiting) <= 1
            assert not waiting or speaking

    @invariant()
    def every_connection_has_a_deadline_that_is_not_far(self) -> None:
        now_s = self.world.now_s
        for phone in self.world.phones:
            phase, left_s = phone.session.phase, phone.session.deadline_s - now_s
            if phase is Phase.OPENING:
                assert 0 < left_s <= HANDSHAKE_S
            elif phase is Phase.OPEN and not phone.in_flight:
                assert 0 < left_s <= IDLE_S
            elif phase is not Phase.CLOSED:
                assert 0 < left_s <= HOLD_S

    @invariant()
    def the_tally_balances(self) -> None:
        tally, phones = self.world.context.tally, self.world.phones
        fates = [fate for phone in phones for fate in phone.settled]
        n_given_up = sum(phone.n_given_up for phone in phones)
        assert tally.unknown_fates == fates.count(False) + n_given_up
        durable = Counter(
            shelf
            for phone in phones
            for (shelf, _), is_durable in zip(phone.published, phone.settled, strict=False)
            if is_durable
        )
        assert tally.frames == durable
        assert sum(tally.endings.values()) == sum(
            phone.session.phase is Phase.CLOSED for phone in phones
        )

    def everybody_ends_though_no_frame_is_settled(self) -> None:
        """Nothing is heard any more, of devices or of Redis."""
        self.world.now_s += max(HANDSHAKE_S, IDLE_S, HOLD_S)
        self._expire()
        assert {phone.session.phase for phone in self.world.phones} == {Phase.CLOSED}
        for phone in self.world.phones:
            while phone.in_flight:
                phone.settle()
        assert len(self.world.context.registry) == 0

    def teardown(self) -> None:
        if self.world.phones:
            self.everybody_ends_though_no_frame_is_settled()


def test_conversations() -> None:
    run_state_machine_as_test(
        Conversations, settings=settings(max_examples=200, stateful_step_count=40)
    )


@given(words=st.lists(WORDS, max_size=8), data=st.data())
def test_a_conversation_is_answered_alike_however_it_was_split(
    words: list[bytes], data: st.DataObject
) -> None:
    sent = handshake() + b"".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=10)))
    reads = [[sent], [sent[i : i + 1] for i in range(len(sent))]]
    reads.append([sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)])
    phones = []
    for pieces in reads:
        phone = World(new_context(IMEI)).connect()
        for piece in pieces:
            phone.says(piece)
        phone.settle_all()
        phones.append(phone)
    assert len({(phone.sent, tuple(phone.published), phone.ending) for phone in phones}) == 1


@given(reads=st.lists(st.binary(max_size=60), max_size=10), is_identified=st.booleans())
def test_whatever_comes_in_is_in_the_table(reads: list[bytes], *, is_identified: bool) -> None:
    context = new_context(IMEI)
    session, cutter = Session(context, object(), 0.0), FrameCutter(frame_max_bytes=4096)
    for read in [handshake(), *reads] if is_identified else reads:
        if session.reads:
            session.take(cutter.feed(read), 0.0)
    assert session.phase in {Phase.OPENING, Phase.OPEN, Phase.CLOSED}

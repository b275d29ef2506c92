"""Which frame a reply may be for."""

from teltonika_processor.simulate.unanswered import Unanswered


def sent(*frames: tuple[int, int]) -> Unanswered:
    """Frames with their numbers of records, in this order."""
    unanswered = Unanswered()
    for frame, n_records in frames:
        unanswered.sent(frame, n_records)
    return unanswered


def test_a_reply_to_the_only_frame_is_for_it() -> None:
    unanswered = sent((1, 3))
    assert unanswered.replied(3) == 1
    unanswered.sent(2, 3)
    assert unanswered.replied(3) == 2


def test_a_second_reply_to_a_frame_may_be_taken_for_that_to_the_next_with_its_number() -> None:
    unanswered = sent((1, 3), (1, 3))
    assert unanswered.replied(3) == 1
    unanswered.sent(2, 3)
    assert unanswered.replied(3) == 1
    unanswered.sent(3, 3)
    assert unanswered.replied(3) == 2


def test_a_reply_with_the_number_of_the_next_frame_ends_the_doubt() -> None:
    unanswered = sent((1, 3), (1, 3))
    assert unanswered.replied(3) == 1
    unanswered.sent(2, 4)
    assert unanswered.replied(4) == 2
    unanswered.sent(3, 3)
    assert unanswered.replied(3) == 3


def test_a_number_of_no_frame_is_wrong_and_answers_one_of_them() -> None:
    unanswered = sent((1, 3))
    assert unanswered.replied(4) is None
    unanswered.sent(1, 3)
    assert unanswered.replied(3) == 1
    unanswered.sent(2, 3)
    assert unanswered.replied(3) == 2


def test_a_reply_where_nothing_was_sent_is_for_nothing() -> None:
    assert sent().replied(3) is None


def test_a_spoilt_copy_is_not_answered() -> None:
    unanswered = sent((1, 3), (1, 3))
    unanswered.spoilt()
    assert unanswered.replied(3) == 1
    unanswered.sent(2, 3)
    assert unanswered.replied(3) == 2


def test_what_is_forgotten_is_not_answered() -> None:
    unanswered = sent((1, 3), (1, 3))
    unanswered.forget()
    unanswered.sent(2, 3)
    assert unanswered.replied(3) == 2

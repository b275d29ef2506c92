"""A reply that is taken for certain is certain, whatever a server leaves unanswered."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from teltonika_processor.simulate.unanswered import Unanswered

MOVES = st.lists(st.sampled_from(["again", "answer", "skip", "hear"]), max_size=60)


@dataclass
class Line:
    """Frames on their way to a server, and its replies on their way back."""

    frames: list[tuple[int, int]] = field(default_factory=list)
    replies: list[int] = field(default_factory=list)
    answered: set[int] = field(default_factory=set)

    def answer(self) -> None:
        frame, n_records = self.frames.pop(0)
        self.replies.append(n_records)
        self.answered.add(frame)


@given(moves=MOVES, numbers=st.lists(st.integers(1, 3), min_size=61, max_size=61))
def test_what_is_certain_was_answered(moves: list[str], numbers: list[int]) -> None:
    line, unanswered, current = Line(), Unanswered(), 0

    def say() -> None:
        unanswered.sent(current, numbers[current])
        line.frames.append((current, numbers[current]))

    say()
    for move in moves:
        if move == "again":
            say()
        elif move == "answer" and line.frames:
            line.answer()
        elif move == "skip" and line.frames:
            line.frames.pop(0)
        elif move == "hear" and line.replies:
            reply = line.replies.pop(0)
            to = unanswered.replied(reply)
            assert to is not None
            assert to != current or current in line.answered
            if reply == numbers[current]:
                current += 1
            say()


@given(numbers=st.lists(st.integers(1, 3), min_size=1, max_size=30))
def test_what_is_said_once_is_never_in_doubt(numbers: list[int]) -> None:
    unanswered = Unanswered()
    for frame, n_records in enumerate(numbers):
        unanswered.sent(frame, n_records)
        assert unanswered.replied(n_records) == frame

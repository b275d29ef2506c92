"""Which frame a reply may be for. Pure.

Rules. A reply says how many records were taken and not of which frame. A server answers the frames
of a connection in their order, each once or not at all: so a reply is for a frame behind the one
that the reply before was for, and with that number of records. After a frame was sent twice there
may be several of these; what counts is the earliest, since the next reply is for a frame behind it
in any case. A reply is certain if the earliest is the very frame that it is taken for.
"""

from typing import Final


class Unanswered:
    """The frames of one connection that replies may still come to; each copy of a frame counts.

    Bound: as many as were sent and not answered.
    """

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        # (which frame, its records), in their order.
        self._sent: Final[list[tuple[int, int]]] = []

    def sent(self, frame: int, n_records: int) -> None:
        """A frame was sent, or sent again; `frame` tells it from others."""
        self._sent.append((frame, n_records))

    def spoilt(self) -> None:
        """What was sent last will not arrive as it was."""
        self._sent.pop()

    def replied(self, n_records: int) -> int | None:
        """The earliest frame that this reply may be for; None: it is wrong, whichever it is for."""
        sent = self._sent
        for position, (frame, number) in enumerate(sent):
            if number == n_records:
                del sent[: position + 1]
                return frame
        del sent[:1]
        return None

    def forget(self) -> None:
        """No reply can come any more."""
        self._sent.clear()

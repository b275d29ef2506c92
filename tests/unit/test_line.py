import hiredis
import pytest

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.stream import line as lines
from teltonika_processor.stream.line import Line


class Heard:
    """A line without a connection, and what it tells."""

    def __init__(self) -> None:
        self.replies: list[list[object]] = []
        self.losses: list[Exception] = []
        self.line = Line(replied=self.replies.append, lost=self.losses.append)
        self.line._reader = hiredis.Reader(notEnoughData=lines._NOT_YET)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def test_replies_of_one_read_are_told_at_once(heard: Heard) -> None:
    for read in (b"$3\r\n1-0\r\n$3\r\n2-0\r\n:1\r\n$3\r", b"\n3", b"-0\r\n"):
        heard.line.data_received(read)
    assert heard.replies == [[b"1-0", b"2-0", 1], [b"3-0"]]


def test_what_is_no_reply_is_a_loss_and_told_once(heard: Heard) -> None:
    heard.line.data_received(b"HTTP/1.1 400 Bad Request\r\n")
    heard.line.connection_lost(None)
    (loss,) = heard.losses
    assert type(loss) is StreamUnavailable
    assert str(loss).startswith("Redis: not a reply: ")


def test_after_its_end_nobody_is_told_anything(heard: Heard) -> None:
    heard.line.end()
    heard.line.data_received(b"$3\r\n1-0\r\n")
    heard.line.connection_lost(OSError("reset"))
    assert (heard.replies, heard.losses) == ([], [])


def test_a_loss_says_why(heard: Heard) -> None:
    heard.line.connection_lost(ConnectionResetError("reset by peer"))
    assert str(heard.losses[0]) == "Redis: the connection is lost: reset by peer"
    assert heard.line.is_closing

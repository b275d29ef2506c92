"""A device and a server by the book: however the bytes are cut, all is said once and kept once."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from by_the_book import BookServer
from teltonika_processor.simulate.link import DeviceLink, LinkState, Patience
from teltonika_processor.simulate.outbox import MadeRecord, RecordOutbox

IMEI = "356307042441013"
PATIENCE = Patience(response_s=5.0)


def record(number: int, priority: int) -> MadeRecord:
    time_ms = 1_790_000_000_000 + number
    return MadeRecord(
        time_ms, priority, time_ms.to_bytes(8, "big") + bytes((priority,)) + bytes(21)
    )


def link_with(priorities: list[int], records_max: int) -> DeviceLink:
    outbox = RecordOutbox(0x08, records_max=records_max)
    outbox.add(record(number, priority) for number, priority in enumerate(priorities))
    return DeviceLink(IMEI, outbox, PATIENCE, jitter=lambda: 0.5)


def pieces(data: bytes, cuts: st.DataObject) -> list[bytes]:
    """The data cut anywhere."""
    places = sorted(cuts.draw(st.sets(st.integers(1, max(len(data) - 1, 1)))))
    edges = [0, *(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(
    priorities=st.lists(st.integers(0, 2), max_size=12),
    records_max=st.integers(1, 5),
    cuts=st.data(),
)
def test_replies_cut_anywhere_are_replies(
    priorities: list[int], records_max: int, cuts: st.DataObject
) -> None:
    link, server = link_with(priorities, records_max), BookServer()
    out = link.connected(0.0)
    while out:
        answer = b"".join(map(server.feed, pieces(out, cuts)))
        out = b"".join(link.received(piece, 1.0) for piece in pieces(answer, cuts))
    assert link.state is LinkState.READY
    assert sum(frame[9] for frame in server.frames) == len(priorities)
    assert link.account.records_acknowledged == len(priorities)
    assert link.account.replies_wrong == link.account.replies_stray == link.n_kept() == 0


HAPPENINGS = st.lists(
    st.sampled_from(["heard", "wrong", "silent", "lost", "lost unheard", "damaged"]), max_size=30
)


@given(n_records=st.integers(0, 10), records_max=st.integers(1, 4), happenings=HAPPENINGS)
def test_what_is_acknowledged_was_received_and_the_rest_is_kept(
    n_records: int, records_max: int, happenings: list[str]
) -> None:
    link, now = link_with([0] * n_records, records_max), 0.0
    stored: list[bytes] = []
    server, out = BookServer(), link.connected(now)
    for happening in [*happenings, *["heard"] * 60]:
        now += 10.0
        if happening.startswith("lost") or link.state is LinkState.LEAVING:
            if happening == "lost unheard":
                server.feed(out)
            stored += server.frames
            link.lost()
            server, out = BookServer(), link.connected(now)
        elif happening == "damaged" and len(out) > 20:
            link.lost_copy()
            assert server.feed(out[:-1] + bytes((out[-1] ^ 1,))) == b""
            out = link.due(now)
        elif happening == "silent":
            server.feed(out)
            out = link.due(now)
        elif happening == "wrong" and link.state is LinkState.WAITING:
            server.feed(out)
            out = link.received(b"\x00\x00\x00\x63", now)
        else:
            out = link.received(server.feed(out), now)
        accounted = link.account.records_acknowledged + link.n_kept()
        assert accounted == link.outbox.n_made == n_records
    stored += server.frames
    assert link.account.records_acknowledged == n_records
    distinct = {record_of(frame, n) for frame in stored for n in range(frame[9])}
    assert len(distinct) == n_records


def record_of(frame: bytes, number: int) -> bytes:
    return frame[10 + 30 * number : 40 + 30 * number]

"""A capture played again: the same bytes on as many connections, and what was answered."""

import asyncio
from pathlib import Path
from time import monotonic

import pytest

from book_gateways import Conversation, in_a_thread, listening
from commands import own_environment, run_command
from teltonika_processor.capture import Captured, event_line, header_line
from teltonika_processor.simulate import replay as replaying
from teltonika_processor.simulate.replay import Replay, Replayed, connections_at_once
from teltonika_processor.simulate.traffic import GatewayUnreachable, Target

HANDSHAKE = b"\x00\x0f356307042441013"
# Source: vendor wiki, Codec 8, first example of TCP and example of UDP.
FRAME = bytes.fromhex(
    "000000000000003608010000016B40D8EA30010000000000000000000000000000000"
    "105021503010101425E0F01F10000601A014E0000000000000000010000C7CF"
)
# Of the same document, its second example.
OTHER_FRAME = bytes.fromhex(
    "000000000000002808010000016B40D9AD80010000000000000000000000000000000"
    "103021503010101425E100000010000F22A"
)
DATAGRAM = bytes.fromhex(
    "003DCAFE0105000F33353230393330383634303336353508010000016B4F815B30010000"
    "000000000000000000000000000103021503010101425DBC000001"
)

EVENTS = [
    Captured(1000, "a", "tcp", "open"),
    Captured(1000, "a", "tcp", "data", HANDSHAKE[:5]),
    Captured(1100, "b", "udp", "datagram", DATAGRAM),
    Captured(1200, "a", "tcp", "data", HANDSHAKE[5:] + FRAME[:40]),
    Captured(1250, "c", "tcp", "data", HANDSHAKE),
    Captured(1300, "a", "tcp", "data", FRAME[40:]),
    Captured(1400, "a", "tcp", "close"),
]


async def play(
    events: list[Captured], port: int, *, speed: float = 0.0, drain_s: float = 5.0
) -> list[Replayed]:
    target = Target(host="127.0.0.1", tcp_port=port, udp_port=port)
    played = Replay(iter(events), target, speed=speed, n_at_once=connections_at_once(events))
    return await played.run(drain_s=drain_s, stop=asyncio.Event())


async def test_bytes_arrive_as_they_were_captured() -> None:
    async with listening() as gateway:
        found = await play(EVENTS, gateway.port)
    assert [conversation.server.imei for conversation in gateway.conversations] == [
        "356307042441013"
    ] * 2
    assert gateway.frames() == [FRAME]
    assert gateway.datagrams == [DATAGRAM]
    seen = [(one.name, one.transport, one.sent, bytes(one.replies)) for one in found]
    assert seen[1:] == [
        ("b", "udp", len(DATAGRAM), b"\x00\x05\xca\xfe\x01\x05\x01"),
        ("c", "tcp", len(HANDSHAKE), b"\x01"),
    ]
    assert seen[0][:3] == ("a", "tcp", len(HANDSHAKE) + len(FRAME))
    assert (found[0].unsent, found[0].refused) == (0, "")


async def test_pauses_are_kept_or_shortened() -> None:
    async with listening() as gateway:
        started_at = monotonic()
        await play(EVENTS, gateway.port, speed=1.0, drain_s=0.0)
        took_s = monotonic() - started_at
        await play(EVENTS, gateway.port, speed=100.0, drain_s=0.0)
    # The loop counts whole milliseconds, so that a timer may end by a part of one too early.
    assert 0.399 <= took_s < 5.0


async def test_what_the_gateway_does_not_wait_for_is_told() -> None:
    def close_at_once(conversation: Conversation, _answer: bytes) -> bytes:
        conversation.transport.abort()
        return b""

    events = [
        Captured(0, "a", "tcp", "data", HANDSHAKE),
        Captured(400, "a", "tcp", "data", FRAME),
    ]
    async with listening(close_at_once) as gateway:
        (one,) = await play(events, gateway.port, speed=1.0)
    assert (one.sent, one.unsent, one.replies) == (len(HANDSHAKE), len(FRAME), b"")


async def test_a_name_that_is_opened_again_is_another_connection() -> None:
    events = [*EVENTS[:1], *EVENTS[-1:], *EVENTS[:2]]
    async with listening() as gateway:
        found = await play(events, gateway.port)
    assert [(one.name, one.sent) for one in found] == [("a", 0), ("a", 5)]


async def test_nothing_captured_is_nothing_played() -> None:
    assert await play([], 1, drain_s=0.0) == []


async def test_nobody_there_is_told() -> None:
    async with listening() as gateway:
        port = gateway.port
    with pytest.raises(GatewayUnreachable, match=f"127.0.0.1:{port}: .*refused"):
        await play(EVENTS[:2], port, drain_s=0.0)


class NewestWins:
    """A gateway that answers late, and ends a connection when its device comes back."""

    def __init__(self) -> None:
        self.by_imei: dict[str, Conversation] = {}

    def __call__(self, conversation: Conversation, answer: bytes) -> bytes:
        before = self.by_imei.get(conversation.server.imei)
        if conversation.server.imei:
            self.by_imei[conversation.server.imei] = conversation
        if before is not None and before is not conversation:
            before.transport.abort()
        if len(answer) == 1:
            return answer
        asyncio.get_running_loop().call_later(0.2, self.say, conversation, answer)
        return b""

    def say(self, conversation: Conversation, answer: bytes) -> None:
        if not conversation.transport.is_closing():
            conversation.transport.write(answer)


@pytest.mark.parametrize("closes", [True, False])
async def test_no_frame_is_lost_where_a_device_comes_back_at_once(*, closes: bool) -> None:
    events = []
    for number in range(5):
        name = f"c{number}"
        events += [
            Captured(number, name, "tcp", "open"),
            Captured(number, name, "tcp", "data", HANDSHAKE + FRAME[:30]),
            Captured(number, name, "tcp", "data", FRAME[30:] + OTHER_FRAME),
            *([Captured(number, name, "tcp", "close")] if closes else []),
        ]
    async with listening(NewestWins()) as gateway:
        found = await play(events, gateway.port)
    assert [(one.n_frames, one.n_answered, one.is_amiss) for one in found] == [(2, 2, False)] * 5


class AnswersCopiesOnce(NewestWins):
    """As the gateway does: a frame that comes again while it is in flight is answered once."""

    def __init__(self) -> None:
        super().__init__()
        self.in_flight: set[Conversation] = set()

    def __call__(self, conversation: Conversation, answer: bytes) -> bytes:
        if len(answer) > 4 or (len(answer) == 4 and conversation in self.in_flight):
            raise AssertionError("the copy came while the frame was in flight")
        if len(answer) == 4:
            self.in_flight.add(conversation)
        return super().__call__(conversation, answer)

    def say(self, conversation: Conversation, answer: bytes) -> None:
        self.in_flight.discard(conversation)
        super().say(conversation, answer)


async def test_a_frame_that_was_sent_again_is_sent_again_after_its_answer() -> None:
    events = [Captured(0, "a", "tcp", "data", HANDSHAKE)]
    events += [Captured(number, "a", "tcp", "data", FRAME) for number in range(3)]
    async with listening(AnswersCopiesOnce()) as gateway:
        (one,) = await play(events, gateway.port)
    assert (one.n_frames, one.n_answered) == (3, 3)


async def test_a_frame_that_is_never_answered_is_amiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "_ANSWER_S", 0.2)

    def handshakes_only(_conversation: Conversation, answer: bytes) -> bytes:
        return answer[:1]

    async with listening(handshakes_only) as gateway:
        found = await play(EVENTS, gateway.port)
    assert [(one.name, one.n_unanswered, one.is_amiss) for one in found] == [
        ("a", 1, True),
        ("b", 0, False),
        ("c", 0, False),
    ]


async def test_frames_of_a_device_that_is_refused_are_amiss() -> None:
    async with listening(refuses=True) as gateway:
        found = await play(EVENTS[:6], gateway.port)
    assert [one.n_unanswered for one in found] == [1, 0, 0]


async def test_what_calls_for_no_reply_is_not_awaited() -> None:
    damaged = FRAME[:-1] + bytes([FRAME[-1] ^ 1])
    events = [Captured(0, "a", "tcp", "data", HANDSHAKE + b"\xff" + damaged)]
    async with listening() as gateway:
        started_at = monotonic()
        (one,) = await play(events, gateway.port, drain_s=20.0)
    assert (one.n_frames, one.is_amiss) == (0, False)
    assert monotonic() - started_at < 5.0


async def test_a_datagram_that_no_socket_takes_is_not_sent() -> None:
    events = [EVENTS[2], Captured(1, "b", "udp", "datagram", bytes(70_000))]
    async with listening() as gateway:
        (one,) = await play(events, gateway.port)
    assert (one.sent, one.unsent, one.n_answered, one.is_amiss) == (len(DATAGRAM), 70_000, 1, True)


async def test_one_name_by_both_transports_is_two_connections() -> None:
    events = [Captured(0, "a", "tcp", "open"), Captured(1, "a", "udp", "datagram", DATAGRAM)]
    async with listening() as gateway:
        found = await play(events, gateway.port)
    assert [(one.name, one.transport) for one in found] == [("a", "tcp"), ("a", "udp")]
    assert gateway.datagrams == [DATAGRAM]


@pytest.mark.parametrize("events", [EVENTS[:3], EVENTS[2:3]])
async def test_nobody_there_is_told_where_there_are_datagrams(events: list[Captured]) -> None:
    async with listening() as gateway:
        port = gateway.port
    with pytest.raises(GatewayUnreachable, match=f"127.0.0.1:{port}: "):
        await play(events, port, drain_s=0.2)


def test_only_connections_of_the_same_time_are_counted_for_the_descriptors() -> None:
    one_by_one = [
        Captured(0, str(number), "tcp", event) for number in range(9) for event in ("open", "close")
    ]
    assert connections_at_once(one_by_one) == 1
    assert connections_at_once(EVENTS) == 3


def test_a_last_line_that_is_cut_off_is_skipped_with_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "night.jsonl"
    whole = header_line() + "".join(map(event_line, EVENTS[:4]))
    file.write_text(whole + event_line(EVENTS[5])[:70])
    with in_a_thread() as gateway:
        done = run_command(
            *("simulate", "--port", str(gateway.port), "--replay", str(file), "--speed", "0"),
            environment=own_environment(),
        )
    assert (done.returncode, done.stderr) == (0, f"{file}: line 6 is cut off and skipped\n")
    assert len(gateway.datagrams) == 1


def test_the_command_prints_a_line_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "night.jsonl"
    file.write_text(header_line() + "".join(map(event_line, EVENTS[:-1])))
    with in_a_thread() as gateway:
        arguments = ("simulate", "--port", str(gateway.port), "--replay", str(file))
        done = run_command(*arguments, environment=own_environment())
        as_json = run_command(*arguments, "--json", "--speed", "0", environment=own_environment())
    assert done.returncode == as_json.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "a           tcp    83         0       1           0         5  01 00 00 00 01",
        "b           udp    63         0       1           0         7  00 05 ca fe 01 05 01",
        "c           tcp    17         0       0           0         1  01",
    ]
    assert '"replies_hex": "0100000001"' in as_json.stdout


def test_a_file_that_is_no_capture_is_told_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(header_line() + "{}\n")
    environment = own_environment(COLUMNS="300")
    done = run_command("simulate", "--replay", str(file), environment=environment)
    assert done.returncode == 2
    assert "x.jsonl: line 2: transport is None, expected tcp or udp" in done.stderr

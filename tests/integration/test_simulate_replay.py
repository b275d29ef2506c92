"""A capture played again: the same bytes on as many connections, and what was answered."""

import asyncio
from pathlib import Path
from time import monotonic

import pytest

from book_gateways import Conversation, in_a_thread, listening
from commands import own_environment, run_command
from teltonika_processor.capture import Captured, event_line, header_line
from teltonika_processor.simulate.replay import Replay, Replayed
from teltonika_processor.simulate.traffic import GatewayUnreachable, Target

HANDSHAKE = b"\x00\x0f356307042441013"
# Source: vendor wiki, Codec 8, first example of TCP and example of UDP.
FRAME = bytes.fromhex(
    "000000000000003608010000016B40D8EA30010000000000000000000000000000000"
    "105021503010101425E0F01F10000601A014E0000000000000000010000C7CF"
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
    return await Replay(events, target, speed=speed).run(drain_s=drain_s, stop=asyncio.Event())


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
    assert 0.4 <= took_s < 5.0


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


def test_the_command_prints_a_line_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "night.jsonl"
    file.write_text(header_line() + "".join(map(event_line, EVENTS[:-1])))
    with in_a_thread() as gateway:
        arguments = ("simulate", "--port", str(gateway.port), "--replay", str(file))
        done = run_command(*arguments, environment=own_environment())
        as_json = run_command(*arguments, "--json", "--speed", "0", environment=own_environment())
    assert done.returncode == as_json.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == [
        "a           tcp    83         0         5  01 00 00 00 01",
        "b           udp    63         0         7  00 05 ca fe 01 05 01",
        "c           tcp    17         0         1  01",
    ]
    assert '"replies_hex": "0100000001"' in as_json.stdout


def test_a_file_that_is_no_capture_is_told_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(header_line() + "{}\n")
    environment = own_environment(COLUMNS="300")
    done = run_command("simulate", "--replay", str(file), environment=environment)
    assert done.returncode == 2
    assert "x.jsonl: line 2: transport is None, expected tcp or udp" in done.stderr

"""Devices that send too much, read too little, or are not there: memory stays bounded, and the
others are served."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Final

import psutil
import pytest

from devices import damaged, handshake, numbered
from fault.proxy import Proxy
from fault.stand import frozen
from servers import new_redis
from serving import ANSWER_S, calling, serving, until
from strategies import tcp_frame
from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.gateway.session import REPLY_WITHIN_S
from teltonika_processor.gateway.tcp import _DEAF, _FAST, _FULL, TcpConnection
from teltonika_processor.stream.connection import RedisClient, open_client
from tls_proxy import AUTHORITY

STREAM: Final = "telemetry:teltonika"
OTHER: Final = 352093081452251
MIB: Final = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with new_redis(tcp=True, appendfsync="always") as started:
        yield started


@pytest.fixture
async def admin(server: EmbeddedRedis) -> AsyncIterator[RedisClient]:
    client = open_client(server.url(), name="admin")
    await client.flushall()
    yield client
    await client.aclose()


def frames(n: int, first: int = 0) -> bytes:
    return b"".join(numbered(number, number % 251) for number in range(first, first + n))


def replies(n: int) -> bytes:
    return b"".join((number % 251).to_bytes(4) for number in range(n))


# Too much


async def test_a_device_above_its_rate_is_read_more_slowly_and_answered_all(
    server: EmbeddedRedis, admin: RedisClient
) -> None:
    async with serving(server.url(), ingest_frames_per_second_max=100.0) as gateway:
        began_s = asyncio.get_running_loop().time()
        async with calling(gateway.port) as device, calling(gateway.port, OTHER) as other:
            # A burst of a thousand is free; what comes behind it waits for its turn.
            device.send(frames(1040))
            assert await device.receive(4 * 1040) == replies(1040)
            device.send(frames(2, 1040))
            assert await other.delivers(numbered(9, 7)) == 7
            assert await device.receive(8) == b"\x00\x00\x00\x24\x00\x00\x00\x25"
            assert asyncio.get_running_loop().time() - began_s >= 0.35
    assert await admin.xlen(STREAM) == 1043


async def test_a_device_that_connects_again_keeps_its_rate(server: EmbeddedRedis) -> None:
    async with serving(server.url(), ingest_frames_per_second_max=1.0) as gateway:
        for first in (0, 6):
            async with calling(gateway.port) as device:
                device.send(frames(6, first))
                assert await device.receive(24) == replies(12)[4 * first : 4 * first + 24]
        # Twelve, of which ten are the burst: whoever connects now is read two seconds later.
        began_s = asyncio.get_running_loop().time()
        async with calling(gateway.port) as device, calling(gateway.port, OTHER) as other:
            assert await other.delivers(numbered(1)) == 1
            device.send(numbered(100) + numbered(101, 2))
            assert await device.receive(8) == b"\0\0\0\1\0\0\0\2"
            device.send(numbered(102, 3))
            assert await device.reply() == 3
        assert asyncio.get_running_loop().time() - began_s > 2.5


async def test_a_frame_that_lay_in_the_kernel_is_as_old_as_the_pause(
    server: EmbeddedRedis, admin: RedisClient
) -> None:
    """Its device waits no longer, sent it again, and would take the reply for the second."""
    async with serving(
        server.url(), ingest_in_flight_max_bytes=65_536, ingest_hold_ms=60_000
    ) as gateway:
        context = gateway.parts.context
        async with calling(gateway.port) as device:
            assert await device.delivers(numbered(1)) == 1
            (connection,) = context.connections
            connection.stop_reading(_FULL)
            connection._unread_since_s -= REPLY_WITHIN_S + 0.1
            device.send(numbered(2, 2))
            connection.has_room()
            assert await device.rest() == b""
        assert gateway.tally.endings == {"not_durable": 1}
    assert await admin.xlen(STREAM) == 2


async def test_who_begins_when_room_is_made_is_read(server: EmbeddedRedis) -> None:
    """It waits for room; there is some before the loop comes to stop reading it."""
    async with serving(server.url()) as gateway:
        in_flight = gateway.parts.context.in_flight
        n_bytes, may_be_read = in_flight.max_bytes + 1, in_flight.may_be_read
        in_flight.add(n_bytes)

        def make_room() -> None:
            for waiting in in_flight.give(n_bytes):
                waiting.has_room()

        def room_is_made_right_behind(connection: TcpConnection) -> bool:
            asyncio.get_running_loop().call_soon(make_room)
            assert not may_be_read(connection)
            return False

        in_flight.may_be_read = room_is_made_right_behind  # type: ignore[method-assign] # a moment
        async with calling(gateway.port) as device:
            assert await device.delivers(numbered(1)) == 1


@pytest.mark.parametrize(
    "flood",
    [numbered(1) * 2000, damaged(numbered(1)) * 2000],
    ids=["one frame again and again", "damage"],
)
async def test_what_costs_no_entry_counts_against_the_rate_as_well(
    server: EmbeddedRedis, admin: RedisClient, flood: bytes
) -> None:
    async with (
        serving(server.url(), ingest_frames_per_second_max=100.0) as gateway,
        calling(gateway.port) as device,
    ):
        device.send(flood)
        (connection,) = gateway.parts.context.connections
        await until(lambda: connection._why_unread)
        assert await admin.xlen(STREAM) <= 1


async def test_frames_in_one_read_take_time_in_proportion(server: EmbeddedRedis) -> None:
    """A whole buffer of different frames is taken within a second, not their number squared."""
    async with (
        serving(server.url(), ingest_frames_per_second_max=100_000.0) as gateway,
        calling(gateway.port) as device,
    ):
        began_s = asyncio.get_running_loop().time()
        device.send(frames(20_000))
        assert await device.receive(4 * 20_000) == replies(20_000)
        assert asyncio.get_running_loop().time() - began_s < 10.0


async def test_a_device_that_reads_no_replies_is_not_read_and_then_answered_all(
    server: EmbeddedRedis, admin: RedisClient
) -> None:
    n_frames = 50_000
    async with (
        serving(
            server.url(),
            send_buffer_bytes=4608,
            ingest_frames_per_second_max=100_000.0,
            ingest_in_flight_max_bytes=65_536,
        ) as gateway,
        calling(gateway.port, receive_buffer_bytes=2304) as deaf,
    ):
        deaf.reader._transport.pause_reading()  # type: ignore[attr-defined]
        sending = asyncio.create_task(send_slowly(deaf.writer, frames(n_frames)))
        (connection,) = gateway.parts.context.connections
        await until(lambda: connection._why_unread == _DEAF and not connection._unsent)
        n_taken = await admin.xlen(STREAM)
        assert 0 < n_taken < n_frames
        assert connection.transport.get_write_buffer_size() < 64 * 1024
        async with calling(gateway.port, OTHER) as other:
            assert await other.delivers(numbered(9, 7)) == 7
        assert await admin.xlen(STREAM) == n_taken + 1
        deaf.reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert await deaf.receive(4 * n_frames) == replies(n_frames)
        await sending


async def send_slowly(writer: asyncio.StreamWriter, data: bytes) -> None:
    """In pieces of less than one read of the gateway."""
    for at in range(0, len(data), 8192):
        writer.write(data[at : at + 8192])
        await writer.drain()


# Redis away


async def test_with_redis_frozen_bytes_in_flight_are_bounded_and_all_is_answered_afterwards(
    server: EmbeddedRedis, admin: RedisClient
) -> None:
    """Each connection is read once more at most; what it sends then waits in the kernel."""
    n_devices, n_frames = 20, 1000
    async with (
        serving(
            server.url(), ingest_in_flight_max_bytes=65_536, ingest_frames_per_second_max=1000.0
        ) as gateway,
        asyncio.TaskGroup() as group,
    ):
        with frozen(server.pid):
            sessions = [
                group.create_task(deliver_all(gateway.port, OTHER + n, n_frames))
                for n in range(n_devices)
            ]
            in_flight = gateway.parts.context.in_flight
            await until(lambda: in_flight.n_waiting == n_devices)
            # Of a frame of 1 KB the entry is 1.25 KB; one read is what the kernel holds, 64 KB.
            assert 65_536 < in_flight.n_bytes <= 65_536 + n_devices * 80 * 1024
            assert gateway.tally.replies == 0
    assert [session.result() for session in sessions] == [replies(n_frames)] * n_devices
    assert await admin.xlen(STREAM) == n_devices * n_frames


async def deliver_all(port: int, imei: int, n_frames: int) -> bytes:
    """What a device is answered that sends frames of 1 KB without waiting."""
    async with calling(port, imei) as device:
        for number in range(n_frames):
            count = bytes([number % 251])
            device.send(tcp_frame(b"\x8e" + count + number.to_bytes(1000) + count))
        return await device.receive(4 * n_frames)


async def test_who_waits_for_room_is_closed_after_the_hold_and_served_when_redis_is_back(
    server: EmbeddedRedis, admin: RedisClient
) -> None:
    async with serving(
        server.url(), ingest_hold_ms=500, ingest_in_flight_max_bytes=65_536
    ) as gateway:
        with frozen(server.pid):
            async with calling(gateway.port) as device, calling(gateway.port, OTHER) as other:
                device.send(numbered(1))
                other.send(numbered(2) + numbered(3))
                assert [await device.rest(), await other.rest()] == [b"", b""]
        assert gateway.tally.endings == {"not_durable": 2}
        async with calling(gateway.port) as device:
            assert await device.delivers(numbered(1, 5)) == 5
    # What was sent before the hold was over is there, though nobody was told.
    stored = [fields[b"frame"] for _, fields in await admin.xrange(STREAM)]
    assert sorted(set(stored)) == sorted([numbered(1), numbered(2), numbered(3), numbered(1, 5)])


# Nobody there


async def test_a_peer_that_is_not_there_any_more_makes_room_for_the_next_of_its_device(
    server: EmbeddedRedis,
) -> None:
    """Half open: neither end hears of it, as when a car drives into a tunnel."""
    async with serving(server.url(), ingest_idle_timeout_ms=1000) as gateway:
        with Proxy(gateway.port) as wire:
            async with calling(wire.port) as lost, calling(wire.port, OTHER) as silent:
                assert await lost.delivers(numbered(1)) == 1
                assert await silent.delivers(numbered(1)) == 1
                await asyncio.to_thread(wire.half_open)
                async with calling(gateway.port) as back:
                    assert await back.delivers(numbered(2, 9)) == 9
                    assert gateway.tally.endings["superseded"] == 1
                    # The other one is found by its silence.
                    await until(lambda: gateway.tally.endings["idle"] >= 1)
        await until(lambda: not gateway.parts.context.connections)


async def test_devices_that_come_and_go_leave_nothing_behind(server: EmbeddedRedis) -> None:
    process = psutil.Process()
    async with serving(server.url(), ingest_accepts_per_second_max=100_000) as gateway:

        async def come_and_go(n: int) -> None:
            for number in range(n):
                async with calling(gateway.port, OTHER + number % 7) as device:
                    device.send(numbered(number) + numbered(number + 1)[: number % 23])
                    if number % 3:
                        await device.reply()
                    if number % 2:
                        device.writer.close()
            await until(lambda: not gateway.parts.context.connections)

        await come_and_go(300)
        n_descriptors, before = process.num_fds(), process.memory_info().rss
        await come_and_go(1000)
        assert process.num_fds() == n_descriptors
        assert process.memory_info().rss - before < 4 * MIB
        context = gateway.parts.context
        left = (len(context.deadlines), context.limits.n_connections, context.in_flight.n_bytes)
        assert left == (0, 0, 0)
        assert (len(context.sessions.registry), context.in_flight.n_waiting, len(context.away)) == (
            0,
            0,
            0,
        )
        assert not gateway.events


async def test_a_connection_that_is_paused_for_long_is_forgotten_when_it_is_lost(
    server: EmbeddedRedis,
) -> None:
    async with (
        serving(server.url(), ingest_frames_per_second_max=0.01) as gateway,
        calling(gateway.port) as device,
    ):
        device.send(b"\xff" * 2000)
        await until(
            lambda: [one._why_unread for one in gateway.parts.context.connections] == [_FAST]
        )
        assert n_in_memory() == 1
        for connection in gateway.parts.context.connections:
            connection.transport.abort()
        del connection
        await until(lambda: n_in_memory() == 0)


def n_in_memory() -> int:
    """Connections that somebody still holds."""
    gc.collect()
    return sum(isinstance(one, TcpConnection) for one in gc.get_objects())


async def test_whom_tls_lets_in_during_the_drain_is_told_to_go_as_well(
    server: EmbeddedRedis,
) -> None:
    async with serving(
        server.url(),
        ingest_tls_port=0,
        ingest_tls_cert_file=str(AUTHORITY.parent / "server.pem"),
        ingest_tls_key_file=str(AUTHORITY.parent / "server.key"),
    ) as gateway:
        port = gateway.parts.listeners[1].port
        async with calling(gateway.port), calling(gateway.port, OTHER):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await until(lambda: gateway.parts.listeners[1]._beginning)
            draining = asyncio.create_task(gateway.parts.gateway.drain(spread_s=1.0))
            await writer.start_tls(
                ssl.create_default_context(cafile=AUTHORITY), server_hostname="localhost"
            )
            writer.write(handshake(OTHER + 1))
            await asyncio.wait_for(draining, ANSWER_S)
            assert gateway.tally.endings["draining"] == 3
            assert await reader.read(10) in {b"", b"\x01"}
            writer.transport.abort()

"""Appends of many callers on one connection: in order, once, and True only for what is stored."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import quote

import pytest

from acl_redis import AclRedis
from appending import Appending, appending, packed, results, values, xadd
from fault.proxy import Direction, Moment, Proxy
from fault.stand import frozen
from servers import runs_on_old_servers
from teltonika_processor.codec.native import EntryPacker
from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.errors import ConfigError, ContractError, StreamUnavailable
from teltonika_processor.stream.connection import RedisClient, execute, open_client
from teltonika_processor.stream.group_commit import REFUSED, CommitLimits
from tls_proxy import AUTHORITY, TlsProxy
from waiting import eventually_async


@pytest.fixture
async def admin(own_redis: EmbeddedRedis) -> AsyncIterator[RedisClient]:
    client = open_client(own_redis.url(), name="admin")
    yield client
    await client.aclose()


async def test_many_callers_have_all_their_entries_once_and_each_in_its_order(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    async with appending(own_redis.url()) as gateway:

        async def call(caller: int) -> list[bool]:
            told = []
            for n in range(100):
                told.append(gateway.append(xadd(f"{caller} {n}")))
                if n % (1 + caller % 7) == 0:
                    await asyncio.sleep(0)
            return await results(told)

        async with asyncio.TaskGroup() as callers:
            tasks = [callers.create_task(call(caller)) for caller in range(100)]
        assert all(all(task.result()) for task in tasks)
        assert gateway.appender.bytes_waiting == 0
    stored = await values(admin)
    assert len(stored) == 10_000
    for caller in range(100):
        own = [value for value in stored if value.startswith(f"{caller} ")]
        assert own == [f"{caller} {n}" for n in range(100)]
    assert sum(gateway.batches) == 10_000
    assert len(gateway.batches) < 2_000


async def test_what_comes_in_one_turn_goes_out_in_one_batch(
    own_redis: EmbeddedRedis,
) -> None:
    async with appending(own_redis.url()) as gateway:
        await gateway.opened()
        assert await results(gateway.append_all(*map(xadd, "abc"))) == [True] * 3
        assert gateway.batches == [3]


async def test_what_was_appended_before_the_first_connection_goes_out_on_it(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    own_redis.stop()
    async with appending(own_redis.url()) as gateway:
        assert type(await gateway.refused()) is StreamUnavailable
        told = gateway.append_all(xadd("a"), xadd("b"))
        own_redis.start()
        assert await results(told) == [True, True]
        assert await values(admin) == ["a", "b"]


REFUSING: Final = {
    "out of memory": (packed("CONFIG", "SET", "maxmemory", "1"), "used memory > 'maxmemory'"),
    "too few replicas": (packed("CONFIG", "SET", "min-replicas-to-write", "1"), "NOREPLICAS"),
    "a replica itself": (packed("REPLICAOF", "127.0.0.1", "1"), "read only replica"),
}
ACCEPTING: Final = {
    "out of memory": ("CONFIG", "SET", "maxmemory", "0"),
    "too few replicas": ("CONFIG", "SET", "min-replicas-to-write", "0"),
    "a replica itself": ("REPLICAOF", "NO", "ONE"),
}


@pytest.mark.parametrize("why", REFUSING)
async def test_a_server_that_refuses_in_the_middle_of_a_batch(
    own_redis: EmbeddedRedis, admin: RedisClient, why: str
) -> None:
    refuse, said = REFUSING[why]
    async with appending(own_redis.url()) as gateway:
        await gateway.opened()
        told = gateway.append_all(xadd("a"), xadd("b"), refuse, xadd("c"), xadd("d"))
        assert await results(told) == [True, True, True, False, False]
        assert not gateway.appender.is_open
        error = await gateway.refused()
        assert type(error) is StreamUnavailable
        assert said in str(error)
        later = gateway.append_all(xadd("e"), xadd("f"))
        # It is tried whether appends would be taken; they are not tried themselves.
        again = await gateway.refused()
        assert type(again) is (ConfigError if why == "a replica itself" else StreamUnavailable)
        assert not any(one.done() for one in later)
        await execute(admin, *ACCEPTING[why])
        await gateway.opened()
        assert await results(later) == [True, True]
    assert await values(admin) == ["a", "b", "e", "f"]


async def test_a_key_that_is_no_stream_is_tried_again_ever_more_rarely(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    await execute(admin, "SET", "telemetry:teltonika", "no stream")
    async with appending(own_redis.url()) as gateway:
        for attempts in (1, 2, 3):
            await gateway.opened()
            assert await gateway.append(xadd("a")) is False
            error = await gateway.refused()
            assert type(error) is ConfigError
            assert str(error).startswith("REDIS_TELEMETRY_STREAM: the key holds something else")
            await attempted(gateway, attempts)
        await execute(admin, "DEL", "telemetry:teltonika")
        await gateway.opened()
        assert await gateway.append(xadd("b")) is True
        assert gateway.appender._backoff.attempts == 0


@pytest.mark.parametrize("moment", Moment)
async def test_a_server_that_is_killed_between_command_and_reply(
    own_redis: EmbeddedRedis, admin: RedisClient, moment: Moment
) -> None:
    with Proxy(own_redis.port) as wire:
        async with appending(wire.through(own_redis.url(over_tcp=True))) as gateway:
            await gateway.opened()
            kill = wire.unheard(own_redis.kill)
            wire.on(b"second", Direction.TO_SERVER, kill, moment=moment)
            sent = [*gateway.append_all(xadd("first")), *gateway.append_all(xadd("second"))]
            assert (await results(sent))[1] is False
            assert type(await gateway.refused()) is StreamUnavailable
            waiting = gateway.append(xadd("third"))
            own_redis.start()
            assert await waiting is True
            stored = await values(admin)
            assert stored[-1] == "third"
            assert stored in (["third"], ["first", "third"], ["first", "second", "third"])


async def test_an_entry_whose_reply_is_lost_is_stored_once_and_not_taken_for_stored(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    with Proxy(own_redis.port) as wire:
        async with appending(wire.through(own_redis.url(over_tcp=True))) as gateway:
            await gateway.opened()
            wire.on(b"value", Direction.TO_SERVER, wire.cut_clients, moment=Moment.AFTER)
            assert await gateway.append(xadd("a")) is False
            assert await gateway.append(xadd("b")) is True
    stored = await values(admin)
    assert stored == ["a", "b"]


async def test_replies_that_come_in_pieces(own_redis: EmbeddedRedis) -> None:
    with Proxy(own_redis.port) as wire:
        async with appending(wire.through(own_redis.url(over_tcp=True))) as gateway:
            await gateway.opened()
            held = wire.on(b"-0\r\n", Direction.TO_CLIENT, moment=Moment.BEFORE)
            told = gateway.append_all(xadd("a"), xadd("b"))
            await asyncio.to_thread(held.wait)
            assert not any(one.done() for one in told)
            held.release()
            assert await results(told) == [True, True]


async def test_a_connection_that_the_server_closes_is_made_anew(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    async with appending(own_redis.url()) as gateway:
        await gateway.opened()
        assert await gateway.append(xadd("a")) is True
        await execute(admin, "CLIENT", "KILL", "TYPE", "normal")
        assert "the connection is lost" in str(await gateway.refused())
        assert await gateway.append(xadd("b")) is True
    assert await values(admin) == ["a", "b"]


async def test_a_frozen_server_costs_bounded_time_and_memory(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    limits = CommitLimits(batch_entries=10, held_bytes=100_000)
    async with appending(own_redis.url(), timeout_s=0.3, limits=limits) as gateway:
        await gateway.opened()
        with frozen(own_redis.pid):
            numbers, told = [], []
            for n in range(200):
                number, future = gateway.numbered(xadd(str(n), n_bytes=1000))
                numbers.append(number)
                told.append(future)
            n_taken = sum(number != REFUSED for number in numbers)
            assert 90 < n_taken < 100
            assert gateway.appender.bytes_waiting <= 100_000
            error = await gateway.refused()
            assert str(error) == "Redis: no reply within 0.3 s"
            assert not gateway.appender.is_open
            # Four batches were sent; the others wait, until their callers give up.
            assert await results(told[:40]) == [False] * 40
            assert await results(told[n_taken:]) == [False] * (200 - n_taken)
            assert not any(one.done() for one in told[40:n_taken])
            assert not gateway.appender.withdraw(numbers[0])
            assert all(gateway.appender.withdraw(number) for number in numbers[50:n_taken])
            assert await results(told[50:n_taken]) == [False] * (n_taken - 50)
            assert gateway.appender.bytes_waiting < 15_000
        assert await results(told[40:50]) == [True] * 10
    stored = list(map(int, await values(admin)))
    # What it had received before it was frozen it may store, once; what was withdrawn it has not.
    assert stored == sorted(set(stored))
    assert set(range(40, 50)) <= set(stored) <= set(range(50))


async def test_whoever_waits_at_the_end_is_told(
    own_redis: EmbeddedRedis,
) -> None:
    limits = CommitLimits(batch_entries=1, batches_in_flight=1)
    async with appending(own_redis.url(), limits=limits) as gateway:
        await gateway.opened()
        with frozen(own_redis.pid):
            told = gateway.append_all(xadd("in flight"), xadd("not sent"))
            await asyncio.sleep(0)
            await gateway.stop()
            assert await results(told) == [False, False]
        assert not gateway.appender.is_open
        late = gateway.append(xadd("late"))
        assert not late.done()
        assert await late is False


async def test_whoever_waits_while_a_frozen_server_is_connected_to_is_told(
    own_redis: EmbeddedRedis,
) -> None:
    with frozen(own_redis.pid):
        async with appending(own_redis.url()) as gateway:
            told = gateway.append(xadd("a"))
            await asyncio.sleep(0)
        assert await told is False


async def test_more_replies_than_commands_are_not_trusted(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    async with appending(own_redis.url()) as gateway:
        await gateway.opened()
        # Two commands where one is promised.
        assert await gateway.append(xadd("a") + xadd("b")) is False
        error = await gateway.refused()
        assert (type(error), str(error)) == (ContractError, "Redis: more replies than commands")
        assert await gateway.append(xadd("c")) is True
    assert await values(admin) == ["a", "b", "c"]


async def test_an_entry_that_the_native_packer_made(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    packer = EntryPacker(b"telemetry:teltonika", b"gateway-1")
    async with appending(own_redis.url()) as gateway:
        command = packer.xadd(b"356307042441013", b"\x00\r\n\xff", "tcp", 1_700_000_000_123, b"7")
        assert await gateway.append(command) is True
    (entry,) = await admin.xrange("telemetry:teltonika")
    assert entry[1] == {
        b"imei": b"356307042441013",
        b"frame": b"\x00\r\n\xff",
        b"v": b"1",
        b"transport": b"tcp",
        b"received_at_ms": b"1700000000123",
        b"gateway": b"gateway-1",
        b"connection": b"7",
    }


async def test_a_caller_that_fails_ends_the_appender_once_all_are_told(
    own_redis: EmbeddedRedis,
) -> None:
    def fail(_: bool) -> None:  # noqa: FBT001 -- as it is called
        raise KeyError("a bug")

    async with appending(own_redis.url()) as gateway:
        await gateway.opened()
        before = gateway.append(xadd("a"))
        gateway.appender.append(xadd("b"), fail)
        after = gateway.append(xadd("c"))
        with pytest.raises(KeyError, match="a bug"):
            await gateway.task
        assert await results([before, after]) == [True, True]


async def test_a_caller_that_fails_when_the_connection_is_lost_ends_the_appender_too(
    own_redis: EmbeddedRedis,
) -> None:
    def fail(_: bool) -> None:  # noqa: FBT001 -- as it is called
        raise KeyError("a bug")

    async with appending(own_redis.url()) as gateway:
        await gateway.opened()
        pid = own_redis.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        gateway.appender.append(xadd("a"), fail)
        after = gateway.append(xadd("b"))
        await asyncio.sleep(0)
        own_redis.kill()
        with pytest.raises(KeyError, match="a bug"):
            await gateway.task
        assert await after is False


async def test_an_answer_that_is_neither_id_nor_error_is_not_stored(
    own_redis: EmbeddedRedis,
) -> None:
    async with appending(own_redis.url()) as gateway:
        await gateway.opened()
        nothing_made = packed("XADD", "other", "NOMKSTREAM", "*", "value", "a")
        assert await gateway.append(nothing_made) is False
        assert str(await gateway.refused()) == "Redis: XADD was answered with NoneType"
        assert await gateway.append(xadd("b")) is True


async def test_a_caller_may_append_when_it_is_told(
    own_redis: EmbeddedRedis, admin: RedisClient
) -> None:
    async with appending(own_redis.url()) as gateway:
        over = asyncio.Event()

        def next_one(n: int) -> Callable[[bool], None]:
            def told(stored: bool) -> None:  # noqa: FBT001 -- as it is called
                assert stored
                if n < 50:
                    gateway.appender.append(xadd(str(n)), next_one(n + 1))
                else:
                    over.set()

            return told

        gateway.appender.append(xadd("0"), next_one(1))
        await over.wait()
    assert await values(admin) == [str(n) for n in range(50)]


async def test_over_tls(own_redis: EmbeddedRedis, admin: RedisClient) -> None:
    with TlsProxy(own_redis.url(), "redis") as proxy:
        login = own_redis.url(over_tcp=True).partition("@")[0].replace("redis:", "rediss:")
        url = f"{login}@localhost:{proxy.port}/0?ssl_ca_certs={quote(str(AUTHORITY))}"
        async with appending(url) as gateway:
            told = gateway.append_all(*(xadd(str(n), n_bytes=20_000) for n in range(50)))
            assert await results(told) == [True] * 50
    assert await values(admin) == [str(n) for n in range(50)]


async def test_the_documented_user_may_do_all_that_it_needs() -> None:
    with AclRedis(old=runs_on_old_servers()) as server:
        async with appending(server.url_of("gateway"), durability="memory") as gateway:
            assert await gateway.append(xadd("a")) is True
        assert server.denied() == []


async def attempted(gateway: Appending, n: int) -> None:
    """Return once it waits for the n-th time."""

    async def waits() -> bool:
        return gateway.appender._backoff.attempts == n

    await eventually_async(waits)


async def test_waits_between_tries_double(own_redis: EmbeddedRedis) -> None:
    own_redis.stop()
    async with appending(own_redis.url()) as gateway:
        errors = [await gateway.refused() for _ in range(3)]
        assert {type(error) for error in errors} == {StreamUnavailable}
        await attempted(gateway, 3)
        assert not gateway.appender.is_open

import asyncio
import os
import subprocess
import sys

import pytest

from teltonika_processor.stream import lease as lease_module
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.lease import LEASE_MS, ConsumerLease

KEY = "telemetry:teltonika:consumer:processor:box"


def lease(client: RedisClient) -> ConsumerLease:
    return ConsumerLease(
        client, stream="telemetry:teltonika", group="processor", wanted="box", sleep=asyncio.sleep
    )


async def test_a_free_name_is_taken_for_a_limited_time(client: RedisClient) -> None:
    assert await lease(client).take() == "box"
    left_ms = await client.execute_command("PTTL", KEY)
    assert 0 < left_ms <= LEASE_MS


async def test_a_name_that_a_live_instance_renews_is_not_taken(client: RedisClient) -> None:
    other = b"elsewhere/4026531836/7/100"
    await client.execute_command("SET", KEY, other, "PX", 5000)
    looks = 0

    async def renewed_meanwhile(_wait_s: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            await client.execute_command("PEXPIRE", KEY, LEASE_MS)

    second = ConsumerLease(
        client,
        stream="telemetry:teltonika",
        group="processor",
        wanted="box",
        sleep=renewed_meanwhile,
    )
    assert await second.take() == "box-2"
    assert await client.execute_command("GET", KEY) == other


async def test_a_name_that_lapses_is_taken(client: RedisClient) -> None:
    await client.execute_command("SET", KEY, b"elsewhere/4026531836/7/100", "PX", 300)
    assert await lease(client).take() == "box"


def identity_of_a_dead_process() -> str:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = lease_module._process_identity(child.pid)
        child.kill()
    return identity


async def test_the_name_of_a_process_that_died_here_is_taken_at_once(client: RedisClient) -> None:
    await client.execute_command("SET", KEY, identity_of_a_dead_process(), "PX", 60_000)

    async def never(_wait_s: float) -> None:
        pytest.fail("waited for a dead process")

    successor = ConsumerLease(
        client, stream="telemetry:teltonika", group="processor", wanted="box", sleep=never
    )
    assert await successor.take() == "box"


def test_a_live_process_is_no_dead_neighbour() -> None:
    assert not lease_module._is_dead_neighbour(lease_module._process_identity(os.getpid()))


@pytest.mark.parametrize("identity", ["", "x", "elsewhere/1/2/3"])
def test_what_cannot_be_judged_is_not_dead(identity: str) -> None:
    assert not lease_module._is_dead_neighbour(identity)


async def test_release_gives_the_name_back_and_only_its_own(client: RedisClient) -> None:
    first = lease(client)
    await first.take()
    await first.release()
    assert await client.execute_command("EXISTS", KEY) == 0
    await client.execute_command("SET", KEY, "somebody")
    await first.release()
    assert await client.execute_command("GET", KEY) == b"somebody"


async def test_renewal_says_when_somebody_else_holds_the_name(client: RedisClient) -> None:
    first = lease(client)
    await first.take()
    assert await first.renew() is True
    await client.execute_command("SET", KEY, "somebody")
    assert await first.renew() is False
    await client.execute_command("DEL", KEY)
    assert await first.renew() is True

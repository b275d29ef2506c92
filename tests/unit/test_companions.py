"""Tasks are cancelled until they have heard it."""

import asyncio
import contextlib

import pytest

from teltonika_processor.tasks.companions import companions, end, run_together


async def wait_through(n_cancellations: int) -> None:
    """As a client's code may on Python 3.11: the first cancellations are lost."""
    for _ in range(n_cancellations):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


async def test_a_task_that_lost_a_cancellation_is_cancelled_again() -> None:
    task = asyncio.create_task(wait_through(2))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end([task])
    assert task.cancelled()


async def test_a_task_that_hears_nothing_is_given_up_in_time() -> None:
    task = asyncio.create_task(wait_through(1000))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end([task], within_s=0.3)
    assert not task.done()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)


async def test_companions_end_with_the_block() -> None:
    seen: list[asyncio.Task[None]] = []

    async def note_and_wait() -> None:
        seen.append(asyncio.current_task())  # type: ignore[arg-type]  # it runs in one
        await wait_through(1)

    async with companions({"one": note_and_wait()}):
        await asyncio.sleep(0)
    (task,) = seen
    assert (task.get_name(), task.cancelled()) == ("one", True)


async def test_a_companion_that_fails_ends_the_block() -> None:
    async def fail() -> None:
        raise RuntimeError("broken")

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        async with companions({"one": fail()}):
            await asyncio.Event().wait()


async def test_what_runs_together_ends_when_all_have_ended() -> None:
    gate, seen = asyncio.Event(), []

    async def wait(name: str) -> None:
        await gate.wait()
        seen.append(name)

    async def open_gate() -> None:
        gate.set()

    await run_together({"one": wait("one"), "two": wait("two"), "three": open_gate()})
    assert seen == ["one", "two"]


async def test_one_that_fails_ends_those_beside_it_though_they_lose_a_cancellation() -> None:
    ended = []

    async def lose_one() -> None:
        try:
            await wait_through(1)
        finally:
            ended.append("one")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("broken")

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.timeout(5):
            await run_together({"one": lose_one(), "two": fail()})
    assert [str(error) for error in raised.value.exceptions] == ["broken"]
    assert ended == ["one"]


async def test_what_fails_while_it_is_cancelled_is_raised() -> None:
    async def fail_in_the_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("broken")

    together = asyncio.create_task(run_together({"one": fail_in_the_end()}))
    await asyncio.sleep(0)
    together.cancel()
    with pytest.raises(ExceptionGroup) as raised:
        await together
    assert [str(error) for error in raised.value.exceptions] == ["broken"]

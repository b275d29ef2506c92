"""Tasks are cancelled until they have heard it."""

import asyncio
import contextlib

import pytest

from teltonika_processor.processor.companions import companions, end


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

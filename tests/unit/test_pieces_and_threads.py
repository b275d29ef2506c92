import asyncio
import threading
from collections.abc import Generator

import pytest

from teltonika_processor.tasks.pieces import in_pieces
from teltonika_processor.tasks.threads import in_thread


def counted(n: int) -> Generator[int, None, str]:
    yield from range(n)
    return "done"


async def test_the_loop_turns_after_every_piece() -> None:
    seen: list[int | str] = []

    async def beside() -> None:
        while True:
            seen.append("turn")
            await asyncio.sleep(0)

    task = asyncio.create_task(beside(), name="beside")
    assert await in_pieces(counted(3), seen.append) == "done"
    task.cancel()
    assert seen == [0, "turn", 1, "turn", 2, "turn"]


async def test_work_without_a_piece_has_its_value() -> None:
    assert await in_pieces(counted(0)) == "done"


async def test_a_thread_of_that_name_does_the_work_and_nobody_waits_for_it_at_the_end() -> None:
    thread = await in_thread(threading.current_thread, name="looking")
    assert (thread.name, thread.daemon) == ("looking", True)


async def test_what_the_work_raises_is_raised() -> None:
    def work() -> None:
        raise FileNotFoundError("fleet.txt")

    with pytest.raises(FileNotFoundError, match=r"fleet\.txt"):
        await in_thread(work, name="failing")


async def test_work_that_hangs_can_be_given_up() -> None:
    go_on, ended = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(10)
        ended.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await in_thread(work, name="hanging")
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 10)
    await asyncio.sleep(0)

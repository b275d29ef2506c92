"""That an entry is no longer in hand is noted, whoever cancels us meanwhile."""

import asyncio

import pytest
from typing_extensions import override

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.processor.trial import Trial
from teltonika_processor.stream.connection import open_client
from teltonika_processor.stream.suspects import Suspects


class SlowSuspects(Suspects):
    """Answers when the test says so; what it was told is in `noted`."""

    def __init__(self) -> None:
        super().__init__(open_client("redis://nowhere", name="test"), "stream")
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.error: Exception | None = None
        self.noted: list[int] = []

    @override
    async def note(self, entry_id: bytes, trials: int) -> None:
        self.asked.set()
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        self.noted.append(trials)


async def test_a_pause_is_noted_through_any_number_of_cancellations() -> None:
    suspects = SlowSuspects()
    pausing = asyncio.create_task(Trial(suspects, b"1-0", crashes=2).pause())
    await suspects.asked.wait()
    for _ in range(3):
        pausing.cancel()
        await asyncio.sleep(0)
    suspects.answer.set()
    with pytest.raises(asyncio.CancelledError):
        await pausing
    assert suspects.noted == [2]


async def test_a_pause_waits_for_no_server_that_is_away() -> None:
    suspects = SlowSuspects()
    async with asyncio.timeout(5):
        await Trial(suspects, b"1-0", crashes=0).pause()
    assert suspects.noted == []


async def test_a_pause_that_a_server_refuses_is_none_of_our_business() -> None:
    suspects = SlowSuspects()
    suspects.error = StreamUnavailable("Redis: away")
    suspects.answer.set()
    await Trial(suspects, b"1-0", crashes=0).pause()
    assert suspects.noted == []

"""When what is done, on a clock of its own."""

import asyncio
from collections.abc import Callable

import pytest

from teltonika_processor.errors import ConfigError, StreamUnavailable
from teltonika_processor.events import ConsumersReaped, Event, StreamOversized, StreamTrimmed
from teltonika_processor.service.housekeeping import Chores, Housekeeping, Pace
from teltonika_processor.stream.trimming import Trimmed


class House:
    """Chores that write down when they were done; time passes in sleep only."""

    def __init__(self, *, until_s: float, fails: Callable[[float], Exception | None]) -> None:
        self.now_s = 1000.0
        self.until_s = self.now_s + until_s
        self.fails = fails
        self.done: list[tuple[str, float]] = []
        self.emitted: list[Event] = []
        self.trimmed = 7
        self.n_bytes = 0
        self.reaped: tuple[str, ...] = ("pod-1", "pod-2")

    def _note(self, chore: str) -> None:
        self.done.append((chore, self.now_s - 1000.0))
        if error := self.fails(self.now_s - 1000.0):
            raise error

    async def trim(self) -> Trimmed:
        self._note("trim")
        return Trimmed(
            self.trimmed, self.n_bytes, 1_000_000, excess_is_needed=self.n_bytes > 1_500_000
        )

    async def forget(self) -> int:
        self._note("forget")
        return 3

    async def reap(self) -> tuple[str, ...]:
        self._note("reap")
        return self.reaped

    async def sleep(self, wait_s: float) -> None:
        self.now_s += wait_s
        if self.now_s >= self.until_s:
            raise asyncio.CancelledError

    async def keep(self, *, trims: bool = True) -> None:
        chores = Chores(trim=self.trim if trims else None, forget=self.forget, reap=self.reap)
        pace = Pace(lambda: self.now_s, self.sleep)
        with pytest.raises(asyncio.CancelledError):
            await Housekeeping(chores, self.emitted.append, pace).run()

    def times(self, chore: str) -> list[float]:
        return [at_s for name, at_s in self.done if name == chore]


def house(until_s: float, fails: Callable[[float], Exception | None] = lambda _at_s: None) -> House:
    return House(until_s=until_s, fails=fails)


async def test_it_trims_every_second_and_sweeps_every_minute_from_the_start() -> None:
    kept = house(150)
    await kept.keep()
    assert kept.times("trim") == [float(i) for i in range(150)]
    assert kept.times("reap") == [0.0, 60.0, 120.0]
    assert kept.times("forget") == [0.0, 60.0, 120.0]


async def test_what_was_done_is_said_once() -> None:
    kept = house(2)
    await kept.keep()
    assert kept.emitted == [
        ConsumersReaped(consumers=("pod-1", "pod-2")),
        StreamTrimmed(count=7),
        StreamTrimmed(count=7),
    ]


async def test_where_nothing_was_to_do_nothing_is_said() -> None:
    kept = house(2)
    kept.trimmed, kept.reaped = 0, ()
    await kept.keep()
    assert kept.emitted == []


async def test_a_stream_that_is_too_large_and_needed_is_said_once_a_minute() -> None:
    kept = house(121)
    kept.trimmed, kept.n_bytes, kept.reaped = 0, 2_000_000, ()
    await kept.keep()
    assert kept.emitted == [StreamOversized(bytes=2_000_000, keep_bytes=1_000_000)] * 3


async def test_a_stream_that_somebody_else_trims_is_swept_all_the_same() -> None:
    kept = house(61)
    await kept.keep(trims=False)
    assert kept.times("trim") == []
    assert kept.times("reap") == [0.0, 60.0]
    assert kept.times("forget") == [0.0, 60.0]


async def test_an_outage_is_silent_and_ends_nothing() -> None:
    kept = house(63, lambda at_s: StreamUnavailable("away") if at_s < 62 else None)
    await kept.keep()
    assert len(kept.times("trim")) == 63
    # The sweep that failed is done again when it is next due.
    assert kept.times("forget") == [0.0, 60.0]
    assert kept.emitted == [StreamTrimmed(count=7)]


async def test_what_no_waiting_mends_ends_it() -> None:
    kept = house(10, lambda at_s: ConfigError("no stream") if at_s >= 3 else None)
    chores = Chores(trim=kept.trim, forget=kept.forget, reap=kept.reap)
    with pytest.raises(ConfigError):
        await Housekeeping(chores, kept.emitted.append, Pace(lambda: kept.now_s, kept.sleep)).run()
    assert kept.times("trim") == [0.0, 1.0, 2.0, 3.0]

"""Signals end a command in order, also where a cancellation is swallowed."""

import asyncio
import os
import signal

import pytest

from teltonika_processor.cli.interruption import Interruption


async def interrupted_once(number: int, log: list[str]) -> None:
    """Gets the signal while it waits, and notes that it was cancelled."""
    os.kill(os.getpid(), number)
    try:
        await asyncio.sleep(60)
    finally:
        log.append("ended in order")


def test_sigint_cancels_what_runs_and_becomes_keyboard_interrupt() -> None:
    log: list[str] = []
    with Interruption() as interruption, pytest.raises(KeyboardInterrupt):
        interruption.run(interrupted_once(signal.SIGINT, log))
    assert log == ["ended in order"]


def test_sigterm_cancels_what_runs_and_becomes_exit_143() -> None:
    log: list[str] = []
    with Interruption() as interruption, pytest.raises(SystemExit) as raised:
        interruption.run(interrupted_once(signal.SIGTERM, log))
    assert raised.value.code == 143
    assert log == ["ended in order"]


def test_swallowed_cancellation_is_repeated() -> None:
    swallowed: list[str] = []

    async def swallow_once() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            swallowed.append("once")
        await asyncio.sleep(60)

    with Interruption() as interruption, pytest.raises(KeyboardInterrupt):
        interruption.run(swallow_once())
    assert swallowed == ["once"]


def test_signal_outside_of_the_loop_raises_at_once() -> None:
    with Interruption(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    with Interruption(), pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGTERM)


def test_result_comes_through_and_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    async def answer() -> int:
        return 42

    with Interruption() as interruption:
        assert interruption.run(answer()) == 42
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

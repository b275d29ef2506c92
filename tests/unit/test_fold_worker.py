"""Whom a process that ends waits for: what its own batches marked, not what a sweep found."""

import asyncio

from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.store.folding import FoldLimits
from teltonika_processor.tasks.retry import Surroundings
from teltonika_processor.timing.worker import FoldWorker


def worker() -> FoldWorker:
    config = SessionConfig(dsn="postgresql://127.0.0.1:1/none", instance="test")
    around = Surroundings(lambda _: None, lambda: 0.0, lambda: 0.0)
    return FoldWorker(config, FoldLimits(), lambda: False, around)


async def is_done(folds: FoldWorker) -> bool:
    done = asyncio.create_task(folds.until_done())
    await asyncio.sleep(0)
    done.cancel()
    return done.done()


async def test_only_what_our_own_batches_marked_is_waited_for() -> None:
    folds = worker()
    assert await is_done(folds)
    folds.found(range(10_000))
    assert folds.n_marked == 10_000
    assert await is_done(folds)
    folds.marked([1])
    assert folds.n_marked == 10_000
    assert not await is_done(folds)


async def test_a_server_that_is_away_is_not_waited_for() -> None:
    folds = worker()
    folds.marked([1])
    running = asyncio.create_task(folds.run())
    try:
        async with asyncio.timeout(10):
            await folds.until_done()
    finally:
        running.cancel()
    assert folds.n_marked == 1

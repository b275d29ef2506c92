"""Entries that are tried one by one: those that may crash us, and probes of an open breaker."""

import asyncio
import time
from dataclasses import dataclass

import pytest

from pipelines import Held, Running, running
from telemetry import BASE_MS, GROUP, IMEI, STREAM, Key, Telemetry, entry, frame_at, stored_keys
from teltonika_processor.codec.native import Rows
from teltonika_processor.errors import DayUnavailable, SchemaMismatch, SinkRejected, SinkUnavailable
from teltonika_processor.events import (
    BatchDecoded,
    BatchSetAside,
    BreakerClosed,
    BreakerOpened,
    EntriesJudged,
    EntrySuspected,
    FrameRejected,
    RetryScheduled,
)
from waiting import eventually_async

ATTEMPTS = f"{STREAM}:attempts"
SUSPECTS = f"{STREAM}:suspects"
DEVICES = 20


def frame_of(number: int) -> dict[str, bytes | str]:
    """An entry of a device of its own."""
    return entry(frame_at(BASE_MS), IMEI + number)


def key_of(number: int) -> Key:
    return Key(IMEI + number, BASE_MS)


def pending_of_ours(redis_url: str, deliveries: list[int]) -> list[bytes]:
    """An entry for each number, pending under our name after as many deliveries."""
    telemetry = Telemetry(redis_url)
    ids = telemetry.publish([frame_of(i) for i in range(len(deliveries))])
    telemetry.client.xgroup_create(STREAM, GROUP, id="0")
    telemetry.client.xreadgroup(GROUP, "one", {STREAM: ">"})
    for entry_id, count in zip(ids, deliveries, strict=True):
        telemetry.client.xclaim(STREAM, GROUP, "one", 0, [entry_id], retrycount=count, justid=True)
    telemetry.close()
    return ids


async def keys_in(dsn: str) -> list[Key]:
    return await asyncio.to_thread(stored_keys, dsn)


def crashes(run: Running, entry_id: bytes) -> bytes | None:
    found: bytes | None = run.telemetry.client.hget(SUSPECTS, entry_id)
    return found


async def test_an_entry_delivered_too_often_is_tried_alone_and_lands(
    redis_url: str, migrated_database: str
) -> None:
    ids = pending_of_ours(redis_url, [1, 20, 1])
    writes: list[list[int]] = []

    def note(rows: Rows) -> None:
        writes.append([imei - IMEI for imei in rows.imeis])

    held = Held(fault=note)
    async with running(redis_url, migrated_database, held=held) as run:
        held.write_now.set()
        await eventually_async(run.settled)
        (suspected,) = await run.said(EntrySuspected)
    # Looking through our own pending entries is a delivery too.
    assert suspected == EntrySuspected(
        entry_id=ids[1].decode(), deliveries=21, trials=0, suppressed=0
    )
    assert writes == [[0, 2], [1]]
    assert await keys_in(migrated_database) == [key_of(0), key_of(1), key_of(2)]


async def test_a_trial_is_noted_while_it_lasts(redis_url: str, migrated_database: str) -> None:
    (entry_id,) = pending_of_ours(redis_url, [20])
    async with running(redis_url, migrated_database) as run:
        await run.in_flight(1)

        async def noted() -> bool:
            return crashes(run, entry_id) == b"1"

        await eventually_async(noted)
        run.held.write_now.set()
        await eventually_async(run.settled)
        assert crashes(run, entry_id) is None


async def test_a_suspect_of_three_crashes_is_dead_lettered_untouched(
    redis_url: str, migrated_database: str
) -> None:
    guilty, _ = pending_of_ours(redis_url, [20, 20])
    async with running(redis_url, migrated_database, attempts_max=3) as run:
        run.telemetry.client.hset(SUSPECTS, guilty, 3)
        run.held.write_now.set()
        await eventually_async(run.settled)
        (letter,) = run.telemetry.letters()
        assert run.telemetry.client.hgetall(SUSPECTS) == {}
    assert (letter[b"source_id"], letter[b"reason"]) == (guilty, b"crashed_processor")
    assert letter[b"error"] == b"in hand alone in 3 processes that died"
    assert await keys_in(migrated_database) == [key_of(1)]


async def test_who_is_ended_while_a_server_is_away_convicts_no_suspect(
    redis_url: str, migrated_database: str
) -> None:
    (entry_id,) = pending_of_ours(redis_url, [20])
    held = Held(fault=lambda _: SinkUnavailable("Postgres: away", None))
    async with running(redis_url, migrated_database, held=held) as run:
        held.write_now.set()
        await run.said(RetryScheduled)

        async def withdrawn() -> bool:
            return crashes(run, entry_id) is None

        await eventually_async(withdrawn)
        held.fault = lambda _: None
        await eventually_async(run.settled)
    assert await keys_in(migrated_database) == [key_of(0)]


async def test_a_trial_that_is_cancelled_convicts_no_suspect(
    redis_url: str, migrated_database: str
) -> None:
    (entry_id,) = pending_of_ours(redis_url, [20])
    async with running(redis_url, migrated_database) as run:

        async def noted() -> bool:
            return crashes(run, entry_id) == b"1"

        await eventually_async(noted)
        (work,) = [task for task in asyncio.all_tasks() if task.get_name() == "pipeline"]
        work.cancel()
        await asyncio.wait([work])
        assert crashes(run, entry_id) is None
        assert run.telemetry.pending() == 1


async def test_a_suspect_that_is_refused_counts_as_failed_and_not_as_crashed(
    redis_url: str, migrated_database: str
) -> None:
    (entry_id,) = pending_of_ours(redis_url, [20])
    held = Held(fault=lambda _: SinkRejected("Postgres: 23514", "23514"))
    async with running(redis_url, migrated_database, attempts_max=3, held=held) as run:
        held.write_now.set()
        await run.said(EntriesJudged)
        assert run.telemetry.client.hgetall(ATTEMPTS) == {entry_id: b"1"}
        assert crashes(run, entry_id) is None
        assert run.telemetry.pending() == 1


async def test_an_end_for_a_schema_that_does_not_fit_convicts_no_suspect(
    redis_url: str, migrated_database: str
) -> None:
    (entry_id,) = pending_of_ours(redis_url, [20])
    held = Held(fault=lambda _: SchemaMismatch("42703"))
    held.write_now.set()
    with pytest.raises(ExceptionGroup):
        async with running(redis_url, migrated_database, held=held):
            await asyncio.Event().wait()
    telemetry = Telemetry(redis_url)
    assert telemetry.client.hget(SUSPECTS, entry_id) is None
    assert telemetry.pending() == 1
    telemetry.close()


async def test_a_suspect_that_another_instance_claimed_meanwhile_is_not_tried(
    redis_url: str, migrated_database: str
) -> None:
    first, second = pending_of_ours(redis_url, [20, 20])
    async with running(redis_url, migrated_database) as run:
        await run.in_flight(1)
        run.telemetry.client.xclaim(STREAM, GROUP, "two", 0, [second])
        run.held.write_now.set()
        await run.in_flight(0)

        async def first_settled() -> bool:
            return run.telemetry.pending() == 1

        await eventually_async(first_settled)
        run.telemetry.publish([frame_of(7)])

        async def next_stored() -> bool:
            return run.pipeline.totals.stored == 2

        await eventually_async(next_stored)
        suspected = await run.said(EntrySuspected)
        assert [getattr(event, "entry_id", "") for event in suspected] == [first.decode()]


async def test_a_suspect_whose_day_gets_no_partition_holds_nobody_up(
    redis_url: str, migrated_database: str
) -> None:
    (entry_id,) = pending_of_ours(redis_url, [20])
    held = Held(
        fault=lambda rows: DayUnavailable("locked", "55P03", [1]) if IMEI in rows.imeis else None
    )
    held.write_now.set()
    async with running(redis_url, migrated_database, held=held) as run:
        await run.said(BatchSetAside)
        run.telemetry.publish([frame_of(5)])

        async def other_settled() -> bool:
            return run.pipeline.totals.stored == 1 and run.telemetry.pending() == 1

        await eventually_async(other_settled)
        assert run.pipeline.ledger.n_retries == 1
        assert crashes(run, entry_id) is None


# Refused by the server, or by what the entry holds


def out_of_range(_: Rows) -> SinkRejected:
    return SinkRejected("Postgres: 22003 integer out of range", "22003")


@pytest.mark.parametrize("at_once", [True, False])
async def test_data_exceptions_on_everything_stop_with_nothing_counted(
    redis_url: str, migrated_database: str, *, at_once: bool
) -> None:
    held = Held(fault=out_of_range)
    held.write_now.set()

    async def publish_until_it_stops() -> None:
        async with running(redis_url, migrated_database, held=held) as run:
            for i in range(12):
                run.telemetry.publish([frame_of(i)])
                if not at_once:
                    await run.said(BatchDecoded, i + 1)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as failed:
        await publish_until_it_stops()
    assert failed.group_contains(SchemaMismatch, match="10 entries in a row|1[12] entries in a row")
    telemetry = Telemetry(redis_url)
    assert telemetry.client.hgetall(ATTEMPTS) == {}
    assert telemetry.letters() == []
    assert telemetry.pending() >= 10
    telemetry.close()


async def test_the_first_that_a_server_refuses_after_many_commits_is_not_counted(
    redis_url: str, migrated_database: str
) -> None:
    held = Held()
    held.write_now.set()
    async with running(redis_url, migrated_database, held=held) as run:
        run.telemetry.publish([frame_of(0)])
        await eventually_async(run.settled)
        held.fault = out_of_range
        run.telemetry.publish([frame_of(1)])
        await run.said(FrameRejected)
        assert run.telemetry.client.hgetall(ATTEMPTS) == {}
        assert run.telemetry.letters() == []
        assert run.telemetry.pending() == 1
        held.fault = lambda _: None


async def test_a_data_exception_beside_others_that_are_stored_is_the_entrys_own(
    redis_url: str, migrated_database: str
) -> None:
    held = Held(fault=lambda rows: out_of_range(rows) if IMEI + 1 in rows.imeis else None)
    held.write_now.set()
    async with running(redis_url, migrated_database, held=held) as run:
        ids = run.telemetry.publish([frame_of(i) for i in range(3)])
        await eventually_async(run.settled)
        (letter,) = run.telemetry.letters()
    assert (letter[b"source_id"], letter[b"reason"]) == (ids[1], b"refused_by_postgres")


# The breaker


@dataclass
class Clock:
    """Seconds that the test may put forward."""

    ahead_s: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def refused(_: Rows) -> SinkRejected:
    return SinkRejected("Postgres: 23514 new row violates a constraint", "23514")


async def delivered(run: Running) -> int:
    (group,) = run.telemetry.client.xinfo_groups(STREAM)
    return int(group["entries-read"])


@pytest.mark.parametrize("attempts_max", [1, 3])
async def test_an_open_breaker_reads_only_probes_and_one_that_is_stored_closes_it(
    redis_url: str, migrated_database: str, attempts_max: int
) -> None:
    clock, held, probes = Clock(), Held(fault=refused), list[int]()
    held.write_now.set()

    def refused_and_noted(rows: Rows) -> SinkRejected:
        probes.append(rows.n_rows)
        return refused(rows)

    async with running(
        redis_url, migrated_database, held=held, clock=clock, attempts_max=attempts_max
    ) as run:
        run.telemetry.publish([frame_of(i) for i in range(DEVICES)])
        (opened,) = await run.said(BreakerOpened)
        assert opened == BreakerOpened(
            devices=DEVICES, failed=DEVICES, entries=DEVICES, codes={"refused_by_postgres": DEVICES}
        )
        await run.said(EntriesJudged)
        await run.in_flight(0)
        held.fault = refused_and_noted
        new = run.telemetry.publish([frame_of(i) for i in range(100, 105)])
        clock.ahead_s += 11.0

        async def probed() -> bool:
            return probes == [1]

        await eventually_async(probed)
        await run.in_flight(0)
        # What a read brought that was parked when it opened, and a probe that fails, is pending
        # and counted against no entry.
        assert len(run.telemetry.letters()) == (DEVICES if attempts_max == 1 else 0)
        attempts = run.telemetry.client.hgetall(ATTEMPTS)
        assert set(attempts.values()) <= {b"1"}
        assert set(attempts).isdisjoint(new)
        held.fault = lambda _: None
        clock.ahead_s += 11.0
        (closed,) = await run.said(BreakerClosed)
        assert isinstance(closed, BreakerClosed)
        assert closed.probes == 2

        async def all_read() -> bool:
            return await delivered(run) == DEVICES + 5 and len(run.pipeline.ledger) == 0

        await eventually_async(all_read)
    assert set(await keys_in(migrated_database)) >= {key_of(i) for i in range(100, 105)}
    # What is in a letter is not stored as well.
    assert run.pipeline.totals.stored == (5 if attempts_max == 1 else 6)


async def test_a_candidate_that_another_instance_settled_is_no_probe(
    redis_url: str, migrated_database: str
) -> None:
    clock, held = Clock(), Held(fault=refused)
    held.write_now.set()
    async with running(redis_url, migrated_database, held=held, clock=clock, attempts_max=3) as run:
        ids = run.telemetry.publish([frame_of(i) for i in range(DEVICES)])
        await run.said(BreakerOpened)
        await run.said(EntriesJudged)
        run.telemetry.client.xack(STREAM, GROUP, *ids)
        held.fault = lambda _: None
        run.telemetry.publish([frame_of(100)])
        clock.ahead_s += 11.0
        await run.said(BreakerClosed)
        await eventually_async(run.settled)
    assert await keys_in(migrated_database) == [key_of(100)]


async def test_a_stop_while_the_breaker_is_open_leaves_everything_pending(
    redis_url: str, migrated_database: str
) -> None:
    held = Held(fault=refused)
    held.write_now.set()
    async with running(redis_url, migrated_database, held=held, attempts_max=3) as run:
        run.telemetry.publish([frame_of(i) for i in range(DEVICES)])
        await run.said(BreakerOpened)
        await run.said(EntriesJudged)
        run.stop.set()
        telemetry = run.telemetry
        assert telemetry.pending() == DEVICES
    assert len(run.pipeline.ledger) == 0

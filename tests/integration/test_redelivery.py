"""Entries that Redis delivers again while they are in flight, and replies that come too late."""

import asyncio
import threading
import time

import pytest

from pipelines import Held, Running, published, running
from servers import run_sql
from telemetry import BASE_MS, GROUP, STREAM, entry, fetch, frame_at
from teltonika_processor.codec.native import Rows
from teltonika_processor.errors import DecoderBug, SinkTooSlow
from teltonika_processor.events import EntriesJudged, EntriesVanished, GroupMissing, GroupRewound
from waiting import eventually_async


async def test_entries_in_flight_that_are_delivered_again_as_new_settle_once(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database) as run:
        run.telemetry.publish([entry(frame_at(BASE_MS + i * 1000)) for i in range(5)])
        await run.in_flight(5)
        run.telemetry.client.xgroup_setid(STREAM, GROUP, "0")
        run.telemetry.publish([entry(frame_at(BASE_MS + 9000))])
        await run.in_flight(6)
        run.held.write_now.set()
        await eventually_async(run.settled)
    assert run.pipeline.totals.stored == 6
    assert run.pipeline.totals.entries == 6


async def test_a_group_made_anew_while_entries_are_in_flight_settles_them(
    redis_url: str, migrated_database: str
) -> None:
    damaged = entry(frame_at(BASE_MS)[:-1])
    async with running(redis_url, migrated_database) as run:
        run.telemetry.publish([entry(frame_at(BASE_MS)), damaged])
        await run.in_flight(2)
        run.telemetry.client.xgroup_destroy(STREAM, GROUP)
        run.telemetry.publish([entry(frame_at(BASE_MS + 9000))])
        await run.in_flight(3)
        run.held.write_now.set()
        await eventually_async(run.settled)
    assert run.pipeline.totals.stored == 2
    assert len(run.telemetry.letters()) == 1
    assert sum(isinstance(event, GroupMissing) for event in run.events) == 1


async def test_an_entry_delivered_again_after_its_xack_is_acknowledged_again(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database) as run:
        answer = asyncio.Event()
        run.held.before_answer = answer.wait
        run.held.write_now.set()
        run.telemetry.publish([entry(frame_at(BASE_MS))])
        await eventually_async(lambda: _acknowledged(run))
        run.telemetry.client.xgroup_setid(STREAM, GROUP, "0")
        run.telemetry.publish([entry(frame_at(BASE_MS + 9000))])
        await run.in_flight(2)
        answer.set()
        await eventually_async(run.settled)
    assert run.pipeline.totals.stored == 2
    assert run.pipeline.totals.duplicates == 1


async def _acknowledged(run: Running) -> bool:
    return run.telemetry.settled() and len(run.pipeline.ledger) == 1


@pytest.mark.parametrize("letters_before", [0, 1])
async def test_only_letters_that_were_written_here_are_counted(
    redis_url: str, migrated_database: str, letters_before: int
) -> None:
    async with running(redis_url, migrated_database) as run:
        good, damaged = entry(frame_at(BASE_MS)), entry(frame_at(BASE_MS + 1000)[:-1])
        ids = run.telemetry.publish([good, damaged])
        await run.in_flight(2)
        for entry_id in ids[1:] if letters_before else []:
            run.telemetry.client.xack(STREAM, GROUP, entry_id)
        run.held.write_now.set()
        await eventually_async(run.settled)
    assert run.pipeline.totals.dead_lettered == 1 - letters_before
    assert len(run.telemetry.letters()) == 1 - letters_before
    assert run.pipeline.totals.stored == 1


async def test_a_look_for_more_that_fails_costs_nothing_that_was_read(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database, interval_s=0.3) as run:
        run.held.write_now.set()
        run.held.fails_to_read_more = True
        for i in range(4):
            run.telemetry.publish([entry(frame_at(BASE_MS + i * 1000))])
            await eventually_async(run.settled)
        run.held.fails_to_read_more = False
    assert run.pipeline.totals.stored == 4
    assert run.pipeline.totals.entries == 4


async def test_a_group_set_back_between_the_two_reads_of_a_trickle_settles_once(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database, interval_s=0.3) as run:
        run.held.write_now.set()
        run.telemetry.publish([entry(frame_at(BASE_MS))])
        await eventually_async(run.settled)
        run.held.before_more = lambda: run.telemetry.client.xgroup_setid(STREAM, GROUP, "0")
        run.telemetry.publish([entry(frame_at(BASE_MS + 1000))])

        async def both() -> bool:
            return run.pipeline.totals.stored == 2

        await eventually_async(both)
        run.held.before_more = None
        await eventually_async(run.settled)
    assert run.pipeline.totals.stored == 2


async def test_what_postgres_lost_is_stored_again_if_the_group_is_set_back_between_two_reads(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database, interval_s=0.3) as run:
        run.held.write_now.set()
        run.telemetry.publish([entry(frame_at(BASE_MS))])
        await eventually_async(run.settled)

        def lose_and_rewind() -> None:
            run.held.before_more = None
            deleting = threading.Thread(
                target=run_sql, args=(migrated_database, "DELETE FROM positions")
            )
            deleting.start()
            deleting.join()
            run.telemetry.client.xgroup_setid(STREAM, GROUP, "0")

        run.held.before_more = lose_and_rewind
        run.telemetry.publish([entry(frame_at(BASE_MS + 1000))])
        await run.said(GroupRewound)
        await eventually_async(run.settled)
    assert run.pipeline.totals.stored == 3
    stored = await asyncio.to_thread(fetch, migrated_database, "SELECT count(*) FROM positions")
    assert stored[0][0] == 2


async def nothing_waits(run: Running) -> None:
    """Wait until no entry that failed is remembered for its next try."""

    async def forgotten() -> bool:
        return run.pipeline.ledger.n_retries == 0

    await eventually_async(forgotten)


async def vanished(run: Running) -> int:
    return sum(event.count for event in run.events if isinstance(event, EntriesVanished))


async def test_what_waited_for_its_next_try_is_reported_when_the_stream_is_gone(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database, attempts_max=3) as run:
        run.held.write_now.set()
        run.telemetry.publish([entry(frame_at(BASE_MS)[:-1]), entry(frame_at(BASE_MS + 1000))])
        await run.said(EntriesJudged)
        await run.in_flight(0)
        run.telemetry.client.delete(STREAM)
        await run.said(EntriesVanished)
        assert await vanished(run) == 1
        assert run.pipeline.ledger.n_retries == 0


def make_group_as_another_instance(run: Running) -> None:
    """The stream was lost; before we miss the group, another instance makes it and reads on."""
    client = run.telemetry.client
    with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(STREAM)
        pipeline.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        pipeline.execute()


async def test_what_failed_in_flight_is_reported_when_another_instance_made_the_group(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database) as run:
        (lost, _) = run.telemetry.publish(
            [entry(frame_at(BASE_MS)[:-1]), entry(frame_at(BASE_MS + 1000))]
        )
        await run.in_flight(2)
        make_group_as_another_instance(run)
        run.held.write_now.set()
        (told,) = await run.said(EntriesVanished)
        await run.in_flight(0)
    assert told == EntriesVanished(count=1, first_id=lost.decode())
    assert run.pipeline.totals.stored == 1


async def test_what_waited_is_reported_at_the_next_sweep_when_another_instance_made_the_group(
    redis_url: str, migrated_database: str
) -> None:
    ahead_s = 0.0
    async with running(
        redis_url, migrated_database, attempts_max=3, clock=lambda: time.monotonic() + ahead_s
    ) as run:
        run.held.write_now.set()
        (lost, _) = run.telemetry.publish(
            [entry(frame_at(BASE_MS)[:-1]), entry(frame_at(BASE_MS + 1000))]
        )
        await run.said(EntriesJudged)
        await run.in_flight(0)
        make_group_as_another_instance(run)
        # Past the next sweep, and past the time after which what waits is in other hands.
        ahead_s = 600.0
        (told,) = await run.said(EntriesVanished)
        assert run.pipeline.ledger.n_retries == 0
    assert told == EntriesVanished(count=1, first_id=lost.decode())


async def test_what_waited_is_reported_though_the_group_could_not_be_made_at_once(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database, attempts_max=3) as run:
        run.held.write_now.set()
        run.telemetry.publish([entry(frame_at(BASE_MS)[:-1]), entry(frame_at(BASE_MS + 1000))])
        await run.said(EntriesJudged)
        await run.in_flight(0)
        run.held.fails_to_make_group = 2
        run.telemetry.client.delete(STREAM)
        await run.said(EntriesVanished)
    assert run.held.fails_to_make_group == 0
    assert await vanished(run) == 1


async def test_what_many_met_at_once_is_told_once(redis_url: str, migrated_database: str) -> None:
    """The reader and both writers meet the loss, with many that wait for their next try."""
    damaged = [entry(frame_at(BASE_MS)[:-1])] * 3000
    async with running(redis_url, migrated_database, attempts_max=3) as run:
        run.held.write_now.set()
        run.telemetry.publish(damaged)

        async def all_wait() -> bool:
            return run.pipeline.ledger.n_retries == len(damaged)

        await eventually_async(all_wait)
        run.held.write_now.clear()
        with run.telemetry.client.pipeline(transaction=True) as at_once:
            for fields in (entry(frame_at(BASE_MS + 1000)), damaged[0]):
                at_once.xadd(STREAM, fields)
            at_once.execute()
        await run.in_flight(2)
        run.telemetry.client.delete(STREAM)
        run.held.write_now.set()
        await run.in_flight(0)

        async def all_told() -> bool:
            return await vanished(run) >= len(damaged) + 1

        await eventually_async(all_told)
    assert await vanished(run) == len(damaged) + 1


async def test_what_two_instances_had_in_their_hands_is_told_once(
    redis_url: str, migrated_database: str
) -> None:
    async with running(redis_url, migrated_database, attempts_max=3) as run:
        run.held.write_now.set()
        ids = run.telemetry.publish([entry(frame_at(BASE_MS)[:-1])] * 2)
        await run.said(EntriesJudged)
        await run.in_flight(0)
        # Another one, that had the first as well, told that it is lost.
        run.telemetry.client.hset(f"{STREAM}:lettered", ids[0].decode(), "lost")
        run.telemetry.client.delete(STREAM)
        (told,) = await run.said(EntriesVanished)
    assert told == EntriesVanished(count=1, first_id=ids[1].decode())


async def test_a_group_that_was_set_back_is_no_other_stream(
    redis_url: str, migrated_database: str
) -> None:
    ahead_s = 0.0
    async with running(
        redis_url, migrated_database, attempts_max=3, clock=lambda: time.monotonic() + ahead_s
    ) as run:
        run.held.write_now.set()
        damaged, good = entry(frame_at(BASE_MS)[:-1]), entry(frame_at(BASE_MS + 1000))
        (lettered, *_) = run.telemetry.publish([damaged, good])
        await run.said(EntriesJudged)
        await run.in_flight(0)
        run.telemetry.client.xack(STREAM, GROUP, lettered)
        run.telemetry.client.xdel(STREAM, lettered)
        run.telemetry.client.xgroup_setid(STREAM, GROUP, "0")

        async def read_again() -> bool:
            return run.pipeline.totals.duplicates == 1

        await eventually_async(read_again)
        ahead_s = 600.0
        await nothing_waits(run)
    assert await vanished(run) == 0


async def test_a_stream_that_was_trimmed_is_no_other_stream(
    redis_url: str, migrated_database: str
) -> None:
    ahead_s = 0.0
    async with running(
        redis_url, migrated_database, attempts_max=3, clock=lambda: time.monotonic() + ahead_s
    ) as run:
        run.held.write_now.set()
        ids = run.telemetry.publish(
            [entry(frame_at(BASE_MS)[:-1]), entry(frame_at(BASE_MS + 1000))]
        )
        await run.said(EntriesJudged)
        await run.in_flight(0)
        # Another instance wrote the letter, and the entry was trimmed.
        run.telemetry.client.xack(STREAM, GROUP, *ids)
        run.telemetry.client.xtrim(STREAM, maxlen=0, approximate=False)
        ahead_s = 600.0
        await nothing_waits(run)
    assert await vanished(run) == 0


async def test_a_group_that_was_destroyed_loses_nothing_that_failed(
    redis_url: str, migrated_database: str
) -> None:
    damaged = entry(frame_at(BASE_MS)[:-1])
    async with running(redis_url, migrated_database) as run:
        run.telemetry.publish([damaged, entry(frame_at(BASE_MS + 1000))])
        await run.in_flight(2)
        run.telemetry.client.xgroup_destroy(STREAM, GROUP)
        run.held.write_now.set()
        await eventually_async(run.settled)
        assert len(run.telemetry.letters()) == 1
        assert await vanished(run) == 0


async def test_a_write_that_is_too_slow_twice_is_halved_until_it_fits(
    redis_url: str, migrated_database: str
) -> None:
    sizes: list[int] = []

    def too_slow_above_two(rows: Rows) -> Exception | None:
        sizes.append(rows.n_rows)
        return SinkTooSlow("57014") if rows.n_rows > 2 else None

    published(redis_url, [entry(frame_at(BASE_MS + i * 1000)) for i in range(4)])
    async with running(redis_url, migrated_database, held=Held(fault=too_slow_above_two)) as run:
        run.held.write_now.set()
        await eventually_async(run.settled)
    assert run.pipeline.totals.stored == 4
    assert run.pipeline.totals.dead_lettered == 0
    assert sizes == [4, 4, 2, 2]


async def test_a_panic_in_native_code_costs_one_entry(
    redis_url: str, migrated_database: str
) -> None:
    culprit = 356307042441099

    def panics_on_the_culprit(rows: Rows) -> Exception | None:
        return DecoderBug("panicked") if culprit in rows.imeis else None

    imeis = [culprit - 2, culprit - 1, culprit, culprit - 3]
    ids = published(redis_url, [entry(frame_at(BASE_MS), imei) for imei in imeis])
    async with running(redis_url, migrated_database, held=Held(fault=panics_on_the_culprit)) as run:
        run.held.write_now.set()
        await eventually_async(run.settled)
        (letter,) = run.telemetry.letters()
    assert run.pipeline.totals.stored == 3
    assert (letter[b"reason"], letter[b"source_id"]) == (b"decoder_bug", ids[2])

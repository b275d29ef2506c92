"""When old partitions are dropped and what is said of it, without a server."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from teltonika_processor.errors import SchemaMismatch, SinkUnavailable
from teltonika_processor.events import Event, PartitionsDeferred, PartitionsDropped, ServerDoubted
from teltonika_processor.service import retention
from teltonika_processor.service.partition_drop import DropAccount
from teltonika_processor.service.retention import Keeping, Retention
from teltonika_processor.store.partition import Kind, Partition
from teltonika_processor.store.partition_changes import Holder
from teltonika_processor.store.tls import Encryption

ENCRYPTION = Encryption()
KEEPING = Keeping(keep_days=90, dsn="postgresql://nowhere", instance="one", encryption=ENCRYPTION)


def partition(n: int) -> Partition:
    return Partition(
        schema="public",
        table=f"p{n}",
        kind=Kind.DAY,
        from_s=math.nan,
        to_s=math.nan,
        rows=n,
        n_bytes=100,
    )


class Rounds:
    """What each round meets, and what was said and waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits: list[float] = []
        self.emitted: list[Event] = []
        self.owns = True
        self.fault: Exception | None = None
        self.account = DropAccount()
        self.wanted: Sequence[Partition] = (partition(1),)
        self.asked: list[tuple[int, float]] = []
        self.last = 1
        monkeypatch.setattr(retention, "owner_session", self._session)
        monkeypatch.setattr(retention, "is_owner", self._is_owner)
        monkeypatch.setattr(retention, "due_now", self._due_now)
        monkeypatch.setattr(retention, "drop", self._drop)

    @asynccontextmanager
    async def _session(
        self, dsn: str, instance: str, encryption: Encryption
    ) -> AsyncIterator[None]:
        assert (dsn, instance) == ("postgresql://nowhere", "one")
        assert encryption is ENCRYPTION
        if self.fault is not None:
            raise self.fault
        yield

    async def _is_owner(self, _: None) -> bool:
        return self.owns

    async def _due_now(self, _: None, *, keep_days: int, unix_s: float) -> Sequence[Partition]:
        self.asked.append((keep_days, unix_s))
        return self.wanted

    async def _drop(self, _: None, wanted: Any, pace: Any, account: DropAccount) -> bool:
        del wanted, pace
        account.dropped.extend(self.account.dropped)
        account.left.update(self.account.left)
        account.holders = self.account.holders
        account.n_tries = self.account.n_tries
        account.longest_wait_s = self.account.longest_wait_s
        return True

    async def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        if len(self.waits) == self.last:
            raise asyncio.CancelledError

    async def run(self, rounds: int = 1) -> None:
        self.last = rounds
        running = Retention(
            KEEPING, self.emitted.append, sleep=self.sleep, unix_s=lambda: 1_700_000_000.0
        )
        with pytest.raises(asyncio.CancelledError):
            await running.run()


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    return Rounds(monkeypatch)


async def test_it_looks_at_the_start_and_then_once_an_hour(rounds: Rounds) -> None:
    rounds.wanted = ()
    await rounds.run(3)
    assert rounds.waits == [3600.0, 3600.0, 3600.0]
    assert rounds.asked == [(90, 1_700_000_000.0)] * 3
    assert rounds.emitted == []


async def test_what_was_dropped_is_said_with_ten_names_at_most(rounds: Rounds) -> None:
    rounds.account = DropAccount(
        dropped=[partition(n) for n in range(12)], n_tries=14, longest_wait_s=0.2034
    )
    await rounds.run()
    assert rounds.emitted == [
        PartitionsDropped(
            count=12,
            partitions=tuple(f"p{n}" for n in range(10)),
            rows=66,
            bytes=1200,
            tries=14,
            longest_wait_ms=203.4,
        )
    ]


async def test_what_could_not_be_dropped_is_said_with_who_is_in_the_way(rounds: Rounds) -> None:
    rounds.account = DropAccount(
        left={"p1": "lock timeout", "p2": "lock timeout"},
        n_tries=5,
        longest_wait_s=0.2,
        holders=(Holder(4711, "report"), Holder(4712, "")),
    )
    await rounds.run()
    assert rounds.emitted == [
        PartitionsDeferred(
            count=2,
            partitions=("p1", "p2"),
            error="lock timeout",
            holders=("pid 4711 (report)", "pid 4712"),
            tries=5,
            longest_wait_ms=200.0,
        )
    ]
    assert rounds.waits == [3600.0]


async def test_a_server_that_is_away_is_asked_again_in_a_minute_without_a_word(
    rounds: Rounds,
) -> None:
    rounds.fault = SinkUnavailable("away")
    await rounds.run(2)
    assert rounds.waits == [60.0, 60.0]
    assert rounds.emitted == []


async def test_a_role_that_does_not_own_the_log_is_doubted_once(rounds: Rounds) -> None:
    rounds.owns = False
    await rounds.run(2)
    assert rounds.waits == [3600.0, 3600.0]
    assert rounds.emitted == [
        ServerDoubted(
            check="positions_keep_days",
            found="a role that does not own the table positions",
            expected="DATABASE_MIGRATION_URL or DATABASE_URL of the owner of positions",
            why="POSITIONS_KEEP_DAYS is 90, but nothing is dropped",
        )
    ]


async def test_what_no_waiting_mends_is_doubted_once_and_ends_nothing(rounds: Rounds) -> None:
    rounds.fault = SchemaMismatch("Postgres: 28P01 password authentication failed")
    await rounds.run(3)
    (doubt,) = rounds.emitted
    assert isinstance(doubt, ServerDoubted)
    assert doubt.found == "Postgres: 28P01 password authentication failed"
    assert rounds.waits == [3600.0] * 3


async def test_a_bug_is_not_swallowed(rounds: Rounds) -> None:
    rounds.fault = LookupError("a bug")
    with pytest.raises(LookupError):
        await rounds.run()

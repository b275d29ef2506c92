"""Both servers, a proxy before each, and processors between: what every fault case stands on."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from fault.fleet import Fields, Fleet, assert_balanced
from fault.proxy import Proxy
from processes import Processor
from telemetry import Telemetry
from teltonika_processor.embedded import EmbeddedPostgres, EmbeddedRedis
from waiting import eventually

QUICK: Final = {
    # A failed entry is judged at its first failure; the cases that need the count say COUNTING.
    "MAX_ATTEMPTS": "1",
    "WRITE_TIMEOUT_MS": "500",
    "CLAIM_THRESHOLD_MS": "2000",
    "CLAIM_INTERVAL_MS": "100",
    "DRAIN_TIMEOUT_MS": "5000",
    # The accounts are read off the stream.
    "STREAM_TRIM": "false",
    # Several writes for a case's few hundred entries.
    "BATCH_FRAMES": "50",
    "HTTP_PORT": "0",
    "LOG_LEVEL": "debug",
}
"""Settings with which a case takes seconds."""

COUNTING: Final = {"MAX_ATTEMPTS": "3", "WRITE_TIMEOUT_MS": "250", "CLAIM_THRESHOLD_MS": "1000"}
"""A failed entry comes back twice, each time after the threshold, before its letter is written."""

_DRAINED_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Stand:
    """The servers of one case.

    Attributes:
        redis: Its log survives a kill, entry by entry.
        postgres: A server that may be killed.
        redis_url: Straight to the server, as the next two.
        dsn: A migrated database.
        telemetry: The stream.
        redis_wire: What processors reach Redis by.
        postgres_wire: What processors reach Postgres by.
    """

    redis: EmbeddedRedis
    postgres: EmbeddedPostgres
    redis_url: str
    dsn: str
    telemetry: Telemetry
    redis_wire: Proxy
    postgres_wire: Proxy

    def processor(
        self, name: str = "one", first: Callable[[], None] | None = None, **settings: str
    ) -> Processor:
        """An instance behind both proxies, not yet reading; `first` as for `Processor`."""
        return Processor(
            self.redis_wire.through(self.redis_url),
            self.postgres_wire.through(self.dsn),
            settings={**QUICK, "REDIS_CONSUMER_NAME": name, **settings},
            first=first,
        )

    @contextmanager
    def reading(self, name: str = "one", **settings: str) -> Iterator[Processor]:
        """An instance that reads."""
        with self.processor(name, **settings) as processor:
            processor.wait_for("consumer.started")
            yield processor

    def publish(self, entries: list[Fields]) -> list[bytes]:
        return self.telemetry.publish(entries)

    def drain(self, *processors: Processor) -> None:
        """Wait until nothing is left, then end these with SIGTERM."""
        eventually(
            lambda: self.telemetry.settled() or not all(p.running for p in processors),
            timeout_s=_DRAINED_S,
        )
        assert [processor.terminate() for processor in processors] == [0] * len(processors)

    def finish(self, fleet: Fleet, **settings: str) -> None:
        """Let a fresh instance settle what is left; the accounts must balance."""
        with self.processor(**settings) as processor:
            self.drain(processor)
        self.assert_balanced(fleet)

    def assert_balanced(self, fleet: Fleet) -> None:
        assert_balanced(fleet, self.telemetry, self.redis_url, self.dsn)


@contextmanager
def frozen(pid: int | None) -> Iterator[None]:
    """SIGSTOP a process while the block runs."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def stop_immediately(postgres: EmbeddedPostgres) -> None:
    """Immediate shutdown: sessions are cut, and the next start replays the log."""
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGQUIT)
    eventually(lambda: postgres.pid is None)


STOPPINGS: Final[dict[str, Callable[[EmbeddedPostgres], None]]] = {
    "fast": EmbeddedPostgres.stop,
    "immediate": stop_immediately,
    "kill -9": EmbeddedPostgres.kill,
}
"""Ways of Postgres to go."""


@contextmanager
def new_stand(redis: EmbeddedRedis, postgres: EmbeddedPostgres, dsn: str) -> Iterator[Stand]:
    """Proxies before servers that run, and an empty Redis."""
    with ExitStack() as opened:
        redis_wire = opened.enter_context(Proxy(redis.port))
        postgres_wire = opened.enter_context(Proxy(postgres.port))
        redis_url = redis.url(over_tcp=True)
        telemetry = Telemetry(redis_url)
        opened.callback(telemetry.close)
        telemetry.client.flushall()
        yield Stand(redis, postgres, redis_url, dsn, telemetry, redis_wire, postgres_wire)

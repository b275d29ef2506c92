"""The whole road of a record: simulated trackers, a gateway, Redis, a processor, Postgres."""

import json
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis

from audited import assert_clean
from commands import ForkedCommand, own_environment
from fault.fleet import assert_nothing_is_counted
from fault.proxy import Direction, Moment, Proxy
from fault.stand import Stand
from fault.wire import ENTRIES
from processes import Gateway, Processor
from telemetry import STREAM
from teltonika_processor.embedded.server import is_free
from waiting import eventually

# A hundred frames a second, and a backlog that few frames hold: a slow tracker needs 0.25 s for
# one, and where it has a twin that takes its place every second it must catch up all the same.
DEVICES: Final = 80
PERIOD_S: Final = 0.8
RECORDS: Final = "1-10"

WRONG: Final = (
    *("disconnect:0.3", "duplicate:0.2", "damage:0.2", "split:0.3", "glue:0.3", "slow:0.1"),
    *("twins:0.1", "garbage:0.1"),
)
"""What is wrong with which share of the trackers, beside all that is done to the servers."""

_RESPONSE_S: Final = 1.0
# Bound: a tracker may wait a minute for its next try to connect.
_DRAIN_S: Final = 120.0
_VERIFY_S: Final = 60.0

_FLOW_S: Final = 90.0

# Outside the range that connections are given their own ports from: while nobody listens, a try to
# connect would be given this very port some day, and reach itself.
_PORTS: Final = (20_000, 32_000)


class Trackers:
    """``teltonika-processor simulate --verify`` until it is told to end.

    Args:
        port: Of the gateway, TCP and UDP.
        dsn: The log that must hold what was acknowledged.
        seed: Makes the fleet.
    """

    def __init__(self, port: int, dsn: str, seed: int) -> None:
        self._said: Final = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed in __exit__
        self._process: Final = ForkedCommand(
            *("simulate", "--verify", "--json", "--port", str(port), "--seed", str(seed)),
            *("--devices", str(DEVICES), "--period", str(PERIOD_S), "--records-per-frame", RECORDS),
            *("--udp-share", "0.2", "--fault", ",".join(WRONG)),
            *("--response-timeout", str(_RESPONSE_S), "--drain", str(_DRAIN_S)),
            *("--verify-timeout", str(_VERIFY_S)),
            environment=own_environment(DATABASE_URL=dsn),
            stdout=self._said.fileno(),
            stderr=self._said.fileno(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._said.close()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """What it said until now."""
        self._said.seek(0)
        return self._said.read()

    def finish(self) -> dict[str, Any]:
        """Ctrl-C: what is left is sent, and the log is compared; the accounts, without a finding.

        Raises:
            AssertionError: It found something.
        """
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(_DRAIN_S + _VERIFY_S + 30.0)
        said = self.output
        assert code in {0, 1}, said
        accounts: dict[str, Any] = json.loads(said.splitlines()[-1])
        assert code == 0, (accounts["findings"], amiss_in(accounts))
        return accounts


class Road:
    """Trackers that send by way of one gateway at a time, and one processor that stores.

    Attributes:
        stand: The servers; the processor goes through its proxies.
        wire: What the gateways reach Redis by.
        gateway: The one that runs, or the last one.
        processor: Likewise.
        trackers: They send until `finish`.
    """

    def __init__(self, stand: Stand, dumps: Path, seed: int) -> None:
        """Nothing runs yet.

        Args:
            stand: The servers.
            dumps: Where a panic would leave its dump.
            seed: Makes the fleet, and whatever is chosen.
        """
        self.stand: Final = stand
        self.wire: Final = Proxy(stand.redis.port)
        self.rng: Final = random.Random(seed)
        self.gateway: Gateway
        self.processor: Processor
        self.trackers: Trackers
        self._dumps: Final = dumps
        self._seed: Final = seed
        self._port: Final = _port_of_nobody(self.rng)
        self._opened = ExitStack()
        self._pause: Final = threading.Event()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(self.wire)
            self.start_processor()
            opened.push(lambda *error: self.processor.__exit__(*error))  # noqa: PLW0108 -- the last one
            self.start_gateway()
            opened.push(lambda *error: self.gateway.__exit__(*error))  # noqa: PLW0108 -- the last one
            self.gateway.wait_for("gateway.started")
            self.trackers = opened.enter_context(Trackers(self._port, self.stand.dsn, self._seed))
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            sys.stderr.write(self.trackers.output[:20_000])
        self._opened.__exit__(kind, error, traceback)

    # Who runs

    def start_gateway(self) -> None:
        """The next one, on the same port."""
        self.gateway = Gateway(
            self.wire.through(self.stand.redis_url),
            INGEST_TCP_PORT=str(self._port),
            INGEST_UDP_PORT=str(self._port),
            PANIC_DUMP_DIR=str(self._dumps),
            WRITE_TIMEOUT_MS="1000",
            DRAIN_TIMEOUT_MS="3000",
        )

    def start_processor(self) -> None:
        """The next one, of the same name."""
        self.processor = self.stand.processor(MAX_ATTEMPTS="3", PANIC_DUMP_DIR=str(self._dumps))

    def next_gateway(self) -> None:
        """After the last one has ended."""
        self.gateway.__exit__(None, None, None)
        self.start_gateway()

    def next_processor(self) -> None:
        """After the last one has ended."""
        self.processor.__exit__(None, None, None)
        self.start_processor()

    # Moments

    def at_an_entry(self, moment: Moment, act: Callable[[], object]) -> None:
        """Act while an entry is on its way to Redis: before it is there whole, or right after."""
        self.wire.on(ENTRIES, Direction.TO_SERVER, act, moment=moment).wait(_FLOW_S)

    @contextmanager
    def until_appends_stop(self) -> Iterator[None]:
        """At the end of the block the gateway has noticed that Redis, in the block, went away."""
        before = self._n_stops()
        yield
        self.gateway.wait_for("appends.stopped", lambda _: self._n_stops() > before)

    def rest(self, at_most_s: float) -> None:
        """A random moment: what is waited for is nothing but the moment."""
        self._pause.wait(self.rng.random() * at_most_s)

    def flow(self, n_entries: int = 100) -> None:
        """Wait until so many more entries were appended, and so many more were settled."""
        before: list[tuple[int, int]] = []

        def has_gone_on() -> bool:
            before[:] = before or self._progress()
            pairs = zip(before[:1], self._progress(), strict=False)
            return any(b[0] - a[0] >= n_entries <= b[1] - a[1] for a, b in pairs)

        eventually(lambda: has_gone_on() or self._ended(), timeout_s=_FLOW_S)
        assert not self._ended(), f"ended by itself: {self._ended()}"

    def _progress(self) -> list[tuple[int, int]]:
        """(entries appended, entries settled), ever; nothing where Redis does not say so."""
        client = self.stand.telemetry.client
        try:
            settled = client.hgetall(f"{STREAM}:accounts")
            appended = client.xinfo_stream(STREAM)["entries-added"]
        except redis.RedisError:
            return []
        return [(appended, sum(map(int, settled.values())))]

    def _ended(self) -> list[str]:
        parts = {
            "gateway": self.gateway,
            "processor": self.processor,
            "trackers": self.trackers,
        }
        return [name for name, part in parts.items() if not part.running]

    def _n_stops(self) -> int:
        return sum(event.get("event") == "appends.stopped" for event in self.gateway.events)

    # The end

    def finish(self) -> dict[str, Any]:
        """Nothing is broken any more: all must end in order, and every account must balance.

        Returns:
            The trackers' accounts.
        """
        self.flow()
        accounts = self.trackers.finish()
        assert self.gateway.terminate() == 0
        self.stand.drain(self.processor)
        assert_acknowledged_is_stored(accounts)
        telemetry = self.stand.telemetry
        assert (telemetry.pending(), telemetry.letters()) == (0, [])
        assert_nothing_is_counted(telemetry)
        report = assert_clean(self.stand.redis_url, self.stand.dsn)
        assert report["entries"] == telemetry.client.xlen(STREAM)
        assert list(self._dumps.iterdir()) == []
        return accounts


def assert_acknowledged_is_stored(accounts: dict[str, Any]) -> None:
    """What `simulate` found, term by term.

    That a row is there twice is what the primary key excludes. A reply that may have been another
    frame's makes records doubtful: they may be stored.
    """
    verified = accounts["verified"]
    certain = accounts["records_acknowledged"] - accounts["records_in_doubt"]
    assert accounts["findings"] == []
    assert (accounts["records_kept"], accounts["replies_wrong"], accounts["refusals"]) == (0, 0, 0)
    assert accounts["records_made"] == accounts["records_acknowledged"]
    assert verified["acknowledged"] == verified["stored"] == certain > 0
    assert (verified["missing_records"], verified["invented_records"]) == (0, 0)


def amiss_in(accounts: dict[str, Any]) -> list[dict[str, Any]]:
    """The trackers that are not content."""
    trackers = accounts["by_device"]
    return [one for one in trackers if one["records_kept"] or one["replies_wrong"]]


def _port_of_nobody(rng: random.Random) -> int:
    while True:
        port = rng.randrange(*_PORTS)
        if is_free(port):
            return port

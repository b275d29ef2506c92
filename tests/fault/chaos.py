"""Random faults against two instances under continuous publishing, from one seed."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import redis

from fault.fleet import Fleet
from fault.proxy import Direction, Proxy
from fault.stand import QUICK, STOPPINGS, Stand, frozen
from processes import Processor
from servers import run_sql
from teltonika_processor.embedded import EmbeddedRedis
from waiting import eventually

NAMES: Final = ("one", "two")
DRAINED_OR_CUT_OFF: Final = (0, 73)

# What two cores take beside the faults; entries go out in bursts, as a gateway's pipeline does.
_BURST: Final = 10
_BURST_EVERY_S: Final = 0.05
_PAUSE_MAX_S: Final = 1.0
_FREEZE_MAX_S: Final = 3.5
_PROGRESS_S: Final = 60.0

END_SESSIONS: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name LIKE 'teltonika-processor/%'
"""


class Publishing:
    """A gateway: appends entries until the block ends, again where Redis did not confirm them."""

    def __init__(self, stand: Stand, fleet: Fleet) -> None:
        self._stand: Final = stand
        self._fleet: Final = fleet
        self._stop: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        entries = self._fleet.entries(_BURST)
        while not self._stop.wait(_BURST_EVERY_S):
            if self._sent(entries):
                entries = self._fleet.entries(_BURST)
        # The fleet has made these, so they must be in the stream in the end.
        eventually(lambda: self._sent(entries))

    def _sent(self, entries: list[dict[str, str | int | bytes]]) -> bool:
        try:
            self._stand.publish(entries)
        except redis.RedisError:
            return False
        return True


@dataclass(slots=True)
class Chaos:
    """Two instances, each behind a proxy of its own to either server, and what is done to them.

    `counts` says how often each fault came; the same seed chooses the same faults, though not the
    same moments.
    """

    stand: Stand
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    _opened: ExitStack = field(default_factory=ExitStack)
    _wires: dict[str, tuple[Proxy, Proxy]] = field(default_factory=dict)
    _running: dict[str, Processor] = field(default_factory=dict)
    _rng: random.Random = field(init=False)
    _pause: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def __enter__(self) -> Self:
        for name in NAMES:
            ports = (self.stand.redis.port, self.stand.postgres.port)
            first, second = (self._opened.enter_context(Proxy(port)) for port in ports)
            self._wires[name] = (first, second)
            self._start(name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for processor in self._running.values():
            processor.__exit__(kind, error, traceback)
        self._opened.close()

    def step(self) -> None:
        """One fault, its healing, and entries settled after it."""
        name = self._rng.choice(sorted(self._faults))
        self.counts[name] += 1
        self._faults[name]()
        self._rest(_PAUSE_MAX_S)
        self._heal()
        for processor in self._running.values():
            # A process that has not come so far is deaf to SIGTERM yet, in its own way: it dies.
            processor.wait_for("consumer.started")
        before = self._n_settled()
        eventually(lambda: self._n_settled() > before, timeout_s=_PROGRESS_S)
        ended = [name for name, processor in self._running.items() if not processor.running]
        assert not ended, f"ended by themselves: {ended}"

    def finish(self) -> None:
        """Nothing is broken any more: all is settled, and both instances drain."""
        self._heal()
        self.stand.drain(*self._running.values())

    @property
    def _faults(self) -> Mapping[str, Callable[[], None]]:
        wires = {
            "line cut": Proxy.cut,
            "line stalled": Proxy.stall,
            "line stalled to us": lambda wire: wire.stall(Direction.TO_CLIENT),
            "line slow": lambda wire: wire.delay(0.05, 0.05),
            "line half open": Proxy.half_open,
            "line refused": _refuse_and_cut,
            "line cut after so many bytes": lambda wire: wire.cut_after(
                self._rng.randrange(20_000), self._rng.choice(list(Direction))
            ),
        }
        return {
            "instance killed": self._kill,
            "instance terminated": self._terminate,
            "instance frozen": self._freeze,
            "Redis killed": lambda: self._stop_redis(EmbeddedRedis.kill),
            "Redis restarted": lambda: self._stop_redis(EmbeddedRedis.stop),
            "Redis frozen": self._freeze_redis,
            "sessions ended": lambda: run_sql(self.stand.postgres.dsn(), END_SESSIONS),
            **{f"Postgres: {how}": lambda how=how: self._stop_postgres(how) for how in STOPPINGS},
            **{name: lambda act=act: act(self._wire()) for name, act in wires.items()},
        }

    # Faults

    def _kill(self) -> None:
        name = self._rng.choice(NAMES)
        self._running[name].kill()
        self._restart(name)

    def _terminate(self) -> None:
        name = self._rng.choice(NAMES)
        self._running[name].wait_for("consumer.starting")  # before, nobody handles the signal
        code = self._running[name].terminate()
        assert code in DRAINED_OR_CUT_OFF, f"{name} ended with {code}"
        self._restart(name)

    def _freeze(self) -> None:
        with frozen(self._running[self._rng.choice(NAMES)].pid):
            self._rest(_FREEZE_MAX_S)

    def _stop_redis(self, stop: Callable[[EmbeddedRedis], None]) -> None:
        stop(self.stand.redis)
        self._rest(_PAUSE_MAX_S)
        self.stand.redis.start()

    def _freeze_redis(self) -> None:
        with frozen(self.stand.redis.pid):
            self._rest(_FREEZE_MAX_S)

    def _stop_postgres(self, how: str) -> None:
        STOPPINGS[how](self.stand.postgres)
        self._rest(_PAUSE_MAX_S)
        self.stand.postgres.start()

    def _wire(self) -> Proxy:
        return self._rng.choice(self._wires[self._rng.choice(NAMES)])

    # Between them

    def _start(self, name: str) -> None:
        redis_wire, postgres_wire = self._wires[name]
        self._running[name] = Processor(
            redis_wire.through(self.stand.redis_url),
            postgres_wire.through(self.stand.dsn),
            settings={**QUICK, "MAX_ATTEMPTS": "3", "REDIS_CONSUMER_NAME": name},
        )

    def _restart(self, name: str) -> None:
        self._rest(_PAUSE_MAX_S)
        self._running[name].__exit__(None, None, None)
        self._start(name)

    def _heal(self) -> None:
        for wires in self._wires.values():
            for wire in wires:
                wire.heal()

    def _rest(self, at_most_s: float) -> None:
        """A random moment: what is waited for is nothing but the moment."""
        self._pause.wait(self._rng.random() * at_most_s)

    def _n_settled(self) -> int:
        try:
            counts = self.stand.telemetry.client.hgetall("telemetry:teltonika:accounts")
        except redis.RedisError:
            return 0
        return sum(map(int, counts.values()))


def _refuse_and_cut(wire: Proxy) -> None:
    wire.refuse()
    wire.cut()

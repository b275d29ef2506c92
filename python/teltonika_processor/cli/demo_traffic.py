"""The devices of the demo on their sockets, and a look at the servers to see how far it all is."""

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Final

from teltonika_processor.cli.demo_chaos import LOOK_EVERY_S as KILLER_LOOKS_EVERY_S
from teltonika_processor.cli.demo_chaos import Chaos
from teltonika_processor.cli.demo_output import DemoOutput, Progress
from teltonika_processor.cli.demo_processes import LOOPBACK, Services
from teltonika_processor.cli.demo_race import Board
from teltonika_processor.model import TELEMETRY_STREAM
from teltonika_processor.settings import Settings
from teltonika_processor.simulate.foreigners import Foreigners
from teltonika_processor.simulate.grand_prix import GrandPrix
from teltonika_processor.simulate.schedule import Schedule
from teltonika_processor.simulate.showcase import Showcase
from teltonika_processor.simulate.tracker import Sender
from teltonika_processor.simulate.traffic import Limits, Target, Traffic
from teltonika_processor.store.accounts import count_positions
from teltonika_processor.store.connection import Session
from teltonika_processor.stream.accounts import GroupProgress, group_progress
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.tasks.companions import end

GROUP: Final[str] = Settings.model_fields["redis_consumer_group"].default

_LOOK_EVERY_S: Final = 0.05
_COUNT_EVERY_S: Final = 0.5
# Bound: where nothing at all happens for so long, nothing ever will.
_STALLED_S: Final = 30.0
_UNLIMITED: Final = Limits(duration_s=math.inf, drain_s=math.inf)


@dataclass(frozen=True, slots=True)
class Clients:
    """Who connects to the gateway."""

    showcase: Showcase
    grand_prix: GrandPrix
    foreigners: Foreigners
    seed: int

    @property
    def n_records(self) -> int:
        """Of all of them, once they are made."""
        return self.showcase.expected.records + self.grand_prix.n_records

    @property
    def n_acknowledged(self) -> int:
        """Records, by the replies that devices got."""
        return sum(one.link.account.records_acknowledged for one in self._senders)

    async def send(self, services: Services) -> None:
        """Let devices send all that they have."""
        address = services.gateway.address
        traffic = Traffic(
            self._senders,
            self._schedule(),
            Target(host=LOOPBACK, tcp_port=address.tcp_port, udp_port=address.udp_port),
            seed=self.seed,
            foreigners=self.foreigners,
        )
        await traffic.prepare()
        never = asyncio.Event()
        await traffic.run(_UNLIMITED, stop=never, at_once=never)

    @property
    def _senders(self) -> list[Sender]:
        return [*self.showcase.senders, *(car.tracker for car in self.grand_prix.cars)]

    def _schedule(self) -> Schedule | None:
        """Of the cars; all others send as soon as they are answered."""
        race = self.grand_prix
        if not race.cars:
            return None
        trackers = [car.tracker for car in race.cars]
        return Schedule(trackers, race.pace, seed=self.seed, started_at_ms=race.started_at_ms)


@dataclass(frozen=True, slots=True)
class Looks:
    """Where it is seen how far all is.

    Attributes:
        client: Of Redis.
        session: Of Postgres.
        board: Of the race; None where there is none.
    """

    client: RedisClient
    session: Session
    board: Board | None


class Watch:
    """Looks at devices and servers, not at the services, to see how far they are.

    Args:
        looks: At the servers.
        services: All run.
        clients: Not connected yet.
        output: Where progress is said.
    """

    def __init__(
        self,
        looks: Looks,
        services: Services,
        clients: Clients,
        output: DemoOutput,
    ) -> None:
        self._client: Final = looks.client
        self._session: Final = looks.session
        self._board: Final = looks.board
        self._services: Final = services
        self._clients: Final = clients
        self._n_records: Final = clients.n_records
        self._output: Final = output
        self._last: tuple[int, GroupProgress] | None = None
        self._last_change_s = time.monotonic()
        self._last_count_s = 0.0

    async def until_settled(self, *, chaos: bool) -> None:
        """Let the devices send, until all is acknowledged to them and settled.

        Args:
            chaos: Whether the gateway and a processor are killed in the middle.

        Raises:
            DemoError: A service ended, or nothing went on.
            TransientError: A server went away.
        """
        services = self._services
        victims = (services.gateway, services.processors[0]) if chaos else ()
        killer = Chaos(victims, self._n_records, self._output)
        devices = asyncio.create_task(self._clients.send(services), name="devices")
        try:
            while not await self._look(devices, killer):  # noqa: ASYNC110 -- a look asks servers
                await asyncio.sleep(KILLER_LOOKS_EVERY_S if killer.is_due else _LOOK_EVERY_S)
        finally:
            await end([devices])

    async def _look(self, devices: "asyncio.Task[None]", killer: Chaos) -> bool:
        """Whether it is over: first the devices are looked at, then what they caused."""
        is_sent = devices.done()
        if is_sent:
            await devices
        n_acknowledged = self._clients.n_acknowledged
        await killer.see(n_acknowledged)
        progress = await group_progress(self._client, TELEMETRY_STREAM, GROUP)
        is_over = is_sent and progress.is_drained and await self._is_derived()
        await self._show(n_acknowledged, is_over=is_over)
        self._check(n_acknowledged, progress)
        return is_over

    async def _show(self, n_acknowledged: int, *, is_over: bool) -> None:
        now_s = time.monotonic()
        if is_over or now_s - self._last_count_s >= _COUNT_EVERY_S:
            self._last_count_s = now_s
            n_stored = await count_positions(self._session)
            standings = await self._board.standings() if self._board is not None else ()
            progress = Progress(self._n_records, n_acknowledged, n_stored, standings)
            self._output.progress(progress, is_over=is_over)

    async def _is_derived(self) -> bool:
        return self._board is None or await self._board.is_derived()

    def _check(self, n_acknowledged: int, progress: GroupProgress) -> None:
        self._services.check_alive()
        now_s = time.monotonic()
        if (n_acknowledged, progress) != self._last:
            self._last, self._last_change_s = (n_acknowledged, progress), now_s
        elif now_s - self._last_change_s > _STALLED_S:
            is_settled = progress.is_drained
            guilty = self._services.gateway if is_settled else self._services.processors[0]
            raise guilty.failure(f"nothing was done for {_STALLED_S:.0f} s")

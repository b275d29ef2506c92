"""One run of `simulate`: the fleet, the traffic, and what it came to."""

import asyncio
import gc
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.service.signals import StopRequests
from teltonika_processor.simulate.foreigners import Foreigners
from teltonika_processor.simulate.keys import SentKeys
from teltonika_processor.simulate.latency import Latencies
from teltonika_processor.simulate.outbox import Parcel
from teltonika_processor.simulate.outcome import DeviceOutcome, Outcome
from teltonika_processor.simulate.schedule import Pace, Schedule
from teltonika_processor.simulate.tracker import FleetPlan, Tracker, trackers_of
from teltonika_processor.simulate.traffic import Limits, Target, Traffic
from teltonika_processor.simulate.wire_faults import Fault, n_faulty
from teltonika_processor.tasks.companions import companions

_ENDLESS: Final = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the options ask for.

    Attributes:
        fleet: The trackers.
        target: Where they connect.
        limits: When it ends.
        pace: How often they send; None: as soon as they are answered.
        warm_up_s: Reply times are counted from then on.
        n_frames: Of all trackers together, where there is no pace; None: until the time is over.
    """

    fleet: FleetPlan
    target: Target
    limits: Limits
    pace: Pace | None
    n_frames: int | None
    warm_up_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """One run while it lasts."""

    order: Order
    trackers: Sequence[Tracker]
    traffic: Traffic
    latencies: Latencies


Watch = Callable[[Run], Coroutine[Any, Any, None]]


async def simulate(
    order: Order, watch: Watch, stops: StopRequests, sent: SentKeys | None
) -> Outcome:
    """Run until the limits, or until `stops` end it.

    Args:
        order: What is wanted.
        watch: Runs beside it, and is cancelled.
        stops: The first one ends it in order, the second one at once.
        sent: Told of every record that must or may be stored.

    Raises:
        ConfigError: The process may not open so many files, or no address has the host's name.
        GatewayUnreachable: No tracker was ever connected.
    """
    latencies = Latencies()
    bugs = _Bugs(stops)
    asyncio.get_running_loop().set_exception_handler(bugs.seen)

    def settled(imei: str, parcel: Parcel, waited_s: float, *, in_doubt: bool) -> None:
        latencies.count(waited_s)
        if sent is not None:
            sent.settled(imei, parcel, in_doubt=in_doubt)

    trackers = trackers_of(order.fleet, jitter=random.random, settled=settled)
    schedule = None
    if order.pace is None:
        for number, tracker in enumerate(trackers):
            tracker.grant(_share(order.n_frames, number, len(trackers)))
    else:
        fleet = order.fleet
        schedule = Schedule(
            trackers, order.pace, seed=fleet.seed, started_at_ms=fleet.started_at_ms
        )
    foreigners = _foreigners(order.fleet)
    traffic = Traffic(
        trackers, schedule, order.target, seed=order.fleet.seed, foreigners=foreigners
    )
    await traffic.prepare()
    # The fleet stays: no collection need look at it again, and each would be felt in the replies.
    gc.freeze()
    cpu_s, started_s = time.process_time(), time.monotonic()
    beside = {
        "watch": watch(Run(order, trackers, traffic, latencies)),
        "warm-up": _forget(latencies, order.warm_up_s),
    }
    async with companions(beside):
        await traffic.run(order.limits, stop=stops.drain, at_once=stops.at_once)
    bugs.demand_none()
    traffic.demand_one_connection()
    outcome = Outcome(
        devices=[DeviceOutcome.of(tracker) for tracker in trackers],
        latencies=latencies,
        elapsed_s=time.monotonic() - started_s,
        cpu_s=time.process_time() - cpu_s,
        lag_max_s=schedule.lag_max_s if schedule else 0.0,
        n_connected_max=traffic.n_connected_max,
        foreign=foreigners.account if foreigners else None,
    )
    if sent is not None:
        for tracker in trackers:
            for parcel in tracker.link.unacknowledged():
                sent.possible.add(tracker.link.imei, parcel)
    return outcome


class _Bugs:
    """Exceptions of callbacks, which a loop would only print: the run ends, and tells the first."""

    def __init__(self, stops: StopRequests) -> None:
        self._stops: Final = stops
        self._first: BaseException | None = None

    def seen(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None or isinstance(error, OSError):  # a connection's end, which is told anyway
            return
        self._first = self._first or error
        self._stops.drain.set()
        self._stops.at_once.set()

    def demand_none(self) -> None:
        if self._first is not None:
            raise self._first


async def _forget(latencies: Latencies, after_s: float) -> None:
    await asyncio.sleep(after_s)
    latencies.forget()


def _foreigners(fleet: FleetPlan) -> Foreigners | None:
    share = fleet.faults.get(Fault.GARBAGE)
    if share is None:
        return None
    return Foreigners(n_faulty(share, fleet.devices), seed=fleet.seed)


def _share(n_frames: int | None, number: int, n_trackers: int) -> int:
    """What one tracker sends of all frames; the first ones send one more."""
    if n_frames is None:
        return _ENDLESS
    return n_frames // n_trackers + (number < n_frames % n_trackers)

"""One run of `simulate`: the fleet, the traffic, and what it came to."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.service.signals import StopRequests
from teltonika_processor.simulate.latency import Latencies
from teltonika_processor.simulate.outbox import Parcel
from teltonika_processor.simulate.outcome import DeviceOutcome, Outcome
from teltonika_processor.simulate.schedule import Pace, Schedule
from teltonika_processor.simulate.tracker import FleetPlan, trackers_of
from teltonika_processor.simulate.traffic import Limits, Target, Traffic
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
        n_frames: Of all trackers together, where there is no pace; None: until the time is over.
    """

    fleet: FleetPlan
    target: Target
    limits: Limits
    pace: Pace | None
    n_frames: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """One run while it lasts."""

    order: Order
    traffic: Traffic
    latencies: Latencies


Watch = Callable[[Run], Coroutine[Any, Any, None]]


async def simulate(order: Order, watch: Watch) -> Outcome:
    """Run until the limits; SIGINT or SIGTERM ends it in order, a second one at once.

    Args:
        order: What is wanted.
        watch: Runs beside it, and is cancelled.

    Raises:
        ConfigError: The process may not open so many files.
        GatewayUnreachable: No tracker was ever connected.
    """
    stops = StopRequests()
    stops.install(asyncio.get_running_loop())
    latencies = Latencies()

    def settled(imei: str, parcel: Parcel, waited_s: float, *, in_doubt: bool) -> None:  # noqa: ARG001 -- the protocol names them
        latencies.count(waited_s)

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
    traffic = Traffic(trackers, schedule, order.target)
    cpu_s, started_s = time.process_time(), time.monotonic()
    async with companions({"watch": watch(Run(order, traffic, latencies))}):
        await traffic.run(order.limits, stop=stops.drain, at_once=stops.at_once)
    traffic.demand_one_connection()
    return Outcome(
        devices=[DeviceOutcome.of(tracker) for tracker in trackers],
        latencies=latencies,
        elapsed_s=time.monotonic() - started_s,
        cpu_s=time.process_time() - cpu_s,
        lag_max_s=schedule.lag_max_s if schedule else 0.0,
        n_connected_max=traffic.n_connected_max,
    )


def _share(n_frames: int | None, number: int, n_trackers: int) -> int:
    """What one tracker sends of all frames; the first ones send one more."""
    if n_frames is None:
        return _ENDLESS
    return n_frames // n_trackers + (number < n_frames % n_trackers)

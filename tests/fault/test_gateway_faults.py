"""What a simulated tracker was told is stored, is stored: with kill -9 anywhere on the road."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from fault.asked import SECONDS, SEED, report
from fault.proxy import Direction, Moment, Proxy
from fault.road import Road
from fault.stand import STOPPINGS, Stand, frozen
from scraped import figures
from waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BEFORE, AFTER = Moment.BEFORE, Moment.AFTER

_PAUSE_MAX_S: Final = 1.0
# Trackers send again after one second, and connect anew after five.
_FREEZE_MAX_S: Final = 3.5


@pytest.fixture
def road(stand: Stand, tmp_path: Path) -> Iterator[Road]:
    with Road(stand, tmp_path, SEED) as running:
        yield running


# The gateway


def kill_gateway(road: Road) -> None:
    road.gateway.kill()
    road.next_gateway()


def kill_gateway_at_an_entry(road: Road, moment: Moment) -> None:
    """BEFORE: Redis does not get it. AFTER: it does, and the gateway never hears of it."""
    road.at_an_entry(moment, road.gateway.kill)
    road.next_gateway()


def terminate_gateway(road: Road) -> None:
    assert road.gateway.terminate() == 0
    road.next_gateway()


def freeze_gateway(road: Road) -> None:
    """What the trackers send meanwhile, again and again, waits in its sockets."""
    with frozen(road.gateway.pid):
        road.rest(_FREEZE_MAX_S)


# Redis


def kill_redis(road: Road) -> None:
    with road.until_appends_stop():
        road.stand.redis.kill()
    road.stand.redis.start()


def kill_redis_at_an_entry(road: Road, moment: Moment) -> None:
    """BEFORE: it does not get it. AFTER: it may have it, and nobody hears of it."""
    with road.until_appends_stop():
        road.at_an_entry(moment, road.stand.redis.kill)
    road.stand.redis.start()


def stop_redis(road: Road) -> None:
    with road.until_appends_stop():
        road.stand.redis.stop()
    road.stand.redis.start()


def freeze_redis(road: Road) -> None:
    with frozen(road.stand.redis.pid):
        eventually(lambda: figures(road.gateway)["gateway_in_flight_bytes"] > 0)
        road.rest(_PAUSE_MAX_S)


def freeze_redis_for_long(road: Road) -> None:
    """Until the gateway has given up the connection and what is in flight on it."""
    with frozen(road.stand.redis.pid), road.until_appends_stop():
        pass


def freeze_redis_and_kill_gateway(road: Road) -> None:
    """What was sent to Redis is stored when it wakes, though whoever sent it is gone."""
    with frozen(road.stand.redis.pid):
        eventually(lambda: figures(road.gateway)["gateway_in_flight_bytes"] > 0)
        road.gateway.kill()
    road.next_gateway()


# The line between them


def break_line(road: Road, act: Callable[[Proxy], None]) -> None:
    with road.until_appends_stop():
        act(road.wire)
    road.wire.heal()


def slow_line(road: Road) -> None:
    road.wire.delay(0.05, 0.05)
    road.flow(20)
    road.wire.heal()


LINE: Final[Mapping[str, Callable[[Proxy], None]]] = {
    "cut": Proxy.cut,
    "half open": Proxy.half_open,
    "silent to us": lambda wire: wire.stall(Direction.TO_CLIENT),
    "cut within an entry": lambda wire: wire.cut_after(777, Direction.TO_SERVER),
    "cut within a reply": lambda wire: wire.cut_after(7, Direction.TO_CLIENT),
}


# The processor, and Postgres


def kill_processor(road: Road) -> None:
    road.processor.wait_for("entries.xacked")
    road.processor.kill()
    road.next_processor()


def stop_postgres(road: Road, how: str) -> None:
    STOPPINGS[how](road.stand.postgres)
    road.rest(_PAUSE_MAX_S)
    road.stand.postgres.start()


CASES: Final[Mapping[str, tuple[Callable[[Road], None], ...]]] = {
    "the gateway is killed": (
        kill_gateway,
        partial(kill_gateway_at_an_entry, moment=BEFORE),
        partial(kill_gateway_at_an_entry, moment=AFTER),
        kill_gateway,
    ),
    "the gateway is replaced or frozen": (terminate_gateway, freeze_gateway, terminate_gateway),
    "Redis is killed": (
        kill_redis,
        partial(kill_redis_at_an_entry, moment=BEFORE),
        partial(kill_redis_at_an_entry, moment=AFTER),
    ),
    "Redis is frozen": (freeze_redis, freeze_redis_for_long, freeze_redis_and_kill_gateway),
    "the line is broken": tuple(
        partial(break_line, act=LINE[how])
        for how in ("cut", "cut within an entry", "cut within a reply")
    ),
    "the processor is killed": (kill_processor, kill_processor, kill_processor),
}


@pytest.mark.parametrize("case", CASES)
def test_acknowledged_is_stored_though(
    road: Road, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    for act in CASES[case]:
        road.flow()
        act(road)
    tell(capsys, case, began, road.finish())


ANY: Final[Mapping[str, Callable[[Road], None]]] = {
    "gateway killed": kill_gateway,
    "gateway killed before Redis has an entry": partial(kill_gateway_at_an_entry, moment=BEFORE),
    "gateway killed before it hears of an entry": partial(kill_gateway_at_an_entry, moment=AFTER),
    "gateway terminated": terminate_gateway,
    "gateway frozen": freeze_gateway,
    "Redis killed": kill_redis,
    "Redis killed before it has an entry": partial(kill_redis_at_an_entry, moment=BEFORE),
    "Redis killed after it got an entry": partial(kill_redis_at_an_entry, moment=AFTER),
    "Redis restarted": stop_redis,
    "Redis frozen": freeze_redis,
    "Redis frozen for long": freeze_redis_for_long,
    "Redis frozen, gateway killed": freeze_redis_and_kill_gateway,
    "line slow": slow_line,
    **{f"line {how}": partial(break_line, act=act) for how, act in LINE.items()},
    "processor killed": kill_processor,
    **{f"Postgres: {how}": partial(stop_postgres, how=how) for how in STOPPINGS},
}


@pytest.mark.fault
@pytest.mark.timeout(SECONDS + 600)
def test_acknowledged_is_stored_whatever_happens(
    road: Road, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    counts: Counter[str] = Counter()
    road.flow()
    try:
        while time.monotonic() < began + SECONDS:
            name = road.rng.choice(sorted(ANY))
            counts[name] += 1
            ANY[name](road)
            road.flow(50)
            road.rest(_PAUSE_MAX_S)
    finally:
        facts = {f"'{name}'": n for name, n in sorted(counts.items())}
        report(capsys, "faults of the road", FAULT_SEED=SEED, faults=counts.total(), **facts)
    tell(capsys, "whatever happens", began, road.finish())


def tell(
    capsys: pytest.CaptureFixture[str], title: str, began: float, accounts: dict[str, Any]
) -> None:
    named = ("records_made", "records_in_doubt", "frames_resent", "connections", "timeouts")
    report(
        capsys,
        title,
        FAULT_SEED=SEED,
        seconds=round(time.monotonic() - began),
        stored=accounts["verified"]["stored"],
        **{name: accounts[name] for name in (*named, "connections_lost")},
    )

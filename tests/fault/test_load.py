"""A slow Postgres: the backlog waits in Redis, not in our memory."""

from typing import Final

import psutil
import pytest

from fault.fleet import Fleet, Mixture
from fault.stand import Stand

N_ENTRIES: Final = 20_000
N_WRITES: Final = 20
RSS_MAX_MB: Final = 120
GROWTH_MAX_MB: Final = 20

# Each statement of a write takes longer by as much, twice.
LATENCY_S: Final = 0.02


def rss_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1e6


@pytest.mark.slow
def test_memory_stays_bounded_while_a_slow_postgres_lets_the_backlog_grow(stand: Stand) -> None:
    fleet = Fleet(seed=50, mixture=Mixture(damaged=0.0, devices=100))
    settings = {"BATCH_FRAMES": "400", "WRITE_TIMEOUT_MS": "5000", "CLAIM_THRESHOLD_MS": "20000"}
    with stand.reading(**settings) as processor:
        stand.publish(fleet.entries(2000))
        stand.drain()
        warm_mb = rss_mb(processor.pid)
        stand.postgres_wire.delay(LATENCY_S, LATENCY_S)
        written = len(committed(processor.events))
        stand.publish(fleet.entries(N_ENTRIES))
        seen_mb = []
        for number in range(written + 1, written + N_WRITES):
            processor.wait_for(
                "batch.committed", lambda _, n=number: len(committed(processor.events)) >= n
            )
            seen_mb.append(rss_mb(processor.pid))
            (group,) = stand.telemetry.client.xinfo_groups("telemetry:teltonika")
            # What is read and not settled is bounded; the rest waits unread.
            assert group["pending"] < 4000
        assert group["lag"] > N_ENTRIES / 2
        stand.postgres_wire.heal()
        stand.drain(processor)
    assert max(seen_mb) < RSS_MAX_MB, f"{max(seen_mb):.0f} MB"
    assert max(seen_mb) - warm_mb < GROWTH_MAX_MB, f"{warm_mb:.0f} to {max(seen_mb):.0f} MB"
    stand.assert_balanced(fleet)


def committed(events: list[dict[str, object]]) -> list[dict[str, object]]:
    return [event for event in events if event["event"] == "batch.committed"]

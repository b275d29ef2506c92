"""Do the clocks of all parties agree?"""

from collections.abc import Iterator, Sequence
from typing import Final

from teltonika_processor.clocks import ClockReading
from teltonika_processor.doctor.findings import Check, Finding, Party

_WHY: Final = (
    "whether a device's clock is impossible, ages, lag and freshness are told by comparing clocks "
    "of different machines"
)

REDIS = Check(Party.CLOCKS, "redis", _WHY)
POSTGRES = Check(Party.CLOCKS, "postgres", _WHY)
REDIS_POSTGRES = Check(Party.CLOCKS, "redis-postgres", _WHY)
GATEWAY = Check(
    Party.CLOCKS,
    "gateway",
    "received_at is the gateway's clock, and records too far ahead of it are stored as suspect",
)

_WARN_MS: Final = 1_000.0
_FAIL_MS: Final = 60_000.0
_REMEDY: Final = "let all machines ask the same time servers: timedatectl, chronyc tracking"


def clock_findings(
    redis: ClockReading | None,
    postgres: ClockReading | None,
    gateway_lags_ms: Sequence[int] | None,
) -> Iterator[Finding]:
    """What is known of each pair; clocks that were not read are left out."""
    if redis is not None:
        yield _pair(REDIS, redis, "this host")
    if postgres is not None:
        yield _pair(POSTGRES, postgres, "this host")
    if redis is not None and postgres is not None:
        yield _pair(REDIS_POSTGRES, redis.less(postgres), "Postgres")
    if gateway_lags_ms:
        yield _gateway(gateway_lags_ms)


def _pair(check: Check, reading: ClockReading, other: str) -> Finding:
    known = f"(known to {reading.uncertainty_ms:.1f} ms)"
    found = f"{_apart(reading.offset_ms)} {other} {known}"
    return _judged(check, reading.apart_ms, found)


def _gateway(lags_ms: Sequence[int]) -> Finding:
    """The entry that came the quickest counts: others may have waited in the gateway."""
    closest = min(lags_ms, key=abs)
    found = f"{_apart(-closest)} Redis, by the newest entries"
    if closest > _WARN_MS:
        return GATEWAY.warning(f"{found}, unless they waited that long for Redis", _REMEDY)
    return _judged(GATEWAY, -closest, found)


def _judged(check: Check, apart_ms: float, found: str) -> Finding:
    if apart_ms > _FAIL_MS:
        return check.failure(found, _REMEDY)
    if apart_ms > _WARN_MS:
        return check.warning(found, _REMEDY)
    return check.ok(found)


def _apart(offset_ms: float) -> str:
    amount = abs(offset_ms)
    text = f"{amount / 1e3:,.1f} s" if amount >= 1e3 else f"{amount:.1f} ms"
    return f"{text} {'ahead of' if offset_ms >= 0 else 'behind'}"

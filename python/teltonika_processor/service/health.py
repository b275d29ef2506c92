"""Whether the process lives, whether it may be given work, and what it knows. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor import events
from teltonika_processor.figures import AuditFigures, GroupFigures, StateFigures

# Bound: the longest silence that is no fault is one write up to its deadline and one wait between
# two tries; a busy machine may stretch that, and a restart too early helps nobody.
_WEDGED_FLOOR_S: Final = 60.0
_WEDGED_WRITES: Final = 4

_UNASKED: Final[Mapping[str, str]] = {
    "redis_reachable": "Redis was not asked yet.",
    "postgres_writable": "Postgres was not asked yet.",
}
_AWAY: Final[Mapping[str, str]] = {
    "redis_reachable": "Redis is not reachable: ",
    "postgres_writable": "Postgres is not writable: ",
}
# What a retry of this stage says is away.
_FACT_OF: Final[Mapping[events.Stage, str]] = {
    "read": "redis_reachable",
    "sink": "postgres_writable",
}


def wedged_after_s(write_timeout_s: float) -> float:
    """How long the pipeline may show no progress before it is taken for wedged."""
    return max(_WEDGED_FLOOR_S, _WEDGED_WRITES * write_timeout_s)


class Liveness:
    """Whether a restart would help.

    That the answer arrives proves that the event loop turns. Redis and Postgres are not asked:
    waiting for them in bounded steps is progress, and a restart would not bring them back.

    Args:
        wedged_after_s: A pipeline that showed no progress for longer hangs.
    """

    def __init__(self, wedged_after_s: float) -> None:
        self._wedged_after_s: Final = wedged_after_s
        self._progress_age_s: Callable[[], float] | None = None

    def watch(self, progress_age_s: Callable[[], float]) -> None:
        """The pipeline runs from now on; before, the loop's turning is all that is asked for."""
        self._progress_age_s = progress_age_s

    def failings(self) -> Sequence[str]:
        """Why the process is dead, as sentences; empty: it lives."""
        age_s = self._progress_age_s() if self._progress_age_s is not None else 0.0
        if age_s < self._wedged_after_s:
            return ()
        allowed = f"at most {self._wedged_after_s:.0f} s are allowed."
        return (f"The pipeline showed no progress for {age_s:.0f} s; {allowed}",)


class Readiness:
    """Whether the process can settle entries now: facts, each with the sentence of its failing."""

    def __init__(self) -> None:
        # None: the fact holds.
        self._failings: Final[dict[str, str | None]] = {
            "redis_reachable": _UNASKED["redis_reachable"],
            "group_exists": "The consumer group was not looked for yet.",
            "postgres_writable": _UNASKED["postgres_writable"],
            "migrations_current": "The schema was not checked yet.",
            "not_draining": None,
        }
        self.breaker_is_open = False
        # What a retry of the start said, until it succeeds or the watch asks.
        self._waited_for: Final[dict[str, str]] = {}

    @property
    def is_ready(self) -> bool:
        """Whether every fact holds; an open breaker is no reason, since it probes by itself."""
        return not any(self._failings.values())

    def failings(self) -> Sequence[str]:
        """Why the process is not ready, as sentences; empty: it is."""
        return [failing for failing in self._failings.values() if failing]

    def facts(self) -> Mapping[str, bool]:
        """Each fact by its name, and whether it holds."""
        return {name: failing is None for name, failing in self._failings.items()}

    def known(self, fact: str) -> bool | None:
        """Whether a server does its part; None: it was not asked yet."""
        failing = self._failings[fact]
        return None if failing == _UNASKED[fact] else failing is None

    def redis_answered(self, *, group_exists: bool) -> None:
        """Redis told whether the group exists."""
        self._failings["redis_reachable"] = None
        self._failings["group_exists"] = (
            None if group_exists else "The consumer group does not exist."
        )

    def redis_failed(self, why: str) -> None:
        """Redis did not answer; of the group nothing new is known."""
        self._failings["redis_reachable"] = _AWAY["redis_reachable"] + why

    def postgres_answered(self, why_not: str | None) -> None:
        """Postgres can be written (None), or why it cannot."""
        self._failings["postgres_writable"] = (
            None if why_not is None else _AWAY["postgres_writable"] + why_not
        )

    def see(self, event: events.Event) -> None:
        """Take from an event what it says at once, before anybody asks a server again."""
        match event:
            case events.SchemaChecked():
                self._failings["migrations_current"] = None
            case events.GroupMissing():
                self.redis_answered(group_exists=False)
            case events.GroupCreated():
                self.redis_answered(group_exists=True)
            case events.RetryScheduled():
                self._see_retry(event)
            case events.RetrySucceeded():
                self._see_success(event)
            case events.ConsumerDraining():
                self._failings["not_draining"] = f"Draining: {event.reason}."
            case events.BreakerOpened() | events.BreakerClosed():
                self.breaker_is_open = isinstance(event, events.BreakerOpened)
            case _:
                pass

    def _see_retry(self, event: events.RetryScheduled) -> None:
        """At the start, before the watch asks, this says which server is waited for."""
        fact = _FACT_OF.get(event.stage)
        if fact and self._failings[fact] == _UNASKED[fact]:
            self._waited_for[fact] = self._failings[fact] = _AWAY[fact] + event.error

    def _see_success(self, event: events.RetrySucceeded) -> None:
        """What was waited for is there; whether it holds is for the watch to say."""
        fact = _FACT_OF.get(event.stage, "")
        waited_for = self._waited_for.pop(fact, None)
        if waited_for is not None and self._failings[fact] == waited_for:
            self._failings[fact] = _UNASKED[fact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a running pipeline at one moment.

    `totals` is a dataclass of counts; `group` is None where Redis could not be asked.
    """

    totals: Mapping[str, int]
    in_flight_entries: int
    progress_age_s: float
    group: GroupFigures | None
    state: StateFigures


def status(
    *,
    about: Mapping[str, object],
    settings: Mapping[str, object],
    readiness: Readiness,
    liveness: Liveness,
    seen: Seen | None,
) -> dict[str, object]:
    """The document of /status, ready for JSON.

    Args:
        about: Version, names, times of this process.
        settings: The effective values, without secrets.
        readiness: The facts and why some fail.
        liveness: Whether the pipeline progresses.
        seen: None before the pipeline runs.
    """
    return {
        **about,
        "alive": not liveness.failings(),
        "ready": readiness.is_ready,
        "failings": [*liveness.failings(), *readiness.failings()],
        "facts": {**readiness.facts(), "breaker_open": readiness.breaker_is_open},
        "pipeline": None if seen is None else _pipeline(seen),
        "settings": dict(settings),
    }


def _pipeline(seen: Seen) -> dict[str, object]:
    return {
        "totals": dict(seen.totals),
        "in_flight_entries": seen.in_flight_entries,
        "progress_age_s": round(seen.progress_age_s, 3),
        "group": None if seen.group is None else _group(seen.group),
        "device_state": _state(seen.state),
    }


def _group(group: GroupFigures) -> dict[str, Any]:
    """The fields that the metrics have too, in the same units."""
    return {
        "exists": group.group_exists,
        "lag_entries": group.lag_entries,
        "lag_s": _finite(group.lag_s),
        "pending_entries": group.pending,
        "oldest_pending_s": _finite(group.oldest_pending_s),
        "consumers": group.consumers,
        "stream_entries": group.stream_entries,
        "stream_bytes": group.stream_bytes,
        "acknowledged_entries": group.acknowledged,
        "dead_lettered_entries": group.dead_lettered,
        "audit": None if group.audit is None else _audit(group.audit),
    }


def _audit(audit: AuditFigures) -> dict[str, Any]:
    return {
        "at_s": audit.at_s,
        "entries": audit.entries,
        "missing_entries": audit.missing_entries,
        "missing_records": audit.missing_records,
    }


def _state(state: StateFigures) -> dict[str, int]:
    return {
        "devices": state.n_devices,
        "bytes": state.n_bytes,
        "hits": state.hits,
        "misses": state.misses,
        "evictions": state.evictions,
    }


def _finite(value: float) -> float | None:
    """JSON has no word for what is not a number."""
    return round(value, 3) if math.isfinite(value) else None

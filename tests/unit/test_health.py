"""Liveness, readiness and the document of /status, without a server."""

import json

import pytest

from figures import Audit, Group, State
from teltonika_processor import events
from teltonika_processor.service.health import (
    Liveness,
    Readiness,
    Seen,
    status,
    wedged_after_s,
)

FACTS = [
    "redis_reachable",
    "group_exists",
    "postgres_writable",
    "migrations_current",
    "not_draining",
]

SCHEMA_CHECKED = events.SchemaChecked(applied=(), migrated=True)
DRAINING = events.ConsumerDraining(reason="SIGTERM", in_flight_entries=3)
OPENED = events.BreakerOpened(devices=20, failed=30, entries=40, codes={"decoder_bug": 30})
CLOSED = events.BreakerClosed(open_s=3.0, probes=1)


def ready() -> Readiness:
    readiness = Readiness()
    readiness.see(SCHEMA_CHECKED)
    readiness.redis_answered(group_exists=True)
    readiness.postgres_answered(None)
    return readiness


def failing(readiness: Readiness) -> list[str]:
    return [name for name, holds in readiness.facts().items() if not holds]


# Liveness


def test_before_the_pipeline_runs_an_answering_loop_is_alive() -> None:
    assert Liveness(60.0).failings() == ()


def test_a_pipeline_is_alive_until_its_progress_is_too_old() -> None:
    age_s = 0.0
    liveness = Liveness(60.0)
    liveness.watch(lambda: age_s)
    age_s = 59.9
    assert liveness.failings() == ()
    age_s = 60.0
    assert liveness.failings() == (
        "The pipeline showed no progress for 60 s; at most 60 s are allowed.",
    )
    age_s = 0.1
    assert liveness.failings() == ()


@pytest.mark.parametrize(
    ("write_timeout_s", "wedged_s"), [(5.0, 60.0), (0.25, 60.0), (300.0, 1200.0)]
)
def test_a_write_up_to_its_deadline_is_no_hang(write_timeout_s: float, wedged_s: float) -> None:
    assert wedged_after_s(write_timeout_s) == wedged_s


# Readiness


def test_a_process_that_has_asked_nobody_is_not_ready() -> None:
    readiness = Readiness()
    assert failing(readiness) == FACTS[:4]
    assert list(readiness.failings()) == [
        "Redis was not asked yet.",
        "The consumer group was not looked for yet.",
        "Postgres was not asked yet.",
        "The schema was not checked yet.",
    ]


@pytest.mark.parametrize(
    ("stage", "failing_of_it"),
    [("sink", "Postgres is not writable: refused"), ("read", "Redis is not reachable: refused")],
)
def test_a_server_that_the_start_waits_for_is_told(stage: events.Stage, failing_of_it: str) -> None:
    retry = events.RetryScheduled(
        stage=stage, attempt=1, wait_s=0.1, error_type="SinkUnavailable", error="refused"
    )
    success = events.RetrySucceeded(stage=stage, attempts=1, outage_s=0.1)
    readiness = Readiness()
    readiness.see(retry)
    assert failing_of_it in readiness.failings()
    # It came; the start goes on, and waits for the other one perhaps.
    readiness.see(success)
    assert list(readiness.failings()) == list(Readiness().failings())
    # Once it was asked itself, a single retry says nothing.
    asked = ready()
    asked.see(retry)
    assert asked.is_ready
    asked.see(success)
    assert asked.is_ready


def test_a_process_with_every_fact_is_ready() -> None:
    assert ready().is_ready
    assert list(ready().failings()) == []
    assert list(ready().facts()) == FACTS


def test_redis_away_is_told_with_its_reason_and_says_nothing_of_the_group() -> None:
    readiness = ready()
    readiness.redis_failed("connection refused")
    assert not readiness.is_ready
    assert list(readiness.failings()) == ["Redis is not reachable: connection refused"]
    readiness.redis_answered(group_exists=True)
    assert readiness.is_ready


def test_a_group_that_is_gone_is_told() -> None:
    readiness = ready()
    readiness.redis_answered(group_exists=False)
    assert list(readiness.failings()) == ["The consumer group does not exist."]


def test_a_read_only_postgres_is_told_with_its_reason() -> None:
    readiness = ready()
    readiness.postgres_answered("the server is a standby.")
    assert list(readiness.failings()) == ["Postgres is not writable: the server is a standby."]
    readiness.postgres_answered(None)
    assert readiness.is_ready


def test_a_drain_is_told_for_good() -> None:
    readiness = ready()
    readiness.see(DRAINING)
    readiness.redis_answered(group_exists=True)
    assert list(readiness.failings()) == ["Draining: SIGTERM."]


def test_a_group_that_the_reader_misses_is_told_before_the_next_look() -> None:
    readiness = ready()
    readiness.see(events.GroupMissing(stream="s", group="g"))
    assert failing(readiness) == ["group_exists"]
    readiness.see(events.GroupCreated(stream="s", group="g"))
    assert readiness.is_ready


def test_an_open_breaker_is_said_but_is_no_reason() -> None:
    readiness = ready()
    readiness.see(OPENED)
    assert readiness.breaker_is_open
    assert readiness.is_ready
    readiness.see(CLOSED)
    assert not readiness.breaker_is_open


# /status


def document(readiness: Readiness, liveness: Liveness, seen: Seen | None) -> dict[str, object]:
    whole = status(
        about={"version": "1.2.3", "consumer": "one"},
        settings={"WRITERS": 2},
        readiness=readiness,
        liveness=liveness,
        seen=seen,
    )
    loaded: dict[str, object] = json.loads(json.dumps(whole, allow_nan=False))
    return loaded


def test_status_before_the_pipeline_runs() -> None:
    assert document(Readiness(), Liveness(60.0), None) == {
        "version": "1.2.3",
        "consumer": "one",
        "alive": True,
        "ready": False,
        "failings": [
            "Redis was not asked yet.",
            "The consumer group was not looked for yet.",
            "Postgres was not asked yet.",
            "The schema was not checked yet.",
        ],
        "facts": {
            "redis_reachable": False,
            "group_exists": False,
            "postgres_writable": False,
            "migrations_current": False,
            "not_draining": True,
            "breaker_open": False,
        },
        "pipeline": None,
        "settings": {"WRITERS": 2},
    }


def test_status_of_a_pipeline() -> None:
    liveness = Liveness(60.0)
    liveness.watch(lambda: 90.0)
    seen = Seen(
        totals={"entries": 5, "stored": 4},
        in_flight_entries=2,
        progress_age_s=90.00049,
        group=Group(lag_s=float("inf"), audit=Audit()),
        state=State(n_devices=1, n_bytes=150, hits=3, misses=2, evictions=0),
    )
    found = document(ready(), liveness, seen)
    assert (found["alive"], found["ready"]) == (False, True)
    assert found["failings"] == [
        "The pipeline showed no progress for 90 s; at most 60 s are allowed."
    ]
    assert found["pipeline"] == {
        "totals": {"entries": 5, "stored": 4},
        "in_flight_entries": 2,
        "progress_age_s": 90.0,
        "group": {
            "exists": True,
            "lag_entries": 7,
            "lag_s": None,
            "pending_entries": 11,
            "oldest_pending_s": 2.5,
            "consumers": 3,
            "stream_entries": 5000,
            "stream_bytes": 123456,
            "acknowledged_entries": 4900,
            "dead_lettered_entries": 13,
            "audit": {
                "at_s": 1_790_000_000.5,
                "entries": 4000,
                "missing_entries": 5,
                "missing_records": 17,
            },
        },
        "device_state": {"devices": 1, "bytes": 150, "hits": 3, "misses": 2, "evictions": 0},
    }


def test_status_says_where_the_group_is_not_known() -> None:
    seen = Seen(totals={}, in_flight_entries=0, progress_age_s=0.1, group=None, state=State())
    pipeline = document(ready(), Liveness(60.0), seen)["pipeline"]
    assert isinstance(pipeline, dict)
    assert pipeline["group"] is None

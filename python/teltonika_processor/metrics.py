"""What the processor counts.

Counters and histograms are derived from the very events that are logged, so the two cannot
disagree; gauges are set by whoever looks. No label says a device, an entry or a consumer, and every
value of a label is known before the first event, so the page is bounded.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, get_args

from teltonika_processor import events
from teltonika_processor.errors import RETRY_CAUSES
from teltonika_processor.exposition import OTHER, Kept, Maker
from teltonika_processor.figures import (
    DumpFigures,
    FoldingFigures,
    GroupFigures,
    PartitionFigures,
    StateFigures,
)
from teltonika_processor.gauges import (
    StateGauges,
    audit_gauges,
    dumps_gauges,
    folding_gauges,
    group_gauges,
    partitions_gauges,
    servers_gauges,
    show,
)

LOG_ONLY: Final[frozenset[type[events.Event]]] = frozenset(
    {
        events.SettingMistyped,
        events.SchemaChecked,
        events.ConsumerRenamed,
        events.ConsumerNameLost,
        events.ConsumerStarting,
        events.ConsumerStarted,
        events.ConsumerDraining,
        events.ConsumerRemoved,
        events.ConsumerStopped,
        events.DeviceRehydrated,
        events.ZonesLoaded,
        events.EditsFinished,
        events.FoldFailed,  # rate-limited: `Metrics.retried` counts them all
        events.GroupRewound,
        events.FrameRejected,  # rate-limited: EntriesJudged counts them all
        events.EntryDeadLettered,  # rate-limited: EntriesJudged counts them all
        events.EntrySuspected,  # rate-limited: TrialBegun counts them all
        events.RetryScheduled,  # rate-limited: `Metrics.retried` counts them all
        events.RetrySucceeded,
        events.HttpStarted,
        events.HttpPortTaken,
        events.ServiceFailed,
    }
)
"""Events that no metric needs; every other one is counted."""

_SOURCES: Final = ("new", "own", "claimed")

_STAGES: Final = ("read", "decode", "state", "sink", "xack", "dead_letter")

# Bound: 10 series a stage. From a warm read (1 ms) past the write deadline (5 s).
_STAGE_BUCKETS_S: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)

# From a commit at once (10 ms) to a long outage that is being caught up with (an hour).
_AGE_BUCKETS_S: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0)

# From a device or two to the objective of 20 ms, and past it.
_FOLD_LOCK_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0)

# From a device or two on a quiet machine to a year that is derived again.
_FOLD_BUCKETS_S: Final = (0.002, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)

# From at once, past the objective of 100 ms, to a server that was away.
_FOLD_LAG_BUCKETS_S: Final = (0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 60.0, 600.0)

_CHANGES_OF_MEMBERSHIP: Final = ("initial", "enter", "exit")
_CROSSINGS: Final = {
    "circle": _CHANGES_OF_MEMBERSHIP,
    "polygon": _CHANGES_OF_MEMBERSHIP,
    "gate": ("cross",),
}
_REVISION_CAUSES: Final = ("late_data", "zone_edit", "rerun")

# What is tried again, and the causes that each can have.
_STREAM_CAUSES: Final = ("away", "group_missing")
_CAUSES_BY_STAGE: Final[Mapping[str, tuple[str, ...]]] = {
    "read": _STREAM_CAUSES,
    "xack": _STREAM_CAUSES,
    "dead_letter": _STREAM_CAUSES,
    "sink": tuple(cause for cause in RETRY_CAUSES if cause != "group_missing"),
    "fold": tuple(cause for cause in RETRY_CAUSES if cause not in {"group_missing", "partition"}),
}

SomeEvent = TypeVar("SomeEvent", bound=events.Event)


class Metrics:
    """The metrics of one process; use it on the loop's thread.

    Args:
        version: Of this package.
        reject_codes: The closed catalogue; a code that is not in it is counted as ``other``.
        wall_clock_ms: Unix milliseconds, for the age of what is committed.
    """

    def __init__(
        self, *, version: str, reject_codes: Sequence[str], wall_clock_ms: Callable[[], int]
    ) -> None:
        self._make: Final = Maker()
        self._wall_clock_ms: Final = wall_clock_ms
        self._handlers: Final[dict[type[events.Event], Callable[[Any], None]]] = {}
        self._stage_s: Final = self._make.histograms(
            "stage_duration_seconds",
            "Time of a batch's step",
            _STAGE_BUCKETS_S,
            "stage",
            _STAGES,
        )
        self._in_flight: Final = self._make.gauge(
            "entries_in_flight", "Entries between their read and their XACK"
        )
        self._define_reading()
        self._define_committing()
        self._define_judging(reject_codes)
        self._define_group_events()
        self._define_warnings()
        self._define_retention()
        self._define_folding()
        self._define_dumps()
        self._retries: Final = _define_retries(self._make)
        self._group: Final = group_gauges(self._make)
        self._audit: Final = audit_gauges(self._make)
        self._servers: Final = servers_gauges(self._make)
        self._partitions: Final = partitions_gauges(self._make)
        self._folding: Final = folding_gauges(self._make)
        self._dumps: Final = dumps_gauges(self._make)
        self._state: Final = StateGauges(self._make)
        self._loop_lag_s: Final = self._make.loop_lag()
        self._make.process(version)

    def count(self, event: events.Event) -> None:
        """Count what the event says; an event that is only logged changes nothing."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    @property
    def counted(self) -> frozenset[type[events.Event]]:
        """The events that `count` counts."""
        return frozenset(self._handlers)

    def retried(self, stage: events.Stage, cause: str) -> None:
        """One more try failed; the log line about it is rate-limited, this is not."""
        self._retries[stage][cause].inc()

    def group_seen(self, figures: GroupFigures | None) -> None:
        """The group's figures as of now; None: Redis could not be asked."""
        show(self._group, figures)
        show(self._audit, None if figures is None else figures.audit)

    def partitions_seen(self, figures: PartitionFigures | None) -> None:
        """The partitions as of now; None: Postgres could not be asked."""
        show(self._partitions, figures)

    def folding_seen(self, figures: FoldingFigures) -> None:
        """What is yet to be folded as of now."""
        show(self._folding, figures)

    def servers_seen(self, *, redis: bool | None, postgres: bool | None, ready: bool) -> None:
        """Whether the servers do their part, None: not asked yet; and what /readyz says."""
        for gauge, value in zip(self._servers, (redis, postgres, ready), strict=True):
            gauge.set(math.nan if value is None else value)

    def in_flight_seen(self, entries: int) -> None:
        """Entries in flight as of now."""
        self._in_flight.set(entries)

    def state_seen(self, figures: StateFigures) -> None:
        """The device state as of now; its totals never fall."""
        self._state.seen(figures)

    def dumps_seen(self, figures: DumpFigures) -> None:
        """The files in PANIC_DUMP_DIR as of now."""
        show(self._dumps, figures)

    def loop_late(self, late_s: float) -> None:
        """A sleep on the event loop ended so late."""
        self._loop_lag_s.observe(max(0.0, late_s))

    def render(self) -> Iterator[bytes]:
        """The page in Prometheus' text format, metric by metric, each made when it is asked for.

        A page takes longer than the event loop may stand still.
        """
        return self._make.render()

    # Each counter beside the event that it counts

    def _on(self, kind: type[SomeEvent], handler: Callable[[SomeEvent], None]) -> None:
        self._handlers[kind] = handler

    def _define_reading(self) -> None:
        make, stage_s = self._make, self._stage_s
        read = make.counters("entries_read", "Entries delivered to us", "source", _SOURCES)
        decoded = make.counter("records_decoded", "AVL records of the entries read")
        n_bytes = make.counter("entries_read_bytes", "Bytes of the entries read")
        reclaimed = make.counter("entries_reclaimed", "Idle pending entries taken over")
        kept = make.counter("entries_heartbeat", "Entries in flight for long and kept ours")

        def entries_read(event: events.EntriesRead) -> None:
            read[event.source].inc(event.count)
            self._in_flight.set(event.in_flight + event.count)
            stage_s["read"].observe(event.duration_ms / 1e3)

        def batch_decoded(event: events.BatchDecoded) -> None:
            decoded.inc(event.records)
            n_bytes.inc(event.bytes)
            stage_s["decode"].observe(event.duration_ms / 1e3)

        self._on(events.EntriesRead, entries_read)
        self._on(events.BatchDecoded, batch_decoded)
        self._on(events.EntriesReclaimed, lambda event: reclaimed.inc(event.count))
        self._on(events.HeartbeatSent, lambda event: kept.inc(event.kept))

    def _define_committing(self) -> None:
        make, stage_s = self._make, self._stage_s
        stored = make.counter("records_stored", "AVL records that became rows")
        duplicates = make.counter("records_duplicate", "AVL records that Postgres already held")
        again = make.counter("records_retransmitted", "AVL records recognised before Postgres")
        suspect = make.counter("records_clock_suspect", "AVL records with an impossible clock")
        fallbacks = make.counter("copy_fallbacks", "Batches written again through a table")
        rehydrated = make.counter("devices_rehydrated", "Devices looked up in last_position")
        age_s = make.histogram(
            "commit_age_seconds", "Age of a batch's newest entry at its commit", _AGE_BUCKETS_S
        )
        last_s = make.gauge(
            "last_committed_timestamp_seconds", "Unix time of the last commit", math.nan
        )

        def batch_committed(event: events.BatchCommitted) -> None:
            now_ms = self._wall_clock_ms()
            stored.inc(event.stored)
            duplicates.inc(event.duplicates)
            again.inc(event.retransmitted)
            suspect.inc(event.suspect)
            fallbacks.inc(event.fell_back)
            if event.records == event.retransmitted:
                return  # Postgres was not asked
            stage_s["sink"].observe(event.duration_ms / 1e3)
            age_s.observe(max(0, now_ms - event.received_at_max_ms) / 1e3)
            last_s.set(now_ms / 1e3)

        def devices_rehydrated(event: events.DevicesRehydrated) -> None:
            rehydrated.inc(event.devices)
            stage_s["state"].observe(event.duration_ms / 1e3)

        self._on(events.BatchCommitted, batch_committed)
        self._on(events.DevicesRehydrated, devices_rehydrated)

    def _define_judging(self, codes: Sequence[str]) -> None:
        make, stage_s = self._make, self._stage_s
        failed = make.counters("entries_failed", "Failures of entries that wait", "code", codes)
        moved = make.counters("entries_dead_lettered", "Dead letters written", "code", codes)
        xacked = make.counter("entries_xacked", "Settled entries acknowledged to Redis")
        vanished = make.counter("entries_vanished", "Pending entries whose payload was trimmed")

        def entries_judged(event: events.EntriesJudged) -> None:
            for children, counts in ((failed, event.kept), (moved, event.dead_lettered)):
                for code, n in counts.items():
                    children[code].inc(n)
            stage_s["dead_letter"].observe(event.duration_ms / 1e3)

        def entries_xacked(event: events.EntriesXacked) -> None:
            xacked.inc(event.count)
            stage_s["xack"].observe(event.duration_ms / 1e3)

        def entries_vanished(event: events.EntriesVanished) -> None:
            vanished.inc(event.count)
            moved["payload_trimmed"].inc(event.claim_letters)

        self._on(events.EntriesJudged, entries_judged)
        self._on(events.EntriesVanished, entries_vanished)
        self._on(events.EntriesXacked, entries_xacked)

    def _define_group_events(self) -> None:
        make = self._make
        missing = make.counter("group_missing", "Times that the group was gone")
        created = make.counter("group_created", "Times that we made the group")
        trimmed = make.counter("entries_trimmed", "Acknowledged entries trimmed")
        reaped = make.counter("consumers_reaped", "Names of dead consumers removed")
        oversized = make.counter("stream_oversized", "Minutes in which all of it was needed")
        self._on(events.StreamOversized, lambda _: oversized.inc())
        self._on(events.GroupMissing, lambda _: missing.inc())
        self._on(events.GroupCreated, lambda _: created.inc())
        self._on(events.StreamTrimmed, lambda event: trimmed.inc(event.count))
        self._on(events.ConsumersReaped, lambda event: reaped.inc(len(event.consumers)))

    def _define_warnings(self) -> None:
        make = self._make
        suspected = make.counter("entries_suspected", "Times that an entry was tried alone")
        aside = make.counter("batches_set_aside", "Times that a batch waited for a partition")
        ended = make.counter("sessions_ended", "Postgres sessions of ours that were ended")
        doubts = make.counter("server_doubts", "Findings that a server may lose data")
        is_open = make.gauge("breaker_open", "1 while the breaker holds the reading")
        opened = make.counter("breaker_opened", "Times that the breaker opened")

        def breaker_opened(_: events.BreakerOpened) -> None:
            opened.inc()
            is_open.set(1)

        self._on(events.TrialBegun, lambda _: suspected.inc())
        self._on(events.BatchSetAside, lambda _: aside.inc())
        self._on(events.SessionsEnded, lambda event: ended.inc(event.count))
        self._on(events.ServerDoubted, lambda _: doubts.inc())
        self._on(events.BreakerOpened, breaker_opened)
        self._on(events.BreakerClosed, lambda _: is_open.set(0))

    def _define_retention(self) -> None:
        make = self._make
        dropped = make.counter("partitions_dropped", "Partitions dropped as old")
        deferred = make.counter("partitions_deferred", "Times that an old one could not be dropped")
        self._on(events.PartitionsDropped, lambda event: dropped.inc(event.count))
        self._on(events.PartitionsDeferred, lambda event: deferred.inc(event.count))

    def _define_folding(self) -> None:
        make = self._make
        folds = make.counter("folds", "Groups of devices whose crossings were derived")
        devices = make.counter("devices_folded", "Devices of them that were done")
        passed_over = make.counter("devices_passed_over", "Devices to be tried again")
        segments = make.counter("segments_folded", "Segments that were looked at")
        duration_s = make.histogram("fold_duration_seconds", "Time of a fold", _FOLD_BUCKETS_S)
        lock_s = make.histogram(
            "fold_lock_seconds", "Time for which a fold held its marks", _FOLD_LOCK_BUCKETS_S
        )
        lag_s = make.histogram(
            "fold_lag_seconds", "From a mark to the commit of its fold", _FOLD_LAG_BUCKETS_S
        )
        family = make.family("crossings_written", "Crossings new or changed", ("zone", "kind"))
        written = {
            (zone, kind): family.labels(zone, kind)
            for zone, kinds in _CROSSINGS.items()
            for kind in kinds
        }
        family = make.family("crossings_revised", "Crossings replaced", ("cause",))
        revised = {cause: family.labels(cause) for cause in _REVISION_CAUSES}

        def fold_committed(event: events.FoldCommitted) -> None:
            folds.inc()
            devices.inc(event.devices)
            passed_over.inc(event.passed_over)
            segments.inc(event.segments)
            duration_s.observe(event.duration_ms / 1e3)
            if event.locked_ms is not None:
                lock_s.observe(event.locked_ms / 1e3)
            if event.lag_ms is not None:
                lag_s.observe(event.lag_ms / 1e3)
            for zone, counts in event.crossings.items():
                for kind, n in counts.items():
                    written[zone, kind].inc(n)
            for cause, n in event.revisions.items():
                revised[cause].inc(n)

        self._on(events.FoldCommitted, fold_committed)

    def _define_dumps(self) -> None:
        make = self._make
        dumps = make.counter("panic_dumps", "Dump files written")

        def panic_dumped(_: events.PanicDumped) -> None:
            dumps.inc()
            self._dumps["newest_s"].set(self._wall_clock_ms() / 1e3)

        self._on(events.PanicDumped, panic_dumped)


def _define_retries(make: Maker) -> Mapping[str, Kept]:
    """By stage, then by cause."""
    family = make.family("retries", "Tries that failed", ("stage", "cause"))
    return {
        stage: Kept({cause: family.labels(stage, cause) for cause in (*causes, OTHER)})
        for stage, causes in ((s, _CAUSES_BY_STAGE.get(s, ())) for s in get_args(events.Stage))
    }

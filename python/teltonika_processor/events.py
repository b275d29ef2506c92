"""What the service says of itself: one frozen dataclass an event.

The grammar of the names is ``<noun>.<past-tense verb>``; fields are snake_case and carry their
units. The core returns facts, the shell emits them: one call per batch, never per record.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

Level = Literal["debug", "info", "warning", "error"]
Stage = Literal["read", "decode", "batch", "state", "sink", "xack", "dead_letter", "fold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events; subclasses name themselves and their level."""

    name: ClassVar[str]
    level: ClassVar[Level]


Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingMistyped(Event):
    """An environment variable looks like a setting but is none."""

    name = "setting.mistyped"
    level = "warning"
    found: str
    likely: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChecked(Event):
    """The schema fits; `applied` names the migrations that this start applied.

    Those of `deferred` wait for `migrate --post`, once no instance of the version before runs.
    """

    name = "schema.checked"
    level = "info"
    applied: tuple[str, ...]
    migrated: bool
    newer: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()
    io_elements_changed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerRenamed(Event):
    """The wanted consumer name is held by another running instance."""

    name = "consumer.renamed"
    level = "warning"
    wanted: str
    taken: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerNameLost(Event):
    """Another instance took our consumer name while we were frozen or cut off: safe, but odd."""

    name = "consumer.name_lost"
    level = "warning"
    consumer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerStarting(Event):
    """The first line of a run: the servers that it will wait for, None: for as long as it takes."""

    name = "consumer.starting"
    level = "info"
    redis: str
    database: str
    stream: str
    waits_s: float | None
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerStarted(Event):
    """Reading begins; names what is read, so that two services that talk past each other show."""

    name = "consumer.started"
    level = "info"
    consumer: str
    group: str
    stream: str
    last_delivered_id: str
    redis: str
    database: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerDraining(Event):
    """No new read; writes in flight are finished."""

    name = "consumer.draining"
    level = "info"
    reason: str
    in_flight_entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerStopped(Event):
    """The last line of a run that was told to stop, with its accounts."""

    name = "consumer.stopped"
    level = "info"
    reason: str
    exit_code: int
    duration_s: float
    entries: int
    records: int
    stored: int
    duplicates: int
    dead_lettered: int
    in_flight_entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRewound(Event):
    """Entries come as new that were delivered before: what is remembered of devices is forgotten.

    Somebody set the group back, or it was made anew.
    """

    name = "group.rewound"
    level = "info"
    first_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCreated(Event):
    """The consumer group did not exist."""

    name = "group.created"
    level = "info"
    stream: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMissing(Event):
    """The group vanished while we read: flushed, evicted or failed over."""

    name = "group.missing"
    level = "error"
    stream: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDecoded(Event):
    """One read was decoded."""

    name = "batch.decoded"
    level = "debug"
    batch_id: int
    entries: int
    records: int
    rejects: int
    bytes: int
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCommitted(Event):
    """One transaction is durable."""

    name = "batch.committed"
    level = "debug"
    batch_id: int
    entries: int
    records: int
    stored: int
    duplicates: int
    retransmitted: int
    suspect: int
    staged: bool
    fell_back: bool
    redelivered: bool
    received_at_max_ms: int
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSetAside(Event):
    """A day cannot get its partition now: these entries wait, others go on."""

    name = "batch.set_aside"
    level = "warning"
    batch_id: int
    entries: int
    days: tuple[int, ...]
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesRehydrated(Event):
    """The state of devices that were not held came from `last_position`."""

    name = "devices.rehydrated"
    level = "debug"
    devices: int
    found: int
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRehydrated(Event):
    """An operator asked for one device's state to be dropped and loaded anew."""

    name = "device.rehydrated"
    level = "info"
    imei: int
    was_held: bool
    found: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRejected(Event):
    """An entry failed and stays pending: it is tried again when claimed.

    Rate-limited: `suppressed` more failed since the line before, all of them counted.
    """

    name = "frame.rejected"
    level = "warning"
    entry_id: str
    code: str
    offset: int
    error: str
    imei: int
    attempts: int
    suppressed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesJudged(Event):
    """Failures of one batch as counts by code: those that stay pending, those dead-lettered."""

    name = "entries.judged"
    level = "debug"
    batch_id: int
    kept: Mapping[str, int]
    dead_lettered: Mapping[str, int]
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDeadLettered(Event):
    """An entry was moved to the dead-letter stream.

    Rate-limited: `suppressed` more were moved since the line before, all of them counted.
    """

    name = "entry.dead_lettered"
    level = "warning"
    entry_id: str
    code: str
    offset: int
    error: str
    imei: int
    attempts: int
    suppressed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesXacked(Event):
    """Settled entries left the pending entries list."""

    name = "entries.xacked"
    level = "debug"
    batch_id: int
    count: int
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesRead(Event):
    """One read brought entries; `source` says whether they are new, our own pending or claimed."""

    name = "entries.read"
    level = "debug"
    source: Literal["new", "own", "claimed"]
    count: int
    in_flight: int
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesReclaimed(Event):
    """Idle pending entries of others, or of ours whose reply was lost, are ours now."""

    name = "entries.reclaimed"
    level = "info"
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntriesVanished(Event):
    """Payloads were trimmed while their entries were pending: data is lost."""

    name = "entries.vanished"
    level = "error"
    count: int
    first_id: str
    # Of their letters those that the claim itself wrote: no `entries.judged` tells of them.
    claim_letters: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySuspected(Event):
    """An entry was delivered so often that it is tried alone.

    Rate-limited: `suppressed` more were found since the line before.
    """

    name = "entry.suspected"
    level = "warning"
    entry_id: str
    deliveries: int
    trials: int
    suppressed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBegun(Event):
    """A suspect is about to be tried alone."""

    name = "trial.begun"
    level = "debug"
    entry_id: str
    trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSent(Event):
    """Entries that are legitimately in flight for long were kept ours."""

    name = "heartbeat.sent"
    level = "debug"
    entries: int
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOpened(Event):
    """Many devices fail for a cause that is not theirs: reading pauses, one entry is probed."""

    name = "breaker.opened"
    level = "error"
    devices: int
    failed: int
    entries: int
    codes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerClosed(Event):
    """A probed entry was stored: reading goes on."""

    name = "breaker.closed"
    level = "info"
    open_s: float
    probes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOversized(Event):
    """The stream is above STREAM_KEEP_BYTES, and all of it is undelivered or pending, so it stays.

    Rate-limited to one line a minute; the gauges of the stream's and the group's sizes tell more.
    """

    name = "stream.oversized"
    level = "warning"
    bytes: int
    keep_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTrimmed(Event):
    """Acknowledged entries that are no longer kept left the stream."""

    name = "stream.trimmed"
    level = "debug"
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumersReaped(Event):
    """Names of dead consumers without pending entries left the group."""

    name = "consumers.reaped"
    level = "info"
    consumers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerRemoved(Event):
    """Our name left the group: nothing of it was pending."""

    name = "consumer.removed"
    level = "info"
    consumer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerDoubted(Event):
    """A server is set up so that data may be lost."""

    name = "server.doubted"
    level = "warning"
    check: str
    found: str
    expected: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsEnded(Event):
    """Sessions of ours past their deadline were ended: a frozen instance held their locks."""

    name = "sessions.ended"
    level = "warning"
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldCommitted(Event):
    """Crossings of a group of devices were derived again.

    `lag_ms` is for how long the first of those that are done was known to be marked, null where
    none is; `crossings` are those written, by kind of zone and kind, `revisions` those replaced, by
    cause; `held` tells of a group whose marks were held from before they were read, `locked_ms` for
    how long they were held, null where none was done.
    """

    name = "fold.committed"
    level = "debug"
    devices: int
    passed_over: int
    unfinished: int
    segments: int
    changed: int
    crossings: Mapping[str, Mapping[str, int]]
    revisions: Mapping[str, int]
    held: bool
    locked_ms: float | None
    lag_ms: float | None
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldFailed(Event):
    """Crossings cannot be derived, for a cause that no waiting mends; positions are stored.

    Rate-limited to one line a minute: `suppressed` more tries failed since the line before.
    """

    name = "fold.failed"
    level = "error"
    error_type: str
    error: str
    marked: int
    suppressed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonesLoaded(Event):
    """The zones, and what is a path between two fixes, were read: the first time or anew."""

    name = "zones.loaded"
    level = "info"
    versions: int
    gap_s: float
    jump_m_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EditsFinished(Event):
    """Devices were marked for edits of zones or limits that somebody had not finished."""

    name = "edits.finished"
    level = "info"
    devices: int
    duration_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsDropped(Event):
    """Partitions older than POSITIONS_KEEP_DAYS are gone; `partitions` names the first ten.

    `rows` is the server's estimate, null where it has none. Writers waited for `longest_wait_ms` at
    most behind a try.
    """

    name = "partitions.dropped"
    level = "info"
    count: int
    partitions: tuple[str, ...]
    rows: int | None
    bytes: int
    tries: int
    longest_wait_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsDeferred(Event):
    """Partitions that are due could not be dropped; the next round tries again.

    `error` is that of the first one, `holders` are the sessions that were in the way.
    """

    name = "partitions.deferred"
    level = "warning"
    count: int
    partitions: tuple[str, ...]
    error: str
    holders: tuple[str, ...]
    tries: int
    longest_wait_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpStarted(Event):
    """Metrics and health are served here."""

    name = "http.started"
    level = "info"
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPortTaken(Event):
    """The default port is taken: another one is used."""

    name = "http.port_taken"
    level = "warning"
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PanicDumped(Event):
    """What the process knew when it failed is in this file."""

    name = "panic.dumped"
    level = "error"
    path: str
    error_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(Event):
    """A server did not do its part: said at the first failure and then once a minute."""

    name = "retry.scheduled"
    level = "warning"
    stage: Stage
    attempt: int
    wait_s: float
    error_type: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySucceeded(Event):
    """The server is back."""

    name = "retry.succeeded"
    level = "info"
    stage: Stage
    attempts: int
    outage_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFailed(Event):
    """The process stops because going on would do harm, or because it may not start."""

    name = "service.failed"
    level = "error"
    error_type: str
    error: str
    exit_code: int

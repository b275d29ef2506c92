"""What the service says of itself: one frozen dataclass an event.

The grammar of the names is ``<noun>.<past-tense verb>``; fields are snake_case and carry their
units. The core returns facts, the shell emits them: one call per batch, never per record.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

Level = Literal["debug", "info", "warning", "error"]
Stage = Literal["read", "decode", "batch", "state", "sink", "xack", "dead_letter"]


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
    """The schema fits; `applied` names the migrations that this start applied."""

    name = "schema.checked"
    level = "info"
    applied: tuple[str, ...]
    migrated: bool
    newer: tuple[str, ...]


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
    staged: bool
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

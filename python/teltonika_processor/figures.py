"""What a look at the consumer group and at the device state finds, in the units of the metrics."""

from typing import Protocol


class AuditFigures(Protocol):
    """The last recorded audit; `stream.audit_record.RecordedAudit` is one."""

    @property
    def at_s(self) -> float:
        """When it began, in Unix seconds."""

    @property
    def entries(self) -> int:
        """Entries that it looked at."""

    @property
    def missing_entries(self) -> int:
        """Those of them that nothing accounts for."""

    @property
    def missing_records(self) -> int:
        """Their records that are not in `positions`."""


class DumpFigures(Protocol):
    """The panic dumps in a directory; `service.dump_file.Dumps` is one."""

    @property
    def n_files(self) -> int:
        """How many there are."""

    @property
    def newest_s(self) -> float | None:
        """Unix time of the newest; None where there is none."""


class GroupFigures(Protocol):
    """The consumer group as Redis describes it; `stream.health.GroupHealth` is one.

    Ages are in seconds. Where the group does not exist, all its figures are 0.
    """

    @property
    def group_exists(self) -> bool:
        """Whether there is anything to read from."""

    @property
    def lag_entries(self) -> int:
        """Entries that were never delivered."""

    @property
    def lag_s(self) -> float:
        """Age of the oldest of them."""

    @property
    def pending(self) -> int:
        """Entries delivered and not acknowledged."""

    @property
    def oldest_pending_s(self) -> float:
        """Age of the oldest of them."""

    @property
    def consumers(self) -> int:
        """Names in the group."""

    @property
    def stream_entries(self) -> int:
        """Length of the stream."""

    @property
    def stream_bytes(self) -> int:
        """Memory that the stream takes in Redis."""

    @property
    def acknowledged(self) -> int:
        """Settled entries that were ever acknowledged, by all instances."""

    @property
    def dead_lettered(self) -> int:
        """Entries that were ever dead-lettered, by all instances."""

    @property
    def audit(self) -> AuditFigures | None:
        """The last audit that was recorded, whoever did it; None where there is none."""


class PartitionFigures(Protocol):
    """The partitions of `positions`; `store.partitions.Figures` is one."""

    @property
    def n_partitions(self) -> int:
        """All of them, the default one included."""

    @property
    def default_plausible_rows(self) -> int | None:
        """Plausible rows that the default partition holds, up to a bound; None: not to be read."""


class FoldingFigures(Protocol):
    """What is yet to be folded, now; `timing.folding.Folding` is one."""

    @property
    def n_due(self) -> int:
        """Marked devices that this process knows of."""

    @property
    def oldest_mark_s(self) -> float:
        """For how long it has known the first of them; 0 where there is none."""

    @property
    def n_marked(self) -> int | None:
        """Marked devices in the table when last looked, up to a bound; None: not looked yet."""

    @property
    def n_unfinished_edits(self) -> int | None:
        """Edits of zones and limits that were not finished then."""


class StateFigures(Protocol):
    """The device state, now; the native one is one."""

    @property
    def n_devices(self) -> int:
        """Devices held."""

    @property
    def n_bytes(self) -> int:
        """Memory allocated for them."""

    @property
    def hits(self) -> int:
        """Look-ups of a device that was held, since the start of the process."""

    @property
    def misses(self) -> int:
        """Look-ups of a device that was not held."""

    @property
    def evictions(self) -> int:
        """Devices dropped to make room for others."""

"""Figures as the servers and the device state would give them, and a scrape taken apart."""

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

PREFIX = "teltonika_processor_"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What `stream.audit_record.RecordedAudit` says."""

    at_s: float = 1_790_000_000.5
    entries: int = 4000
    missing_entries: int = 5
    missing_records: int = 17


@dataclass(frozen=True)
class Dumps:
    """What `service.dump_file.Dumps` says."""

    n_files: int
    newest_s: float | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """What `stream.health.GroupHealth` says; every figure is different."""

    group_exists: bool = True
    lag_entries: int = 7
    lag_s: float = 1.5
    pending: int = 11
    oldest_pending_s: float = 2.5
    consumers: int = 3
    stream_entries: int = 5000
    stream_bytes: int = 123_456
    acknowledged: int = 4900
    dead_lettered: int = 13
    audit: Audit | None = None


@dataclass(frozen=True, kw_only=True)
class Partitions:
    """What `store.partitions.Figures` says."""

    n_partitions: int = 33
    default_plausible_rows: int | None = 3


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What `timing.folding.Folding` says."""

    n_due: int = 4
    oldest_mark_s: float = 6.5
    n_marked: int | None = 8
    n_unfinished_edits: int | None = 1


@dataclass(kw_only=True)
class State:
    """What the native device state says."""

    n_devices: int = 0
    n_bytes: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0


def samples(page: bytes) -> dict[str, float]:
    """Every series of a page, without the prefix: ``name{label=value,..}`` to its value."""
    found = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            assert sample.name.startswith(PREFIX), sample.name
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            name = sample.name.removeprefix(PREFIX)
            found[f"{name}{{{labels}}}" if labels else name] = sample.value
    return found


def n_series(page: bytes) -> int:
    """How many series a page has."""
    return sum(not line.startswith(b"#") for line in page.splitlines())

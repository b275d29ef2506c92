"""What is looked at rather than counted: gauges of the group, the servers and our own memory.

A gauge is not a number while nobody knows.
"""

import math
from collections.abc import Mapping
from typing import Final

from prometheus_client import Gauge

from teltonika_processor.exposition import Maker
from teltonika_processor.figures import StateFigures


class StateGauges:
    """The device state: two gauges, and three counters that follow totals kept elsewhere."""

    def __init__(self, make: Maker) -> None:
        self._devices: Final = make.gauge("device_state_devices", "Devices whose state is held")
        self._size: Final = make.gauge("device_state_bytes", "Memory of the device state")
        self._totals: Final = {
            "hits": make.counter("device_state_hits", "Look-ups of a device that was held"),
            "misses": make.counter("device_state_misses", "Look-ups of a device that was not"),
            "evictions": make.counter("device_state_evictions", "Devices dropped for others"),
        }
        self._counted: Final = dict.fromkeys(self._totals, 0)

    def seen(self, figures: StateFigures) -> None:
        """As of now; the totals never fall."""
        self._devices.set(figures.n_devices)
        self._size.set(figures.n_bytes)
        for field, counter in self._totals.items():
            total = getattr(figures, field)
            counter.inc(total - self._counted[field])
            self._counted[field] = total


def group_gauges(make: Maker) -> Mapping[str, Gauge]:
    """By the field of `GroupFigures`; not a number until Redis has said it."""
    nan = math.nan
    return {
        "lag_entries": make.gauge("group_lag_entries", "Entries never delivered", nan),
        "lag_s": make.gauge("group_lag_seconds", "Age of the oldest of them", nan),
        "pending": make.gauge("group_pending_entries", "Entries delivered, not xacked", nan),
        "oldest_pending_s": make.gauge(
            "group_oldest_pending_seconds", "Age of the oldest pending entry", nan
        ),
        "consumers": make.gauge("group_consumers", "Names in the group", nan),
        "stream_entries": make.gauge("stream_entries", "Length of the stream", nan),
        "stream_bytes": make.gauge("stream_bytes", "Memory of the stream in Redis", nan),
        "acknowledged": make.gauge(
            "group_acknowledged_entries", "Settled entries acknowledged by all instances", nan
        ),
        "dead_lettered": make.gauge(
            "group_dead_lettered_entries", "Entries dead-lettered by all instances", nan
        ),
    }


def partitions_gauges(make: Maker) -> Mapping[str, Gauge]:
    """By the field of `PartitionFigures`; not a number until Postgres has said it."""
    nan = math.nan
    return {
        "n_partitions": make.gauge("positions_partitions", "Partitions of positions", nan),
        "default_plausible_rows": make.gauge(
            "positions_default_plausible_rows", "Plausible rows in the default partition", nan
        ),
    }


def folding_gauges(make: Maker) -> Mapping[str, Gauge]:
    """By the field of `FoldingFigures`; not a number before the first look."""
    nan = math.nan
    return {
        "n_due": make.gauge("fold_marked_devices", "Marked devices that this process knows", nan),
        "oldest_mark_s": make.gauge(
            "fold_oldest_mark_seconds", "For how long it has known the first of them", nan
        ),
        "n_marked": make.gauge("refold_marked_devices", "Marked devices in Postgres", nan),
        "n_unfinished_edits": make.gauge(
            "zones_unfinished_edits",
            "Edits of zones and limits for which devices are yet to be marked",
            nan,
        ),
    }


def audit_gauges(make: Maker) -> Mapping[str, Gauge]:
    """By the field of `AuditFigures`; not a number while nobody has recorded an audit."""
    nan = math.nan
    return {
        "at_s": make.gauge("audit_timestamp_seconds", "Unix time of the last audit", nan),
        "entries": make.gauge("audit_entries", "Entries that it looked at", nan),
        "missing_entries": make.gauge(
            "audit_missing_entries", "Entries that nothing accounts for", nan
        ),
        "missing_records": make.gauge(
            "audit_missing_records", "Their records that are not in positions", nan
        ),
    }


def dumps_gauges(make: Maker) -> Mapping[str, Gauge]:
    """By the field of `DumpFigures`; not a number before the first look."""
    nan = math.nan
    return {
        "n_files": make.gauge("panic_dump_files", "Dump files that are kept", nan),
        "newest_s": make.gauge(
            "panic_dump_timestamp_seconds", "Unix time of the newest dump file", nan
        ),
    }


def show(gauges: Mapping[str, Gauge], figures: object | None) -> None:
    """Each gauge gets the field of its name; not a number where it or all of them are not known."""
    for field, gauge in gauges.items():
        figure = None if figures is None else getattr(figures, field)
        gauge.set(math.nan if figure is None else figure)


def servers_gauges(make: Maker) -> tuple[Gauge, Gauge, Gauge]:
    """In the order of `Metrics.servers_seen`."""
    return (
        make.gauge("redis_reachable", "1 if Redis answered when last asked", math.nan),
        make.gauge("postgres_writable", "1 if Postgres could be written when last asked", math.nan),
        make.gauge("ready", "1 if /readyz would answer 200"),
    )

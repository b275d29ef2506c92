"""Partitions for people: a table on a terminal, plain columns in a pipe, or JSON."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from teltonika_processor.cli.tables import print_rows
from teltonika_processor.service.partition_drop import DropAccount
from teltonika_processor.store.partition import (
    DAY_S,
    Kind,
    Partition,
    total_bytes,
    total_rows,
)
from teltonika_processor.store.partition_changes import Holder
from teltonika_processor.store.partitions import PLAUSIBLE_MAX
from teltonika_processor.texts import count_text, printable, size_text, time_text

_HEADINGS: Final = ("partition", "kind", "from", "to", "rows", "size")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def print_partitions(found: Sequence[Partition]) -> None:
    """One line a partition."""
    print_rows(
        _HEADINGS,
        [_cells(partition) for partition in found],
        terminal=sys.stdout.isatty(),
        unfolded=("partition", "from", "to"),
        right=("rows", "size"),
    )


def print_partitions_json(found: Sequence[Partition], plausible_rows: int) -> None:
    """One JSON object a line; the default partition's says how many plausible rows it holds."""
    for partition in found:
        more = {"plausible_rows": plausible_rows} if partition.kind is Kind.DEFAULT else {}
        print(json.dumps(partition_object(partition) | more))


def partition_object(partition: Partition) -> dict[str, object]:
    """One partition for JSON; null where there is no bound, or rows that nobody has counted."""
    return {
        "partition": partition.name,
        "kind": partition.kind.value,
        "from": _bound(partition.from_s),
        "to": _bound(partition.to_s),
        "rows": partition.rows,
        "bytes": partition.n_bytes,
    }


def due_object(wanted: Sequence[Partition]) -> dict[str, object]:
    """What a drop would do, for JSON."""
    return {
        "dry_run": True,
        "would_drop": [partition_object(partition) for partition in wanted],
        "rows": total_rows(wanted),
        "bytes": total_bytes(wanted),
    }


def account_object(account: DropAccount) -> dict[str, object]:
    """What a drop did, for JSON."""
    return {
        "dry_run": False,
        "dropped": [partition_object(partition) for partition in account.dropped],
        "left": [{"partition": name, "why": why} for name, why in account.left.items()],
        "rows": total_rows(account.dropped),
        "bytes": total_bytes(account.dropped),
        "tries": account.n_tries,
        "longest_wait_ms": round(account.longest_wait_s * 1e3, 3),
        "holders": [
            {"pid": holder.pid, "application_name": holder.application_name}
            for holder in account.holders
        ],
    }


def summary(found: Sequence[Partition]) -> str:
    """How many, in words."""
    return f"{count_text(len(found), 'partition')} of positions ({volume_text(found)})"


def volume_text(found: Sequence[Partition]) -> str:
    """How many rows and bytes, in words."""
    n_rows = total_rows(found)
    rows = "an unknown number of rows" if n_rows is None else f"about {n_rows:,} rows"
    return f"{rows}, {size_text(total_bytes(found))}"


def list_summary(found: Sequence[Partition]) -> str:
    """The same of a whole list, whose detached tables are none."""
    attached = [p for p in found if p.kind not in {Kind.DETACHED, Kind.DROPPED}]
    n_beside = len(found) - len(attached)
    beside = f", {count_text(n_beside, 'table')} beside them" if n_beside else ""
    return summary(attached) + beside


def plausible_text(plausible_rows: int) -> str:
    """What the default partition should not hold."""
    if not plausible_rows:
        return "no plausible rows in the default partition"
    or_more = " or more" if plausible_rows >= PLAUSIBLE_MAX else ""
    rows = "row" if plausible_rows == 1 else "rows"
    return (
        f"{plausible_rows:,}{or_more} plausible {rows} in the default partition: "
        "see `teltonika-processor partitions repair`"
    )


def left_lines(left: Mapping[str, str]) -> list[str]:
    """What was not dropped, and why."""
    return [f"{printable(name)} was not dropped: {printable(why)}" for name, why in left.items()]


def holders_text(holders: Sequence[Holder]) -> str:
    """Who was in the way."""
    if not holders:
        return "in the way: sessions that ended meanwhile"
    return "in the way: " + ", ".join(
        f"pid {holder.pid} ({printable(holder.application_name) or 'no name'})"
        for holder in holders
    )


def bound_text(unix_s: float) -> str:
    """A bound as a UTC day where it is one's beginning."""
    if not math.isfinite(unix_s):
        return "-"
    return _bound(unix_s) or "-"


def _cells(partition: Partition) -> tuple[str, ...]:
    return (
        printable(partition.name),
        partition.kind.value,
        bound_text(partition.from_s),
        bound_text(partition.to_s),
        "-" if partition.rows is None else f"{partition.rows:,}",
        size_text(partition.n_bytes),
    )


def _bound(unix_s: float) -> str | None:
    if not math.isfinite(unix_s):
        return None
    if unix_s % DAY_S:
        return time_text(round(unix_s * 1000))
    return day_text(int(unix_s // DAY_S))


def day_text(day: int) -> str:
    """A UTC day, given as days since 1970-01-01; one beyond the year 9999 as that number."""
    try:
        return (_EPOCH + timedelta(days=day)).date().isoformat()
    except OverflowError:
        return f"day {day}"

"""The partitions of `positions`, and which of them are old enough to go. Pure: today is given."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DAY_S: Final = 86_400

_FIRST_DAY_S: Final = 1_262_304_000.0
"""2010-01-01: clocks that say less were never set."""


class Kind(StrEnum):
    """What a table is to `positions`."""

    DAY = "day"  # one UTC day, as writers make them
    OPERATOR = "operator"  # any other range of time: somebody made it by hand
    BEFORE_2010 = "before_2010"  # clocks that were never set; never dropped
    DEFAULT = "default"  # suspect clocks; never dropped
    FOREIGN = "foreign"  # an operator's that lies on another server; never dropped
    DETACHED = "detached"  # has the name of a day's partition and is none
    DROPPED = "dropped"  # detached by a drop that did not come to its end; the next one does


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One table.

    Attributes:
        schema: Where it lies, nearly always ``public``.
        table: Its name.
        kind: What it is.
        from_s: Unix seconds, the first that it may hold; nan where it is no range, -inf where that
            has no beginning.
        to_s: The first second after them; nan or inf likewise.
        rows: How many; None where the server does not know.
        n_bytes: On disk, with its indexes.
    """

    schema: str
    table: str
    kind: Kind
    from_s: float
    to_s: float
    rows: int | None
    n_bytes: int

    @property
    def identity(self) -> tuple[str, ...]:
        """What it is, however many rows it has: equal where nothing was attached or detached."""
        return (self.schema, self.table, self.kind, str(self.from_s), str(self.to_s))

    @property
    def name(self) -> str:
        """As people know it: the schema only where it is another one."""
        return self.table if self.schema == "public" else f"{self.schema}.{self.table}"


def kind_of(standing: str, from_s: float, to_s: float) -> Kind:
    """What a table is to `positions`: `standing`, or more exactly where that is ``range``."""
    if standing != "range":
        return Kind(standing)
    if to_s <= _FIRST_DAY_S:
        return Kind.BEFORE_2010
    return Kind.DAY if from_s % DAY_S == 0 and to_s - from_s == DAY_S else Kind.OPERATOR


def due(partitions: Iterable[Partition], *, today: int, keep_days: int) -> list[Partition]:
    """Those that hold nothing but days older than `keep_days`, oldest first.

    Args:
        partitions: All of them.
        today: UTC days since 1970-01-01.
        keep_days: Whole days before today that stay, 1 at least.

    Raises:
        ValueError: Days that are not over would go.
    """
    if keep_days < 1:
        raise ValueError(f"keep_days is {keep_days}, must be at least 1")
    kept_from_s = (today - keep_days) * DAY_S
    old = [
        partition
        for partition in partitions
        if partition.kind in {Kind.DAY, Kind.OPERATOR} and partition.to_s <= kept_from_s
    ]
    return sorted(old, key=lambda partition: partition.to_s)


def left_over(partitions: Iterable[Partition]) -> list[Partition]:
    """Those that a drop detached and did not remove."""
    return [partition for partition in partitions if partition.kind is Kind.DROPPED]


def hindrance_of_day(partitions: Iterable[Partition], day: int) -> str:
    """Why a UTC day (since 1970-01-01) gets no partition of its own though nobody holds a lock."""
    from_s, to_s = day * DAY_S, (day + 1) * DAY_S
    for partition in partitions:
        if partition.from_s < to_s and from_s < partition.to_s:
            return f"the partition {partition.name} holds a part of the day"
    return (
        "a table with the name of its partition is there and is none: rename it, then repair again"
    )


def in_order(partitions: Iterable[Partition]) -> list[Partition]:
    """By time; those without bounds come last."""
    return sorted(partitions, key=lambda p: (math.isnan(p.from_s), p.from_s, p.schema, p.table))


def total_rows(partitions: Iterable[Partition]) -> int | None:
    """All that is known of; None where nobody has counted any of them."""
    counts = [partition.rows for partition in partitions]
    known = [rows for rows in counts if rows is not None]
    return sum(known) if known or not counts else None


def total_bytes(partitions: Iterable[Partition]) -> int:
    """All of them."""
    return sum(partition.n_bytes for partition in partitions)

"""What a table is to positions, and which of them may go, without a server."""

import math

import pytest

from teltonika_processor.store.partition import (
    DAY_S,
    Kind,
    Partition,
    due,
    hindrance_of_day,
    in_order,
    kind_of,
    left_over,
)

# 2026-11-22.
TODAY = 20_779


def partition(from_day: float, to_day: float, kind: Kind = Kind.DAY, name: str = "") -> Partition:
    return Partition(
        schema="public",
        table=name or f"p{from_day}",
        kind=kind,
        from_s=from_day * DAY_S,
        to_s=to_day * DAY_S,
        rows=None,
        n_bytes=8192,
    )


def without_bounds(kind: Kind) -> Partition:
    return partition(math.nan, math.nan, kind, kind.value)


@pytest.mark.parametrize(
    ("from_day", "to_day", "kind"),
    [
        (TODAY, TODAY + 1, Kind.DAY),
        (TODAY + 0.5, TODAY + 1.5, Kind.OPERATOR),
        (TODAY, TODAY + 30, Kind.OPERATOR),
        (TODAY, math.inf, Kind.OPERATOR),
        (-math.inf, 14_610, Kind.BEFORE_2010),
        (14_609, 14_610, Kind.BEFORE_2010),
        (14_610, 14_611, Kind.DAY),
        (-math.inf, 14_611, Kind.OPERATOR),
    ],
)
def test_a_range_is_a_day_or_an_operators_or_of_clocks_that_were_never_set(
    from_day: float, to_day: float, kind: Kind
) -> None:
    assert kind_of("range", from_day * DAY_S, to_day * DAY_S) is kind


@pytest.mark.parametrize("standing", ["default", "foreign", "detached", "dropped"])
def test_what_is_no_range_is_what_it_is(standing: str) -> None:
    assert kind_of(standing, math.nan, math.nan) is Kind(standing)


@pytest.mark.parametrize(
    ("keep_days", "names"),
    [
        (1, ["p20775", "p20776", "p20777"]),
        (2, ["p20775", "p20776"]),
        (4, []),
        (36_500, []),
    ],
)
def test_so_many_whole_days_stay_before_today(keep_days: int, names: list[str]) -> None:
    days = [partition(day, day + 1) for day in range(TODAY + 1, TODAY - 5, -1)]
    assert [p.name for p in due(days, today=TODAY, keep_days=keep_days)] == names


def test_a_month_goes_when_its_last_day_is_old_enough() -> None:
    month = partition(TODAY - 40, TODAY - 10, Kind.OPERATOR, "positions_m")
    assert due([month], today=TODAY, keep_days=11) == []
    assert due([month], today=TODAY, keep_days=10) == [month]


def test_what_is_no_range_and_what_lies_before_2010_never_goes() -> None:
    kinds = (Kind.DEFAULT, Kind.DETACHED, Kind.DROPPED)
    others = [without_bounds(kind) for kind in kinds]
    old = partition(-math.inf, 14_610, Kind.BEFORE_2010)
    elsewhere = partition(15_000, 15_001, Kind.FOREIGN)
    assert due([*others, old, elsewhere], today=TODAY, keep_days=1) == []


@pytest.mark.parametrize("keep_days", [0, -1])
def test_days_that_are_not_over_cannot_be_asked_for(keep_days: int) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        due([partition(1, 2)], today=TODAY, keep_days=keep_days)


def test_only_what_a_drop_marked_is_left_over() -> None:
    found = [without_bounds(Kind.DETACHED), without_bounds(Kind.DROPPED), partition(1, 2)]
    assert [p.kind for p in left_over(found)] == [Kind.DROPPED]


def test_tables_without_bounds_come_last() -> None:
    found = [
        without_bounds(Kind.DEFAULT),
        partition(TODAY, TODAY + 1),
        partition(-math.inf, 14_610, Kind.BEFORE_2010, "before"),
    ]
    assert [p.name for p in in_order(found)] == ["before", "p20779", "default"]


def test_another_schema_is_part_of_the_name() -> None:
    moved = Partition(
        schema="archive",
        table="y2024",
        kind=Kind.OPERATOR,
        from_s=0.0,
        to_s=1.0,
        rows=1,
        n_bytes=1,
    )
    assert moved.name == "archive.y2024"


def test_a_day_that_gets_no_partition_is_explained() -> None:
    morning = partition(TODAY + 0.25, TODAY + 0.5, Kind.OPERATOR, "positions_morning")
    others = [without_bounds(Kind.DEFAULT), partition(TODAY - 1, TODAY)]
    assert (
        hindrance_of_day([*others, morning], TODAY)
        == "the partition positions_morning holds a part of the day"
    )
    assert hindrance_of_day(others, TODAY) == (
        "a table with the name of its partition is there and is none: rename it, then repair again"
    )

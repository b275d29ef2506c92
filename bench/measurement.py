"""Runs in alternation, and what is kept of them: n, median, spread."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Series:
    """Repeated values of one variant; `median`, `low` and `high` are in `unit`."""

    name: str
    unit: str
    n: int
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, name: str, unit: str, values: Sequence[float]) -> "Series":
        return cls(name, unit, len(values), statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Result:
    """One scenario on one input: its shape, its series, and ratios between them."""

    scenario: str
    shape: Mapping[str, Any]
    series: Sequence[Series]
    ratios: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        shape = ", ".join(f"{name} {value}" for name, value in self.shape.items())
        rows = [
            f"  {one.name:<44} {one.median:>14,.3f} {one.unit:<10}"
            f" {one.low:>14,.3f} .. {one.high:>14,.3f}   n={one.n}"
            for one in self.series
        ]
        ratios = [f"  ratio {name:<38} {ratio:>14.2f}" for name, ratio in self.ratios.items()]
        return [f"{self.scenario}: {shape}", *rows, *ratios]


@dataclass(frozen=True)
class Variant:
    """Something to time: `run()` works through `n` units of input and returns nothing."""

    name: str
    n: int
    run: Callable[[], object]


def alternate(variants: Sequence[Variant], rounds: int, unit: str) -> list[Series]:
    """Rates of all variants, each run once a round: a machine that slows down hurts all alike."""
    rates: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for variant in variants:
        variant.run()
    for _ in range(rounds):
        for variant in variants:
            started = time.perf_counter()
            variant.run()
            rates[variant.name].append(variant.n / (time.perf_counter() - started))
    return [Series.of(name, unit, values) for name, values in rates.items()]


def ratio(series: Sequence[Series], name: str, to: str) -> float:
    """Ratio of two medians."""
    medians = {one.name: one.median for one in series}
    return medians[name] / medians[to]

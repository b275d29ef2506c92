"""How metrics are made: one registry, one prefix, kept children, a page without waste.

Names are ``teltonika_processor_<noun>_<unit>[_total]``, in seconds and bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

PREFIX: Final = "teltonika_processor"

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""Of Prometheus' text format."""

_LAG_BUCKETS_S: Final = (0.002, 0.01, 0.05, 0.25, 1.0)

OTHER: Final = "other"
"""The value of a label for what is not in its list."""


class Kept(dict[str, Counter]):
    """Children by the value of their one label; what is not in the list is ``other``."""

    def __missing__(self, key: str) -> Counter:
        return self[OTHER]


class Maker:
    """Makes metrics in a registry of its own, and renders them."""

    def __init__(self) -> None:
        self._registry: Final = CollectorRegistry()
        self._page: Final = _WithoutCreated(self._registry)

    def render(self) -> Iterator[bytes]:
        """All metrics in Prometheus' text format, one after the other."""
        for metric in self._page.collect():
            yield generate_latest(_One(metric))

    def follow(self, collector: Collector) -> None:
        """Render what `collector` says whenever the page is read."""
        self._registry.register(collector)

    def counter(self, name: str, text: str) -> Counter:
        """A counter without labels; its name gets ``_total``."""
        return self.family(name, text, ())

    def counters(self, name: str, text: str, label: str, values: Sequence[str]) -> Kept:
        """A counter with one label whose values are these and ``other``."""
        family = self.family(name, text, (label,))
        return Kept({value: family.labels(value) for value in (*values, OTHER)})

    def family(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        """A counter whose children the caller makes and keeps."""
        return Counter(name, text, labels, namespace=PREFIX, registry=self._registry)

    def gauge(self, name: str, text: str, value: float = 0.0) -> Gauge:
        """A gauge without labels, and its first value."""
        gauge = Gauge(name, text, namespace=PREFIX, registry=self._registry)
        gauge.set(value)
        return gauge

    def histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        """A histogram without labels; the bounds are in the unit of the name."""
        return Histogram(name, text, namespace=PREFIX, registry=self._registry, buckets=buckets)

    def loop_lag(self) -> Histogram:
        """How late the sleeps of an event loop end, in seconds."""
        text = "How late a sleep of the event loop ends"
        return self.histogram("event_loop_lag_seconds", text, _LAG_BUCKETS_S)

    def histograms(
        self, name: str, text: str, buckets: Sequence[float], label: str, values: Sequence[str]
    ) -> dict[str, Histogram]:
        """One histogram for each value of the one label; there is no other value."""
        family = Histogram(
            name, text, (label,), namespace=PREFIX, registry=self._registry, buckets=buckets
        )
        return {value: family.labels(value) for value in values}

    def process(self, version: str) -> None:
        """The version, and what /proc says at each scrape: memory, time, files, the start."""
        info = Gauge("build_info", "1.", ("version",), namespace=PREFIX, registry=self._registry)
        info.labels(version).set(1)
        ProcessCollector(namespace=PREFIX, registry=self._registry)


class _One(Collector):
    """A registry of one metric, collected already."""

    def __init__(self, metric: Metric) -> None:
        self._metric: Final = metric

    @override
    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


class _WithoutCreated(Collector):
    """The registry without the time at which each child was made: half of the series, no use."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry: Final = registry

    @override
    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric

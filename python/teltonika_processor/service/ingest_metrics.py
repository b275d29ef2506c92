"""What the gateway counts: its tally, the group commit, and how it stands now."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from teltonika_processor.exposition import PREFIX, Maker
from teltonika_processor.figures import DumpFigures
from teltonika_processor.gateway.effects import Ending, Phase, Shelf
from teltonika_processor.gateway.refused import RefusedDevices
from teltonika_processor.gateway.tally import Tally
from teltonika_processor.gateway.udp import NotTaken
from teltonika_processor.gauges import dumps_gauges, show

# Bound: 8 series. From one append alone to a full batch.
_BATCH_BUCKETS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500)

# From memory (0.1 ms) over a disk's fsync (1-10 ms) to a time-out (5 s).
_APPEND_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)

_FOREIGN: Final = ("http", "tls", "minecraft", "dual_cam")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayGauges:
    """How the gateway stands; each is asked when somebody reads the page.

    Attributes:
        phases: Connections by how far they have come.
        connections_max: How many there may be.
        paused: Connections that are not read for the time being, by why.
        refused: Devices that were refused.
        in_flight_bytes: Received and not durable yet.
        allowed: Devices that are let in.
        list_age_s: Of the allow-list; None where there is none.
        appends_open: Whether frames are made durable now.
        certificate_expires_at_s: Unix seconds; None where there is no TLS.
        is_ready: As /readyz says.
    """

    phases: Callable[[], dict[str, int]]
    connections_max: int
    paused: Callable[[], Mapping[str, int]]
    refused: Callable[[], RefusedDevices]
    in_flight_bytes: Callable[[], int]
    allowed: Callable[[], int]
    list_age_s: Callable[[], float | None]
    appends_open: Callable[[], bool]
    certificate_expires_at_s: Callable[[], float | None]
    is_ready: Callable[[], bool]


class GatewayMetrics:
    """The page of one gateway; use it on the loop's thread.

    Args:
        version: Of this package.
        tally: What is counted.
        reject_codes: The closed catalogue, of which channel packets are refused.
    """

    def __init__(self, *, version: str, tally: Tally, reject_codes: Iterable[str]) -> None:
        self._make: Final = Maker()
        self._batch_entries: Final = self._make.histogram(
            "gateway_append_batch_entries", "Appends that shared one round trip", _BATCH_BUCKETS
        )
        self._append_s: Final = self._make.histogram(
            "gateway_append_duration_seconds",
            "From sending a batch to its last reply",
            _APPEND_BUCKETS_S,
        )
        self._loop_lag_s: Final = self._make.loop_lag()
        self._dumps: Final = dumps_gauges(self._make)
        self._tallied: Final = _Tallied(tally, reject_codes)
        self._make.follow(self._tallied)
        self._make.process(version)

    def render(self) -> Iterator[bytes]:
        """All metrics in Prometheus' text format, one after the other."""
        return self._make.render()

    def answered(self, entries: int, duration_s: float) -> None:
        """A batch of appends has its last reply."""
        self._batch_entries.observe(entries)
        self._append_s.observe(duration_s)

    def loop_late(self, late_s: float) -> None:
        """A sleep of the event loop ended so late."""
        self._loop_lag_s.observe(max(0.0, late_s))

    def dumps_seen(self, figures: DumpFigures) -> None:
        """The files in PANIC_DUMP_DIR as of now."""
        show(self._dumps, figures)

    def follow(self, gauges: GatewayGauges) -> None:
        """Show from now on how it stands."""
        self._make.follow(_Stands(gauges))
        self._make.follow(_Refused(gauges.refused))


class _Tallied(Collector):
    """The tally as counters; every value of a label is known before the first event."""

    def __init__(self, tally: Tally, reject_codes: Iterable[str]) -> None:
        self._tally: Final = tally
        self._reasons: Final = (*reject_codes, *get_args(NotTaken))

    @override
    def collect(self) -> Iterator[Metric]:
        tally = self._tally
        frames = {shelf.name.lower(): tally.frames[shelf] for shelf in Shelf}
        yield _counter("connections_accepted", "TCP connections accepted", tally.connections)
        yield _counter(
            "accepts_failed",
            "Times that no connection could be accepted for a moment",
            tally.accepts_failed,
        )
        yield _counters(
            "connections_ended",
            "TCP connections that ended",
            "reason",
            tally.endings,
            get_args(Ending),
        )
        yield _counters(
            "foreign_clients",
            "Clients of other protocols",
            "client",
            tally.foreign_clients,
            _FOREIGN,
        )
        yield _counters("frames_durable", "Frames made durable", "stream", frames, frames)
        yield _counter("replies", "Frames and channel packets answered", tally.replies)
        yield _counter("pings", "Ping bytes of devices", tally.pings)
        yield _counter("damaged_frames", "Frames with a wrong CRC", tally.damaged_frames)
        yield _counter(
            "repeated_frames", "Frames that came again while in flight", tally.repeated_frames
        )
        yield _counter(
            "unknown_fates",
            "Frames not answered: nobody knows whether they are durable",
            tally.unknown_fates,
        )
        yield _counter("datagrams", "UDP datagrams received", tally.datagrams)
        yield _counters(
            "channel_packets_refused",
            "Channel packets that were not taken",
            "reason",
            tally.refused_packets,
            self._reasons,
        )
        yield _counter("received_bytes", "Bytes of devices", tally.bytes_in)
        yield _counter("sent_bytes", "Bytes to devices", tally.bytes_out)


class _Refused(Collector):
    """Devices that were refused, and their rows."""

    def __init__(self, refused: Callable[[], RefusedDevices]) -> None:
        self._refused: Final = refused

    @override
    def collect(self) -> Iterator[Metric]:
        refused = self._refused()
        for name, text, count in (
            ("devices_refused", "Times that a device was refused", refused.n_refused),
            ("device_rows_made", "Rows made for devices that were refused", refused.n_rows_made),
            (
                "device_rows_held_back",
                "Devices refused whose row has to wait: there are too many",
                refused.n_held_back,
            ),
            (
                "device_rows_denied",
                "Devices refused that get no row: a wrong check digit",
                refused.n_without_check_digit,
            ),
        ):
            yield _counter(name, text, count)


class _Stands(Collector):
    """How the gateway stands, as gauges."""

    def __init__(self, gauges: GatewayGauges) -> None:
        self._gauges: Final = gauges

    @override
    def collect(self) -> Iterator[Metric]:
        gauges = self._gauges
        phases = gauges.phases()
        phases.pop(Phase.CLOSED.name.lower(), None)
        yield _gauges("connections", "TCP connections by phase", "phase", phases)
        yield _gauges(
            "connections_paused",
            "TCP connections not read for the time being",
            "reason",
            gauges.paused(),
        )
        for name, text, value in (
            ("connections_max", "INGEST_CONNECTIONS_MAX", gauges.connections_max),
            ("in_flight_bytes", "Bytes received and not durable yet", gauges.in_flight_bytes()),
            ("allowed_devices", "Devices that are let in", gauges.allowed()),
            ("admission_age_seconds", "Age of the allow-list", _known(gauges.list_age_s())),
            (
                "certificate_expiry_timestamp_seconds",
                "Unix time at which the certificate ends",
                _known(gauges.certificate_expires_at_s()),
            ),
            ("appends_open", "Whether frames are made durable now", gauges.appends_open()),
            ("ready", "As /readyz says", gauges.is_ready()),
        ):
            yield GaugeMetricFamily(f"{PREFIX}_gateway_{name}", text, value=float(value))


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


def _gauges(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_gateway_{name}", text, labels=(label,))
    for value, count in values.items():
        family.add_metric((value,), count)
    return family


def _counter(name: str, text: str, value: int) -> Metric:
    return CounterMetricFamily(f"{PREFIX}_gateway_{name}", text, value=value)


def _counters(
    name: str, text: str, label: str, counts: Mapping[str, int], values: Iterable[str]
) -> Metric:
    family = CounterMetricFamily(f"{PREFIX}_gateway_{name}", text, labels=(label,))
    for value in values:
        family.add_metric((value,), counts.get(value, 0))
    return family

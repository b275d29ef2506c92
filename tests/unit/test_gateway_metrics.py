"""What the gateway counts is on its page, under labels that are all known from the start."""

import dataclasses
import math
from typing import get_args

import pytest

from figures import n_series, samples
from gateway_figures import GAUGES, new_gateway_metrics
from teltonika_processor import error_catalogue
from teltonika_processor.codec.native import UNIT_FOREIGN, FrameCutter
from teltonika_processor.gateway.effects import Ending, Shelf
from teltonika_processor.gateway.refused import RefusedDevices
from teltonika_processor.gateway.tally import Tally
from teltonika_processor.gateway.udp import NotTaken
from teltonika_processor.service.ingest_metrics import GatewayMetrics

# What each total adds to which series, and to no other.
COUNTED = [
    (Tally(connections=3), {"gateway_connections_accepted_total": 3}),
    (Tally(accepts_failed=2), {"gateway_accepts_failed_total": 2}),
    (Tally(pings=4), {"gateway_pings_total": 4}),
    (Tally(replies=5), {"gateway_replies_total": 5}),
    (Tally(damaged_frames=6), {"gateway_damaged_frames_total": 6}),
    (Tally(repeated_frames=7), {"gateway_repeated_frames_total": 7}),
    (Tally(unknown_fates=8), {"gateway_unknown_fates_total": 8}),
    (Tally(datagrams=9), {"gateway_datagrams_total": 9}),
    (Tally(bytes_in=10), {"gateway_received_bytes_total": 10}),
    (Tally(bytes_out=11), {"gateway_sent_bytes_total": 11}),
]
LABELLED = [
    ("endings", "idle", "gateway_connections_ended_total{reason=idle}"),
    ("foreign_clients", "http", "gateway_foreign_clients_total{client=http}"),
    ("frames", Shelf.TELEMETRY, "gateway_frames_durable_total{stream=telemetry}"),
    ("frames", Shelf.RESPONSES, "gateway_frames_durable_total{stream=responses}"),
    ("frames", Shelf.DEAD_LETTERS, "gateway_frames_durable_total{stream=dead_letters}"),
    (
        "refused_packets",
        "throttled",
        "gateway_channel_packets_refused_total{reason=throttled}",
    ),
]


def scrape(metrics: GatewayMetrics) -> dict[str, float]:
    page = b"".join(metrics.render())
    return {name: value for name, value in samples(page).items() if "process_" not in name}


def counted(tally: Tally) -> dict[str, float]:
    """Series of the tally that are not 0."""
    found = scrape(new_gateway_metrics(tally))
    return {name: value for name, value in found.items() if value and "_total" in name}


@pytest.mark.parametrize(("tally", "adds"), COUNTED)
def test_a_total_is_its_series_and_no_other(tally: Tally, adds: dict[str, float]) -> None:
    assert counted(tally) == adds


@pytest.mark.parametrize(("field", "value", "series"), LABELLED)
def test_totals_by_a_label_are_its_series(field: str, value: str | int, series: str) -> None:
    tally = Tally()
    getattr(tally, field)[value] += 3
    assert counted(tally) == {series: 3}


def test_every_total_has_its_case_here() -> None:
    plain = {name for tally, _ in COUNTED for name in tally.__slots__ if getattr(tally, name)}
    labelled = {field for field, _, _ in LABELLED}
    assert plain | labelled == {field.name for field in dataclasses.fields(Tally)}


def values_of(label: str, family: str) -> set[str]:
    found = scrape(new_gateway_metrics())
    start = f"{family}_total{{{label}="
    return {name.removeprefix(start).rstrip("}") for name in found if name.startswith(start)}


def test_every_value_of_a_label_is_there_before_the_first_of_its_kind() -> None:
    assert values_of("reason", "gateway_connections_ended") == set(get_args(Ending))
    assert values_of("stream", "gateway_frames_durable") == {s.name.lower() for s in Shelf}
    codes = {code for _, code, _ in error_catalogue()}
    assert values_of("reason", "gateway_channel_packets_refused") == {*codes, *get_args(NotTaken)}


@pytest.mark.parametrize(
    ("first", "client"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "http"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), "tls"),
        (b"\x10\x00\xfd\x05\x09127.0.0.1\x63\xdd\x01", "minecraft"),
        (b"\x00\x00\x00\x05\x00\x01\x43\x83\x4a\x9b\x0d\x15", "dual_cam"),
    ],
)
def test_every_foreign_client_that_is_recognised_has_its_series(first: bytes, client: str) -> None:
    ((kind, name, _),) = FrameCutter(frame_max_bytes=4096).feed(first)
    assert (kind, name.decode()) == (UNIT_FOREIGN, client)
    assert client in values_of("client", "gateway_foreign_clients")


def test_how_it_stands_is_shown() -> None:
    found = scrape(new_gateway_metrics())
    assert {name: value for name, value in found.items() if "connections{" in name} == {
        "gateway_connections{phase=opening}": 3,
        "gateway_connections{phase=waiting}": 1,
        "gateway_connections{phase=open}": 40,
        "gateway_connections{phase=held}": 2,
        "gateway_connections{phase=leaving}": 5,
    }
    assert found["gateway_connections_max"] == 16_000
    assert found["gateway_connections_paused{reason=in_flight_full}"] == 6
    assert found["gateway_connections_paused{reason=not_durable}"] == 9
    assert found["gateway_in_flight_bytes"] == 12_345
    assert found["gateway_allowed_devices"] == 10_000
    assert found["gateway_admission_age_seconds"] == 4.5
    assert found["gateway_certificate_expiry_timestamp_seconds"] == 1_900_000_000
    assert (found["gateway_appends_open"], found["gateway_ready"]) == (1, 0)


def test_whom_it_refused_is_shown() -> None:
    refused = RefusedDevices()
    refused.n_refused, refused.n_rows_made, refused.n_held_back = 9, 4, 3
    refused.n_without_check_digit = 2
    gauges = dataclasses.replace(GAUGES, refused=lambda: refused)
    found = scrape(new_gateway_metrics(gauges=gauges))
    assert {
        name: value for name, value in found.items() if "_device_" in name or "_devices" in name
    } == {
        "gateway_allowed_devices": 10_000,
        "gateway_devices_refused_total": 9,
        "gateway_device_rows_made_total": 4,
        "gateway_device_rows_held_back_total": 3,
        "gateway_device_rows_denied_total": 2,
    }


def test_what_there_is_not_is_not_a_number() -> None:
    gauges = dataclasses.replace(
        GAUGES, list_age_s=lambda: None, certificate_expires_at_s=lambda: None
    )
    found = scrape(new_gateway_metrics(gauges=gauges))
    assert math.isnan(found["gateway_admission_age_seconds"])
    assert math.isnan(found["gateway_certificate_expiry_timestamp_seconds"])


def test_a_batch_of_appends_and_a_late_loop_are_observed() -> None:
    metrics = new_gateway_metrics()
    metrics.answered(30, 0.004)
    metrics.loop_late(0.03)
    metrics.loop_late(-0.001)
    found = scrape(metrics)
    assert found["gateway_append_batch_entries_bucket{le=25.0}"] == 0
    assert found["gateway_append_batch_entries_bucket{le=50.0}"] == 1
    assert found["gateway_append_batch_entries_sum"] == 30
    assert found["gateway_append_duration_seconds_sum"] == pytest.approx(0.004)
    assert found["event_loop_lag_seconds_count"] == 2


def test_the_page_is_bounded() -> None:
    page = b"".join(new_gateway_metrics().render())
    assert n_series(page) <= 130
    assert len(page) < 15_000

"""The metrics of a gateway that does not run, with gauges that say what a test wants."""

from teltonika_processor import error_catalogue
from teltonika_processor.gateway.refused import RefusedDevices
from teltonika_processor.gateway.tally import Tally
from teltonika_processor.service.ingest_metrics import GatewayGauges, GatewayMetrics

REFUSED = RefusedDevices()

GAUGES = GatewayGauges(
    phases=lambda: {"opening": 3, "waiting": 1, "open": 40, "held": 2, "leaving": 5, "closed": 7},
    connections_max=16_000,
    paused=lambda: {"in_flight_full": 6, "not_durable": 9},
    refused=lambda: REFUSED,
    in_flight_bytes=lambda: 12_345,
    allowed=lambda: 10_000,
    list_age_s=lambda: 4.5,
    certificate_expires_at_s=lambda: 1_900_000_000.0,
    appends_open=lambda: True,
    is_ready=lambda: False,
)


def new_gateway_metrics(
    tally: Tally | None = None, gauges: GatewayGauges = GAUGES
) -> GatewayMetrics:
    """The page of a gateway."""
    codes = [code for _, code, _ in error_catalogue()]
    metrics = GatewayMetrics(version="1.2.3", tally=tally or Tally(), reject_codes=codes)
    metrics.follow(gauges)
    return metrics

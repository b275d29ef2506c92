"""What `simulate` prints at the end: the accounts, and what is wrong with them."""

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.cli.simulate_verify import Verification
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.errors import TeltonikaProcessorError
from teltonika_processor.model import format_imei
from teltonika_processor.simulate.keys import Key
from teltonika_processor.simulate.outcome import DeviceOutcome, Outcome
from teltonika_processor.simulate.wire_faults import Fault
from teltonika_processor.store.simulated import StoredKey
from teltonika_processor.texts import time_text

_SHARES: Final = (0.5, 0.9, 0.99, 0.999)
# Bound: devices and records that are named one by one; --json names all devices.
_NAMED_MAX: Final = 20
_IN_JSON_MAX: Final = 1000
_HEADINGS: Final = (
    "IMEI",
    "by",
    "made",
    "acknowledged",
    "kept",
    "resent",
    "wrong",
    "timeouts",
    "faults",
)


@dataclass(frozen=True, slots=True)
class Report:
    """A run, and what the log says of it where it was asked.

    Attributes:
        outcome: The run.
        verification: None where it was not asked, or did not answer.
        error: Why it did not.
    """

    outcome: Outcome
    verification: Verification | None = None
    error: TeltonikaProcessorError | None = None

    def findings(self) -> list[str]:
        """What is wrong with the run, and with the log."""
        return self.outcome.findings() + (self.verification.findings() if self.verification else [])


def print_report(report: Report) -> None:
    """Some lines, tables of the devices and of the records that something is amiss with, a verdict.

    Of many devices only those are shown that something is amiss with.
    """
    outcome = report.outcome
    for line in (*_lines(outcome), *_log_lines(report)):
        print(line)
    _print_devices(outcome)
    if report.verification is not None:
        for what, keys in (
            ("not stored", [_in_us(key) for key in report.verification.missing]),
            ("different", report.verification.different),
            ("never sent", report.verification.invented),
        ):
            _print_keys(what, keys)
    for line in _verdict(report):
        print(line)


def _print_devices(outcome: Outcome) -> None:
    """All of them; where they are many, those that something is amiss with."""
    shown = list(outcome.devices)
    if len(shown) > _NAMED_MAX:
        shown = [device for device in shown if _is_amiss(device)]
    if not shown:
        return
    rows = [_row(device) for device in shown[:_NAMED_MAX]]
    terminal = sys.stdout.isatty()
    print_rows(_HEADINGS, rows, terminal=terminal, unfolded=_HEADINGS, right=_HEADINGS[2:-1])
    if len(shown) > _NAMED_MAX:
        print(f"and {len(shown) - _NAMED_MAX:,} more; --json names all devices")


def _in_us(key: Key) -> StoredKey:
    imei, recorded_at_ms, digest = key
    return imei, recorded_at_ms * 1000, digest


def _print_keys(what: str, keys: Sequence[StoredKey]) -> None:
    if not keys:
        return
    rows = [
        (what, format_imei(imei), _us_text(recorded_at_us), str(digest))
        for imei, recorded_at_us, digest in keys[:_NAMED_MAX]
    ]
    headings = ("record", "IMEI", "recorded at", "digest")
    print_rows(headings, rows, terminal=sys.stdout.isatty(), unfolded=headings)
    if len(keys) > _NAMED_MAX:
        print(f"and {len(keys) - _NAMED_MAX:,} more")


def _us_text(at_us: int) -> str:
    """A time, with its microseconds where it has any."""
    at_ms, us = divmod(at_us, 1000)
    return time_text(at_ms) + (f" + {us} us" if us else "")


def print_report_json(report: Report) -> None:
    """One JSON object in one line."""
    outcome = report.outcome
    totals = outcome.totals
    print(
        json.dumps(
            {
                "findings": report.findings(),
                "verified": _verified_object(report),
                "devices": len(outcome.devices),
                "connected_max": outcome.n_connected_max,
                "elapsed_s": round(outcome.elapsed_s, 3),
                "cpu_s": round(outcome.cpu_s, 3),
                "lag_max_s": round(outcome.lag_max_s, 3),
                "records_made": outcome.n_made,
                "records_kept": outcome.n_kept,
                **dataclasses.asdict(totals),
                "records_poisoned": outcome.n_poisoned,
                "foreign": None if outcome.foreign is None else dataclasses.asdict(outcome.foreign),
                "reply_ms": _reply_ms(outcome),
                "by_device": [_device_object(device) for device in outcome.devices],
            }
        )
    )


def _lines(outcome: Outcome) -> Iterator[str]:
    totals = outcome.totals
    yield (
        f"devices    {len(outcome.devices):,}, {outcome.n_connected_max:,} connected at once; "
        f"{totals.connections:,} connections, {totals.connections_lost:,} lost with a frame in "
        f"flight, {totals.refusals:,} refused, {totals.unreached:,} not reached"
    )
    yield (
        f"records    {outcome.n_made:,} made, {totals.records_acknowledged:,} acknowledged "
        f"({totals.records_in_doubt:,} in doubt), {outcome.n_kept:,} kept"
    )
    rate = totals.frames_acknowledged / outcome.elapsed_s
    yield (
        f"frames     {totals.frames_sent:,} sent, {totals.frames_resent:,} of them again; "
        f"{totals.frames_acknowledged:,} acknowledged, {rate:,.0f}/s for {outcome.elapsed_s:,.1f} s"
    )
    times = ", ".join(f"{name} {value:,.2f} ms" for name, value in _reply_ms(outcome).items())
    yield (
        f"replies    {times}; {totals.replies_wrong:,} wrong, {totals.replies_stray:,} stray, "
        f"{totals.timeouts:,} not in time"
    )
    yield from _fault_lines(outcome)
    us_a_frame = outcome.cpu_s / max(totals.frames_acknowledged, 1) * 1e6
    yield (
        f"simulator  {outcome.cpu_s:,.1f} s of CPU, {us_a_frame:,.1f} us a frame; the latest frame "
        f"was {outcome.lag_max_s * 1000:,.0f} ms late"
    )


def _fault_lines(outcome: Outcome) -> Iterator[str]:
    counts = Counter(fault for device in outcome.devices for fault in device.faults)
    if counts:
        named = ", ".join(f"{fault} {counts[fault]:,}" for fault in Fault if fault in counts)
        yield f"faults     {named}"
    if outcome.n_poisoned:
        yield f"           {outcome.n_poisoned:,} records were acknowledged in frames without sense"
    foreign = outcome.foreign
    if foreign is not None:
        yield (
            f"strangers  {foreign.connections:,} connections, {foreign.closed:,} closed by the "
            f"gateway, {foreign.held:,} held, {foreign.still_open:,} still open; "
            f"{foreign.answered:,} answered"
        )


def _log_lines(report: Report) -> Iterator[str]:
    found = report.verification
    if report.error is not None:
        yield f"log        not verified: {report.error}"
    elif found is not None:
        yield (
            f"log        {found.n_stored:,} of {found.n_acknowledged:,} acknowledged records are "
            f"stored, {len(found.invented):,} others; after {found.waited_s:,.1f} s"
        )


def _verdict(report: Report) -> list[str]:
    is_verified = report.verification is not None
    good = "all acknowledged by the book" + (", and stored once" if is_verified else "")
    let_off = report.outcome.let_off(stored=is_verified)
    if let_off:
        good += f"; let off: {', '.join(let_off)}"
    return report.findings() or [good]


def _verified_object(report: Report) -> dict[str, Any] | None:
    found = report.verification
    if found is None:
        return None if report.error is None else {"error": str(report.error)}
    return {
        "acknowledged": found.n_acknowledged,
        "stored": found.n_stored,
        "waited_s": round(found.waited_s, 3),
        "missing_records": len(found.missing),
        "missing": [_key_object(_in_us(key)) for key in found.missing[:_IN_JSON_MAX]],
        "different_records": len(found.different),
        "different": list(map(_key_object, found.different[:_IN_JSON_MAX])),
        "invented_records": len(found.invented),
        "invented": list(map(_key_object, found.invented[:_IN_JSON_MAX])),
        "unreadable_records": found.n_unreadable,
        "earlier_records": found.n_earlier,
        "elsewhere_records": found.n_elsewhere,
    }


def _key_object(key: StoredKey) -> dict[str, str | int | float]:
    imei, recorded_at_us, digest = key
    at_ms, us = divmod(recorded_at_us, 1000)
    recorded_at_ms = recorded_at_us / 1000 if us else at_ms
    return {"imei": format_imei(imei), "recorded_at_ms": recorded_at_ms, "digest": digest}


def _reply_ms(outcome: Outcome) -> dict[str, float]:
    latencies = outcome.latencies
    shares = {
        f"p{share * 100:g}": round(latencies.quantile_s(share) * 1000, 3) for share in _SHARES
    }
    return {**shares, "max": round(latencies.max_s * 1000, 3)}


def _is_amiss(device: DeviceOutcome) -> bool:
    return bool((device.n_kept and not device.may_keep) or device.account.replies_wrong)


def _row(device: DeviceOutcome) -> tuple[str, ...]:
    account = device.account
    numbers = (
        *(device.n_made, account.records_acknowledged, device.n_kept, account.frames_resent),
        *(account.replies_wrong, account.timeouts),
    )
    faults = ", ".join(sorted(device.faults))
    return (device.imei, device.transport, *(f"{number:,}" for number in numbers), faults)


def _device_object(device: DeviceOutcome) -> dict[str, str | int | list[Fault] | None]:
    return {
        "imei": device.imei,
        "transport": device.transport,
        "faults": sorted(device.faults),
        "first_record_ms": device.first_record_ms,
        "records_made": device.n_made,
        "records_kept": device.n_kept,
        **dataclasses.asdict(device.account),
    }

"""What an audit saw, for people and as JSON."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from teltonika_processor.cli.audit_run import AuditReport, AuditTarget
from teltonika_processor.model import format_imei
from teltonika_processor.processor.audit import Missing, Term, id_order
from teltonika_processor.texts import time_text

_LABELS: Final[Mapping[Term, str]] = MappingProxyType(
    {
        Term.STORED: "stored",
        Term.UNDELIVERED: "undelivered",
        Term.PENDING: "pending",
        Term.DEAD_LETTERED: "in the dead letters",
        Term.DROPPED: "dropped by an operator",
        Term.REPLAYED: "replayed",
        Term.REPLAYED_BEYOND_WINDOW: "replayed, beyond the window",
        Term.MISSING: "MISSING",
    }
)


def as_json_text(target: AuditTarget, report: AuditReport, *, recorded: bool = False) -> str:
    """One JSON object in one line; `terms` add up to `entries`."""
    account = report.account
    named = [_missing_object(missing) for missing in account.named]
    return json.dumps(
        {
            "stream": target.stream,
            "group": target.group,
            "stream_exists": report.held is not None,
            "group_exists": report.held is not None and report.held.group_exists,
            "imei": None if target.imei is None else format_imei(target.imei),
            "at_ms": report.at_ms,
            "duration_ms": report.duration_ms,
            "recorded": recorded,
            "window": _window_object(report),
            "entries_removed": report.held.n_removed if report.held else 0,
            "entries": account.n_entries,
            "records": account.n_records,
            "terms": {term.value: account.terms[term] for term in Term},
            "missing_entries": account.n_missing,
            "missing_records": account.n_missing_records,
            "missing": named,
            "missing_not_named": account.n_unnamed,
        }
    )


def as_text(target: AuditTarget, report: AuditReport) -> str:
    """Some lines: the window, the terms, notes, and what is missing."""
    return "\n".join(_lines(target, report))


def as_brief_text(report: AuditReport) -> str:
    """One line, and what is missing: by the time that somebody asks it may have been trimmed."""
    account = report.account
    seen = f"{account.n_entries:,} entries, {account.n_records:,} records"
    verdict = "something is missing" if account.n_missing else "nothing is missing"
    first = f"{time_text(report.at_ms)} {seen}: {verdict} ({report.duration_ms:,} ms)"
    return "\n".join((first, *_missing_lines(report)))


def _lines(target: AuditTarget, report: AuditReport) -> Iterator[str]:
    yield f"stream {target.stream}, group {target.group}{_of_device(target)}"
    if report.held is None:
        yield "nothing to audit: the stream does not exist"
        return
    if report.first_id is None or report.last_id is None:
        yield "nothing to audit: the stream holds no entry"
    else:
        yield f"window {_when(report.first_id)} to {_when(report.last_id)}"
        yield f"{report.account.n_entries:,} entries, {report.account.n_records:,} records"
        yield ""
        yield from _term_lines(report)
    yield from _notes(report)
    if report.account.n_missing:
        yield ""
    yield from _missing_lines(report)


def _of_device(target: AuditTarget) -> str:
    return "" if target.imei is None else f", device {format_imei(target.imei)} only"


def _term_lines(report: AuditReport) -> Iterator[str]:
    for term, label in _LABELS.items():
        yield f"  {label:<28} {report.account.terms[term]:>12,}"


def _notes(report: AuditReport) -> Iterator[str]:
    if report.held is None:
        return
    if not report.held.group_exists:
        yield "the group does not exist: everything counts as undelivered, until it is made"
    if report.held.n_removed:
        yield (
            f"the window is what trimming left: {report.held.n_removed:,} entries were here before,"
            " trimmed or deleted since (STREAM_KEEP_MS and STREAM_KEEP_BYTES keep them for longer)"
        )


def _missing_lines(report: AuditReport) -> Iterator[str]:
    account = report.account
    if not account.n_missing:
        return
    yield f"missing: {account.n_missing_records:,} records, {account.n_missing:,} entries"
    for missing in account.named:
        yield f"  {_missing_line(missing)}"
    if account.n_unnamed:
        yield f"  and {account.n_unnamed:,} more"


def _missing_line(missing: Missing) -> str:
    where = f"entry {missing.entry_id.decode()}"
    device = f"device {format_imei(missing.imei)}" if missing.imei else "of an unknown device"
    if missing.key is None:
        return f"{where} {device}: does not decode ({missing.code}), and no dead letter has it"
    _, recorded_at_ms, digest = missing.key
    return f"{where} {device}: record of {time_text(recorded_at_ms)}, digest {digest}"


def _missing_object(missing: Missing) -> dict[str, Any]:
    found: dict[str, Any] = {
        "entry_id": missing.entry_id.decode(),
        "imei": format_imei(missing.imei) if missing.imei else None,
        "code": missing.code or None,
    }
    if missing.key is not None:
        _, recorded_at_ms, digest = missing.key
        found |= {
            "recorded_at": time_text(recorded_at_ms),
            "recorded_at_ms": recorded_at_ms,
            "digest": digest,
        }
    return found


def _window_object(report: AuditReport) -> dict[str, str] | None:
    if report.first_id is None or report.last_id is None:
        return None
    return {
        "first_id": report.first_id.decode(),
        "first_time": time_text(id_order(report.first_id)[0]),
        "last_id": report.last_id.decode(),
        "last_time": time_text(id_order(report.last_id)[0]),
    }


def _when(entry_id: bytes) -> str:
    return f"{time_text(id_order(entry_id)[0])} ({entry_id.decode()})"

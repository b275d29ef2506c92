"""What is known of one device, for people and as one JSON object."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal, cast

from teltonika_processor.cli.device_facts import DeviceFacts
from teltonika_processor.cli.record_output import OUTPUTS, json_fields
from teltonika_processor.codec.native import AvlPacket, decode_entries, decode_frame
from teltonika_processor.errors import DecodeError
from teltonika_processor.model import format_imei
from teltonika_processor.store.devices import DeviceRow, InZone, LastPositionRow, RecentRecords
from teltonika_processor.stream.control_messages import Holding
from teltonika_processor.stream.device_entries import FoundEntries, FoundEntry, FoundLetters
from teltonika_processor.stream.ids import ms_of
from teltonika_processor.texts import age_text, name_text, printable, time_text

_LABEL_WIDTH: Final = 24


@dataclass(frozen=True, slots=True)
class _Decoded:
    """An entry, and its records or what is wrong with it."""

    entry: FoundEntry
    packet: AvlPacket | None
    fault: str


def print_facts(facts: DeviceFacts, frame_max_bytes: int, *, terminal: bool) -> None:
    """Print them as sections, in the order in which one asks."""
    print(f"device {format_imei(facts.imei)}")
    _print_stored(facts)
    _print_section("held by the running instances", _holding_lines(facts))
    _print_section("dead letters", _letter_lines(facts))
    _print_entries(facts, frame_max_bytes, terminal=terminal)


def print_facts_json(facts: DeviceFacts, frame_max_bytes: int) -> None:
    """Print them as one object; a part that could not be asked for is null."""
    stored, holdings = facts.stored, facts.holdings
    about: dict[str, object] = {
        "imei": format_imei(facts.imei),
        "device": asdict(stored.device) if stored and stored.device else None,
        "last_position": _position_object(stored.last_position, facts.now_ms) if stored else None,
        "zones": _zone_objects(stored.zones) if stored else None,
        "last_24_h": _recent_object(stored.recent) if stored else None,
        "instances": None if holdings is None else asdict(holdings),
        "dead_letters": _letters_object(facts.letters),
        "stream": _entries_object(facts.entries, frame_max_bytes, facts.now_ms),
        "not_reached": facts.failures,
    }
    print(json.dumps(about))


def _print_section(title: str, lines: Iterator[tuple[str, str]]) -> None:
    print(f"\n{title}")
    for label, text in lines:
        print(f"  {label:<{_LABEL_WIDTH}}{text}".rstrip())


# Of Postgres.


def _print_stored(facts: DeviceFacts) -> None:
    stored = facts.stored
    if stored is None:
        _print_section("Postgres", _failed(facts, "Postgres"))
        return
    _print_section("devices", _device_lines(stored.device, facts.now_ms))
    _print_section("last_position", _position_lines(stored.last_position, facts.now_ms))
    _print_section("positions of the last 24 h", _recent_lines(stored.recent, facts.now_ms))
    _print_section("inside of zones", _zone_lines(stored.zones, facts.now_ms))


def _device_lines(row: DeviceRow | None, now_ms: int) -> Iterator[tuple[str, str]]:
    if row is None:
        yield "not in this table", ""
        return
    yield "name", name_text(row.name)
    yield "allowed", "yes" if row.allowed else "no"
    yield "first_seen_at", _time_and_age(row.first_seen_at_ms, now_ms)
    yield "last_seen_at", _time_and_age(row.last_seen_at_ms, now_ms)
    yield "attributes", printable(json.dumps(row.attributes, ensure_ascii=False))


def _position_lines(row: LastPositionRow | None, now_ms: int) -> Iterator[tuple[str, str]]:
    if row is None:
        yield "no row", "no valid fix was stored, or somebody deleted it"
        return
    yield "recorded_at", _time_and_age(row.recorded_at_ms, now_ms)
    yield "received_at", _time_and_age(row.received_at_ms, now_ms)
    for name, value in asdict(row).items():
        if not name.endswith("_at_ms"):
            yield name, f"{value:.7f}" if isinstance(value, float) else str(value)


def _recent_lines(recent: RecentRecords, now_ms: int) -> Iterator[tuple[str, str]]:
    without = f", {recent.n_without_fix:,} of them without a fix" if recent.n_without_fix else ""
    yield "records", f"{recent.n_records:,}{without}"
    yield "newest recorded_at", _time_and_age(recent.newest_recorded_at_ms, now_ms)
    yield "newest received_at", _time_and_age(recent.newest_received_at_ms, now_ms)


def _zone_lines(zones: Sequence[InZone] | None, now_ms: int) -> Iterator[tuple[str, str]]:
    if zones is None:
        yield "not known", "this role may not read timing_records and zones"
    elif not zones:
        yield "none", ""
    for one in zones or ():
        yield printable(one.zone), f"since {_time_and_age(one.since_ms, now_ms)}"


def _zone_objects(zones: Sequence[InZone] | None) -> list[dict[str, object]] | None:
    return None if zones is None else [asdict(one) for one in zones]


def _position_object(row: LastPositionRow | None, now_ms: int) -> dict[str, object] | None:
    return None if row is None else asdict(row) | {"age_ms": now_ms - row.recorded_at_ms}


def _recent_object(recent: RecentRecords) -> dict[str, object]:
    return {
        "records": recent.n_records,
        "records_without_fix": recent.n_without_fix,
        "newest_recorded_at_ms": recent.newest_recorded_at_ms,
        "newest_received_at_ms": recent.newest_received_at_ms,
    }


# Of the instances.


def _holding_lines(facts: DeviceFacts) -> Iterator[tuple[str, str]]:
    holdings = facts.holdings
    if holdings is None:
        yield from _failed(facts, "the instances", "the stream")
        return
    for answer in holdings.answers:
        yield printable(answer.instance), _holding_text(answer, facts.now_ms)
    for name in holdings.silent:
        waited = f"no answer within {facts.timeout_s:g} s (frozen, or an older version)"
        yield printable(name), waited
    if not holdings.answers and not holdings.silent:
        yield "no instance is running", ""


def _holding_text(answer: Holding, now_ms: int) -> str:
    fix = answer.fix
    if fix is None:
        return "held, as one without a valid fix" if answer.held else "not held"
    when = _time_and_age(fix.recorded_at_ms, now_ms)
    return f"{when}, {fix.longitude:.7f} {fix.latitude:.7f}, digest {fix.digest}"


# Of the dead letters.


def _letter_lines(facts: DeviceFacts) -> Iterator[tuple[str, str]]:
    letters = facts.letters
    if letters is None:
        yield from _failed(facts, "the dead letters", "the stream")
        return
    yield "count", f"{letters.n_letters:,}{_looked_text(letters.is_whole, letters.n_looked)}"
    for letter_id, cause in letters.newest:
        if cause is None:
            yield letter_id, "its last seven fields are not ours"
        else:
            age = age_text(facts.now_ms - cause.failed_at_ms)
            yield letter_id, f"{age} ago, {printable(cause.reason)}: {printable(cause.error)}"


def _letters_object(letters: FoundLetters | None) -> dict[str, object] | None:
    if letters is None:
        return None
    newest = [
        {"id": letter_id, **({} if cause is None else asdict(cause))}
        for letter_id, cause in letters.newest
    ]
    return {
        "letters": letters.n_letters,
        "letters_looked_at": letters.n_looked,
        "all_looked_at": letters.is_whole,
        "newest": newest,
    }


# Of the stream.


def _print_entries(facts: DeviceFacts, frame_max_bytes: int, *, terminal: bool) -> None:
    found = facts.entries
    if found is None:
        _print_section("newest entries of the stream", _failed(facts, "the stream"))
        return
    looked = _looked_text(found.is_whole, found.n_looked)
    print(f"\nnewest entries of the stream: {len(found.entries)}{looked}")
    for entry in found.entries:
        decoded = _decoded(entry, frame_max_bytes)
        age = age_text(facts.now_ms - ms_of(entry.entry_id))
        title = f"{entry.entry_id}, {age} ago, {entry.state}"
        if decoded.packet is None:
            print(f"{title}: {printable(decoded.fault)}")
        else:
            OUTPUTS["terminal" if terminal else "plain"](title, decoded.packet)
            if decoded.fault:
                print(printable(decoded.fault))


def _entries_object(
    found: FoundEntries | None, frame_max_bytes: int, now_ms: int
) -> dict[str, object] | None:
    if found is None:
        return None
    entries = [_entry_object(_decoded(e, frame_max_bytes), now_ms) for e in found.entries]
    looked = {"entries_looked_at": found.n_looked, "all_looked_at": found.is_whole}
    return {**looked, "newest": entries}


def _entry_object(decoded: _Decoded, now_ms: int) -> dict[str, object]:
    entry, packet = decoded.entry, decoded.packet
    about: dict[str, object] = {
        "entry_id": entry.entry_id,
        "age_ms": now_ms - ms_of(entry.entry_id),
        "state": entry.state,
    }
    if decoded.fault:
        about["error"] = decoded.fault
    if packet is None:
        return about
    return about | {
        "codec_id": packet.codec_id,
        "records": [json_fields(packet, record) for record in packet],
    }


def _decoded(entry: FoundEntry, frame_max_bytes: int) -> _Decoded:
    """As the processor decodes it, but for an entry of which only some records can be stored."""
    raw = [entry.entry_id.encode(), entry.fields]
    rejects = decode_entries([raw], frame_max_bytes=frame_max_bytes).rejects()
    fields = dict(zip(entry.fields[::2], entry.fields[1::2], strict=True))
    transport = fields.get(b"transport", b"tcp").decode(errors="replace")
    fault = next((f"{code} at byte {offset}: {text}" for _, code, offset, text in rejects), "")
    if b"frame" not in fields or transport not in {"tcp", "udp"}:
        return _Decoded(entry, None, fault)
    try:
        packet = decode_frame(
            fields[b"frame"],
            transport=cast("Literal['tcp', 'udp']", transport),
            frame_max_bytes=frame_max_bytes,
        )
    except DecodeError as error:
        return _Decoded(entry, None, fault or str(error))
    return _Decoded(entry, packet, fault)


# Words.


def _failed(facts: DeviceFacts, *parts: str) -> Iterator[tuple[str, str]]:
    yield next(f"not known: {facts.failures[part]}" for part in parts if part in facts.failures), ""


def _looked_text(is_whole: bool, n_looked: int) -> str:
    return "" if is_whole else f" among the newest {n_looked:,}, more may be older"


def _time_and_age(unix_ms: int | None, now_ms: int) -> str:
    if unix_ms is None:
        return "-"
    age_ms = now_ms - unix_ms
    age = f"{age_text(age_ms)} ago" if age_ms >= 0 else f"in {age_text(-age_ms)}"
    return f"{time_text(unix_ms)} ({age})"

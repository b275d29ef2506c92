"""One dead letter in full: why, its fields, what decodes of it, and the bytes around the fault."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final, cast

from teltonika_processor.cli.dlq_output import letter_object
from teltonika_processor.cli.record_output import OUTPUTS, json_fields
from teltonika_processor.cli.texts import age_text, printable, time_text
from teltonika_processor.codec.anatomy import (
    Anatomy,
    Transport,
    anatomy_of,
    decoded_part,
    parts_of,
)
from teltonika_processor.codec.hexdump import Mark, hexdump
from teltonika_processor.codec.native import AvlPacket, error_catalogue
from teltonika_processor.stream.letter import Fault, Letter

_AROUND_BYTES: Final = 64
_VALUE_MAX_CHARACTERS: Final = 100
_LABEL_WIDTH: Final = 18

# Their offset points at no byte of the frame.
_NOT_OF_BYTES: Final = frozenset(
    {
        "missing_field",
        "bad_imei",
        "unsupported_version",
        "decoder_bug",
        "refused_by_postgres",
        "crashed_processor",
        "payload_trimmed",
    }
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A letter, and what this version's processor would say of its entry now."""

    letter: Letter
    fault: Fault | None


def print_letter(shown: Shown, *, now_ms: int, all_bytes: bool, terminal: bool) -> None:
    """Print it for people."""
    letter = shown.letter
    print(f"dead letter {letter.letter_id}")
    _print_lines(_cause_lines(letter, now_ms))
    n_fields = len(letter.pairs)
    print(f"\nfields of the entry: {n_fields}" + ("" if n_fields else ", nothing of it is left"))
    _print_lines(_field_lines(letter))
    print(f"\nthis version: {_verdict(shown.fault)}")
    if letter.frame is not None:
        _print_frame(letter, letter.frame, all_bytes=all_bytes, terminal=terminal)


def print_letter_json(shown: Shown) -> None:
    """Print it as one JSON object."""
    letter, fault = shown.letter, shown.fault
    frame, transport = letter.frame, _transport_of(letter)
    about: dict[str, object] = {"fault": None if fault is None else fault._asdict()}
    if frame is not None and transport is not None:
        packet = decoded_part(frame, transport)
        about["envelope"] = _envelope_object(anatomy_of(frame, transport))
        about["records"] = [json_fields(packet, record) for record in packet or () if packet]
    print(json.dumps({**letter_object(letter), "this_version": about}))


def _print_lines(lines: Iterator[tuple[str, str]]) -> None:
    for label, text in lines:
        print(f"  {label:<{_LABEL_WIDTH}}{text}".rstrip())


def _cause_lines(letter: Letter, now_ms: int) -> Iterator[tuple[str, str]]:
    cause = letter.cause
    if cause is None:
        yield "reason", "its last seven fields are not ours: somebody else wrote this entry"
        return
    meanings = {code: meaning for _, code, meaning in error_catalogue()}
    meaning = meanings.get(cause.reason, "a code that this version does not know")
    yield "reason", f"{printable(cause.reason)}: {meaning}"
    yield "error", printable(cause.error)
    yield "offset", str(cause.offset) if cause.reason not in _NOT_OF_BYTES else "-"
    yield "attempts", str(cause.attempts)
    yield "source_id", cause.source_id
    age = age_text(now_ms - cause.failed_at_ms)
    yield "failed_at", f"{time_text(cause.failed_at_ms)} ({age} ago)"
    yield "instance", printable(cause.instance)


def _field_lines(letter: Letter) -> Iterator[tuple[str, str]]:
    for name, value in letter.pairs:
        yield _value_text(name), _value_text(value)


def _value_text(value: bytes) -> str:
    """Printable ASCII as it is, else how many bytes and the first of them in hex."""
    if value.isascii() and (text := value.decode("ascii")).isprintable():
        if len(text) <= _VALUE_MAX_CHARACTERS:
            return text
        return f"{text[:_VALUE_MAX_CHARACTERS]}.. ({len(text):,} bytes)"
    shown = value[:16]
    return f"{len(value):,} bytes: {shown.hex()}" + (".." if len(value) > len(shown) else "")


def _verdict(fault: Fault | None) -> str:
    if fault is None:
        return "decodes this entry; a replay may be stored"
    where = "" if fault.code in _NOT_OF_BYTES else f" at byte {fault.offset}"
    return f"{fault.code}{where}: {printable(fault.error)}"


# The frame.


def _print_frame(letter: Letter, frame: bytes, *, all_bytes: bool, terminal: bool) -> None:
    transport = _transport_of(letter)
    print(f"\nframe: {len(frame):,} bytes")
    if transport is not None:
        _print_lines(_envelope_lines(anatomy_of(frame, transport)))
        packet = decoded_part(frame, transport)
        if packet is not None:
            print()
            _print_records(packet, terminal=terminal)
    print()
    lines = hexdump(
        frame,
        mark=_mark_of(letter),
        parts=parts_of(frame, transport) if transport is not None else (),
        around=None if all_bytes else _AROUND_BYTES,
    )
    print("\n".join(lines))


def _print_records(packet: AvlPacket, *, terminal: bool) -> None:
    OUTPUTS["terminal" if terminal else "plain"]("as far as it decodes", packet)


def _envelope_lines(anatomy: Anatomy) -> Iterator[tuple[str, str]]:
    if anatomy.preamble is not None:
        yield "preamble", anatomy.preamble.hex() or "-"
        n_there = max(anatomy.n_bytes - anatomy.start - 4, 0)
        yield "data field length", f"{_or_dash(anatomy.data_length)}, room for {n_there} is there"
    yield "codec id", "-" if anatomy.codec_id is None else f"0x{anatomy.codec_id:02X}"
    before, behind = map(_or_dash, (anatomy.number_of_data_1, anatomy.number_of_data_2))
    yield "number of data", f"{before} before the records, {behind} behind them"
    if anatomy.preamble is not None:
        yield "CRC-16", _crc_text(anatomy)


def _crc_text(anatomy: Anatomy) -> str:
    if anatomy.crc_sent is None:
        return "-"
    verdict = "the same" if anatomy.crc_sent == anatomy.crc_computed else "not the same"
    return f"0x{anatomy.crc_sent:04X} sent, 0x{anatomy.crc_computed:04X} computed: {verdict}"


def _envelope_object(anatomy: Anatomy) -> dict[str, object]:
    about = asdict(anatomy)
    return about | {"preamble": None if anatomy.preamble is None else anatomy.preamble.hex()}


def _mark_of(letter: Letter) -> Mark | None:
    cause, frame = letter.cause, letter.frame
    if cause is None or frame is None or cause.reason in _NOT_OF_BYTES:
        return None
    # Another frame than the one that failed may be shorter than the offset.
    return Mark(cause.offset, printable(cause.reason)) if cause.offset <= len(frame) else None


def _transport_of(letter: Letter) -> Transport | None:
    name = letter.transport.decode(errors="replace")
    return cast("Transport", name) if name in {"tcp", "udp"} else None


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)

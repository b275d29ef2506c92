"""One dead letter in full: why, its fields, what decodes of it, and the bytes around the fault."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from teltonika_processor.cli.dlq_output import letter_object
from teltonika_processor.cli.entry_output import (
    NOT_OF_BYTES,
    cause_lines,
    field_lines,
    print_lines,
    transport_of,
    verdict_text,
)
from teltonika_processor.cli.record_output import OUTPUTS, json_fields
from teltonika_processor.codec.anatomy import (
    Anatomy,
    anatomy_of,
    decoded_part,
    parts_of,
)
from teltonika_processor.codec.hexdump import Mark, hexdump
from teltonika_processor.codec.native import AvlPacket
from teltonika_processor.stream.letter import Fault, Letter
from teltonika_processor.texts import printable

_AROUND_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Shown:
    """A letter, and what this version's processor would say of its entry now."""

    letter: Letter
    fault: Fault | None


def print_letter(shown: Shown, *, now_ms: int, all_bytes: bool, terminal: bool) -> None:
    """Print it for people."""
    letter = shown.letter
    print(f"dead letter {letter.letter_id}")
    print_lines(cause_lines(letter, now_ms))
    n_fields = len(letter.pairs)
    print(f"\nfields of the entry: {n_fields}" + ("" if n_fields else ", nothing of it is left"))
    print_lines(field_lines(letter))
    print(f"\nthis version: {verdict_text(shown.fault)}")
    if letter.frame is not None:
        _print_frame(letter, letter.frame, all_bytes=all_bytes, terminal=terminal)


def print_letter_json(shown: Shown) -> None:
    """Print it as one JSON object."""
    letter, fault = shown.letter, shown.fault
    frame, transport = letter.frame, transport_of(letter)
    about: dict[str, object] = {"fault": None if fault is None else fault._asdict()}
    if frame is not None and transport is not None:
        packet = decoded_part(frame, transport)
        about["envelope"] = _envelope_object(anatomy_of(frame, transport))
        about["records"] = [json_fields(packet, record) for record in packet or () if packet]
    print(json.dumps({**letter_object(letter), "this_version": about}))


# The frame.


def _print_frame(letter: Letter, frame: bytes, *, all_bytes: bool, terminal: bool) -> None:
    transport = transport_of(letter)
    print(f"\nframe: {len(frame):,} bytes")
    if transport is not None:
        print_lines(_envelope_lines(anatomy_of(frame, transport)))
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
    if cause is None or frame is None or cause.reason in NOT_OF_BYTES:
        return None
    # Another frame than the one that failed may be shorter than the offset.
    return Mark(cause.offset, printable(cause.reason)) if cause.offset <= len(frame) else None


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)

"""What an entry says of itself and what is said of it: fields, cause, verdict."""

from collections.abc import Iterator
from typing import Final, cast

from teltonika_processor.codec.layouts import Transport
from teltonika_processor.codec.native import error_catalogue
from teltonika_processor.stream.letter import Fault, Letter
from teltonika_processor.texts import age_text, printable, time_text

_VALUE_MAX_CHARACTERS: Final = 100
_LABEL_WIDTH: Final = 18

NOT_OF_BYTES: Final = frozenset(
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
"""Codes whose offset points at no byte of the frame."""


def print_lines(lines: Iterator[tuple[str, str]]) -> None:
    """Print labels and texts, aligned."""
    for label, text in lines:
        print(f"  {label:<{_LABEL_WIDTH}}{text}".rstrip())


def cause_lines(letter: Letter, now_ms: int) -> Iterator[tuple[str, str]]:
    """Why an entry is a dead letter."""
    cause = letter.cause
    if cause is None:
        yield "reason", "its last seven fields are not ours: somebody else wrote this entry"
        return
    meanings = {code: meaning for _, code, meaning in error_catalogue()}
    meaning = meanings.get(cause.reason, "a code that this version does not know")
    yield "reason", f"{printable(cause.reason)}: {meaning}"
    yield "error", printable(cause.error)
    yield "offset", str(cause.offset) if cause.reason not in NOT_OF_BYTES else "-"
    yield "attempts", str(cause.attempts)
    yield "source_id", cause.source_id if cause.has_entry else "- (the frame was never an entry)"
    age = age_text(now_ms - cause.failed_at_ms)
    yield "failed_at", f"{time_text(cause.failed_at_ms)} ({age} ago)"
    yield "instance", printable(cause.instance)


def field_lines(letter: Letter) -> Iterator[tuple[str, str]]:
    """Every field of an entry, its frame in short."""
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


def verdict_text(fault: Fault | None) -> str:
    """What this version says of an entry."""
    if fault is None:
        return "decodes this entry; a replay may be stored"
    where = "" if fault.code in NOT_OF_BYTES else f" at byte {fault.offset}"
    return f"{fault.code}{where}: {printable(fault.error)}"


def transport_of(letter: Letter) -> Transport | None:
    """How the frame of an entry is wrapped; None for what this version does not know."""
    name = letter.transport.decode(errors="replace")
    return cast("Transport", name) if name in {"tcp", "udp"} else None

"""Explanations for people, one line a field, and as JSON."""

import json
import textwrap
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.console import Console
from rich.text import Text

from teltonika_processor.cli.dlq_output import letter_object
from teltonika_processor.cli.entry_output import (
    cause_lines,
    field_lines,
    print_lines,
    verdict_text,
)
from teltonika_processor.codec.explain import Explanation, Fault, Span
from teltonika_processor.stream.letter import Fault as Verdict
from teltonika_processor.texts import printable

if TYPE_CHECKING:  # it brings the client of Redis, which frames in hex do not need
    from teltonika_processor.stream.lookup import FoundEntry

# 80 characters hold a time of the wire: 6 + 2 + 23 + 2 + 22 + 24.
_HEX_BYTES: Final = 8
_FIELD_WIDTH: Final = 22
_VALUE_START: Final = 33 + _FIELD_WIDTH
_MARK_START: Final = 8

# Bound: characters of a value that is hex; its bytes stand beside it.
_HEX_VALUE_MAX: Final = 34


@dataclass(frozen=True, slots=True)
class Style:
    """How explanations are printed."""

    as_json: bool
    all_bytes: bool
    terminal: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """One input and what came out.

    Attributes:
        place: What it is to the user: `argument 2`, `line 7`, an entry.
        explanation: None where there is nothing to explain: no entry, or no frame in it.
        hint: What else it may be.
        entry: Where it was an entry, that.
        verdict: What the processor would say of the entry.
    """

    place: str
    frame: bytes
    explanation: Explanation | None
    hint: str = ""
    entry: "FoundEntry | None" = None
    verdict: Verdict | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        if self.explanation is None or self.verdict is not None:
            return False
        return self.explanation.fault is None


class _Line(NamedTuple):
    """A line in two parts: where the bytes are, and what they mean; or a mark."""

    bytes: str
    meaning: str
    is_fault: bool = False


def print_explained(explained: Explained, style: Style) -> None:
    """Print it; an entry that was not found has been told already."""
    if style.as_json:
        print(json.dumps(_object(explained)))
        return
    if explained.entry is not None:
        _print_entry(explained, explained.entry)
    if explained.explanation is None:
        return
    title = explained.explanation.title
    place = "frame" if explained.entry is not None else explained.place
    print(f"{place}: {title}, {len(explained.frame):,} bytes")
    lines = _lines(explained, explained.explanation, all_bytes=style.all_bytes)
    if style.terminal:
        _print_terminal(lines)
    else:
        for line in lines:
            print(f"{line.bytes}{line.meaning}".rstrip())


# Entries.


def _print_entry(explained: Explained, entry: "FoundEntry") -> None:
    letter = entry.letter
    print(f"{explained.place} in {entry.stream}")
    if letter.cause is not None:
        print_lines(cause_lines(letter, time.time_ns() // 1_000_000))
    if entry.lettered is not None:
        went = f", {entry.letter_went}" if entry.letter_went else ""
        print_lines(iter([("dead letter", f"{printable(entry.lettered)}{went}")]))
    print(f"\nfields of the entry: {len(letter.pairs)}")
    print_lines(field_lines(letter))
    decodes = explained.verdict is None and letter.cause is None
    verdict = "decodes this entry" if decodes else verdict_text(explained.verdict)
    print(f"\nthis version: {verdict}\n")


# Fields.


def _lines(explained: Explained, explanation: Explanation, *, all_bytes: bool) -> Iterator[_Line]:
    fault = explanation.fault
    for index, span in enumerate(explanation.spans):
        yield from _span_lines(span, explained.frame, all_bytes=all_bytes)
        if fault is not None and index == fault.span:
            yield from _fault_lines(fault, explained.hint)


def _span_lines(span: Span, frame: bytes, *, all_bytes: bool) -> Iterator[_Line]:
    shown = b"" if span.is_group else frame[span.start : span.stop]
    rows = [shown[at : at + _HEX_BYTES] for at in range(0, len(shown), _HEX_BYTES)] or [b""]
    first = rows[0].hex(" ")
    if len(rows) > 1 and not all_bytes:
        rows, first = rows[:1], f"{rows[0][:-1].hex(' ')} .."
    yield _Line(f"{span.start:>6}  {first:<23}  ", _meaning(span, all_bytes=all_bytes))
    for row, octets in enumerate(rows[1:], start=1):
        yield _Line(f"{span.start + row * _HEX_BYTES:>6}  {octets.hex(' '):<23}  ", "")


def _meaning(span: Span, *, all_bytes: bool) -> str:
    field = "  " * span.level + span.field
    value = printable(span.value)
    if value.startswith("0x") and len(value) > _HEX_VALUE_MAX and not all_bytes:
        value = f"{value[:_HEX_VALUE_MAX]}.."
    if span.is_group:
        value = f"{span.stop - span.start:,} bytes" if span.level == 0 else ""
    note = f"({printable(span.note)})" if span.note else ""
    said = " ".join(filter(None, (value, span.unit, note)))
    return f"{field:<{_FIELD_WIDTH - 2}}  {said}".rstrip()


def _fault_lines(fault: Fault, hint: str) -> Iterator[_Line]:
    indent = " " * _MARK_START
    found = f"{fault.code} at byte {fault.offset}: {printable(fault.message)}"
    yield _Line(f"{indent}^^ ", found, is_fault=True)
    for text in filter(None, (fault.expected and f"expected {fault.expected}", hint)):
        yield _Line(f"{indent}   ", text, is_fault=True)


def _print_terminal(lines: Iterator[_Line]) -> None:
    """The same lines, folded behind their bytes, faults in red."""
    console = Console(markup=False, emoji=False, highlight=False)
    for line in lines:
        room = max(console.width - len(line.bytes), 20)
        behind = _VALUE_START - len(line.bytes) if not line.is_fault else 0
        folded = textwrap.wrap(
            line.meaning,
            room,
            subsequent_indent=" " * min(max(behind, 0), room // 2),
            drop_whitespace=False,
            replace_whitespace=False,
        )
        parts = folded or [""]
        for index, part in enumerate(parts):
            head = line.bytes if index == 0 else " " * len(line.bytes)
            text = Text(head, style="bold red" if line.is_fault else "dim")
            text.append(part.rstrip(), style="bold red" if line.is_fault else "not dim")
            console.print(text, no_wrap=True, overflow="ignore", crop=False)


# JSON.


def _object(explained: Explained) -> dict[str, object]:
    explanation, entry = explained.explanation, explained.entry
    about: dict[str, object] = {"frame": explained.place}
    if entry is not None:
        about["stream"] = entry.stream
        about["entry"] = letter_object(entry.letter)
        about["this_version"] = None if explained.verdict is None else explained.verdict._asdict()
    if explanation is None:
        return about | {"title": None, "fault": None, "spans": []}
    fault = None if explanation.fault is None else explanation.fault._asdict()
    return about | {
        "title": explanation.title,
        "frame_bytes": explanation.n_bytes,
        "fault": fault,
        "hint": explained.hint or None,
        "spans": [_span_object(span, explained.frame) for span in explanation.spans],
    }


def _span_object(span: Span, frame: bytes) -> dict[str, object]:
    about: dict[str, object] = asdict(span)
    if isinstance(span.raw, bytes):
        about["raw"] = span.raw.hex()
    return about | {"hex": frame[span.start : span.stop].hex()}

"""Dead letters for people: a table on a terminal, plain columns in a pipe, or JSON lines."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.table import Table

from teltonika_processor.stream.letter import Letter, LetterHead

_HEADINGS: Final = ("id", "reason", "device", "age", "attempts", "error")
_NOT_OURS: Final = "(not ours)"

# (below this many seconds, seconds in one, the unit)
_AGES: Final = ((60, 1, "s"), (3600, 60, "min"), (172_800, 3600, "h"), (float("inf"), 86_400, "d"))


def print_table(heads: Sequence[LetterHead], *, now_ms: int, terminal: bool) -> None:
    """One line a letter."""
    rows = [_cells(head, now_ms) for head in heads]
    if terminal:
        _print_terminal(rows)
    else:
        _print_plain(rows)


def print_json(heads: Sequence[LetterHead]) -> None:
    """One JSON object a line."""
    for head in heads:
        print(json.dumps(_head_object(head)))


def letter_object(letter: Letter) -> dict[str, object]:
    """A whole letter for JSON: why, and `fields` as pairs of name and value in hex, in order.

    A name that is not UTF-8 has its bytes as lone surrogates, as Python's `surrogateescape` does.
    """
    names = ((name.decode(errors="surrogateescape"), value.hex()) for name, value in letter.pairs)
    return {
        "id": letter.letter_id,
        "imei": letter.imei,
        **_cause_object(letter),
        "fields": list(names),
    }


def by_reason(counts: Mapping[str, int]) -> str:
    """Counts as text, the reasons in their alphabet."""
    return ", ".join(f"{reason or _NOT_OURS} {counts[reason]:,}" for reason in sorted(counts))


def letters_text(n_letters: int) -> str:
    """How many dead letters, in words."""
    return f"{n_letters:,} dead letter" + ("" if n_letters == 1 else "s")


def reasons_of(heads: Sequence[LetterHead]) -> Counter[str]:
    """Number of letters by reason, nothing standing for those that are not ours."""
    return Counter("" if head.cause is None else head.cause.reason for head in heads)


def age_text(age_ms: int) -> str:
    """An age in its largest whole unit."""
    seconds = max(age_ms, 0) // 1000
    size, unit = next((size, unit) for below, size, unit in _AGES if seconds < below)
    return f"{seconds // size} {unit}"


def printable(text: str) -> str:
    """The text with control characters escaped: what a device sent steers no terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _cause_object(letter: Letter | LetterHead) -> dict[str, object]:
    return {} if letter.cause is None else asdict(letter.cause)


def _head_object(head: LetterHead) -> dict[str, object]:
    return {
        "id": head.letter_id,
        "imei": head.imei,
        **_cause_object(head),
        "frame_bytes": head.frame_bytes,
    }


def _cells(head: LetterHead, now_ms: int) -> tuple[str, ...]:
    cause = head.cause
    if cause is None:
        return (head.letter_id, _NOT_OURS, head.imei or "-", "-", "-", "")
    return (
        head.letter_id,
        printable(cause.reason),
        head.imei or "-",
        age_text(now_ms - cause.failed_at_ms),
        str(cause.attempts),
        printable(cause.error),
    )


def _print_plain(rows: Sequence[Sequence[str]]) -> None:
    table = [_HEADINGS, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def _print_terminal(rows: Sequence[Sequence[str]]) -> None:
    table = Table()
    for heading in _HEADINGS:
        # What is typed again is never folded; the error takes what is left.
        table.add_column(heading, no_wrap=heading == "id", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(markup=False, emoji=False, highlight=False).print(table)

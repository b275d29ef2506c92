"""Dead letters for people: a table on a terminal, plain columns in a pipe, or JSON lines."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from teltonika_processor.cli.tables import print_rows
from teltonika_processor.stream.letter import Letter, LetterHead
from teltonika_processor.texts import age_text, count_text, printable

_HEADINGS: Final = ("id", "reason", "device", "age", "attempts", "error")
_UNFOLDED: Final = ("id", "device", "age", "attempts")
_NOT_OURS: Final = "(not ours)"


def print_table(heads: Sequence[LetterHead], *, now_ms: int, terminal: bool) -> None:
    """One line a letter."""
    rows = [_cells(head, now_ms) for head in heads]
    # What is typed again is never folded; the error takes what is left.
    print_rows(_HEADINGS, rows, terminal=terminal, unfolded=_UNFOLDED)


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
    return count_text(n_letters, "dead letter")


def reasons_of(heads: Sequence[LetterHead]) -> Counter[str]:
    """Number of letters by reason, nothing standing for those that are not ours."""
    return Counter("" if head.cause is None else head.cause.reason for head in heads)


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

"""What a dead letter says, and what its entry looks like when it is replayed: no I/O.

A letter is an entry of the dead-letter stream: every field of the original entry, untouched and in
order, and after them exactly seven pairs of ours. So an original field named `reason` is told from
ours by its place.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from teltonika_processor.codec.native import ENTRY_FIELDS, decode_entries

OUR_FIELDS: Final = (
    *("reason", "error", "offset", "attempts", "source_id", "failed_at_ms", "instance"),
)
"""The last pairs of every letter, in this order."""

_IMEI, _FRAME, _, _TRANSPORT, _RECEIVED_AT_MS = (name.encode() for name in ENTRY_FIELDS)
_ORIGINAL_FRAME: Final = b"original_frame"
_REPLAYED_FROM: Final = b"replayed_from"
_REPLAYS: Final = b"replays"

_OUR_NAMES: Final = [name.encode() for name in OUR_FIELDS]
_ENTRY_ID: Final = re.compile(rb"\d{1,20}-\d{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why an entry is a dead letter: the seven pairs that follow its own.

    Attributes:
        offset: Where the offending field starts, in bytes of the frame.
        source_id: Id that the entry had in the telemetry stream; 0-0 where it never was in it.
        failed_at_ms: Clock of the instance that gave it up, Unix milliseconds.
    """

    reason: str
    error: str
    offset: int
    attempts: int
    source_id: str
    failed_at_ms: int
    instance: str

    @property
    def has_entry(self) -> bool:
        """Whether there was an entry; of a poison frame the gateway wrote the letter alone."""
        return self.source_id != "0-0"


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterHead:
    """What a list needs of a letter; its fields stayed in Redis.

    Attributes:
        cause: None where the last seven pairs are not ours: somebody else wrote this entry.
        imei: 15 digits, None where the entry's field is missing or anything else.
        n_fields: Pairs that were the entry's own; 0 where its payload was trimmed.
        frame_bytes: Length of the frame, None where there is none.
    """

    letter_id: str
    cause: Cause | None
    imei: str | None
    n_fields: int
    frame_bytes: int | None


@dataclass(frozen=True, slots=True)
class Letter:
    """A whole letter; `fields` are the original entry's, names and values in turn."""

    letter_id: str
    cause: Cause | None
    fields: tuple[bytes, ...]

    @property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        """Names and values of the original entry, in its order."""
        return list(zip(self.fields[::2], self.fields[1::2], strict=True))

    @property
    def imei(self) -> str | None:
        """15 digits; None where the field is missing or anything else."""
        return imei_text(self.value(_IMEI) or b"")

    @property
    def frame(self) -> bytes | None:
        """The frame as the gateway received it; None where there is none."""
        return self.value(_FRAME)

    @property
    def transport(self) -> bytes:
        """How the frame is wrapped: ``tcp``, ``udp``, or what a later contract calls it."""
        return self.value(_TRANSPORT) or b"tcp"

    def value(self, name: bytes) -> bytes | None:
        """Value of a field, of one that stands twice the last: as the decoder reads them."""
        return next((value for found, value in reversed(self.pairs) if found == name), None)


class Fault(NamedTuple):
    """What the decoder of this version says of an entry."""

    code: str
    offset: int
    error: str


def letter_of(letter_id: bytes, items: Sequence[bytes]) -> Letter:
    """The letter in one entry of the dead-letter stream, names and values in turn."""
    cause = cause_of(items)
    fields = items if cause is None else items[: -2 * len(OUR_FIELDS)]
    return Letter(letter_id.decode(), cause, tuple(fields))


def cause_of(items: Sequence[bytes]) -> Cause | None:
    """What our last seven pairs say; None if the last seven pairs are not ours."""
    ours = items[-2 * len(OUR_FIELDS) :]
    if ours[::2] != _OUR_NAMES or not _is_well_formed(ours[1::2]):
        return None
    reason, error, offset, attempts, source_id, failed_at_ms, instance = map(_text, ours[1::2])
    return Cause(
        reason=reason,
        error=error,
        offset=int(offset),
        attempts=int(attempts),
        source_id=source_id,
        failed_at_ms=int(failed_at_ms),
        instance=instance,
    )


def is_entry_id(text: str) -> bool:
    """Whether `text` is the whole id of an entry: milliseconds and sequence, 64 bits each."""
    if _ENTRY_ID.fullmatch(text.encode()) is None:
        return False
    return all(int(part) < 1 << 64 for part in text.split("-"))


def imei_text(value: bytes) -> str | None:
    """The IMEI as text, if it is 15 digits."""
    return value.decode() if len(value) == 15 and value.isdigit() else None


def fault_of(letter: Letter, frame: bytes | None = None, *, frame_max_bytes: int) -> Fault | None:
    """Why this version's processor would refuse the entry again, with `frame` if one is given."""
    fields = list(letter.fields if frame is None else _with_frame(letter.fields, frame))
    entry = [_source_id(letter), fields or None]
    rejects = decode_entries([entry], frame_max_bytes=frame_max_bytes).rejects()
    return next((Fault(code, offset, error) for _, code, offset, error in rejects), None)


def replayed_fields(letter: Letter, frame: bytes | None = None) -> list[bytes]:
    """Fields of the entry that replays `letter`, names and values in turn.

    The original's, untouched and in order. Behind them the receive time that the entry had, where
    the new id would give it another; the original frame, where `frame` stands in its place; and the
    mark of the replay, which replaces that of an earlier one.
    """
    cause = letter.cause
    assert cause is not None, "only a letter of ours can be replayed"  # noqa: S101 -- an invariant
    fields, marks = _without_marks(list(letter.fields))
    original = marks.get(_ORIGINAL_FRAME, letter.frame if frame is not None else None)
    if frame is not None:
        fields = _with_frame(fields, frame)
    n_replays = _number(marks.get(_REPLAYS, b"")) + 1
    return [
        *fields,
        *_receive_time(letter),
        *([] if original is None else [_ORIGINAL_FRAME, original]),
        *(_REPLAYED_FROM, cause.source_id.encode()),
        *(_REPLAYS, b"%d" % n_replays),
    ]


def _without_marks(fields: list[bytes]) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Take off what an earlier replay put behind the entry's own fields."""
    marks: dict[bytes, bytes] = {}
    if fields[-4::2] != [_REPLAYED_FROM, _REPLAYS]:
        return fields, marks
    marks[_REPLAYS] = fields[-1]
    fields = fields[:-4]
    if fields[-2:-1] == [_ORIGINAL_FRAME]:
        marks[_ORIGINAL_FRAME] = fields[-1]
        fields = fields[:-2]
    return fields, marks


def _with_frame(fields: Sequence[bytes], frame: bytes) -> list[bytes]:
    """Put `frame` in the place of the last one, or at the end."""
    changed = list(fields)
    for i in range(len(changed) - 2, -1, -2):
        if changed[i] == _FRAME:
            changed[i + 1] = frame
            return changed
    return [*changed, _FRAME, frame]


def _receive_time(letter: Letter) -> list[bytes]:
    """The pair to add, if the decoder took the receive time from the entry's id.

    It does where the field is missing or implausible; the id of the replay would say another time.
    """
    entry = [_source_id(letter), list(letter.fields)]
    received_at_ms = b"%d" % decode_entries([entry]).received_at_ms[0]
    known = letter.value(_RECEIVED_AT_MS)
    return [] if known == received_at_ms else [_RECEIVED_AT_MS, received_at_ms]


def _source_id(letter: Letter) -> bytes:
    return b"0-0" if letter.cause is None else letter.cause.source_id.encode()


def _is_well_formed(values: Sequence[bytes]) -> bool:
    _, _, offset, attempts, source_id, failed_at_ms, _ = values
    numbers = (offset, attempts, failed_at_ms)
    return all(map(_is_number, numbers)) and _ENTRY_ID.fullmatch(source_id) is not None


def _is_number(value: bytes) -> bool:
    # Bound: as many digits as 64 bits have.
    return value.isdigit() and len(value) <= 20


def _number(value: bytes) -> int:
    return int(value) if _is_number(value) else 0


def _text(value: bytes) -> str:
    return value.decode(errors="replace")

"""What an explanation is made of, and the walk that makes it: fields one after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of bytes and what it is.

    Attributes:
        start: Its first byte, from the start of the input.
        stop: Behind its last byte; `start` where a field is missing altogether.
        level: How deep it stands in what encloses it.
        is_group: Whether the spans behind it, one level deeper, are its parts.
        value: For people; empty for a group.
        raw: The value on the wire: a number, signed where the field is; an IO element's is
            unsigned, and bytes where of variable length or of 16.
        io_id: Which IO element it is.
    """

    start: int
    stop: int
    level: int
    field: str
    is_group: bool = False
    value: str = ""
    unit: str = ""
    note: str = ""
    raw: int | bytes | None = None
    io_id: int | None = None


class Fault(NamedTuple):
    """What is wrong with the input, in the words of the decoder, and what was expected there.

    Attributes:
        offset: Where the offending field starts, as the decoder says it.
        span: Index of the span to look at; that of the cut where bytes are missing.
    """

    code: str
    offset: int
    message: str
    expected: str
    span: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Every byte of one input. Spans that are no groups are contiguous and cover it."""

    title: str
    n_bytes: int
    spans: tuple[Span, ...]
    fault: Fault | None


class CutError(Exception):
    """A field does not fit into the part that encloses it."""

    def __init__(self, offset: int, field: str, needed: int, left: int) -> None:
        super().__init__(offset, field, needed, left)
        self.offset: Final = offset
        self.field: Final = field
        self.needed: Final = needed
        self.left: Final = left


class Walk:
    """Takes fields from the front of one part of the input, and notes a span for each.

    Integers are big-endian everywhere.
    """

    def __init__(self, content: bytes, start: int, stop: int, *, level: int = 0) -> None:
        self.content: Final = content
        self.at = start
        self.stop = stop
        self.level = level
        self.spans: list[Span] = []

    @property
    def left(self) -> int:
        """Bytes that are left."""
        return self.stop - self.at

    def require(self, n_bytes: int, field: str) -> None:
        """Demand that so many bytes are left; otherwise note what is there of the field.

        Raises:
            CutError: There are fewer.
        """
        left = self.left
        if n_bytes <= left:
            return
        offset, self.at = self.at, self.stop
        self.note(left, field, note=f"{left} of {n_bytes} bytes" if left else "missing")
        raise CutError(offset, field, n_bytes, left)

    def take(self, n_bytes: int, field: str) -> bytes:
        """The next bytes; what they are is noted by the caller. CutError as above."""
        self.require(n_bytes, field)
        self.at += n_bytes
        return self.content[self.at - n_bytes : self.at]

    def octets(self, n_bytes: int, field: str, *, note: str = "") -> bytes:
        """A field of bytes, noted without a value; CutError as above."""
        raw = self.take(n_bytes, field)
        self.note(n_bytes, field, note=note, raw=raw)
        return raw

    def unsigned(self, n_bytes: int, field: str, *, unit: str = "", note: str = "") -> int:
        """An unsigned number, noted; CutError as above."""
        number = int.from_bytes(self.take(n_bytes, field))
        self.note(n_bytes, field, value=str(number), unit=unit, note=note, raw=number)
        return number

    def signed(self, n_bytes: int, field: str) -> int:
        """A signed number, not noted; CutError as above."""
        return int.from_bytes(self.take(n_bytes, field), signed=True)

    def note(  # noqa: PLR0913 -- the attributes of a span
        self,
        n_bytes: int,
        field: str,
        *,
        value: str = "",
        unit: str = "",
        note: str = "",
        raw: int | bytes | None = None,
        io_id: int | None = None,
    ) -> None:
        """Note what the last `n_bytes` that were taken are."""
        self.spans.append(
            Span(
                start=self.at - n_bytes,
                stop=self.at,
                level=self.level,
                field=field,
                value=value,
                unit=unit,
                note=note,
                raw=raw,
                io_id=io_id,
            )
        )

    def amend(self, index: int, *, value: str | None = None, note: str) -> None:
        """Say more of a span that was noted."""
        span = self.spans[index]
        self.spans[index] = replace(span, note=note, value=span.value if value is None else value)

    @contextmanager
    def group(self, field: str) -> Iterator[None]:
        """Note what the block takes as the parts of one group, also where it is cut."""
        index, start = len(self.spans), self.at
        self.note(0, field)
        self.level += 1
        try:
            yield
        finally:
            self.level -= 1
            self.spans[index] = replace(self.spans[index], start=start, stop=self.at, is_group=True)

    def rest(self, field: str, note: str) -> None:
        """Note what is left, if anything, as one span."""
        if n_bytes := self.left:
            self.at = self.stop
            self.note(n_bytes, field, note=note)

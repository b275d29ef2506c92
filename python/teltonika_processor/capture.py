"""What devices sent, byte for byte and in its order: the one format of captures and replays. Pure.

The first line is ``{"capture": "teltonika-processor", "version": 1}``. Every other line is an
object with the keys ``at_ms`` (Unix milliseconds), ``connection`` (any name), ``transport``
(``tcp`` or ``udp``), ``event`` and, for bytes, ``hex``. Events of a TCP connection are ``open``,
``data`` and ``close``, the bytes in whatever pieces they were read; by UDP there is ``datagram``,
whole. Keys that a reader does not know it ignores.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from teltonika_processor.errors import TeltonikaProcessorError

Transport = Literal["tcp", "udp"]
Event = Literal["open", "data", "close", "datagram"]

VERSION: Final = 1

_NAME: Final = "teltonika-processor"
_HEADER: Final = {"capture": _NAME, "version": VERSION}
_EVENTS: Final[Mapping[str, frozenset[str]]] = {
    "tcp": frozenset({"open", "data", "close"}),
    "udp": frozenset({"datagram"}),
}
_WITH_BYTES: Final = frozenset({"data", "datagram"})
# Bound: a name is quoted in errors and tables.
_CONNECTION_MAX: Final = 200
# Bound: the year 9999.
_AT_MAX_MS: Final = 253_402_300_799_999


class CaptureError(TeltonikaProcessorError, ValueError):
    """A line of a capture that cannot be read.

    Attributes:
        line: Its number, from 1.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line: Final = line


@dataclass(frozen=True, slots=True)
class Captured:
    """One event.

    Attributes:
        at_ms: When, Unix milliseconds.
        connection: Whose.
        transport: How it came.
        event: What happened.
        data: The bytes of ``data`` and ``datagram``.
    """

    at_ms: int
    connection: str
    transport: Transport
    event: Event
    data: bytes = b""


def header_line() -> str:
    """The first line of every capture, with its end."""
    return json.dumps(_HEADER) + "\n"


def event_line(captured: Captured) -> str:
    """The line of one event, with its end."""
    fields: dict[str, str | int] = {
        "at_ms": captured.at_ms,
        "connection": captured.connection,
        "transport": captured.transport,
        "event": captured.event,
    }
    if captured.event in _WITH_BYTES:
        fields["hex"] = captured.data.hex()
    return json.dumps(fields) + "\n"


def read_capture(
    lines: Iterable[str], *, cut: Callable[[int], None] | None = None
) -> Iterator[Captured]:
    """The events of a capture; empty lines are skipped.

    Args:
        lines: With their ends.
        cut: Told the number of the last line where that has no end and is no event, as after a
            crash of the gateway: it is skipped. None: such a line is wrong like any other.

    Raises:
        CaptureError: At the first line that is not as it must be: what was found, what was
            expected, where.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    number, first = next(numbered, (1, ""))
    _check_header(number, first)
    for number, line in numbered:
        try:
            captured = _captured(number, _object(number, line))
        except CaptureError:
            if cut is None or line.endswith("\n"):
                raise
            cut(number)
            return
        yield captured


def _check_header(number: int, line: str) -> None:
    expected = f"expected {json.dumps(_HEADER)}"
    if not line:
        raise CaptureError(number, f"nothing, {expected}")
    header = _object(number, line)
    if header.get("capture") != _NAME:
        raise CaptureError(number, f"no header of a capture, {expected}")
    if header.get("version") != VERSION:
        raise CaptureError(number, f"version {header.get('version')!r:.40}, expected {VERSION}")


def _object(number: int, line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # a ValueError also where a number has 5,000 digits
        found = None
    if not isinstance(found, dict):
        raise CaptureError(number, f"{line.strip()!r:.40} is no JSON object")
    return found


def _captured(number: int, fields: Mapping[str, Any]) -> Captured:
    transport = _one_of(number, fields, "transport", get_args(Transport))
    event = _one_of(number, fields, "event", sorted(_EVENTS[transport]))
    at_ms = fields.get("at_ms")
    if type(at_ms) is not int or not 0 <= at_ms <= _AT_MAX_MS:
        raise CaptureError(number, f"at_ms is {at_ms!r:.40}, expected Unix milliseconds")
    connection = fields.get("connection")
    if not isinstance(connection, str) or not 0 < len(connection) <= _CONNECTION_MAX:
        raise CaptureError(number, f"connection is {connection!r:.40}, expected a name")
    data = _bytes(number, fields) if event in _WITH_BYTES else b""
    return Captured(at_ms, connection, transport, event, data)


def _one_of(number: int, fields: Mapping[str, Any], name: str, known: Sequence[str]) -> Any:
    value = fields.get(name)
    if value not in known:
        expected = " or ".join(known)
        raise CaptureError(number, f"{name} is {value!r:.40}, expected {expected}")
    return value


def _bytes(number: int, fields: Mapping[str, Any]) -> bytes:
    text = fields.get("hex")
    try:
        data = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        data = b""
    if not data:
        raise CaptureError(number, f"hex is {text!r:.40}, expected bytes in hex")
    return data

"""`teltonika-processor decode`: frames in hex, or one in binary, to records for people."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import typer

from teltonika_processor.cli.record_output import OUTPUTS, Output
from teltonika_processor.codec.native import FRAME_MAX_BYTES, AvlPacket, decode_frame
from teltonika_processor.errors import DecodeError

EXIT_BAD_FRAME: Final = 1
EXIT_BAD_INPUT: Final = 2

_TEXT: Final = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\n\v\f\r")
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")

Transport = Literal["tcp", "udp"]


class NotHexError(ValueError):
    """Input that should be hex and is not; the message says where."""


class Source(NamedTuple):
    """One frame and how the user finds it again: `argument 2`, `line 7`."""

    place: str
    frame: bytes


app = typer.Typer()


@app.command()
def decode(
    frames: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="HEX...", help="Frames in hex; without any, standard input is read."
        ),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Hex, one frame a line; or one binary frame."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a record.")] = False,
    transport: Annotated[
        Transport,
        typer.Option(help="tcp: whole frames. udp: AVL data arrays, or the datagrams around them."),
    ] = "tcp",
    frame_max_bytes: Annotated[
        int, typer.Option(min=15, max=1 << 29, help="Refuse frames above this.")
    ] = FRAME_MAX_BYTES,
) -> None:
    """Decode Teltonika frames: Codec 8, 8 Extended and 16.

    A bad frame is named on standard error, the others go on, and the exit code is 1.
    Input that is not hex ends it with exit code 2.
    """
    if frames and file:
        _refuse("give frames in hex or --file, not both")
    output = OUTPUTS["json" if as_json else "terminal" if sys.stdout.isatty() else "plain"]
    outcomes = []
    try:
        for source in _sources(frames, file):
            outcomes.append(_decode_one(source, transport, frame_max_bytes, output))  # noqa: PERF401 -- prints as it goes
    except NotHexError as error:
        _refuse(str(error))
    if not outcomes:
        _refuse("no frame given")
    if not all(outcomes):
        raise typer.Exit(EXIT_BAD_FRAME)


def _refuse(message: str) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(EXIT_BAD_INPUT)


def _decode_one(source: Source, transport: Transport, frame_max_bytes: int, output: Output) -> bool:
    """Print the records of one frame, or what is wrong with it; return whether it decoded."""
    frame = _without_channel_header(source) if transport == "udp" else source.frame
    try:
        packet: AvlPacket = decode_frame(
            frame, transport=transport, frame_max_bytes=frame_max_bytes
        )
    except DecodeError as error:
        typer.echo(f"{source.place}: {error}{_hint(frame, transport)}", err=True)
        return False
    output(source.place, packet)
    return True


# Where frames come from.


def _sources(frames: Iterable[str] | None, file: Path | None) -> Iterator[Source]:
    if frames:
        return _of_texts("argument", frames)
    if file is None:
        return _of_texts("line", sys.stdin)
    content = file.read_bytes()
    if _TEXT.issuperset(content):
        return _of_texts("line", content.decode("ascii").splitlines())
    return iter([Source(file.name, content)])


def _of_texts(unit: str, texts: Iterable[str]) -> Iterator[Source]:
    for number, text in enumerate(texts, start=1):
        if text.strip():
            place = f"{unit} {number}"
            yield Source(place, _bytes_of_hex(place, text))


def _bytes_of_hex(place: str, text: str) -> bytes:
    """Read hex in either case; white space may stand anywhere.

    Raises:
        NotHexError: Another character, or half a byte at the end.
    """
    for position, character in enumerate(text, start=1):
        if character not in _HEX_DIGITS and not character.isspace():
            raise NotHexError(f"{place}, character {position}: {character!r} is not a hex digit")
    digits = "".join(text.split())
    if len(digits) % 2:
        raise NotHexError(f"{place}: {len(digits)} hex digits, the last byte is half there")
    return bytes.fromhex(digits)


# What else people paste.


def _without_channel_header(source: Source) -> bytes:
    """Return the AVL data array of a datagram that holds one channel packet, and say so."""
    if not _is_channel_packet(source.frame):
        return source.frame
    typer.echo(f"{source.place}: a UDP channel packet; its AVL data array is decoded", err=True)
    return source.frame[23:]


def _is_channel_packet(frame: bytes) -> bool:
    # Length, packet id, packet type, AVL packet id, IMEI length, IMEI: 23 bytes.
    right_length = int.from_bytes(frame[:2]) == len(frame) - 2
    return right_length and frame[6:8] == b"\x00\x0f" and _is_imei(frame[8:23])


def _is_imei(text: bytes) -> bool:
    return len(text) == 15 and text.isdigit()


def _hint(frame: bytes, transport: Transport) -> str:
    if frame[:2] == b"\x00\x0f" and _is_imei(frame[2:]):
        return " (this is an IMEI handshake, not a frame)"
    if transport == "tcp" and _is_channel_packet(frame):
        return " (this is a UDP channel packet: use --transport udp)"
    if transport == "udp" and frame[:4] == bytes(4):
        return " (this looks like a TCP frame: use --transport tcp)"
    return ""

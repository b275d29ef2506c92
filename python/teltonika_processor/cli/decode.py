"""`teltonika-processor decode`: frames in hex, or one in binary, to records for people."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonLines
from teltonika_processor.cli.frame_input import NotHexError, Source, read_frames
from teltonika_processor.cli.record_output import OUTPUTS, Output
from teltonika_processor.codec.explain.pasted import CHANNEL_HEAD_BYTES, hint, is_channel_packet
from teltonika_processor.codec.layouts import Transport
from teltonika_processor.codec.native import FRAME_MAX_BYTES, AvlPacket, decode_frame
from teltonika_processor.errors import DecodeError
from teltonika_processor.service.exit_codes import EXIT_FINDING, EXIT_USAGE

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
    as_json: JsonLines = False,
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
        for source in read_frames(frames, file):
            outcomes.append(_decode_one(source, transport, frame_max_bytes, output))  # noqa: PERF401 -- prints as it goes
    except NotHexError as error:
        _refuse(str(error))
    if not outcomes:
        _refuse("no frame given")
    if not all(outcomes):
        raise typer.Exit(EXIT_FINDING)


def _refuse(message: str) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(EXIT_USAGE)


def _decode_one(source: Source, transport: Transport, frame_max_bytes: int, output: Output) -> bool:
    """Print the records of one frame, or what is wrong with it; return whether it decoded."""
    frame = _without_channel_header(source) if transport == "udp" else source.frame
    try:
        packet: AvlPacket = decode_frame(
            frame, transport=transport, frame_max_bytes=frame_max_bytes
        )
    except DecodeError as error:
        likely = hint(frame, transport)
        typer.echo(f"{source.place}: {error}{f' ({likely})' if likely else ''}", err=True)
        return False
    output(source.place, packet)
    return True


# What else people paste.


def _without_channel_header(source: Source) -> bytes:
    """Return the AVL data array of a datagram that holds one channel packet, and say so."""
    if not is_channel_packet(source.frame):
        return source.frame
    typer.echo(f"{source.place}: a UDP channel packet; its AVL data array is decoded", err=True)
    return source.frame[CHANNEL_HEAD_BYTES:]

"""`teltonika-processor explain`: frames byte by byte, with the names of their IO elements."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn, TypeAlias

import typer

from teltonika_processor.cli.arguments import JsonLines
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import refuse
from teltonika_processor.cli.explain_output import Explained, Style, print_explained
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.frame_input import NotHexError, Source, read_frames
from teltonika_processor.codec.dictionary_file import load_dictionary
from teltonika_processor.codec.explain import Knowledge, explain_pasted, hint
from teltonika_processor.codec.layouts import Transport
from teltonika_processor.service.dictionary import configured_dictionary
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import Settings
from teltonika_processor.stream.letter import is_entry_id

Frames: TypeAlias = Iterator[Explained]

app = typer.Typer()


@app.command("explain")
def explain_command(  # noqa: PLR0913 -- the options of the command
    frames: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[HEX|ID]...",
            help="Frames in hex, or ids of entries; without any, standard input is read.",
        ),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Hex, one frame a line; or one binary frame."
        ),
    ] = None,
    transport: Annotated[
        Transport,
        typer.Option(help="How frames in hex are wrapped. An entry says it itself."),
    ] = "tcp",
    dictionary: Annotated[
        Path | None,
        typer.Option(help="Names of IO elements, over the packaged ones: a CSV file."),
    ] = None,
    all_bytes: Annotated[
        bool, typer.Option("--all-bytes", help="Show every byte of long fields.")
    ] = False,
    as_json: JsonLines = False,
) -> None:
    """Say of every byte of a frame what it is and what it means, and where it is wrong.

    A frame in hex may be a TCP frame, a UDP datagram, an AVL data array (--transport udp), an IMEI
    handshake or a ping. ID is that of a stream entry, or of a dead letter: its own, or the one that
    its entry had. With a fault the exit code is 1, for input that is neither hex nor an id 2.
    """
    if frames and file:
        refuse("give frames in hex or --file, not both")
    terminal = sys.stdout.isatty()
    style = Style(as_json=as_json, all_bytes=all_bytes, terminal=terminal)
    with failures_told():
        settings = command_settings()
        knowledge = _knowledge(settings, dictionary)
        _leave(_explain_all(frames, file, transport, settings, knowledge), style)


def _knowledge(settings: Settings, dictionary: Path | None) -> Knowledge:
    if dictionary is None:
        return Knowledge(configured_dictionary(settings), settings.frame_max_bytes)
    named = load_dictionary(dictionary, setting="--dictionary")
    return Knowledge(named, settings.frame_max_bytes)


def _leave(explained: Frames, style: Style) -> NoReturn:
    """Print one after the other; leave with what they come to."""
    whole: list[bool] = []
    try:
        for one in explained:
            if whole and not style.as_json:
                print()
            print_explained(one, style)
            whole.append(one.is_whole)
    except NotHexError as error:
        refuse(str(error))
    if not whole:
        refuse("no frame given")
    raise typer.Exit(0 if all(whole) else EXIT_FINDING)


def _explain_all(
    arguments: list[str] | None,
    file: Path | None,
    transport: Transport,
    settings: Settings,
    knowledge: Knowledge,
) -> Frames:
    if not arguments:
        for source in read_frames(None, file):
            yield _explain_source(source, transport, knowledge)
        return
    for number, argument in enumerate(arguments, start=1):
        if is_entry_id(argument):
            # Redis' client is loaded only for who asks for an entry.
            from teltonika_processor.cli.explain_entry import explain_entry  # noqa: PLC0415

            yield explain_entry(argument, settings, knowledge)
        else:
            for source in read_frames([argument], None):
                named = source._replace(place=f"argument {number}")
                yield _explain_source(named, transport, knowledge)


def _explain_source(source: Source, transport: Transport, knowledge: Knowledge) -> Explained:
    explanation = explain_pasted(source.frame, transport, knowledge)
    likely = hint(source.frame, transport) if explanation.fault is not None else ""
    return Explained(source.place, source.frame, explanation, hint=likely)

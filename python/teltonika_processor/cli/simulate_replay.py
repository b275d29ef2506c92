"""`simulate --replay`: a capture again, and what the gateway answered."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import typer
import uvloop

from teltonika_processor.capture import Captured, CaptureError, read_capture
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.service.signals import StopRequests
from teltonika_processor.simulate.replay import Replay, Replayed, connections_at_once
from teltonika_processor.simulate.traffic import Target
from teltonika_processor.texts import printable

_REPLIES_SHOWN: Final = 24
_HEADINGS: Final = (
    *("connection", "by", "sent", "not sent", "frames", "unanswered", "answered", "replies"),
)


def replay(
    file: Path, target: Target, *, speed: float, drain_s: float, as_json: bool
) -> list[Replayed]:
    """Play a capture, and print what became of every connection.

    Raises:
        ConfigError: The process may not open so many files.
        GatewayUnreachable: No connection could be opened.
    """
    if not file.is_file():  # it is read twice
        raise typer.BadParameter(f"--replay: {file}: no regular file")
    n_at_once = connections_at_once(_events_of(file, warns=True))
    events = _events_of(file, warns=False)
    played = Replay(events, target, speed=speed, n_at_once=n_at_once)
    found = uvloop.run(_run(played, drain_s))
    if as_json:
        print(json.dumps({"connections": list(map(_object_of, found))}))
    else:
        _print(found)
    return found


def _events_of(file: Path, *, warns: bool) -> Iterator[Captured]:
    def cut(line: int) -> None:
        if warns:
            typer.echo(f"{file}: line {line} is cut off and skipped", err=True)

    try:
        with file.open(encoding="utf-8") as lines:
            yield from read_capture(lines, cut=cut)
    except CaptureError as error:
        raise typer.BadParameter(f"--replay: {file}: {error}") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"--replay: {file}: no text in UTF-8") from None


async def _run(played: Replay, drain_s: float) -> list[Replayed]:
    stops = StopRequests()
    stops.install(asyncio.get_running_loop())
    return await played.run(drain_s=drain_s, stop=stops.drain)


def _print(found: Sequence[Replayed]) -> None:
    rows = [
        (
            printable(one.name),
            one.transport,
            f"{one.sent:,}",
            f"{one.unsent:,}",
            f"{one.n_frames:,}",
            f"{one.n_unanswered:,}",
            f"{len(one.replies):,}",
            one.refused or _shortened(one.replies),
        )
        for one in found
    ]
    terminal = sys.stdout.isatty()
    print_rows(_HEADINGS, rows, terminal=terminal, unfolded=_HEADINGS[:1], right=_HEADINGS[2:-1])


def _shortened(replies: bytearray) -> str:
    more = ".." if len(replies) > _REPLIES_SHOWN else ""
    return replies[:_REPLIES_SHOWN].hex(" ") + more


def _object_of(one: Replayed) -> dict[str, str | int]:
    return {
        "connection": one.name,
        "transport": one.transport,
        "sent_bytes": one.sent,
        "unsent_bytes": one.unsent,
        "frames": one.n_frames,
        "unanswered_frames": one.n_unanswered,
        "replies_hex": one.replies.hex(),
        "refused": one.refused,
    }

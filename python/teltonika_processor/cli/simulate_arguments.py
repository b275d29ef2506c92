"""The options of `simulate`, by name."""

from pathlib import Path
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import duration_s
from teltonika_processor.simulate.models import MODELS
from teltonika_processor.simulate.wire_faults import SHARE, Fault

Host = Annotated[str, typer.Option(help="The gateway: name or address.")]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="Its TCP port.")]
UdpPort = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Its UDP port.", show_default="as --port"),
]
Devices = Annotated[int, typer.Option(min=1, max=100_000, help="Trackers.")]
Rate = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        metavar="FRAMES/S",
        help="Frames a second, of all together.",
        show_default=False,
    ),
]
Period = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        metavar="SECONDS",
        help="Time between two frames of a tracker.",
        show_default="10",
    ),
]
FullSpeed = Annotated[
    bool,
    typer.Option(
        "--full-speed", help="The next frame follows each reply; frames are built before."
    ),
]
Built = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100_000,
        metavar="FRAMES",
        help="Build so many frames of each before the run, and send them in turn.",
        show_default=False,
    ),
]
Records = Annotated[
    str,
    typer.Option(
        "--records-per-frame",
        metavar="N|MIN-MAX",
        help="At most 255, and as many as fit into 1,280 bytes.",
    ),
]
CodecName = Annotated[str, typer.Option(metavar="8|8e|16|mixed", help="What they speak.")]
UdpShare = Annotated[float, typer.Option(min=0.0, max=1.0, help="Part of them that sends by UDP.")]
Duration = Annotated[
    float | None,
    typer.Option(
        parser=duration_s,
        metavar="DURATION",
        help="Make records for so long: 90s, 15min, 2h.",
        show_default="until Ctrl-C",
    ),
]
Frames = Annotated[
    int | None,
    typer.Option(min=1, help="Make so many frames, of all together.", show_default=False),
]
ModelName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help=f"Whose elements: {', '.join(MODELS)}; mixed: of one of these; random: of none.",
    ),
]
RouteName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="city, motorway, or circuit:FILE, a closed LineString of GeoJSON.",
    ),
]
LapTimes = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS,..",
        help="Of the laps on a circuit, one after the other, again and again.",
        show_default=False,
    ),
]
FaultShares = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[:SHARE],..",
        help=f"What is wrong with which share of them, by default {SHARE:g}: {', '.join(Fault)}.",
        show_default=False,
    ),
]
NewestFirst = Annotated[bool, typer.Option("--newest-first", help="Send the newest records first.")]
ResponseTimeout = Annotated[
    float,
    typer.Option(min=0.05, max=300.0, metavar="SECONDS", help="Then a frame is sent again."),
]
Ping = Annotated[
    float | None,
    typer.Option(min=0.1, metavar="SECONDS", help="Ping after this silence.", show_default=False),
]
Connects = Annotated[float, typer.Option(min=0.1, metavar="N/S", help="Connect so many a second.")]
Drain = Annotated[
    float,
    typer.Option(min=0.0, metavar="SECONDS", help="At the end wait so long for the last replies."),
]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Demand at the end that the log, at DATABASE_URL, holds what was acknowledged, every "
        "column as it was sent, and of these trackers nothing else.",
    ),
]
VerifyTimeout = Annotated[
    float,
    typer.Option(min=0.0, metavar="SECONDS", help="Wait so long for the log to hold it."),
]
WarmUp = Annotated[
    float, typer.Option(min=0.0, metavar="SECONDS", help="Count reply times from then on.")
]
ReplayFile = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Instead of trackers, send again what a capture holds.",
        show_default=False,
    ),
]
Speed = Annotated[
    float,
    typer.Option(min=0.0, help="Of --replay: so many times as fast; 0: without a pause."),
]
Imeis = Annotated[
    bool, typer.Option("--imeis", help="Print the trackers' IMEIs, one a line; send nothing.")
]
Seed = Annotated[int, typer.Option(help="The same seed makes the same fleet.")]

"""`teltonika-processor simulate`: trackers that are not there, on real sockets."""

import asyncio
import math
import time
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

from teltonika_processor.cli.arguments import JsonObject, duration_s
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import refuse
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.simulate_options import (
    codec_id_of,
    faults_of,
    model_of,
    range_of,
    route_of,
)
from teltonika_processor.cli.simulate_output import (
    Report,
    print_report,
    print_report_json,
)
from teltonika_processor.cli.simulate_replay import replay
from teltonika_processor.cli.simulate_run import Order, Watch, simulate
from teltonika_processor.cli.simulate_verify import Verifier
from teltonika_processor.cli.simulate_watch import watching
from teltonika_processor.errors import TransientError
from teltonika_processor.service.exit_codes import EXIT_FINDING, exit_code_of
from teltonika_processor.service.signals import StopRequests
from teltonika_processor.simulate.device import imei_of
from teltonika_processor.simulate.keys import SentKeys
from teltonika_processor.simulate.link import Patience
from teltonika_processor.simulate.models import MODELS
from teltonika_processor.simulate.schedule import Pace
from teltonika_processor.simulate.tracker import FleetPlan
from teltonika_processor.simulate.traffic import Limits, Target
from teltonika_processor.simulate.wire_faults import SHARE, Fault

app = typer.Typer()

_BUILT_FRAMES: Final = 200
_PERIOD_S: Final = 10.0


@app.command("simulate")
def simulate_command(  # noqa: PLR0913 -- the options of the command
    *,
    host: Annotated[str, typer.Option(help="The gateway: name or address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Its TCP port.")] = 5027,
    udp_port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="Its UDP port.", show_default="as --port"),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, max=100_000, help="Trackers.")] = 10,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="FRAMES/S",
            help="Frames a second, of all together.",
            show_default=False,
        ),
    ] = None,
    period: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            metavar="SECONDS",
            help="Time between two frames of a tracker.",
            show_default="10",
        ),
    ] = None,
    full_speed: Annotated[
        bool,
        typer.Option(
            "--full-speed", help="The next frame follows each reply; frames are built before."
        ),
    ] = False,
    built: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            metavar="FRAMES",
            help="Build so many frames of each before the run, and send them in turn.",
            show_default=False,
        ),
    ] = None,
    records: Annotated[
        str,
        typer.Option(
            "--records-per-frame",
            metavar="N|MIN-MAX",
            help="At most 255, and as many as fit into 1,280 bytes.",
        ),
    ] = "1",
    codec: Annotated[str, typer.Option(metavar="8|8e|16|mixed", help="What they speak.")] = "mixed",
    udp_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Part of them that sends by UDP.")
    ] = 0.0,
    duration: Annotated[
        float | None,
        typer.Option(
            parser=duration_s,
            metavar="DURATION",
            help="Make records for so long: 90s, 15min, 2h.",
            show_default="until Ctrl-C",
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Make so many frames, of all together.", show_default=False),
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="NAME", help=f"Whose elements: mixed, {', '.join(MODELS)}.")
    ] = "mixed",
    route: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="city, motorway, or circuit:FILE, a closed LineString of GeoJSON.",
        ),
    ] = "city",
    lap_times: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS,..",
            help="Of the laps on a circuit, one after the other, again and again.",
            show_default=False,
        ),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:SHARE],..",
            help=f"What is wrong with which share of them, by default {SHARE:g}: "
            f"{', '.join(Fault)}.",
            show_default=False,
        ),
    ] = None,
    newest_first: Annotated[
        bool, typer.Option("--newest-first", help="Send the newest records first.")
    ] = False,
    response_timeout: Annotated[
        float,
        typer.Option(min=0.05, max=300.0, metavar="SECONDS", help="Then a frame is sent again."),
    ] = 5.0,
    ping: Annotated[
        float | None,
        typer.Option(
            min=0.1, metavar="SECONDS", help="Ping after this silence.", show_default=False
        ),
    ] = None,
    connects: Annotated[
        float, typer.Option(min=0.1, metavar="N/S", help="Connect so many a second.")
    ] = 1000.0,
    drain: Annotated[
        float,
        typer.Option(
            min=0.0, metavar="SECONDS", help="At the end wait so long for the last replies."
        ),
    ] = 15.0,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Demand at the end that the log, at DATABASE_URL, holds what was acknowledged.",
        ),
    ] = False,
    verify_timeout: Annotated[
        float,
        typer.Option(min=0.0, metavar="SECONDS", help="Wait so long for the log to hold it."),
    ] = 60.0,
    warm_up: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="Count reply times from then on.")
    ] = 0.0,
    replay_file: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Instead of trackers, send again what a capture holds.",
            show_default=False,
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(min=0.0, help="Of --replay: so many times as fast; 0: without a pause."),
    ] = 1.0,
    imeis: Annotated[
        bool, typer.Option("--imeis", help="Print the trackers' IMEIs, one a line; send nothing.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed makes the same fleet.")] = 1,
    as_json: JsonObject = False,
) -> None:
    """Let simulated trackers send records to a gateway, as devices do, and keep accounts.

    A tracker keeps a record until the reply says that it was taken, and sends it again otherwise.
    Exits with 0 if everything was acknowledged by the book, 1 with findings, 75 if the gateway was
    never reached. Ctrl-C ends the run in order; a second one at once.
    """
    if sum(choice is not None for choice in (rate, period, full_speed or None)) > 1:
        refuse("--rate, --period and --full-speed exclude each other")
    if imeis:
        print(*map(imei_of, range(devices)), sep="\n")
        return
    target = Target(host=host, tcp_port=port, udp_port=udp_port or port, connects_per_s=connects)
    if replay_file is not None:
        with failures_told():
            found = replay(replay_file, target, speed=speed, drain_s=drain, as_json=as_json)
        raise typer.Exit(EXIT_FINDING if any(one.is_amiss for one in found) else 0)
    records_per_frame = range_of(records)
    period_s = period or (devices / rate if rate else _PERIOD_S)
    patience = Patience(response_s=response_timeout, ping_s=ping or math.inf)
    order = Order(
        fleet=FleetPlan(
            devices=devices,
            seed=seed,
            started_at_ms=time.time_ns() // 1_000_000,
            udp_share=udp_share,
            codec_id=codec_id_of(codec),
            records_per_frame=records_per_frame,
            order="newest" if newest_first else "oldest",
            patience=patience,
            built_frames=built or (_BUILT_FRAMES if full_speed else 0),
            faults=faults_of(fault or []),
            route=route_of(route, lap_times),
            model=model_of(model),
        ),
        target=target,
        limits=Limits(duration_s=duration or math.inf, drain_s=drain),
        pace=None
        if full_speed
        else Pace(period_s=period_s, records_per_frame=records_per_frame, n_frames=frames),
        n_frames=frames,
        warm_up_s=warm_up,
    )
    with failures_told():
        verifier = _verifier(devices) if verify else None
        report = uvloop.run(_run(order, watching(as_json=as_json), verifier, verify_timeout))
    if as_json:
        print_report_json(report)
    else:
        print_report(report)
    if report.error is not None:
        raise typer.Exit(exit_code_of(report.error, unreachable=TransientError))
    raise typer.Exit(EXIT_FINDING if report.findings() else 0)


def _verifier(devices: int) -> Verifier:
    settings = command_settings()
    dsn = settings.database_url.get_secret_value()
    return Verifier(dsn, settings.database_pooler, [int(imei_of(n)) for n in range(devices)])


async def _run(order: Order, watch: Watch, verifier: Verifier | None, within_s: float) -> Report:
    stops = StopRequests()
    stops.install(asyncio.get_running_loop())
    if verifier is None:
        return Report(await simulate(order, watch, stops, None))
    await verifier.begin()
    sent = SentKeys()
    outcome = await simulate(order, watch, stops, sent)
    try:
        found = await verifier.verify(sent, within_s=within_s, at_once=stops.at_once)
    except TransientError as error:  # the run is worth telling all the same
        return Report(outcome, error=error)
    return Report(outcome, verification=found)

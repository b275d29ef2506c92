"""`teltonika-processor simulate`: trackers that are not there, on real sockets."""

import asyncio
import math
import time
from typing import Final, NoReturn

import typer
import uvloop

from teltonika_processor.cli.arguments import JsonObject
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.confirmation import refuse
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.simulate_arguments import (
    Built,
    CodecName,
    Connects,
    Devices,
    Drain,
    Duration,
    FaultShares,
    Frames,
    FullSpeed,
    Host,
    Imeis,
    LapTimes,
    ModelName,
    NewestFirst,
    Period,
    Ping,
    Port,
    Rate,
    Records,
    ReplayFile,
    ResponseTimeout,
    RouteName,
    Seed,
    Speed,
    UdpPort,
    UdpShare,
    Verify,
    VerifyTimeout,
    WarmUp,
)
from teltonika_processor.cli.simulate_options import (
    codec_id_of,
    faults_of,
    models_of,
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
from teltonika_processor.simulate.schedule import Pace
from teltonika_processor.simulate.tracker import FleetPlan
from teltonika_processor.simulate.traffic import Limits, Target
from teltonika_processor.simulate.wire_faults import Fault

app = typer.Typer()

_BUILT_FRAMES: Final = 200
_PERIOD_S: Final = 10.0
_OF_A_REPLAY: Final = frozenset(
    {"replay_file", "host", "port", "udp_port", "drain", "speed", "as_json"}
)


@app.command("simulate")
def simulate_command(  # noqa: PLR0913 -- the options of the command
    context: typer.Context,
    *,
    host: Host = "127.0.0.1",
    port: Port = 5027,
    udp_port: UdpPort = None,
    devices: Devices = 10,
    rate: Rate = None,
    period: Period = None,
    full_speed: FullSpeed = False,
    built: Built = None,
    records: Records = "1",
    codec: CodecName = "mixed",
    udp_share: UdpShare = 0.0,
    duration: Duration = None,
    frames: Frames = None,
    model: ModelName = "mixed",
    route: RouteName = "city",
    lap_times: LapTimes = None,
    fault: FaultShares = None,
    newest_first: NewestFirst = False,
    response_timeout: ResponseTimeout = 5.0,
    ping: Ping = None,
    connects: Connects = 1000.0,
    drain: Drain = 15.0,
    verify: Verify = False,
    verify_timeout: VerifyTimeout = 60.0,
    warm_up: WarmUp = 0.0,
    replay_file: ReplayFile = None,
    speed: Speed = 1.0,
    imeis: Imeis = False,
    seed: Seed = 1,
    as_json: JsonObject = False,
) -> None:
    """Let simulated trackers send records to a gateway, as devices do, and keep accounts.

    A tracker keeps a record until the reply says that it was taken, and sends it again otherwise.
    Of 1,000 records some 850 are periodic and 140 events; the others are events of the very
    millisecond of the record before, in place of one that was due: with --period 1 the next fix
    comes 2 s later.

    Exits with 0 if everything was acknowledged by the book, 1 with findings, 75 if the gateway was
    never reached. Ctrl-C ends the run in order; a second one at once.
    """
    target = Target(host=host, tcp_port=port, udp_port=udp_port or port, connects_per_s=connects)
    _demand_what_fits(context, is_replay=replay_file is not None)
    if replay_file is not None:
        with failures_told():
            found = replay(replay_file, target, speed=speed, drain_s=drain, as_json=as_json)
        raise typer.Exit(EXIT_FINDING if any(one.is_amiss for one in found) else 0)
    if imeis:
        print(*map(imei_of, range(devices)), sep="\n")
        return
    records_per_frame = range_of(records)
    fleet = FleetPlan(
        devices=devices,
        seed=seed,
        started_at_ms=time.time_ns() // 1_000_000,
        udp_share=udp_share,
        codec_id=codec_id_of(codec),
        records_per_frame=records_per_frame,
        order="newest" if newest_first else "oldest",
        patience=Patience(response_s=response_timeout, ping_s=ping or math.inf),
        built_frames=built or (_BUILT_FRAMES if full_speed else 0),
        faults=faults_of(fault or [], n_by_tcp=devices - int(devices * udp_share)),
        route=route_of(route, lap_times),
        models=models_of(model),
    )
    pace = Pace(
        period_s=period or (devices / rate if rate else _PERIOD_S),
        records_per_frame=records_per_frame,
        n_frames=frames,
    )
    order = Order(
        fleet=fleet,
        target=target,
        limits=Limits(duration_s=math.inf if duration is None else duration, drain_s=drain),
        pace=None if full_speed else pace,
        n_frames=frames,
        warm_up_s=warm_up,
    )
    _demand_sense(order)
    with failures_told():
        verifier = _verifier(devices) if verify else None
        report = uvloop.run(_run(order, watching(as_json=as_json), verifier, verify_timeout))
    _tell(report, as_json=as_json)


def _demand_what_fits(context: typer.Context, *, is_replay: bool) -> None:
    """Refuse options that exclude each other.

    Raises:
        SystemExit: 2, with their names.
    """
    given = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name != "DEFAULT":
            given[parameter.name] = parameter.opts[0]
    unfit = [option for name, option in given.items() if name not in _OF_A_REPLAY]
    if is_replay and unfit:
        refuse(f"--replay has no use for {', '.join(unfit)}")
    if not is_replay and "speed" in given:
        refuse("--speed goes with --replay")
    if len(given.keys() & {"rate", "period", "full_speed"}) > 1:
        refuse("--rate, --period and --full-speed exclude each other")


def _demand_sense(order: Order) -> None:
    """Refuse what would make nothing, and what needs records that wait where frames are built.

    Raises:
        SystemExit: 2, with the reason.
    """
    if not order.limits.duration_s:
        refuse("--duration is 1s at least")
    if order.fleet.order == "newest" and order.fleet.built_frames:
        refuse("--newest-first orders records, and --full-speed and --built send whole frames")
    if order.pace is None and Fault.GAP in order.fleet.faults:
        refuse("--fault gap leaves a backlog, and --full-speed makes nothing meanwhile")


def _tell(report: Report, *, as_json: bool) -> NoReturn:
    """Print the accounts, and leave with the code that says what they are."""
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

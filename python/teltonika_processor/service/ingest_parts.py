"""The parts of a gateway, made from its settings; only the sockets listen already."""

import itertools
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from teltonika_processor.codec.native import EntryPacker
from teltonika_processor.errors import ConfigError
from teltonika_processor.events import Emit, Event
from teltonika_processor.gateway.admission import Admission
from teltonika_processor.gateway.certificate import Certificate, CertificateFiles
from teltonika_processor.gateway.context import GatewayContext
from teltonika_processor.gateway.deadlines import Deadlines
from teltonika_processor.gateway.effects import Shelf
from teltonika_processor.gateway.gateway import Gateway
from teltonika_processor.gateway.in_flight import BytesInFlight
from teltonika_processor.gateway.limits import OTHER_DESCRIPTORS, ConnectionLimits
from teltonika_processor.gateway.list_file import FileKeeper
from teltonika_processor.gateway.list_news import (
    Listener,
    ListReadable,
    ListReplaced,
    ListUnreadable,
    News,
    RefusalsUnrecorded,
)
from teltonika_processor.gateway.list_table import TableKeeper
from teltonika_processor.gateway.listener import TcpListener, stream_socket
from teltonika_processor.gateway.pace import Paces, Rate
from teltonika_processor.gateway.poison import PoisonCounter
from teltonika_processor.gateway.publisher import FramePublisher
from teltonika_processor.gateway.recording import Recording
from teltonika_processor.gateway.registry import Registry
from teltonika_processor.gateway.session_context import SessionContext
from teltonika_processor.gateway.tally import Tally
from teltonika_processor.gateway.throttle import Throttle
from teltonika_processor.gateway.udp import UdpListener
from teltonika_processor.gateway_events import (
    AdmissionReadable,
    AdmissionReplaced,
    AdmissionUnreadable,
)
from teltonika_processor.gateway_events import RefusalsUnrecorded as RefusalsUnrecordedEvent
from teltonika_processor.model import dead_letter_stream, responses_stream
from teltonika_processor.service.process import unix_ms
from teltonika_processor.settings import Settings
from teltonika_processor.store.connection import SessionConfig
from teltonika_processor.stream.appender import Appender, AppenderConfig
from teltonika_processor.stream.appender import Listener as AppendListener
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.durability import Durability
from teltonika_processor.stream.group_commit import CommitLimits
from teltonika_processor.stream.poison_letter import poison_letter_packer

# Bound: nobody trims the stream of responses; the newest are what somebody waits for.
_RESPONSES_KEPT: Final = 10_000

# Bound: what was read of devices beside the bytes in flight that are let in.
_READS_BYTES: Final = 32 * 1024 * 1024

# A small fleet that comes back at once must not push itself out.
_UNAUTHENTICATED_MIN: Final = 256

_FILE: Final = "file:"

_WITH_LAST_LIST: Final = "the last list goes on"
_WITHOUT_LIST: Final = "devices wait until there is a list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What runs side by side in one gateway.

    Attributes:
        gateway: Listeners and connections.
        context: What the connections share.
        appender: To Redis.
        keeper: Of the allow-list; None where everybody is let in.
        listeners: TCP, and TLS behind it if there is one.
        udp: The UDP endpoint, not bound yet.
        certificate: Of the TLS listener, if there is one.
    """

    gateway: Gateway
    context: GatewayContext
    appender: Appender
    keeper: TableKeeper | FileKeeper | None
    listeners: Sequence[TcpListener]
    udp: UdpListener | None
    certificate: Certificate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayInputs:
    """What a gateway is given from outside.

    Attributes:
        client: Where connections to Redis come from.
        tally: What is counted.
        emit: The log.
        recording: Of all that devices send; None: nothing is recorded.
        appends_changed: None: appends go out from now on; else why they do not.
        answered: A batch of so many appends took so many seconds.
        listed: A list of allowed devices came into force.
    """

    client: RedisClient
    tally: Tally
    emit: Emit
    recording: Recording | None
    appends_changed: Callable[[Exception | None], None]
    answered: Callable[[int, float], None]
    listed: Callable[[], None]


def make_parts(settings: Settings, inputs: GatewayInputs) -> Parts:
    """Make them.

    Raises:
        ConfigError: A port is taken, or the certificate cannot be used.
    """
    gateways: list[Gateway] = []  # it hears of the appender that it is made of

    def changed(error: Exception | None) -> None:
        inputs.appends_changed(error)
        gateways[0].appends_changed(error)

    stream = settings.redis_telemetry_stream
    appender = Appender(
        inputs.client,
        AppenderConfig(
            streams=(stream, responses_stream(stream), dead_letter_stream(stream)),
            limits=CommitLimits(held_bytes=settings.ingest_in_flight_max_bytes + _READS_BYTES),
            durability=Durability.of(settings.ingest_durability),
            vouched=settings.ingest_durability_vouched,
        ),
        clock=time.monotonic,
        jitter=random.random,
        listener=AppendListener(changed=changed, answered=inputs.answered),
    )
    context = _make_context(settings, appender, inputs)
    udp = UdpListener(context, b"udp") if settings.ingest_udp else None
    certificate = None if settings.ingest_tls_port is None else _certificate(settings, inputs.emit)
    listeners = _make_listeners(settings, context, certificate)
    gateway = Gateway(context, listeners, udp)
    gateways.append(gateway)
    keeper = _make_keeper(settings, context.sessions.admission, gateway, inputs)
    return Parts(
        gateway=gateway,
        context=context,
        appender=appender,
        keeper=keeper,
        listeners=listeners,
        udp=udp,
        certificate=certificate,
    )


def raise_descriptors_limit(connections_max: int) -> int:
    """How many descriptors this process may have, raised as far as it may.

    Raises:
        ConfigError: They are too few for so many connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections_max + OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"INGEST_CONNECTIONS_MAX is {connections_max} and takes {needed} file descriptors, but "
            f"this process may have {hard}: raise the limit (LimitNOFILE, ulimit -n), or lower it"
        )
    wanted = max(soft, needed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def per_address_max(settings: Settings) -> int:
    """What is set, else three quarters of all connections."""
    return settings.ingest_connections_per_address_max or max(
        1, 3 * settings.ingest_connections_max // 4
    )


def unauthenticated_max(settings: Settings) -> int:
    """What is set, else an eighth.

    But some devices may always connect at once, and one place is never theirs.
    """
    total = settings.ingest_connections_max
    return settings.ingest_unauthenticated_max or max(
        1, total // 8, min(_UNAUTHENTICATED_MIN, total - 1)
    )


def connection_numbers() -> Iterator[bytes]:
    """Names of connections, never the same again: when the process began, and a number."""
    began = f"{unix_ms():x}"
    return (f"{began}-{number:x}".encode() for number in itertools.count(1))


def _make_context(settings: Settings, appender: Appender, inputs: GatewayInputs) -> GatewayContext:
    stream, name = settings.redis_telemetry_stream, settings.ingest_name
    sessions = SessionContext(
        admission=Admission(is_open=settings.ingest_admission == "open"),
        throttle=Throttle(),
        registry=Registry(),
        poison=PoisonCounter(repeats=settings.ingest_poison_repeats),
        tally=inputs.tally,
        wall_clock_ms=unix_ms,
        handshake_s=settings.ingest_handshake_timeout_ms / 1e3,
        idle_s=settings.ingest_idle_timeout_ms / 1e3,
        hold_s=settings.ingest_hold_ms / 1e3,
    )
    letters = poison_letter_packer(
        stream, gateway=name, repeats=settings.ingest_poison_repeats, clock_ms=unix_ms
    )
    return GatewayContext(
        sessions=sessions,
        tally=inputs.tally,
        limits=ConnectionLimits(
            total_max=settings.ingest_connections_max,
            per_address_max=per_address_max(settings),
            unauthenticated_max=unauthenticated_max(settings),
        ),
        in_flight=BytesInFlight(max_bytes=settings.ingest_in_flight_max_bytes),
        paces=Paces(Rate.of_frames(settings.ingest_frames_per_second_max)),
        frame_max_bytes=settings.ingest_frame_max_bytes,
        deadlines=Deadlines(),
        publisher=FramePublisher(
            appender,
            _packers(stream, name),
            letters,
            unix_ms,
        ),
        emit=inputs.emit,
        recording=inputs.recording,
        clock=time.monotonic,
    )


def _packers(stream: str, name: str) -> dict[Shelf, EntryPacker]:
    gateway = name.encode()
    return {
        Shelf.TELEMETRY: EntryPacker(stream.encode(), gateway),
        Shelf.RESPONSES: EntryPacker(
            responses_stream(stream).encode(), gateway, keep_entries=_RESPONSES_KEPT
        ),
    }


def _make_listeners(
    settings: Settings, context: GatewayContext, certificate: Certificate | None
) -> list[TcpListener]:
    host, numbers = settings.ingest_host, connection_numbers()
    plain = stream_socket(host, settings.ingest_tcp_port, setting="INGEST_TCP_PORT")
    listeners = [TcpListener(context, plain, settings.ingest_accepts_per_second_max, numbers)]
    if settings.ingest_tls_port is not None and certificate is not None:
        sock = stream_socket(host, settings.ingest_tls_port, setting="INGEST_TLS_PORT")
        rate = settings.ingest_tls_accepts_per_second_max
        listeners.append(TcpListener(context, sock, rate, numbers, tls=certificate.context))
    return listeners


def _certificate(settings: Settings, emit: Emit) -> Certificate:
    chain, key = settings.ingest_tls_cert_file, settings.ingest_tls_key_file
    files = CertificateFiles(Path(chain or ""), None if key is None else Path(key))
    return Certificate(files, clock=time.monotonic, emit=emit)


def _make_keeper(
    settings: Settings, admission: Admission, gateway: Gateway, inputs: GatewayInputs
) -> TableKeeper | FileKeeper | None:
    if admission.is_open:
        inputs.listed()
        return None

    def tell(news: News) -> None:
        inputs.emit(_event_of(news))
        if isinstance(news, ListReplaced):
            inputs.listed()

    listener = Listener(tell=tell, removed=gateway.not_allowed_any_more)
    if settings.ingest_admission.startswith(_FILE):
        path = Path(settings.ingest_admission.removeprefix(_FILE))
        return FileKeeper(admission, path, listener)
    config = SessionConfig(
        dsn=settings.database_url.get_secret_value(),
        instance=settings.ingest_name,
        pooler=settings.database_pooler,
    )
    return TableKeeper(
        admission,
        config,
        listener,
        jitter=random.random,
        reload_s=settings.ingest_admission_reload_ms / 1e3,
    )


def _event_of(news: News) -> Event:
    match news:
        case ListReplaced(replaced, took_s):
            return AdmissionReplaced(
                allowed=replaced.n_allowed,
                added=replaced.n_added,
                removed=replaced.n_removed,
                duration_s=took_s,
            )
        case ListUnreadable(why, age_s):
            return AdmissionUnreadable(
                error=why,
                age_s=None if age_s is None else round(age_s, 3),
                meanwhile=_WITHOUT_LIST if age_s is None else _WITH_LAST_LIST,
            )
        case ListReadable(outage_s):
            return AdmissionReadable(outage_s=outage_s)
        case RefusalsUnrecorded(why):
            return RefusalsUnrecordedEvent(error=why)

"""What the gateway says of itself; the grammar is that of `events`.

What happens to single frames is counted, not logged; of devices that are turned away only some are.
"""

from dataclasses import dataclass

from teltonika_processor.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStarting(Event):
    """The first line of a run: what it will wait for, None: for as long as it takes."""

    name = "gateway.starting"
    level = "info"
    redis: str
    stream: str
    durability: str
    admission: str
    waits_s: float | None
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStarted(Event):
    """Devices may connect; a port that is None is not listened on."""

    name = "gateway.started"
    level = "info"
    gateway: str
    stream: str
    host: str
    tcp_port: int
    tls_port: int | None
    udp_port: int | None
    durability: str
    admission: str
    connections_max: int
    descriptors_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDraining(Event):
    """No new connection; frames in flight are finished."""

    name = "gateway.draining"
    level = "info"
    reason: str
    connections: int
    in_flight_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStopped(Event):
    """The last line of a run that was told to stop, with its accounts."""

    name = "gateway.stopped"
    level = "info"
    reason: str
    exit_code: int
    duration_s: float
    connections: int
    frames: int
    replies: int
    unknown_fates: int
    in_flight_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionOpen(Event):
    """Every device is let in: for a demonstration only."""

    name = "admission.open"
    level = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionReplaced(Event):
    """Another list of allowed devices is in force."""

    name = "admission.replaced"
    level = "info"
    allowed: int
    added: int
    removed: int
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionUnreadable(Event):
    """The list cannot be read; `age_s` is that of the last one, None where there is none."""

    name = "admission.unreadable"
    level = "warning"
    error: str
    age_s: float | None
    meanwhile: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionReadable(Event):
    """The list was read again."""

    name = "admission.readable"
    level = "info"
    outage_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalsUnrecorded(Event):
    """Whom the gateway refused could not be written to `devices`."""

    name = "admission.refusals_unrecorded"
    level = "warning"
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRefused(Event):
    """A device was turned away; `suppressed` others were not logged since the line before."""

    name = "device.refused"
    level = "warning"
    imei: int
    transport: str
    why: str
    suppressed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameQuarantined(Event):
    """The same damaged frame came several times in a row: it was dead-lettered and answered."""

    name = "frame.quarantined"
    level = "warning"
    imei: int
    transport: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendsStopped(Event):
    """Nothing is made durable now; each kind of reason is told once a minute."""

    name = "appends.stopped"
    level = "warning"
    error_type: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendsResumed(Event):
    """Frames are made durable again."""

    name = "appends.resumed"
    level = "info"
    outage_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptFailed(Event):
    """No connection can be accepted for a moment: descriptors or memory are used up."""

    name = "accept.failed"
    level = "error"
    error: str
    suppressed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFailed(Event):
    """A client of the TLS port and we found no common ground; `error` is OpenSSL's name for it."""

    name = "tls.failed"
    level = "warning"
    address: str
    error: str
    suppressed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureStarted(Event):
    """All that devices send is written to this file as well."""

    name = "capture.started"
    level = "info"
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureEnded(Event):
    """Nothing more is written to the capture; devices are served as before."""

    name = "capture.ended"
    level = "warning"
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateReplaced(Event):
    """Connections from now on get the certificate that the files hold now."""

    name = "certificate.replaced"
    level = "info"
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateUnreadable(Event):
    """The files of the certificate were changed and cannot be used: the last one goes on."""

    name = "certificate.unreadable"
    level = "error"
    path: str
    error: str

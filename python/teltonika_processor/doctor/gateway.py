"""Who appends frames, and whether a gateway of ours could run here as the settings say."""

import asyncio
import resource
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from teltonika_processor.doctor.findings import Check, Finding, Party
from teltonika_processor.errors import ConfigError, TransientError
from teltonika_processor.gateway.certificate import CertificateFiles, load_certificate
from teltonika_processor.gateway.limits import OTHER_DESCRIPTORS
from teltonika_processor.gateway.list_file import list_in
from teltonika_processor.settings import Settings
from teltonika_processor.stream.durability import Durability, require_durable
from teltonika_processor.stream.server_checks import ServerFacts
from teltonika_processor.stream.stream_facts import Signature

WRITING = Check(
    Party.GATEWAY, "writing", "without a gateway devices keep their records until they are full"
)
DURABILITY = Check(
    Party.GATEWAY,
    "durability",
    "a device deletes its records once it is answered, so a gateway takes no frames where Redis "
    "keeps less than the answer promises",
)
DESCRIPTORS = Check(
    Party.GATEWAY, "descriptors", "each connection takes one; with too few a gateway ends with 78"
)
ALLOW_LIST = Check(Party.GATEWAY, "allow-list", "a device that is not on it is refused")
CERTIFICATE = Check(
    Party.GATEWAY, "certificate", "devices that verify it do not connect once it has ended"
)

_WRITTEN_WITHIN_MS: Final = 60_000

# What renews certificates by itself does so 30 days before.
_RENEWED_BEFORE_S: Final = 14 * 86_400

_AWAY: Final = "see what is said of Postgres, and look again"
_AS_GRANTED: Final = "mend what schema and grants say, and look again"

_FILE: Final = "file:"
_OPEN: Final = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class HereFacts:
    """What a gateway on this machine would have.

    Attributes:
        max_fds: Descriptors that it may take at most; None is no limit.
        listed: Devices in its file, or why that cannot be read; None: there is no file.
        expires_at_s: When its certificate ends, or why that cannot be used; None: it has none.
        exposed_key: The file of its key, if every user of this machine may read that.
    """

    max_fds: int | None
    listed: int | str | None = None
    expires_at_s: float | str | None = None
    exposed_key: Path | None = None


async def read_here_facts(settings: Settings) -> HereFacts:
    """Look at this machine; nothing is changed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return HereFacts(
        max_fds=None if hard == resource.RLIM_INFINITY else hard,
        listed=await asyncio.to_thread(_listed, settings),
        expires_at_s=_expires_at_s(settings),
        exposed_key=exposed_key(settings),
    )


def certificate_files(settings: Settings) -> CertificateFiles | None:
    """Where the certificate is; None where there is no TLS."""
    if settings.ingest_tls_cert_file is None:
        return None
    key = settings.ingest_tls_key_file
    return CertificateFiles(Path(settings.ingest_tls_cert_file), None if key is None else Path(key))


def exposed_key(settings: Settings) -> Path | None:
    """The file that holds the private key, if every user of this machine may read it."""
    files = certificate_files(settings)
    if files is None:
        return None
    path = files.key or files.chain
    try:
        return path if path.stat().st_mode & stat.S_IROTH else None
    except OSError:  # what that means is told of the certificate
        return None


def list_path(settings: Settings) -> Path | None:
    """The file of allowed devices; None where the list is none."""
    if not settings.ingest_admission.startswith(_FILE):
        return None
    return Path(settings.ingest_admission.removeprefix(_FILE))


def _listed(settings: Settings) -> int | str | None:
    path = list_path(settings)
    try:
        return None if path is None else len(list_in(path))
    except ConfigError as error:
        return str(error)


def _expires_at_s(settings: Settings) -> float | str | None:
    files = certificate_files(settings)
    try:
        return None if files is None else load_certificate(files).expires_at_s
    except ConfigError as error:
        return str(error)


def is_expected_here(settings: Settings, signatures: Sequence[Signature] | None) -> bool:
    """Whether a gateway of ours is meant to run on this machine.

    It is if something of it is set, or if one signs entries with the name that it would have here.
    """
    is_set = any(name.startswith("ingest_") for name in settings.model_fields_set)
    return is_set or any(one.gateway == settings.ingest_name for one in signatures or ())


def writing_finding(signatures: Sequence[Signature] | None, *, now_ms: int) -> Finding:
    """Who appended entries within a minute; `now_ms` by Redis' clock."""
    if signatures is None:
        return WRITING.unknown("this user may not ask", "give the user +xrevrange")
    new = [one for one in signatures if now_ms - one.added_ms < _WRITTEN_WITHIN_MS]
    if not new:
        return WRITING.warning(
            "no entry came within a minute",
            "if devices should be sending: does a gateway run, and do they reach it?",
        )
    names = sorted({one.gateway for one in new if one.gateway})
    unsigned = "" if all(one.gateway for one in new) else "somebody who does not sign"
    return WRITING.ok(", ".join(filter(None, (*names, unsigned))))


def here_findings(  # noqa: PLR0913 -- every one a fact
    facts: HereFacts,
    settings: Settings,
    *,
    server: ServerFacts | None,
    is_asked: bool = True,
    allows_any: bool | None,
    now_s: float,
) -> Iterator[Finding]:
    """Whether a gateway would do here what the settings say.

    Args:
        facts: This machine.
        settings: What it would be told.
        server: The Redis that it would append to; None: not known.
        is_asked: Whether Postgres was reached.
        allows_any: Whether `devices` allows any device; None: not known.
        now_s: Unix time.
    """
    if server is not None:
        yield _durability(server, settings)
    yield _descriptors(facts.max_fds, settings.ingest_connections_max)
    yield _allow_list(facts, settings, _AS_GRANTED if is_asked else _AWAY, allows_any)
    if facts.expires_at_s is not None:
        yield _certificate(facts, facts.expires_at_s, now_s)


def _durability(server: ServerFacts, settings: Settings) -> Finding:
    durability = Durability.of(settings.ingest_durability)
    try:
        require_durable(server, durability, vouched=settings.ingest_durability_vouched)
    except ConfigError as error:
        found, _, remedy = str(error).partition(". ")
        return DURABILITY.failure(found, remedy or "name the server that is written to")
    except TransientError as error:
        return DURABILITY.warning(str(error), "look again when that is done")
    if durability.fsync:
        return DURABILITY.ok(str(durability))
    return DURABILITY.ok(f"{durability}: what was answered may be lost if Redis stops")


def _descriptors(max_fds: int | None, connections_max: int) -> Finding:
    needed = connections_max + OTHER_DESCRIPTORS
    if max_fds is None:
        return DESCRIPTORS.ok("no limit")
    found = f"{max_fds:,}, INGEST_CONNECTIONS_MAX={connections_max} takes {needed:,}"
    if max_fds < needed:
        return DESCRIPTORS.failure(
            found, "raise the hard limit (LimitNOFILE=, --ulimit nofile), or lower the setting"
        )
    return DESCRIPTORS.ok(found)


def _allow_list(
    facts: HereFacts,
    settings: Settings,
    unread: str,
    allows_any: bool | None,  # noqa: FBT001 -- three values
) -> Finding:
    if settings.ingest_admission == _OPEN:
        return ALLOW_LIST.warning(
            "open: everybody is let in", "INGEST_ADMISSION=postgres, but for a demonstration"
        )
    if isinstance(facts.listed, int):
        return ALLOW_LIST.ok(f"{facts.listed:,} devices in {list_path(settings)}")
    if isinstance(facts.listed, str):
        return ALLOW_LIST.failure(facts.listed, "write the file, one IMEI a line")
    if allows_any is None:
        return ALLOW_LIST.unknown("devices could not be read", unread)
    if not allows_any:
        return ALLOW_LIST.warning(
            "no device is allowed", "teltonika-processor device allow --file fleet.csv"
        )
    return ALLOW_LIST.ok("devices are allowed")


def _certificate(facts: HereFacts, expires_at_s: float | str, now_s: float) -> Finding:
    remedy = "put a new one in its place: the gateway reads it by itself"
    if isinstance(expires_at_s, str):
        return CERTIFICATE.failure(expires_at_s, "name a chain in PEM and its key")
    days = (expires_at_s - now_s) / 86_400
    if days < 0:
        return CERTIFICATE.failure(f"it ended {-days:.1f} days ago", remedy)
    found = f"it ends in {days:,.1f} days"
    if facts.exposed_key is not None:
        key = facts.exposed_key
        return CERTIFICATE.warning(
            f"every user of this machine may read its key, {key}",
            f"chmod o= {key}; if others use this machine, take a new key",
        )
    if expires_at_s - now_s < _RENEWED_BEFORE_S:
        return CERTIFICATE.warning(found, remedy)
    return CERTIFICATE.ok(found)

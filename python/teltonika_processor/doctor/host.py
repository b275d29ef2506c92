"""The settings, and the machine that the command runs on."""

import os
import resource
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from teltonika_processor.doctor.findings import Check, Finding, Party
from teltonika_processor.texts import size_text

NEAR_MISSES = Check(
    Party.SETTINGS,
    "misspelt",
    "a variable with a mistyped name is ignored, and the default is used in its place",
)
HTTP_HOST = Check(
    Party.SETTINGS,
    "http-host",
    "/status and /metrics ask for no password and show the settings, without their secrets",
)
DESCRIPTORS = Check(
    Party.HOST,
    "descriptors",
    "every connection and file takes one; without any left no connection can be opened again",
)
DUMP_DIR = Check(
    Party.HOST,
    "panic-dump-dir",
    "what a failing process knew is written there, or lost with it",
)
DUMP_SPACE = Check(
    Party.HOST,
    "dump-space",
    "the newest 10 dumps are kept, each of at most 4 MiB",
)
CLOCK = Check(
    Party.HOST,
    "clock",
    "partitions for the next day, ages and freshness are told by this clock",
)

# The session of each writer and the probe's, Redis' connections, the endpoint with its clients.
_NEEDED_BESIDE_WRITERS: Final = 48
_GENEROUS: Final = 1024

_SPACE_NEEDED_BYTES: Final = 40 * 1024 * 1024

_LOOPBACK: Final = ("127.", "localhost", "::1")
_OLDEST_NOW: Final = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
_LATEST_NOW: Final = datetime(2100, 1, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """This machine at one moment.

    Attributes:
        max_fds: Descriptors that a process may have; None is no limit.
        dump_dir: The directory, absolute.
        dump_dir_obstacle: Why no file could be made there; None if one could.
        dump_dir_free_bytes: None where there is no such file system.
        now_s: Unix time.
    """

    max_fds: int | None
    dump_dir: str
    dump_dir_obstacle: str | None
    dump_dir_free_bytes: int | None
    now_s: float


def read_host_facts(panic_dump_dir: str) -> HostFacts:
    """Look at this machine; nothing is made or written."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    directory = Path(panic_dump_dir).absolute()
    existing = next(path for path in (directory, *directory.parents) if _is_there(path))
    return HostFacts(
        max_fds=None if soft == resource.RLIM_INFINITY else soft,
        dump_dir=str(directory),
        dump_dir_obstacle=_obstacle(existing),
        dump_dir_free_bytes=_free_bytes(existing),
        now_s=time.time(),
    )


def _is_there(path: Path) -> bool:
    """Whether it can be seen: one below a directory that may not be searched cannot."""
    return os.path.exists(path)  # noqa: PTH110 -- Path.exists raises PermissionError before 3.14


def _obstacle(existing: Path) -> str | None:
    if not existing.is_dir():
        return f"{existing} is no directory"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} may not be written by this user"
    return None


def _free_bytes(existing: Path) -> int | None:
    try:
        return shutil.disk_usage(existing).free
    except OSError:
        return None


def setting_findings(missed: Sequence[tuple[str, str]], *, http_host: str) -> Iterator[Finding]:
    """What the environment says beside the values, which were checked when they were read."""
    for found, likely in missed:
        yield NEAR_MISSES.warning(
            f"{found} is no setting, {likely} is one", f"rename it to {likely}, or unset it"
        )
    if not missed:
        yield NEAR_MISSES.ok("none")
    is_local = http_host.startswith(_LOOPBACK)
    more = "" if is_local else " (no password is asked for: let only what scrapes it reach it)"
    yield HTTP_HOST.ok(f"{http_host}{more}")


def host_findings(facts: HostFacts, *, writers: int) -> Iterator[Finding]:
    """What this machine lacks."""
    yield _descriptors(facts.max_fds, writers)
    if facts.dump_dir_obstacle is None:
        yield DUMP_DIR.ok(facts.dump_dir)
    else:
        yield DUMP_DIR.warning(
            facts.dump_dir_obstacle, "set PANIC_DUMP_DIR to a directory that the service may write"
        )
    yield _space(facts)
    yield _clock(facts.now_s)


def _descriptors(max_fds: int | None, writers: int) -> Finding:
    needed = writers + _NEEDED_BESIDE_WRITERS
    if max_fds is None:
        return DESCRIPTORS.ok("no limit")
    remedy = "raise it where the service is started: ulimit -n 1024, LimitNOFILE=, --ulimit nofile"
    if max_fds < needed:
        return DESCRIPTORS.failure(f"{max_fds:,}, and {needed} may be needed", remedy)
    if max_fds < _GENEROUS:
        return DESCRIPTORS.warning(f"{max_fds:,}, less than {_GENEROUS:,}", remedy)
    return DESCRIPTORS.ok(f"{max_fds:,}")


def _space(facts: HostFacts) -> Finding:
    free = facts.dump_dir_free_bytes
    if free is None:
        return DUMP_SPACE.unknown(
            "the file system does not say", f"look at {facts.dump_dir} as its owner"
        )
    found = f"{size_text(free)} free"
    if free < _SPACE_NEEDED_BYTES:
        return DUMP_SPACE.warning(found, "make room, or set PANIC_DUMP_DIR to another file system")
    return DUMP_SPACE.ok(found)


def _clock(now_s: float) -> Finding:
    if _OLDEST_NOW <= now_s < _LATEST_NOW:
        return CLOCK.ok(f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%dT%H:%M:%S}Z")
    return CLOCK.failure(f"{now_s:,.0f} s after 1970", "set it: timedatectl set-ntp true")

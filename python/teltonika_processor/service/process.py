"""A service as a process: the log, the loop, the exit code, what a panic leaves."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import uvloop

from teltonika_processor.events import Emit, ServiceFailed, SettingMistyped
from teltonika_processor.service.exit_codes import ExitCode, exit_code_of
from teltonika_processor.service.logging import configure_logging, log_aside
from teltonika_processor.service.panic import PanicRecorder, first_cause, install_hooks
from teltonika_processor.service.recorder import RecentEvents
from teltonika_processor.service.redaction import hiding, secrets_of
from teltonika_processor.service.starting import UnreachableError
from teltonika_processor.settings import Settings, near_misses

# Bound: after a panic the rest is closed in order, unless that hangs as well.
_CLOSING_S: Final = 10.0


class Service(Protocol):
    """What runs in a process of its own."""

    @property
    def emit(self) -> Emit:
        """Counts events and logs them."""

    def run(self, panics: PanicRecorder) -> Coroutine[Any, Any, ExitCode]:
        """Start, work until told to stop, drain."""


def run_service(settings: Settings, make: Callable[[Emit], Service]) -> ExitCode:
    """Run a service until it is told to stop; why it ended.

    Args:
        settings: How it logs, and where a panic leaves its dump.
        make: The service, from the log.
    """
    recent = RecentEvents(unix_ms)
    log = configure_logging(
        level=settings.log_level,
        log_format=settings.log_format,
        log_imei=settings.log_imei,
        hide=hiding(secrets_of(settings, os.environ)),
    )
    service = make(recent.recording(log))
    panics = PanicRecorder(
        settings, recent, service.emit, exit_code_of=exit_code_of_failure, hurry=_leave_soon
    )
    install_hooks()
    for found, likely in near_misses(os.environ):
        service.emit(SettingMistyped(found=found, likely=likely))
    try:
        return uvloop.run(panics.supervise(service.run(panics)))
    except BaseException as error:  # noqa: BLE001 -- the last line of defence names every end
        panics.caught(error)
        return _explain_failure(error, service.emit)


def exit_code_of_failure(error: BaseException) -> ExitCode:
    """In a group of errors the first one decides."""
    return exit_code_of(first_cause(error), unreachable=UnreachableError)


def unix_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def _explain_failure(error: BaseException, emit: Emit) -> ExitCode:
    cause, code = first_cause(error), exit_code_of_failure(error)
    with contextlib.suppress(OSError, ValueError):  # the code counts, even if nobody reads the log
        emit(ServiceFailed(error_type=type(cause).__name__, error=str(cause), exit_code=int(code)))
    return code


def _leave_soon() -> None:
    """End the process a little later, whatever hangs; nothing in flight was acknowledged."""
    timer = threading.Timer(_CLOSING_S, _leave_now)
    timer.name, timer.daemon = "leaving", True
    timer.start()


def _leave_now() -> None:
    log_aside(f"closing did not end within {_CLOSING_S:.0f} s after the panic", None)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(ExitCode.PANIC)

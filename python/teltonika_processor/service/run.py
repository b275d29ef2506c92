"""`teltonika-processor run` as a process: the log, the loop, the exit code, what a panic leaves."""

import contextlib
import os
import sys
import threading
import time
from typing import Final

import uvloop

from teltonika_processor.events import Emit, ServiceFailed, SettingMistyped
from teltonika_processor.service.exit_codes import ExitCode, exit_code_of
from teltonika_processor.service.instance import Instance, UnreachableError
from teltonika_processor.service.logging import configure_logging, log_aside
from teltonika_processor.service.observability import Observability
from teltonika_processor.service.panic import PanicRecorder, first_cause, install_hooks
from teltonika_processor.service.recorder import RecentEvents
from teltonika_processor.service.redaction import hiding, secrets_of
from teltonika_processor.settings import Settings, near_misses

# Bound: after a panic the rest is closed in order, unless that hangs as well.
_CLOSING_S: Final = 10.0


def run_processor(settings: Settings) -> ExitCode:
    """Run until told to stop; why it ended."""
    recent = RecentEvents(_unix_ms)
    log = configure_logging(
        level=settings.log_level,
        log_format=settings.log_format,
        log_imei=settings.log_imei,
        hide=hiding(secrets_of(settings, os.environ)),
    )
    observability = Observability(settings, recent.recording(log), _unix_ms)
    emit = observability.emit
    panics = PanicRecorder(
        settings, recent, emit, exit_code_of=exit_code_of_failure, hurry=_leave_soon
    )
    install_hooks()
    for found, likely in near_misses(os.environ):
        emit(SettingMistyped(found=found, likely=likely))
    try:
        return uvloop.run(panics.supervise(Instance(settings, observability, panics).run()))
    except BaseException as error:  # noqa: BLE001 -- the last line of defence names every end
        panics.caught(error)
        return _explain_failure(error, emit)


def exit_code_of_failure(error: BaseException) -> ExitCode:
    """In a group of errors the first one decides."""
    return exit_code_of(first_cause(error), unreachable=UnreachableError)


def _explain_failure(error: BaseException, emit: Emit) -> ExitCode:
    cause, code = first_cause(error), exit_code_of_failure(error)
    with contextlib.suppress(OSError, ValueError):  # the code counts, even if nobody reads the log
        emit(ServiceFailed(error_type=type(cause).__name__, error=str(cause), exit_code=int(code)))
    return code


def _leave_soon() -> None:
    """End the process a little later, whatever hangs; the entries in flight are pending."""
    timer = threading.Timer(_CLOSING_S, _leave_now)
    timer.name, timer.daemon = "leaving", True
    timer.start()


def _leave_now() -> None:
    log_aside(f"closing did not end within {_CLOSING_S:.0f} s after the panic", None)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(ExitCode.PANIC)


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000

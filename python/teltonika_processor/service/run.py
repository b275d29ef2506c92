"""`teltonika-processor run` as a process: the log, the loop, the exit code."""

import os

import uvloop

from teltonika_processor.errors import ConfigError, SchemaMismatch
from teltonika_processor.events import Emit, ServiceFailed, SettingMistyped
from teltonika_processor.service.exit_codes import ExitCode
from teltonika_processor.service.instance import Instance, UnreachableError
from teltonika_processor.service.logging import configure_logging, log_exception
from teltonika_processor.settings import Settings, near_misses


def run_processor(settings: Settings) -> ExitCode:
    """Run until told to stop; why it ended."""
    emit = configure_logging(
        level=settings.log_level, log_format=settings.log_format, log_imei=settings.log_imei
    )
    for found, likely in near_misses(os.environ):
        emit(SettingMistyped(found=found, likely=likely))
    try:
        return uvloop.run(Instance(settings, emit).run())
    except BaseException as error:  # noqa: BLE001 -- the last line of defence names every end
        return _explain_failure(error, emit)


def _explain_failure(error: BaseException, emit: Emit) -> ExitCode:
    """Find the first cause in a group of errors, say it, and choose the exit code."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    code = _code_of(error)
    if code is ExitCode.PANIC:
        log_exception(error)
    emit(ServiceFailed(error_type=type(error).__name__, error=str(error), exit_code=int(code)))
    return code


def _code_of(error: BaseException) -> ExitCode:
    if isinstance(error, SchemaMismatch):
        return ExitCode.SCHEMA
    if isinstance(error, ConfigError):
        return ExitCode.CONFIG
    if isinstance(error, UnreachableError):
        return ExitCode.UNREACHABLE
    return ExitCode.PANIC

"""Why a process ended, for supervisors and for the runbook."""

from enum import IntEnum
from typing import Final

from teltonika_processor.errors import ConfigError, SchemaMismatch

EXIT_FINDING: Final = 1
"""Of a command: something is wrong, or was not done."""

EXIT_USAGE: Final = 2
"""Of a command: it was used in a way that cannot be meant."""


class ExitCode(IntEnum):
    """Exit status of the services; each member's comment says what a supervisor should do."""

    DRAINED = 0  # Told to stop, finished what it had read. Nothing to do.
    PANIC = 70  # A bug or a broken invariant. Restart; everything unacknowledged is pending.
    DRAIN_DEADLINE = 73  # Stopped before its writes finished. Safe: they are pending. Restart.
    UNREACHABLE = 75  # A server was not reached within STARTUP_TIMEOUT_MS. Restart.
    SCHEMA = 76  # The database's schema does not fit this version. Migrate, then restart.
    CONFIG = 78  # A setting is wrong. Restarting does not help.


def exit_code_of(error: BaseException, *, unreachable: type[Exception]) -> ExitCode:
    """What the supervisor or the script is told of `error`.

    Args:
        error: What ended the process.
        unreachable: The class that says that a server was not there.
    """
    if isinstance(error, SchemaMismatch):
        return ExitCode.SCHEMA
    if isinstance(error, ConfigError):
        return ExitCode.CONFIG
    return ExitCode.UNREACHABLE if isinstance(error, unreachable) else ExitCode.PANIC

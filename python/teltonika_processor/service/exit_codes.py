"""Why a process ended, for supervisors and for the runbook."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit status of the services; each member's comment says what a supervisor should do."""

    DRAINED = 0  # Told to stop, finished what it had read. Nothing to do.
    PANIC = 70  # A bug or a broken invariant. Restart; everything unacknowledged is pending.
    DRAIN_DEADLINE = 73  # Stopped before its writes finished. Safe: they are pending. Restart.
    UNREACHABLE = 75  # A server was not reached within STARTUP_TIMEOUT_MS. Restart.
    SCHEMA = 76  # The database's schema does not fit this version. Migrate, then restart.
    CONFIG = 78  # A setting is wrong. Restarting does not help.

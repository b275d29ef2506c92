"""The family of errors: the class answers one question, what do we do now?

Data errors on the hot path are values (reject codes), never exceptions. These exceptions are for
callers of the library, for machines (a server is away) and for bugs.
"""

from collections.abc import Sequence
from typing import Final

from typing_extensions import override

RETRY_CAUSES: Final = (
    *("away", "deadlock", "group_missing", "lock", "partition", "read_only", "resources"),
    *("too_slow", "unknown"),
)
"""Why something is tried again: the label of the metric."""

# By the class or code of SQLSTATE; all others are a connection that is lost or a server away.
_CAUSES: Final = {
    "25006": "read_only",
    "40": "deadlock",
    "53": "resources",
    "55": "lock",
}


class TeltonikaProcessorError(Exception):
    """Base of every error of this package; never raised itself."""


class DecodeError(TeltonikaProcessorError, ValueError):
    """A frame that cannot be decoded.

    Attributes:
        code: A stable snake_case code of ``teltonika_processor.error_catalogue()``.
        offset: Where the offending field starts, in bytes from the start of the input.
    """

    def __init__(self, code: str, offset: int, message: str) -> None:
        super().__init__(code, offset, message)
        self.code: Final = code
        self.offset: Final = offset
        self.message: Final = message

    @override
    def __str__(self) -> str:
        return f"{self.code} at byte {self.offset}: {self.message}"


class ConfigError(TeltonikaProcessorError):
    """A setting is wrong: refuse to start, naming it, what was found and what is allowed."""


class TransientError(TeltonikaProcessorError):
    """Not the data's fault: wait and try again, entries stay pending."""

    @property
    def cause(self) -> str:
        """Why, as one of `RETRY_CAUSES`."""
        return "away"


class StreamUnavailable(TransientError):  # noqa: N818 -- states a fact, as the log line does
    """Redis is away, loading, read-only or out of memory."""


class SinkUnavailable(TransientError):  # noqa: N818 -- states a fact, as the log line does
    """Postgres is away, failing over, or a lock or deadline stopped the statement."""

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate: Final = sqlstate

    @property
    @override
    def cause(self) -> str:
        state = self.sqlstate or ""
        return next(
            (cause for prefix, cause in _CAUSES.items() if state.startswith(prefix)), "away"
        )


class SinkTooSlow(SinkUnavailable):
    """A write did not end within its timeout: try again, with less at once if that fails too."""

    @property
    @override
    def cause(self) -> str:
        return "too_slow"


class DayUnavailable(SinkUnavailable):
    """A day cannot get its partition now: set these rows aside, those of other days may go on.

    Attributes:
        days: UTC days since 1970-01-01, ascending, of which at least one has no partition.
    """

    def __init__(self, message: str, sqlstate: str | None, days: Sequence[int]) -> None:
        super().__init__(message, sqlstate)
        self.days: Final = tuple(days)

    @property
    @override
    def cause(self) -> str:
        return "partition"


class SinkFault(SinkUnavailable):
    """Postgres failed in a way that nobody knows (XX000, an unlisted SQLSTATE): try a few times.

    If it stays, an entry may be what provokes it: bisect as after SinkRejected.
    """

    @property
    @override
    def cause(self) -> str:
        return "unknown"


class SinkRejected(TeltonikaProcessorError):  # noqa: N818 -- states a fact, as the log line does
    """Postgres refused a value: bisect the batch until the culprit is alone."""

    def __init__(self, message: str, sqlstate: str) -> None:
        super().__init__(message)
        self.sqlstate: Final = sqlstate


class DecoderBug(TeltonikaProcessorError):  # noqa: N818 -- states a fact, as the reject code does
    """The native code panicked on these entries: bisect until the culprit is alone."""


class ZoneUnusable(TeltonikaProcessorError):  # noqa: N818 -- states a fact, as the log line does
    """A row of `zones` is no zone: nothing is folded until it is mended, marks are kept."""


class ContractError(TeltonikaProcessorError):
    """Going on would do harm: stop the process, everything stays pending."""


class SchemaMismatch(ContractError):  # noqa: N818 -- states a fact, as the log line does
    """The database's schema does not fit this version."""


class LedgerViolation(ContractError):  # noqa: N818 -- states a fact, as the log line does
    """An entry was about to be acknowledged without having settled: a bug."""

"""What a failure of Postgres means for us, by type and SQLSTATE, never by its text.

Source: PostgreSQL documentation, appendix A (error codes).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import asyncpg

from teltonika_processor.errors import (
    ConfigError,
    SchemaMismatch,
    SinkFault,
    SinkRejected,
    SinkTooSlow,
    SinkUnavailable,
    TeltonikaProcessorError,
)
from teltonika_processor.store.pooler import POOLER_FOUND

# A trigger of the operator's may miss something too, which this does not make.
_MAKES_THEM: Final = ": `teltonika-processor migrate` makes what this version needs"

Meaning = type[SinkUnavailable] | type[SinkRejected] | type[SchemaMismatch] | type[ConfigError]

# The longest prefix wins; what is not listed is a fault: tried again, but not for ever.
MEANINGS: Final[Mapping[str, Meaning]] = MappingProxyType(
    {
        "08": SinkUnavailable,  # connection exceptions
        "0A": SinkUnavailable,  # a cached plan that DDL made stale: gone with the session
        "22": SinkRejected,  # data exceptions
        # The encoding is ours: if it is not what a column takes, the column is not ours.
        "22P03": SchemaMismatch,  # invalid binary representation
        "22P04": SchemaMismatch,  # bad COPY format
        "23": SinkRejected,  # integrity constraints
        "23502": SchemaMismatch,  # NOT NULL on a column that we do not write, or write nulls to
        "25": SinkUnavailable,  # 25006: a standby; 25P03: idle in transaction for too long
        "26": ConfigError,  # our prepared statement is gone: it lies in another server process
        "28": SchemaMismatch,  # this role may not log in
        "3D000": SchemaMismatch,  # no such database
        "3F000": SchemaMismatch,  # no such schema
        "40": SinkUnavailable,  # 40001, 40P01: serialization, deadlock
        "42": SchemaMismatch,  # undefined table or column, no privilege
        "42P05": ConfigError,  # somebody else's prepared statement has the name of ours
        "44": SinkRejected,  # a view of the operator's refuses the row
        "53": SinkUnavailable,  # disk full, out of memory, too many connections
        "54": SinkRejected,  # program limits: only a value can pass them, the statements are fixed
        "55006": SinkUnavailable,  # in use by somebody else now
        "55P03": SinkUnavailable,  # lock timeout
        "57014": SinkTooSlow,  # statement timeout
        "57P0": SinkUnavailable,  # shutdown, crash, starting up
        "58": SinkUnavailable,  # input/output errors
        "P0": SinkRejected,  # a trigger of the operator's refuses the row
        "XX": SinkFault,  # a bug of the server's, a damaged index, a value read as another type
    }
)

FOREIGN_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError is one
)
"""Every class that this room catches; anything else is a bug."""

NOT_THERE: Final = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
)
"""What an older schema has not."""

NOT_READABLE: Final = (
    *NOT_THERE,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.QueryCanceledError,  # it took too long
    asyncpg.LockNotAvailableError,
)
"""What an examination goes on without: the role may not, it is not there, or it takes too long."""


def meaning(sqlstate: str) -> Meaning:
    """The family of errors that `sqlstate` (5 characters) belongs to."""
    for length in range(len(sqlstate), 0, -1):
        found = MEANINGS.get(sqlstate[:length])
        if found is not None:
            return found
    return SinkFault


def translate(error: BaseException) -> TeltonikaProcessorError:
    """The error of ours that says what to do about `error`, one of FOREIGN_ERRORS.

    The text leaves out DETAIL and CONTEXT: they repeat the row.
    """
    if isinstance(error, asyncpg.PostgresError):
        return _translate_reply(error)
    if isinstance(error, asyncpg.ClientConfigurationError):
        return ConfigError("DATABASE_URL: this address is not understood by the Postgres client")
    return SinkUnavailable(f"Postgres: {_said_by(error)}")


def _said_by(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer by the deadline"
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "the server is a standby or read-only"
    if isinstance(error, asyncpg.InternalClientError):
        # A statement that finds the socket gone fails in the words of the client's own machinery.
        return "the connection is lost"
    return str(error)


def _translate_reply(error: asyncpg.PostgresError) -> TeltonikaProcessorError:
    sqlstate = error.sqlstate or ""
    text = f"Postgres: {sqlstate} {error.args[0] if error.args else type(error).__name__}"
    family = SinkUnavailable if _lost_a_race(error) else meaning(sqlstate)
    if issubclass(family, ConfigError):
        return ConfigError(f"{text}: {POOLER_FOUND}")
    if issubclass(family, SchemaMismatch):
        hint = _MAKES_THEM if isinstance(error, NOT_THERE) else ""
        return SchemaMismatch(f"{text}{hint}")
    return family(text, sqlstate)


def _lost_a_race(error: asyncpg.PostgresError) -> bool:
    """Whether a row was routed to the default partition while its day got a partition of its own.

    Only partition bounds are violated without the name of a constraint.
    """
    return isinstance(error, asyncpg.CheckViolationError) and not error.constraint_name

import asyncpg
import pytest

from teltonika_processor.errors import (
    ConfigError,
    SchemaMismatch,
    SinkFault,
    SinkRejected,
    SinkTooSlow,
    SinkUnavailable,
    TeltonikaProcessorError,
)
from teltonika_processor.store.sqlstate import meaning, translate

# Literal on purpose: one line a class of error that was met or is documented.
EXPECTED = {
    "08000": SinkUnavailable,
    "08006": SinkUnavailable,
    "08P01": SinkUnavailable,
    "0A000": SinkUnavailable,
    "22003": SinkRejected,
    "22008": SinkRejected,
    "22P02": SinkRejected,
    "22P03": SchemaMismatch,
    "22P04": SchemaMismatch,
    "23502": SchemaMismatch,
    "23505": SinkRejected,
    "23514": SinkRejected,
    "25006": SinkUnavailable,
    "25P03": SinkUnavailable,
    "26000": ConfigError,
    "28000": SchemaMismatch,
    "28P01": SchemaMismatch,
    "3D000": SchemaMismatch,
    "3F000": SchemaMismatch,
    "40001": SinkUnavailable,
    "40P01": SinkUnavailable,
    "42501": SchemaMismatch,
    "42703": SchemaMismatch,
    "42P01": SchemaMismatch,
    "42P05": ConfigError,
    "44000": SinkRejected,
    "53100": SinkUnavailable,
    "53200": SinkUnavailable,
    "53300": SinkUnavailable,
    "54000": SinkRejected,
    "55000": SinkFault,
    "55006": SinkUnavailable,
    "55P03": SinkUnavailable,
    "57014": SinkTooSlow,
    "57P01": SinkUnavailable,
    "57P02": SinkUnavailable,
    "57P03": SinkUnavailable,
    "58030": SinkUnavailable,
    "P0001": SinkRejected,
    "P0002": SinkRejected,
    "72000": SinkFault,
    "XX000": SinkFault,
    "XX001": SinkFault,
    "": SinkFault,
}


def reply(sqlstate: str, **fields: str) -> asyncpg.PostgresError:
    letters = {"constraint_name": "n", "detail": "D"}
    raw = {"S": "ERROR", "C": sqlstate, "M": "what happened"}
    raw |= {letters[name]: value for name, value in fields.items()}
    return asyncpg.PostgresError.new(raw)


@pytest.mark.parametrize(("sqlstate", "family"), EXPECTED.items())
def test_sqlstate_says_what_to_do(sqlstate: str, family: type[TeltonikaProcessorError]) -> None:
    assert meaning(sqlstate) is family


@pytest.mark.parametrize(
    ("error", "family", "sqlstate"),
    [
        (reply("40P01"), SinkUnavailable, "40P01"),
        (reply("22P02"), SinkRejected, "22P02"),
        (reply("42P01"), SchemaMismatch, None),
        (reply("22P03"), SchemaMismatch, None),
        (reply("57014"), SinkTooSlow, "57014"),
        (reply("23514", constraint_name="positions_speed_check"), SinkRejected, "23514"),
        (reply("23514"), SinkUnavailable, "23514"),
        (reply("XX000"), SinkFault, "XX000"),
        (reply("26000"), ConfigError, None),
        (asyncpg.ConnectionDoesNotExistError("gone"), SinkUnavailable, "08003"),
        (asyncpg.InterfaceError("connection is closed"), SinkUnavailable, None),
        (asyncpg.InternalClientError("protocol"), SinkUnavailable, None),
        (asyncpg.exceptions.ClientConfigurationError("pass word"), ConfigError, None),
        (ConnectionRefusedError("refused"), SinkUnavailable, None),
        (TimeoutError(), SinkUnavailable, None),
    ],
)
def test_foreign_errors_become_ours(
    error: BaseException, family: type[TeltonikaProcessorError], sqlstate: str | None
) -> None:
    ours = translate(error)
    assert type(ours) is family
    assert getattr(ours, "sqlstate", None) == sqlstate
    assert str(ours)


def test_the_row_in_the_detail_stays_out_of_the_text() -> None:
    error = reply("23505", detail="Key (imei)=(352093081452251) already exists.")
    assert str(translate(error)) == "Postgres: 23505 what happened"


def test_a_prepared_statement_that_is_gone_names_the_setting_for_poolers() -> None:
    assert "DATABASE_POOLER=transaction" in str(translate(reply("26000")))


def test_a_deadline_that_passed_is_said() -> None:
    assert str(translate(TimeoutError())) == "Postgres: no answer by the deadline"


def test_a_server_that_cannot_write_is_said() -> None:
    error = asyncpg.TargetServerAttributeNotMatched("attribute requirement")
    assert str(translate(error)) == "Postgres: the server is a standby or read-only"


def test_a_password_in_a_broken_address_stays_out_of_the_text() -> None:
    error = asyncpg.exceptions.ClientConfigurationError("invalid port: 'secret'")
    assert "secret" not in str(translate(error))


@pytest.mark.parametrize("sqlstate", ["42P01", "42703", "42883", "3F000"])
def test_what_is_missing_names_the_command_that_makes_it(sqlstate: str) -> None:
    assert str(translate(reply(sqlstate))) == (
        f"Postgres: {sqlstate} what happened: "
        "`teltonika-processor migrate` makes what this version needs"
    )


def test_a_connection_that_ends_under_a_statement_is_lost() -> None:
    error = asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in")
    assert str(translate(error)) == "Postgres: the connection is lost"

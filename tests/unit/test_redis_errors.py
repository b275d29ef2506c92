import pytest
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 -- the client's own
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from teltonika_processor.errors import ConfigError, ContractError, StreamUnavailable
from teltonika_processor.stream.connection import (
    CommandDeniedError,
    GroupExistsError,
    GroupMissingError,
    open_client,
    translate,
)
from tls_proxy import AUTHORITY


@pytest.mark.parametrize(
    "error",
    [
        BusyLoadingError("Redis is loading the dataset in memory"),
        ClusterDownError("The cluster is down"),
        ConnectionError("refused"),
        MasterDownError("Link with MASTER is down"),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ReadOnlyError("You can't write against a read only replica."),
        ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        ResponseError("UNBLOCKED force unblock from blocking operation"),
        TryAgainError("Multiple keys request during rehashing of slot"),
    ],
)
def test_a_server_that_cannot_now_is_waited_for(error: RedisError) -> None:
    assert type(translate(error)) is StreamUnavailable


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (ResponseError("NOGROUP No such key"), GroupMissingError),
        (ResponseError("BUSYGROUP Consumer Group name already exists"), GroupExistsError),
        (ResponseError("NOAUTH Authentication required."), ConfigError),
        (NoPermissionError("this user has no permissions"), CommandDeniedError),
        # Source: Valkey 9.1 and Redis 7.0, where the code of a denial in a script is ERR.
        (
            ResponseError("ACL failure in script: User limited has no permissions to run 'type'"),
            CommandDeniedError,
        ),
        (
            ResponseError("The user executing the script can't run this command or subcommand"),
            CommandDeniedError,
        ),
        (AuthenticationError("invalid username-password pair"), ConfigError),
        (ResponseError("WRONGTYPE Operation against a key"), ConfigError),
        (ResponseError("unknown command"), ContractError),
    ],
)
def test_every_other_reply_has_its_meaning(error: RedisError, meaning: type[Exception]) -> None:
    assert type(translate(error)) is meaning


@pytest.mark.parametrize("option", ["protocol=3", "decode_responses=true", "socket_timeout=1"])
def test_a_url_may_not_undo_what_is_pinned(option: str) -> None:
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        open_client(f"redis://127.0.0.1:1/0?{option}", name="test")


def test_a_url_may_name_database_and_certificates() -> None:
    open_client(f"rediss://127.0.0.1:1/0?ssl_ca_certs={AUTHORITY}", name="test")
    open_client("unix:///redis.sock?db=3", name="test")


def test_the_command_that_the_client_repeats_is_left_out() -> None:
    text = (
        "Command # 1 (XADD telemetry:teltonika:dlq * imei 356307042441013 frame \\x00) of pipeline "
        "caused error: ('WRONGTYPE Operation against a key holding the wrong kind of value',)"
    )
    error = translate(ResponseError(text))
    assert type(error) is ConfigError
    assert "356307042441013" not in str(error)
    assert str(error).endswith("WRONGTYPE Operation against a key holding the wrong kind of value")


def test_a_password_that_is_refused_over_a_unix_socket_is_not_waited_for() -> None:
    error = ConnectionError("invalid username-password pair")
    error.__cause__ = AuthenticationError("invalid username-password pair")
    assert type(translate(error)) is ConfigError

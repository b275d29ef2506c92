"""TLS is verified wherever it is asked for: the authority and the name."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from processes import Processor
from servers import run_sql
from telemetry import BASE_MS, IMEI, Key, Telemetry, entry, frame_at, stored_keys
from teltonika_processor.embedded import EmbeddedPostgres
from teltonika_processor.errors import ConfigError, SinkUnavailable, StreamUnavailable
from teltonika_processor.store.connection import SessionConfig, open_reading_session, session_of
from teltonika_processor.stream.connection import execute, open_client
from tls_proxy import AUTHORITY, REVOKED, STRANGER, TlsProxy
from waiting import eventually

UNKNOWN = "unable to get local issuer certificate"
OTHER_NAME = "certificate is not valid for '127.0.0.1'"
TRUSTED = f"ssl_ca_certs={quote(str(AUTHORITY))}"
ROOT = f"sslrootcert={quote(str(AUTHORITY))}"


@pytest.fixture
def redis_proxy(redis_url: str) -> Iterator[TlsProxy]:
    with TlsProxy(redis_url, "redis") as proxy:
        yield proxy


@pytest.fixture
def postgres_proxy(migrated_database: str) -> Iterator[TlsProxy]:
    with TlsProxy(migrated_database, "postgres") as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def _no_authorities_of_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")


def rediss(proxy: TlsProxy, options: str, host: str = "localhost") -> str:
    return f"rediss://{host}:{proxy.port}/0?{options}"


def postgres(proxy: TlsProxy, dsn: str, options: str, host: str = "localhost") -> str:
    """The database of `dsn` by way of the proxy."""
    parts = urlsplit(dsn)
    return (
        f"postgresql://{parts.netloc.partition('@')[0]}@{host}:{proxy.port}{parts.path}?{options}"
    )


async def ping(url: str) -> object:
    client = open_client(url, name="test")
    try:
        return await execute(client, "PING")
    finally:
        await client.aclose()


async def select_1(dsn: str) -> object:
    config = SessionConfig(dsn=dsn, instance="test")
    async with session_of(open_reading_session, config) as session:
        return await session.fetchval("SELECT 1")


@pytest.mark.parametrize(
    ("options", "host", "refusal"),
    [
        ("", "localhost", UNKNOWN),
        (f"ssl_ca_certs={quote(str(STRANGER))}", "localhost", UNKNOWN),
        (TRUSTED, "127.0.0.1", OTHER_NAME),
    ],
)
async def test_redis_is_refused_if_its_certificate_is_not_what_was_asked_for(
    redis_proxy: TlsProxy, options: str, host: str, refusal: str
) -> None:
    with pytest.raises(StreamUnavailable, match=refusal):
        await ping(rediss(redis_proxy, options, host))
    assert redis_proxy.n_encrypted == 0


@pytest.mark.parametrize(
    ("options", "host"),
    [
        (TRUSTED, "localhost"),
        (f"{TRUSTED}&ssl_check_hostname=false", "127.0.0.1"),
        ("ssl_cert_reqs=none", "127.0.0.1"),
    ],
)
async def test_redis_is_reached_by_tls(redis_proxy: TlsProxy, options: str, host: str) -> None:
    assert await ping(rediss(redis_proxy, options, host)) is True
    assert redis_proxy.n_encrypted == 1


@pytest.mark.parametrize(
    ("options", "host", "refusal"),
    [
        ("sslmode=require", "localhost", UNKNOWN),
        ("sslmode=verify-full", "localhost", UNKNOWN),
        ("sslmode=verify-full&sslrootcert=system", "localhost", UNKNOWN),
        (f"sslmode=require&sslrootcert={quote(str(STRANGER))}", "localhost", UNKNOWN),
        (f"sslmode=verify-ca&sslrootcert={quote(str(STRANGER))}", "localhost", UNKNOWN),
        (f"sslmode=require&{ROOT}", "127.0.0.1", OTHER_NAME),
        (f"sslmode=verify-full&{ROOT}", "127.0.0.1", OTHER_NAME),
        (ROOT, "127.0.0.1", OTHER_NAME),
        (f"{ROOT}&sslcrl={quote(str(REVOKED))}", "localhost", "certificate revoked"),
    ],
)
async def test_postgres_is_refused_if_its_certificate_is_not_what_was_asked_for(
    postgres_proxy: TlsProxy, migrated_database: str, options: str, host: str, refusal: str
) -> None:
    with pytest.raises(SinkUnavailable, match=refusal):
        await select_1(postgres(postgres_proxy, migrated_database, options, host))
    assert postgres_proxy.n_encrypted == 0


@pytest.mark.parametrize(
    ("options", "host"),
    [
        (f"sslmode=require&{ROOT}", "localhost"),
        (f"sslmode=verify-full&{ROOT}", "localhost"),
        (ROOT, "localhost"),
        (f"sslmode=verify-ca&{ROOT}", "127.0.0.1"),
        ("sslmode=prefer", "127.0.0.1"),
    ],
)
async def test_postgres_is_reached_by_tls(
    postgres_proxy: TlsProxy, migrated_database: str, options: str, host: str
) -> None:
    assert await select_1(postgres(postgres_proxy, migrated_database, options, host)) == 1
    assert postgres_proxy.n_encrypted == 1


async def test_without_an_authority_of_ones_own_those_of_the_machine_are_asked(
    monkeypatch: pytest.MonkeyPatch, postgres_proxy: TlsProxy, migrated_database: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    for mode in ("require", "verify-ca", "verify-full"):
        dsn = postgres(postgres_proxy, migrated_database, f"sslmode={mode}")
        assert await select_1(dsn) == 1
        with pytest.raises(SinkUnavailable, match=OTHER_NAME):
            await select_1(dsn.replace("localhost", "127.0.0.1"))
    assert postgres_proxy.n_encrypted == 3


async def test_a_session_is_opened_again_while_the_authority_is_being_replaced(
    tmp_path: Path, postgres_proxy: TlsProxy, migrated_database: str
) -> None:
    authority = Path(shutil.copy(AUTHORITY, tmp_path))
    options = f"sslrootcert={quote(str(authority))}"
    config = SessionConfig(
        dsn=postgres(postgres_proxy, migrated_database, options), instance="test"
    )
    for befalls_it in (authority.touch, partial(authority.write_text, ""), authority.unlink):
        befalls_it()
        async with session_of(open_reading_session, config) as session:
            assert await session.fetchval("SELECT 1") == 1
    assert postgres_proxy.n_encrypted == 3
    shutil.copy(STRANGER, authority)
    with pytest.raises(SinkUnavailable, match=UNKNOWN):
        async with session_of(open_reading_session, config):
            pass


async def test_the_mode_of_the_environment_is_verified_too(
    monkeypatch: pytest.MonkeyPatch, postgres_proxy: TlsProxy, migrated_database: str
) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")
    dsn = postgres(postgres_proxy, migrated_database, "").rstrip("?")
    with pytest.raises(SinkUnavailable, match=UNKNOWN):
        await select_1(dsn)
    monkeypatch.setenv("PGSSLROOTCERT", str(AUTHORITY))
    assert await select_1(dsn) == 1


async def test_a_postgres_without_tls_is_refused_where_tls_was_asked_for(
    own_postgres: EmbeddedPostgres,
) -> None:
    dsn = own_postgres.dsn(over_tcp=True)
    assert await select_1(f"{dsn}?sslmode=prefer") == 1
    with pytest.raises(SinkUnavailable, match="rejected SSL upgrade"):
        await select_1(f"{dsn}?sslmode=require")


async def test_a_password_is_not_sent_before_the_server_is_known(
    postgres_proxy: TlsProxy, migrated_database: str
) -> None:
    dsn = postgres(postgres_proxy, migrated_database, "sslmode=require")
    with pytest.raises(SinkUnavailable) as caught:
        await select_1(dsn.replace("@localhost", ":hunter2@localhost", 1))
    assert "hunter2" not in str(caught.value)
    assert postgres_proxy.n_encrypted == 0


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("rediss://h?ssl_cert_reqs=hunter2", "REDIS_URL: ssl_cert_reqs must be one of"),
        ("rediss://h?ssl_ca_certs=/none.pem", "REDIS_URL: '/none.pem': No such file or directory"),
        ("redis://h?ssl_ca_certs=/none.pem", "REDIS_URL: option 'ssl_ca_certs' needs rediss://"),
    ],
)
def test_options_of_tls_to_redis_that_cannot_be_used_are_refused(url: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_client(url, name="test")
    assert str(caught.value).startswith(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("sslmode=hunter2", "DATABASE_URL: sslmode must be one of disable, allow, prefer, require"),
        ("hunter2", "DATABASE_URL: every option of the URL must be written as name=value"),
        (
            "sslmode=require&sslrootcert=/none.pem",
            "DATABASE_URL: sslrootcert '/none.pem': No such file or directory",
        ),
        (
            "sslmode=require&sslcert=/none.pem",
            "DATABASE_URL: sslcert '/none.pem' and its key: No such file or directory",
        ),
        ("sslmode=require&sslcrl=/none.pem", "DATABASE_URL: sslcrl needs an sslrootcert"),
    ],
)
async def test_options_of_tls_to_postgres_that_cannot_be_used_are_refused(
    query: str, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        await select_1(f"postgresql://h/fleet?{query}")
    assert str(caught.value).startswith(text)
    assert "hunter2" not in str(caught.value)


def test_a_processor_that_connects_anew_while_the_authority_is_away_goes_on(
    tmp_path: Path, postgres_proxy: TlsProxy, redis_url: str, migrated_database: str
) -> None:
    authority = Path(shutil.copy(AUTHORITY, tmp_path))
    telemetry = Telemetry(redis_url)
    options = f"sslrootcert={quote(str(authority))}"
    with Processor(redis_url, postgres(postgres_proxy, migrated_database, options)) as processor:
        processor.wait_for("consumer.started")
        authority.unlink()
        n_before = postgres_proxy.n_encrypted
        end_sessions(migrated_database)
        telemetry.publish([entry(frame_at(BASE_MS))])
        eventually(telemetry.settled)
        assert postgres_proxy.n_encrypted > n_before
        assert processor.terminate() == 0
    telemetry.close()
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS)]


def end_sessions(dsn: str) -> None:
    """Those of the processor, as a restart of the server does."""
    run_sql(
        dsn,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'teltonika-processor%'",
    )


def test_the_processor_works_over_verified_tls_to_both(
    redis_proxy: TlsProxy, postgres_proxy: TlsProxy, redis_url: str, migrated_database: str
) -> None:
    telemetry = Telemetry(redis_url)
    telemetry.publish([entry(frame_at(BASE_MS))])
    number = dict(parse_qsl(urlsplit(redis_url).query)).get("db", "0")
    dsn = postgres(postgres_proxy, migrated_database, f"sslmode=require&{ROOT}")
    with Processor(rediss(redis_proxy, f"{TRUSTED}&db={number}"), dsn) as processor:
        processor.wait_for("consumer.started")
        eventually(telemetry.settled)
        assert processor.terminate() == 0
    telemetry.close()
    assert stored_keys(migrated_database) == [Key(IMEI, BASE_MS)]
    assert redis_proxy.n_encrypted >= 3
    assert postgres_proxy.n_encrypted >= 3

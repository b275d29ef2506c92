import os
from pathlib import Path

import pytest

from teltonika_processor.errors import ConfigError
from teltonika_processor.model import TELEMETRY_STREAM, dead_letter_stream
from teltonika_processor.settings import (
    SECRET_SETTINGS,
    Settings,
    load_settings,
    near_misses,
    redacted_settings,
    redacted_url,
    sources_of,
)
from teltonika_processor.stream import connection
from teltonika_processor.stream.connection import require_hiredis
from teltonika_processor.stream.durability import REPLICAS_MAX, Durability


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)


def test_the_stream_is_the_one_that_the_gateway_writes() -> None:
    assert TELEMETRY_STREAM == "telemetry:teltonika"
    assert load_settings().redis_telemetry_stream == "telemetry:teltonika"
    assert dead_letter_stream(TELEMETRY_STREAM) == "telemetry:teltonika:dlq"


def test_defaults_are_those_of_the_documents() -> None:
    settings = load_settings()
    assert settings.redis_consumer_group == "processor"
    assert (settings.batch_frames, settings.batch_records) == (400, 2000)
    assert (settings.commit_interval_ms, settings.writers) == (5, 2)
    assert (settings.write_timeout_ms, settings.drain_timeout_ms) == (5000, 8000)
    assert settings.startup_timeout_ms == 0
    assert settings.frame_max_bytes == 65_536


def test_defaults_of_the_gateway_are_those_of_the_documents() -> None:
    settings = load_settings()
    assert (settings.ingest_host, settings.ingest_tcp_port) == ("0.0.0.0", 5027)
    assert (settings.ingest_udp, settings.ingest_udp_port) == (True, 5027)
    assert (settings.ingest_admission, settings.ingest_durability) == ("postgres", "fsync")
    assert (settings.ingest_frame_max_bytes, settings.ingest_poison_repeats) == (4096, 3)
    assert settings.ingest_handshake_timeout_ms == 10_000
    assert settings.ingest_tls_port is settings.ingest_tls_cert_file is None


def test_a_variable_sets_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_FRAMES", "17")
    assert load_settings().batch_frames == 17


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_MIGRATION_URL", "")
    assert load_settings().database_migration_url is None


def test_a_mistyped_variable_is_named_with_its_likely_meaning() -> None:
    environ = {"REDIS_TELEMETRY_STRAEM": "x", "WRITER": "3", "PATH": "/bin", "REDIS_HOST": "h"}
    assert near_misses(environ) == [
        ("REDIS_TELEMETRY_STRAEM", "REDIS_TELEMETRY_STREAM"),
        ("WRITER", "WRITERS"),
    ]


def test_the_suites_own_variables_are_no_near_misses() -> None:
    assert near_misses({"TEST_DATABASE_URL": "x", "TEST_REDIS_URL": "y"}) == []


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("BATCH_FRAMES", "0", ["BATCH_FRAMES", "'0'", "greater than or equal to 1"]),
        ("WRITERS", "many", ["WRITERS", "'many'", "integer"]),
        ("LOG_FORMAT", "xml", ["LOG_FORMAT", "'xml'", "'auto', 'json' or 'console'"]),
        ("REDIS_URL", "http://h", ["REDIS_URL", "redis://, rediss://, unix://"]),
        ("DATABASE_URL", "mysql://h", ["DATABASE_URL", "postgresql://, postgres://"]),
        ("DATABASE_URL", "postgresql://h:port/d", ["DATABASE_URL", "port", "number"]),
        ("REDIS_TELEMETRY_STREAM", "with space", ["REDIS_TELEMETRY_STREAM", "without a space"]),
        ("INGEST_ADMISSION", "file:", ["INGEST_ADMISSION", "'file:'", "open, or file:PATH"]),
        ("INGEST_DURABILITY", "replicated:0", ["INGEST_DURABILITY", "fsync, memory, or repl"]),
        ("INGEST_TLS_PORT", "5028", ["INGEST_TLS_PORT and INGEST_TLS_CERT_FILE need each other"]),
        (
            "INGEST_UNAUTHENTICATED_MAX",
            "16000",
            ["INGEST_UNAUTHENTICATED_MAX is 16000", "INGEST_CONNECTIONS_MAX is 16000"],
        ),
        ("DRAIN_TIMEOUT_MS", "4999", ["DRAIN_TIMEOUT_MS is 4999", "WRITE_TIMEOUT_MS is 5000"]),
    ],
)
def test_a_bad_value_names_the_setting_what_was_found_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, parts: list[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("claim_threshold_ms", "write_timeout_ms"), [("19999", "5000"), ("30000", "7501")]
)
def test_a_threshold_below_four_write_timeouts_is_refused_with_both_names(
    monkeypatch: pytest.MonkeyPatch, claim_threshold_ms: str, write_timeout_ms: str
) -> None:
    monkeypatch.setenv("CLAIM_THRESHOLD_MS", claim_threshold_ms)
    monkeypatch.setenv("WRITE_TIMEOUT_MS", write_timeout_ms)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == (
        f"CLAIM_THRESHOLD_MS is {claim_threshold_ms}, WRITE_TIMEOUT_MS is {write_timeout_ms}: the "
        "threshold must be at least 4 times the timeout, or the entries of an instance that is "
        "merely slow are taken from it"
    )


def test_a_threshold_of_four_write_timeouts_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAIM_THRESHOLD_MS", "20000")
    monkeypatch.setenv("WRITE_TIMEOUT_MS", "5000")
    assert load_settings().claim_threshold_ms == 20_000


def test_a_pooler_without_a_way_past_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_POOLER", "transaction")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == (
        "DATABASE_POOLER is transaction and DATABASE_MIGRATION_URL is not set: migrations hold a "
        "session's lock, so they need an address that leads to Postgres itself"
    )
    monkeypatch.setenv("DATABASE_MIGRATION_URL", "postgresql://h/fleet")
    assert load_settings().database_pooler == "transaction"


def test_the_clients_slow_parser_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_hiredis()
    monkeypatch.setattr(connection, "HIREDIS_AVAILABLE", False)
    with pytest.raises(ConfigError, match="hiredis is not installed: pip install"):
        require_hiredis()


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_FRAMES", "0")
    monkeypatch.setenv("WRITERS", "0")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert len(str(caught.value).splitlines()) == 2


def test_passwords_appear_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://user:hunter2@h:6379/1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2@db:5432/fleet?password=hunter2")
    settings = load_settings()
    assert redacted_url(settings.redis_url) == "redis://h:6379/1"
    assert redacted_url(settings.database_url) == "postgresql://db:5432/fleet"
    shown = repr(settings) + str(settings) + settings.model_dump_json()
    assert "hunter2" not in shown
    monkeypatch.setenv("REDIS_URL", "http://user:hunter2@h")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_several_hosts_are_a_postgres_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@h1:5432,h2:5433/fleet")
    assert redacted_url(load_settings().database_url) == "postgresql://h1:5432,h2:5433/fleet"
    monkeypatch.setenv("DATABASE_URL", "postgresql://h1:5432,h2:x/fleet")
    with pytest.raises(ConfigError, match="DATABASE_URL: the port"):
        load_settings()


def test_the_durabilities_that_are_allowed_are_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for n in range(REPLICAS_MAX + 1, 200):
        monkeypatch.setenv("INGEST_DURABILITY", f"replicated:{n}")
        with pytest.raises(ConfigError, match=f"with N from 1 to {REPLICAS_MAX}$"):
            load_settings()
    for value in ("fsync", "memory", *(f"replicated:{n}" for n in range(1, REPLICAS_MAX + 1))):
        monkeypatch.setenv("INGEST_DURABILITY", value)
        assert str(Durability.of(load_settings().ingest_durability)) == value


def test_every_setting_has_its_reason() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_the_secret_settings_are_the_addresses() -> None:
    assert SECRET_SETTINGS == ("REDIS_URL", "DATABASE_URL", "DATABASE_MIGRATION_URL")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_is_read_from_the_file_that_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / "database_url"
    path.write_bytes(f"postgresql://u:hunter2@db:5432/fleet{ending}".encode())
    monkeypatch.setenv("DATABASE_URL_FILE", str(path))
    monkeypatch.setenv("REDIS_URL", "redis://h")
    settings = load_settings()
    assert settings.database_url.get_secret_value() == "postgresql://u:hunter2@db:5432/fleet"
    sources = sources_of(settings, os.environ)
    assert sources["DATABASE_URL"] == f"file {path}"
    assert sources["REDIS_URL"] == "environment"
    assert sources["DATABASE_MIGRATION_URL"] == sources["WRITERS"] == "default"
    assert "hunter2" not in repr(settings) + str(redacted_settings(settings))


def test_an_empty_name_of_a_file_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL_FILE", "")
    assert redacted_url(load_settings().redis_url) == "redis://127.0.0.1:6379/0"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"redis://:hunter2\xff@h", "the file is not UTF-8"),
        (b"redis://:hunter2@h" + b"x" * 16_384, "the file has more than 16384 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_its_content_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("REDIS_URL_FILE", str(path))
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == f"REDIS_URL_FILE (found {str(path)!r}): {why}"


def test_a_pipe_is_no_file_for_a_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "pipe"))
    with pytest.raises(ConfigError, match="it is no regular file"):
        load_settings()


def test_a_secret_that_is_given_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("redis://:hunter2@h")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@h")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "REDIS_URL is set as well: set one of the two" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_wrong_value_from_a_file_names_the_file_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_text("http://:hunter2@h")
    monkeypatch.setenv("REDIS_URL_FILE", str(path))
    with pytest.raises(ConfigError) as caught:
        load_settings()
    expected = "the URL must start with one of redis://, rediss://, unix://"
    assert str(caught.value) == f"REDIS_URL (in {str(path)!r}): {expected}"


def test_two_lines_are_no_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("redis://h\nredis://:hunter2@h\n")
    monkeypatch.setenv("REDIS_URL_FILE", str(tmp_path / "secret"))
    with pytest.raises(ConfigError, match="must not hold line breaks") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("found", "meant"),
    [
        ("DATABASE_URL_FLIE", "DATABASE_URL_FILE"),
        ("REDIS_TELEMETRY_STREAM_FILE", "REDIS_TELEMETRY_STREAM"),
        ("WRITERS_FILE", "WRITERS"),
    ],
)
def test_a_mistyped_file_variable_is_named_and_so_is_one_of_a_setting_that_is_no_secret(
    found: str, meant: str
) -> None:
    assert near_misses({found: "x", "REDIS_URL_FILE": "y", "DATABASE_MIGRATION_URL_FILE": "z"}) == [
        (found, meant)
    ]


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:12/hunter2@h:6379/0",
        "redis://user:12?hunter2@h:6379/0",
        "redis://user:12#hunter2@h:6379/0",
        "redis://user:12@hunter2@h:6379/0",
        "redis://user:hunter2[@h:6379/0",
        "redis://user:hunter2\u2100@h:6379/0",
        "redis://user:hunter2@h:port/0",
    ],
)
def test_a_password_that_would_pass_for_another_part_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(ConfigError, match=r"^REDIS_URL: the (port of the )?URL ") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
    assert "12" not in str(caught.value)

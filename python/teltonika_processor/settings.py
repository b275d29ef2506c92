"""Every setting of the package, read from the environment once at start.

Units are in the names; every default has its reason beside it. Only ``service``, ``doctor`` and
``cli`` read settings; the rooms below get plain values.
"""

import difflib
import os
import socket
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from teltonika_processor.addresses import check_address, shown_address
from teltonika_processor.errors import ConfigError
from teltonika_processor.model import HTTP_HOST, HTTP_PORT, HTTP_PORT_MAX, TELEMETRY_STREAM
from teltonika_processor.secret_files import SUFFIX, file_names, read_secrets

# Bound: a name this similar to a setting is taken for a typing error (STRAEM for STREAM is 0.95).
_NEAR_MISS_RATIO: Final = 0.85

_REDIS_SCHEMES: Final = ("redis", "rediss", "unix")
_POSTGRES_SCHEMES: Final = ("postgresql", "postgres")

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]


class Settings(BaseSettings):
    """What a process needs to know; the environment names are the field names in capitals."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, hide_input_in_errors=True)

    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey: redis://, rediss:// or unix://. Loopback, so that nothing "
        "leaves the machine by accident.",
    )
    database_url: SecretStr = Field(
        default=SecretStr("postgresql://127.0.0.1:5432/postgres"),
        description="Postgres for reading and writing: postgresql://. Loopback, as above.",
    )
    database_migration_url: SecretStr | None = Field(
        default=None,
        description="The owner's direct connection for migrations; DATABASE_URL where not set.",
    )
    database_pooler: Literal["none", "transaction"] = Field(
        default="none",
        description="transaction: DATABASE_URL leads to a pooler such as PgBouncer in transaction "
        "mode, so nothing is left in a session; DATABASE_MIGRATION_URL must lead past it.",
    )
    redis_telemetry_stream: Name = Field(
        default=TELEMETRY_STREAM,
        description="The stream of raw frames: the gateway writes and the processor reads this "
        "one. Dead letters go to <stream>:dlq.",
    )
    redis_consumer_group: Name = Field(
        default="processor", description="Shared by all instances; created from id 0."
    )
    redis_consumer_name: Name = Field(
        default_factory=socket.gethostname,
        description="Stable, so that a restarted instance finds its own pending entries. "
        "Default: the host name; a second instance takes -2, -3.",
    )
    batch_frames: int = Field(
        default=400,
        ge=1,
        le=10_000,
        description="Entries per read: 64-512 is the flat optimum of the read's cost.",
    )
    batch_records: int = Field(
        default=2000,
        ge=1,
        le=10_000,
        description="Records per transaction: larger gains little and makes a retry dearer.",
    )
    commit_interval_ms: int = Field(
        default=5,
        ge=0,
        le=1000,
        description="At most one write is begun in this time while data trickles in: p99 6 ms for "
        "two thirds of the CPU of committing at once.",
    )
    writers: int = Field(
        default=2,
        ge=1,
        le=16,
        description="Postgres connections that write at once; the second one gains 1.7 times, "
        "more only with more cores.",
    )
    write_timeout_ms: int = Field(
        default=5000,
        ge=100,
        le=300_000,
        description="A transaction that takes longer is given up and tried again.",
    )
    claim_threshold_ms: int = Field(
        default=30_000,
        ge=400,
        le=86_400_000,
        description="Pending entries idle for longer belong to a dead instance and are claimed; "
        "must be at least 4 times WRITE_TIMEOUT_MS.",
    )
    claim_interval_ms: int = Field(
        default=5000,
        ge=50,
        le=3_600_000,
        description="Time between two looks for entries to claim.",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Failures seen on an entry before it is dead-lettered; between two of them "
        "lies CLAIM_THRESHOLD_MS or a restart, so that a newer version may get it.",
    )
    suspect_deliveries: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="An entry delivered more often is tried alone: it may be what crashes us.",
    )
    stream_keep_ms: int = Field(
        default=600_000,
        ge=0,
        le=31_536_000_000,
        description="Acknowledged entries are kept for so long, for audit and replay.",
    )
    stream_keep_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=0,
        le=1 << 50,
        description="Memory of the stream above which acknowledged entries go sooner; never "
        "those that a group still needs.",
    )
    stream_trim: bool = Field(
        default=True, description="Trim acknowledged entries; false leaves it to somebody else."
    )
    device_state_max: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="Devices whose state is held, at most 150 bytes each; the others are looked "
        "up in last_position when they send.",
    )
    drain_timeout_ms: int = Field(
        default=8000,
        ge=0,
        le=600_000,
        description=(
            "Time for writes in flight after SIGTERM; below Docker's 10 s before SIGKILL; 0, or at "
            "least WRITE_TIMEOUT_MS."
        ),
    )
    startup_timeout_ms: int = Field(
        default=0,
        ge=0,
        le=86_400_000,
        description="How long to wait for Redis and Postgres at start; 0 waits for ever, because "
        "an orchestrator starts everything at once.",
    )
    strict_checks: bool = Field(
        default=False,
        description="Refuse to start where Redis may lose the stream (eviction, no AOF), instead "
        "of warning.",
    )
    http_host: str = Field(
        default=HTTP_HOST,
        min_length=1,
        max_length=255,
        description="Where /metrics, /livez, /readyz and /status are served; loopback, because "
        "they ask for no password.",
    )
    http_port: int = Field(
        default=HTTP_PORT,
        ge=0,
        le=HTTP_PORT_MAX,
        description="If the default is taken, a free one is used and logged; a port that was set "
        "and is taken refuses to start. 0 takes a free one.",
    )
    panic_dump_dir: str = Field(
        default="./panic-dumps",
        min_length=1,
        max_length=4096,
        description="Where a process that fails leaves what it knew; the newest 10 files are kept.",
    )
    frame_max_bytes: int = Field(
        default=65_536,
        ge=15,
        le=16_777_216,
        description="A longer frame is dead-lettered. The vendor's 1,280 is the gateway's policy.",
    )
    clock_ahead_max_ms: int = Field(
        default=86_400_000,
        ge=0,
        le=31_536_000_000,
        description="A record further ahead of its receive time is stored as clock_suspect: "
        "1 day covers every time zone mistake.",
    )
    migrate_on_start: bool = Field(
        default=True,
        description="Apply pending migrations before reading, where the role may; a role that "
        "may only write checks the schema instead.",
    )
    positions_keep_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Partitions of positions that hold only UTC days older than so many are "
        "dropped, once an hour, as the owner; 0 keeps all, because dropping cannot be undone.",
    )
    io_dictionary_file: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="Names of IO elements beside the packaged ones: each row of this CSV file "
        "replaces the row of its id. The same for all instances, since io_elements is filled "
        "from it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug adds a line per batch."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: JSON unless standard error is a terminal."
    )
    log_imei: Literal["plain", "last4", "none"] = Field(
        default="plain",
        description="How devices appear in logs; plain, because the night engineer must find "
        "the tracker.",
    )

    @property
    def owner_url(self) -> SecretStr:
        """Where the owner of the schema works: DATABASE_MIGRATION_URL, or else DATABASE_URL."""
        return self.database_migration_url or self.database_url

    @field_validator("redis_url", "database_url", "database_migration_url")
    @classmethod
    def _url_has_a_known_scheme(cls, value: SecretStr | None, info: object) -> SecretStr | None:
        if value is not None:
            field = str(getattr(info, "field_name", ""))
            check_address(value.get_secret_value(), _schemes_of(field))
        return value

    @model_validator(mode="after")
    def _drain_leaves_room_for_a_write(self) -> Self:
        if 0 < self.drain_timeout_ms < self.write_timeout_ms:
            message = (
                f"DRAIN_TIMEOUT_MS is {self.drain_timeout_ms}, WRITE_TIMEOUT_MS is "
                f"{self.write_timeout_ms}: the drain must last at least as long as one write, or a "
                "stop gives up on a write that would have succeeded"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _claims_leave_room_for_a_write(self) -> Self:
        # A write may be tried twice within its deadline, and the threshold is twice that.
        if self.claim_threshold_ms < 4 * self.write_timeout_ms:
            message = (
                f"CLAIM_THRESHOLD_MS is {self.claim_threshold_ms}, WRITE_TIMEOUT_MS is "
                f"{self.write_timeout_ms}: the threshold must be at least 4 times the timeout, or "
                "the entries of an instance that is merely slow are taken from it"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _migrations_go_past_the_pooler(self) -> Self:
        if self.database_pooler == "transaction" and self.database_migration_url is None:
            message = (
                "DATABASE_POOLER is transaction and DATABASE_MIGRATION_URL is not set: migrations "
                "hold a session's lock, so they need an address that leads to Postgres itself"
            )
            raise ValueError(message)
        return self

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment only: no .env file is read by itself."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings


SECRET_SETTINGS: Final = tuple(
    name.upper()
    for name, field in Settings.model_fields.items()
    if SecretStr in (field.annotation, *get_args(field.annotation))
)
"""The settings that nothing shows and that may be read from a file, by NAME_FILE."""


def load_settings() -> Settings:
    """Settings from the environment and the files that it names.

    Raises:
        ConfigError: A value is refused; a line for each names the setting, what was found and what
            is allowed. Values of URLs are never repeated.
    """
    files = file_names(SECRET_SETTINGS, os.environ)
    secrets = read_secrets(files, os.environ)
    values: dict[str, Any] = {name.lower(): SecretStr(secrets[name]) for name in secrets}
    try:
        return Settings(**values)
    except ValidationError as error:
        lines = [_explain(dict(detail), files) for detail in error.errors(include_url=False)]
        raise ConfigError("\n".join(lines)) from None


def sources_of(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Where each setting's value came from: ``default``, ``environment`` or ``file PATH``."""
    files = file_names(SECRET_SETTINGS, environ)
    sources = {}
    for field in type(settings).model_fields:
        name = field.upper()
        given = f"file {files[name]}" if name in files else "environment"
        sources[name] = given if field in settings.model_fields_set else "default"
    return sources


def near_misses(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Variables that look like mistyped settings, as (found, likely meant)."""
    settings = [name.upper() for name in Settings.model_fields]
    known = [*settings, *(name + SUFFIX for name in SECRET_SETTINGS)]
    missed = []
    for name in sorted(environ):
        if name.upper() in known or name.startswith("TEST_"):
            continue
        likely = difflib.get_close_matches(name.upper(), known, n=1, cutoff=_NEAR_MISS_RATIO)
        stem = name.upper().removesuffix(SUFFIX)
        if likely or stem in settings:  # only secrets are read from files
            missed.append((name, stem if stem in settings else likely[0]))
    return missed


def default_of(name: str) -> object:
    """What a setting, by its environment's name, is without being set; a URL as it is shown."""
    field = Settings.model_fields[name.lower()]
    return _shown(field.get_default(call_default_factory=True, validated_data={}))


def redacted_settings(settings: Settings) -> dict[str, object]:
    """Every effective value by its environment's name; URLs without user, password and query."""
    return {name.upper(): _shown(value) for name, value in settings}


def redacted_url(url: SecretStr) -> str:
    """The URL without user, password and query: what may be logged."""
    return shown_address(url.get_secret_value())


def _shown(value: object) -> object:
    return redacted_url(value) if isinstance(value, SecretStr) else value


def _schemes_of(field: str) -> tuple[str, ...]:
    return _REDIS_SCHEMES if field == "redis_url" else _POSTGRES_SCHEMES


def _explain(detail: Mapping[str, object], files: Mapping[str, str]) -> str:
    """One line: the setting, what was found, what is allowed."""
    location = detail.get("loc")
    name = str(location[0]).upper() if isinstance(location, tuple) and location else ""
    message = str(detail.get("msg", "")).removeprefix("Value error, ")
    if not name:
        return message
    return f"{name}{_found(name, files)}: {message}"


def _found(name: str, files: Mapping[str, str]) -> str:
    if name in files:
        return f" (in {files[name]!r})"
    return "" if name in SECRET_SETTINGS else f" (found {os.environ.get(name, '')!r})"

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

# Instead of the patterns, which are for machines.
_EXPECTED: Final = {
    "INGEST_ADMISSION": "expected postgres, open, or file:PATH",
    "INGEST_DURABILITY": "expected fsync, memory, or replicated:N with N from 1 to 20",
}
_EXPECTED_NAME: Final = "expected printable ASCII characters, without a space"

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
        description="A longer frame is dead-lettered. "
        "A gateway of ours takes no longer one than INGEST_FRAME_MAX_BYTES.",
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
    ingest_name: Name = Field(
        default_factory=socket.gethostname,
        description="How the gateway signs its entries. Default: the host name.",
    )
    ingest_host: str = Field(
        default="0.0.0.0",  # noqa: S104 -- devices come from everywhere
        min_length=1,
        max_length=255,
        description="Address that devices connect to; one of IPv4, or of IPv6 (:: is both).",
    )
    ingest_tcp_port: int = Field(
        default=5027,
        ge=0,
        le=65_535,
        description="Where devices connect by TCP; 0 takes a free port.",
    )
    ingest_udp_port: int = Field(
        default=5027,
        ge=0,
        le=65_535,
        description="Where devices send datagrams; 0 takes a free port. INGEST_UDP=false: nowhere.",
    )
    ingest_udp: bool = Field(
        default=True,
        description="Listen for datagrams. Their sender is whoever it says: an IMEI is no secret.",
    )
    ingest_tls_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="Where devices connect by TLS; needs INGEST_TLS_CERT_FILE.",
    )
    ingest_tls_cert_file: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="Certificate chain in PEM, read anew when it changes.",
    )
    ingest_tls_key_file: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="Its private key in PEM; where not set, it stands in INGEST_TLS_CERT_FILE.",
    )
    ingest_admission: str = Field(
        default="postgres",
        pattern=r"^(postgres|open|file:.+)$",
        description="Who is let in: those that `devices` allows, those in a file (file:PATH, one "
        "IMEI a line), or everybody (open: for a demonstration).",
    )
    ingest_admission_reload_ms: int = Field(
        default=1000,
        ge=1000,
        le=3_600_000,
        description="Between two reads of the whole list in Postgres, so long until allow and deny "
        "count; a long list is read more rarely, so that it takes a fiftieth of the time at most: "
        "a million devices, every minute or two.",
    )
    ingest_durability: str = Field(
        default="fsync",
        pattern=r"^(fsync|memory|replicated:([1-9]|1[0-9]|20))$",
        description="What a reply to a device means: on the disk of Redis, in its memory, or on "
        "its disk and on N replicas.",
    )
    ingest_durability_vouched: bool = Field(
        default=False,
        description="You vouch for Redis' settings of durability, which its user may not read.",
    )
    ingest_frame_max_bytes: int = Field(
        default=4096,
        ge=1280,
        le=65_536,
        description="A longer frame is framing that was lost. The vendor's limit is 1,280.",
    )
    ingest_connections_max: int = Field(
        default=16_000,
        ge=1,
        le=1_000_000,
        description="TCP connections at once; each takes a file descriptor, which is checked at "
        "the start.",
    )
    ingest_connections_per_address_max: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Of these, from one IPv4 address or IPv6 /64: a carrier may have the whole "
        "fleet behind one. Default: three quarters of INGEST_CONNECTIONS_MAX, the rest stays for "
        "others.",
    )
    ingest_unauthenticated_max: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Of these, without a handshake, TLS or the device's; one more pushes the "
        "oldest out. Default: an eighth of INGEST_CONNECTIONS_MAX, at least 256 (of fewer, all but "
        "one).",
    )
    ingest_accepts_per_second_max: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Connections accepted in a second; the others wait in the kernel, as when a "
        "fleet comes back after a restart.",
    )
    ingest_tls_accepts_per_second_max: int = Field(
        default=200,
        ge=1,
        le=100_000,
        description="The same of INGEST_TLS_PORT: a TLS handshake takes the gateway's CPU, frames "
        "wait behind it.",
    )
    ingest_frames_per_second_max: float = Field(
        default=100.0,
        gt=0,
        le=100_000,
        description="Of one device, with a burst of ten seconds' worth; above it the device is "
        "read more slowly, never refused; its datagrams above it are not taken. One that waits for "
        "its replies sends some 30.",
    )
    ingest_in_flight_max_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=65_536,
        le=1 << 36,
        description="Bytes received and not durable yet; above it devices are not read. A frame "
        "of each of 10,000 devices is 13 MB.",
    )
    ingest_handshake_timeout_ms: int = Field(
        default=10_000,
        ge=100,
        le=600_000,
        description="From a connection to its handshake.",
    )
    ingest_idle_timeout_ms: int = Field(
        default=7_200_000,
        ge=1000,
        le=604_800_000,
        description="A connection without a frame or a ping for so long is closed: twice the hour "
        "after which a parked device records by default. Dead peers are found by TCP's keepalive.",
    )
    ingest_hold_ms: int = Field(
        default=30_000,
        ge=100,
        le=600_000,
        description="How long a frame may wait to be durable before its connection is closed: the "
        "device keeps its records and comes again.",
    )
    ingest_poison_repeats: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="The same bytes with a wrong CRC so many times in a row go to the dead "
        "letters, and are answered.",
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
    def _tls_has_a_certificate(self) -> Self:
        if (self.ingest_tls_port is None) != (self.ingest_tls_cert_file is None):
            message = "INGEST_TLS_PORT and INGEST_TLS_CERT_FILE need each other"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _silent_connections_leave_room(self) -> Self:
        silent, total = self.ingest_unauthenticated_max, self.ingest_connections_max
        if silent is not None and silent >= total > 1:
            message = (
                f"INGEST_UNAUTHENTICATED_MAX is {silent}, INGEST_CONNECTIONS_MAX is {total}: "
                "connections that say nothing could take every place"
            )
            raise ValueError(message)
        return self

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
    if detail.get("type") == "string_pattern_mismatch":
        message = _EXPECTED.get(name, _EXPECTED_NAME)
    return f"{name}{_found(name, files)}: {message}"


def _found(name: str, files: Mapping[str, str]) -> str:
    if name in files:
        return f" (in {files[name]!r})"
    return "" if name in SECRET_SETTINGS else f" (found {os.environ.get(name, '')!r})"

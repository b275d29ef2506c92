"""The documents say what the code does."""

import os
import re
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from teltonika_processor._native import error_catalogue
from teltonika_processor.gateway.effects import Ending
from teltonika_processor.gateway.udp import NotTaken
from teltonika_processor.model import GATEWAY_HTTP_PORT, HTTP_PORT, TELEMETRY_STREAM
from teltonika_processor.service.exit_codes import ExitCode
from teltonika_processor.settings import Settings
from teltonika_processor.stream.durability import REPLICAS_MAX

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), ROOT / ".env.example"])
ALLOWED_TEXTS = {
    "redis_url": "a URL: `redis://`, `rediss://` or `unix://`",
    "database_url": "a URL: `postgresql://` or `postgres://`",
    "database_migration_url": "a URL: `postgresql://` or `postgres://`",
    "redis_telemetry_stream": "1 to 200 printable ASCII characters, no space",
    "redis_consumer_group": "1 to 200 printable ASCII characters, no space",
    "redis_consumer_name": "1 to 200 printable ASCII characters, no space",
    "http_host": "a name or an address",
    "panic_dump_dir": "a path",
    "io_dictionary_file": "a path",
    "ingest_name": "1 to 200 printable ASCII characters, no space",
    "ingest_host": "an address",
    "ingest_tls_cert_file": "a path",
    "ingest_tls_key_file": "a path",
    "ingest_admission": "`postgres`, `file:PATH`, `open`",
    "ingest_durability": f"`fsync`, `memory`, `replicated:N` with N from 1 to {REPLICAS_MAX}",
}
DEFAULT_TEXTS = {
    "database_migration_url": "`DATABASE_URL`",
    "redis_consumer_name": "the host name",
    "http_port": f"`{HTTP_PORT}`; of the gateway `{GATEWAY_HTTP_PORT}`",
    "io_dictionary_file": "none",
    "ingest_name": "the host name",
    "ingest_tls_port": "none",
    "ingest_tls_cert_file": "none",
    "ingest_tls_key_file": "none",
    "ingest_connections_per_address_max": "see text",
    "ingest_unauthenticated_max": "see text",
}


def plain_default(field: FieldInfo) -> str | None:
    """The default as the environment would hold it, None where there is no constant one."""
    default = field.default
    if default is None or default is PydanticUndefined:
        return None
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    return str(default).lower() if isinstance(default, bool) else str(default)


def allowed(name: str, field: FieldInfo) -> str:
    if name in ALLOWED_TEXTS:
        return ALLOWED_TEXTS[name]
    if field.annotation is bool:
        return "`true`, `false`"
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    high = next(bound.le for bound in field.metadata if isinstance(bound, Le))
    for bound in field.metadata:
        if isinstance(bound, Gt):
            return f"more than {bound.gt:,}, to {high:,}"
        if isinstance(bound, Ge):
            return f"{bound.ge:,} to {high:,}"
    raise AssertionError(name)


def settings_row(name: str, field: FieldInfo) -> str:
    default = DEFAULT_TEXTS.get(name) or f"`{plain_default(field)}`"
    assert default != "`None`", name
    why = (field.description or "").replace("<", r"\<")
    return f"| `{name.upper()}` | {default} | {allowed(name, field)} | {why} |"


def table_of(document: str, heading: str) -> list[str]:
    """The rows of the first table under a heading, without its head."""
    text = (ROOT / document).read_text()
    _, _, section = text.partition(f"\n## {heading}\n")
    rows = re.findall(r"^\|.*\|$", section.partition("\n## ")[0], re.MULTILINE)
    assert len(rows) > 2, f"{document} has no table under '{heading}'"
    return rows[2:]


def test_settings_table_is_the_settings_class() -> None:
    expected = [settings_row(name, field) for name, field in Settings.model_fields.items()]
    assert table_of("OPERATIONS.md", "Settings") == expected


def test_env_example_holds_every_setting_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assignments = [line for line in lines if re.match(r"#?[A-Z_]+=", line)]
    expected = []
    for name, field in Settings.model_fields.items():
        # Set, it would be demanded where a free one does as well.
        default = None if name == "http_port" else plain_default(field)
        expected.append(f"#{name.upper()}=" if default is None else f"{name.upper()}={default}")
    assert assignments == expected


def test_env_example_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    defaults = Settings()
    for line in (ROOT / ".env.example").read_text().splitlines():
        if re.match(r"[A-Z_]+=", line):
            name, _, value = line.partition("=")
            monkeypatch.setitem(os.environ, name, value)
    assert Settings() == defaults


def test_stream_constant_is_the_agreed_name() -> None:
    assert TELEMETRY_STREAM == "telemetry:teltonika"
    assert Settings.model_fields["redis_telemetry_stream"].default == "telemetry:teltonika"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_stream_that_a_document_names_is_ours(document: Path) -> None:
    named = set(re.findall(r"telemetry:[\w-]+(?::[\w-]+)*", document.read_text()))
    assert named
    assert named <= {f"telemetry:teltonika{end}" for end in ("", ":dlq", ":responses")}


def test_reject_codes_table_is_the_catalogue() -> None:
    documented = [
        row.split("|")[1].strip(" `") for row in table_of("OPERATIONS.md", "Reject codes")
    ]
    assert documented == [code for _, code, _ in error_catalogue()]


def test_exit_codes_table_is_the_enumeration() -> None:
    documented = [int(row.split("|")[1]) for row in table_of("OPERATIONS.md", "Exit codes")]
    assert documented == [code.value for code in ExitCode]


def test_requirements_name_no_registry() -> None:
    for pins in (ROOT / "requirements").glob("*.txt"):
        for line in pins.read_text().splitlines():
            assert re.match(r"([a-z0-9-]+==\S+|    --hash=sha256:[0-9a-f]{64})( |$)", line), line


def reasons_of(heading: str) -> list[str]:
    _, _, section = (ROOT / "OPERATIONS.md").read_text().partition(f"\n### {heading}\n")
    return re.findall(r"^\| `(\w+)` \|", re.split(r"\n##", section)[0], re.MULTILINE)


def test_every_reason_why_a_connection_ended_has_its_line() -> None:
    assert reasons_of("Why a connection ended") == sorted(get_args(Ending))


def test_every_reason_of_ours_why_a_channel_packet_was_refused_has_its_line() -> None:
    assert reasons_of("Why a channel packet was refused") == sorted(get_args(NotTaken))

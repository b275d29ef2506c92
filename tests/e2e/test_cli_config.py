"""`config show` and `config check`, as an operator calls them; no server is there."""

import json
import subprocess
from pathlib import Path

import pytest

from commands import own_environment, run_command
from teltonika_processor.settings import Settings


def config(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    names = [name.upper() for name in Settings.model_fields]
    bare = {name: value for name, value in own_environment().items() if name not in names}
    return run_command("config", *arguments, environment={**bare, **settings})


def test_show_prints_each_value_its_source_and_the_default_that_it_replaces(tmp_path: Path) -> None:
    path = tmp_path / "database_url"
    path.write_text("postgresql://u:hunter2@db:5432/fleet?password=hunter2\n")
    shown = config(
        "show",
        REDIS_URL="redis://u:hunter2@h:6379/1",
        DATABASE_URL_FILE=str(path),
        STREAM_TRIM="false",
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert ["REDIS_URL", "redis://h:6379/1", "environment", "redis://127.0.0.1:6379/0"] in rows
    assert [
        *("DATABASE_URL", "postgresql://db:5432/fleet", "file", str(path)),
        "postgresql://127.0.0.1:5432/postgres",
    ] in rows
    assert ["STREAM_TRIM", "false", "environment", "true"] in rows
    assert ["WRITERS", "2", "default"] in rows
    assert ["DATABASE_MIGRATION_URL", "(not", "set)", "default"] in rows
    assert len(rows) == 1 + len(Settings.model_fields)


def test_show_as_json_is_one_object() -> None:
    shown = config("show", "--json", WRITERS="3", WRITER="4")
    told = json.loads(shown.stdout)
    by_name = {row["name"]: row for row in told["settings"]}
    assert list(by_name) == [name.upper() for name in Settings.model_fields]
    assert by_name["WRITERS"] == {
        "name": "WRITERS",
        "value": 3,
        "source": "environment",
        "default": 2,
    }
    assert told["mistyped"] == [{"found": "WRITER", "likely": "WRITERS"}]
    assert shown.stderr == "WRITER is no setting, and is not used; WRITERS is one\n"


def test_check_says_that_the_settings_are_valid() -> None:
    checked = config("check")
    assert (checked.returncode, checked.stdout) == (0, "the settings are valid\n")


def test_check_reads_the_certificate_and_the_list_of_the_gateway(tmp_path: Path) -> None:
    chain, devices = tmp_path / "chain.pem", tmp_path / "fleet.csv"
    tls = {"INGEST_TLS_PORT": "5028", "INGEST_TLS_CERT_FILE": str(chain)}
    checked = config("check", **tls)
    assert (checked.returncode, checked.stderr) == (
        78,
        f"INGEST_TLS_CERT_FILE: {chain}: No such file or directory\n",
    )
    directory = Path(__file__).parents[1] / "tls"
    chain.write_text(
        (directory / "server.pem").read_text() + (directory / "server.key").read_text()
    )
    chain.chmod(0o644)
    checked = config("check", **tls)
    assert (checked.returncode, checked.stderr) == (
        0,
        f"{chain}: every user of this machine may read this private key\n",
    )
    chain.chmod(0o600)
    checked = config("check", **tls)
    assert (checked.returncode, checked.stderr) == (0, "")
    admission = {"INGEST_ADMISSION": f"file:{devices}"}
    checked = config("check", **admission)
    assert (checked.returncode, checked.stderr) == (
        78,
        f"INGEST_ADMISSION: {devices}: No such file or directory\n",
    )
    devices.write_text("356307042441013\n")
    assert config("check", **admission).returncode == 0


def test_check_as_json_is_one_object() -> None:
    checked = config("check", "--json", REDIS_TELEMETRY_STRAEM="x")
    mistyped = {"found": "REDIS_TELEMETRY_STRAEM", "likely": "REDIS_TELEMETRY_STREAM"}
    valid = {"valid": True, "errors": [], "mistyped": [mistyped]}
    assert (checked.returncode, json.loads(checked.stdout)) == (0, valid)
    checked = config("check", "--json", WRITERS="0", BATCH_FRAMES="many")
    about = json.loads(checked.stdout)
    assert (checked.returncode, about["valid"], about["mistyped"]) == (78, False, [])
    assert about["errors"] == checked.stderr.splitlines()
    assert len(about["errors"]) == 2


def test_check_names_every_error_in_a_line_and_exits_with_78() -> None:
    checked = config("check", WRITERS="0", BATCH_FRAMES="many", REDIS_URL="http://:hunter2@h")
    assert (checked.returncode, checked.stdout) == (78, "")
    assert [line.partition(":")[0] for line in checked.stderr.splitlines()] == [
        "REDIS_URL",
        "BATCH_FRAMES (found 'many')",
        "WRITERS (found '0')",
    ]


@pytest.mark.parametrize(("arguments", "code"), [((), 0), (("--strict",), 1)])
def test_a_variable_that_looks_mistyped_is_an_error_if_strict(
    arguments: tuple[str, ...], code: int
) -> None:
    checked = config("check", *arguments, REDIS_TELEMETRY_STRAEM="x")
    assert (checked.returncode, checked.stdout) == (code, "the settings are valid\n")
    assert checked.stderr == (
        "REDIS_TELEMETRY_STRAEM is no setting, and is not used; REDIS_TELEMETRY_STREAM is one\n"
    )


@pytest.mark.parametrize(
    ("name", "url", "text"),
    [
        ("REDIS_URL", "rediss://:hunter2@h?ssl_ca_certs=/none", "REDIS_URL: '/none': No such file"),
        ("REDIS_URL", "redis://:hunter2@h?password=hunter2", "REDIS_URL: option 'password' cannot"),
        ("DATABASE_URL", "postgresql://:hunter2@h/d?sslmode=no", "DATABASE_URL: sslmode must be"),
        (
            *("DATABASE_MIGRATION_URL", "postgresql://:hunter2@h/d?sslrootcert=/none"),
            "DATABASE_MIGRATION_URL: sslrootcert '/none': No such file",
        ),
    ],
)
def test_check_looks_at_the_options_of_addresses_too(name: str, url: str, text: str) -> None:
    checked = config("check", **{name: url})
    assert checked.returncode == 78
    assert checked.stderr.startswith(text)


@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URL", "DATABASE_MIGRATION_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@h:6379/0",
        "postgresql://user:hunter2@h:5432/fleet",
        "postgresql://h:5432/fleet?user=u&password=hunter2",
        "postgresql://h:5432/fleet?sslmode=require&sslpassword=hunter2",
        "postgresql://user:hunter2@h:port/fleet",
        "postgresql://user:1/hunter2@h/fleet",
        "http://user:hunter2@h",
        "hunter2",
    ],
)
def test_no_password_is_in_any_output(tmp_path: Path, name: str, url: str) -> None:
    path = tmp_path / "secret"
    path.write_text(url)
    for given in ({name: url}, {f"{name}_FILE": str(path)}):
        for arguments in (["show"], ["show", "--json"], ["check"], ["check", "--strict"]):
            told = config(*arguments, **given)
            assert told.returncode in {0, 78}
            assert "hunter2" not in told.stdout + told.stderr

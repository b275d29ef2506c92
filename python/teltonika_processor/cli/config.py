"""`teltonika-processor config`: the effective settings, and whether they are right."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonObject
from teltonika_processor.cli.configuration import command_settings, name_near_misses
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.cli.tables import print_rows
from teltonika_processor.doctor.gateway import certificate_files, exposed_key, list_path
from teltonika_processor.errors import ConfigError
from teltonika_processor.gateway.certificate import load_certificate
from teltonika_processor.gateway.list_file import list_in
from teltonika_processor.service.dictionary import configured_dictionary
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.settings import (
    Settings,
    default_of,
    load_settings,
    near_misses,
    redacted_settings,
    sources_of,
)
from teltonika_processor.store.tls import Encryption
from teltonika_processor.stream.connection import check_url
from teltonika_processor.texts import printable

_HEADINGS = ("setting", "value", "source", "default, if another")

app = typer.Typer()
_config = typer.Typer(no_args_is_help=True, help="The settings that a process would run with.")
app.add_typer(_config, name="config")


@dataclass(frozen=True, slots=True)
class _Row:
    """One setting; a URL without user, password and query."""

    name: str
    value: object
    source: str
    default: object


@_config.callback()
def config() -> None:
    """The settings that a process would run with."""


@_config.command()
def show(*, as_json: JsonObject = False) -> None:
    """Print every setting's effective value and where it came from; no server is asked.

    URLs are shown without user, password and query.
    """
    with failures_told():
        rows = _rows(command_settings())
    if as_json:
        _print_json(rows)
    else:
        _print_table(rows)


@_config.command()
def check(
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a variable looks mistyped.")
    ] = False,
    as_json: JsonObject = False,
) -> None:
    """Refuse what a process would refuse at its start, each error in a line; no server is asked.

    Exits with 0 if the settings are valid and with 78 if they are not. What looks like a mistyped
    setting is named, and is an error with --strict only.
    """
    with failures_told():
        name_near_misses()
        try:
            settings = load_settings()
            check_settings(settings)
        except ConfigError as error:
            if as_json:
                _print_check(str(error).splitlines())
            raise
    if key := exposed_key(settings):
        typer.echo(f"{key}: every user of this machine may read this private key", err=True)
    if as_json:
        _print_check([])
    else:
        typer.echo("the settings are valid")
    if strict and near_misses(os.environ):
        raise typer.Exit(EXIT_FINDING)


def check_settings(settings: Settings) -> None:
    """Look at what the settings name: options of the addresses, certificates, files.

    Raises:
        ConfigError: Something of it cannot be used as it is.
    """
    check_url(settings.redis_url.get_secret_value())
    encryption = Encryption()
    encryption.check(settings.database_url.get_secret_value(), setting="DATABASE_URL")
    if settings.database_migration_url is not None:
        url = settings.database_migration_url.get_secret_value()
        encryption.check(url, setting="DATABASE_MIGRATION_URL")
    configured_dictionary(settings)
    files, path = certificate_files(settings), list_path(settings)
    if files is not None:
        load_certificate(files)
    if path is not None:
        list_in(path)


def _rows(settings: Settings) -> list[_Row]:
    sources = sources_of(settings, os.environ)
    return [
        _Row(name, value, sources[name], default_of(name))
        for name, value in redacted_settings(settings).items()
    ]


def _print_json(rows: Sequence[_Row]) -> None:
    print(json.dumps({"settings": [asdict(row) for row in rows], "mistyped": _mistyped()}))


def _print_check(errors: Sequence[str]) -> None:
    about = {"valid": not errors, "errors": list(errors), "mistyped": _mistyped()}
    print(json.dumps(about))


def _mistyped() -> list[dict[str, str]]:
    return [{"found": found, "likely": likely} for found, likely in near_misses(os.environ)]


def _print_table(rows: Sequence[_Row]) -> None:
    cells = [
        (
            row.name,
            _text(row.value),
            row.source,
            "" if row.value == row.default else _text(row.default),
        )
        for row in rows
    ]
    printed = [[printable(cell) for cell in row] for row in cells]
    print_rows(_HEADINGS, printed, terminal=sys.stdout.isatty(), unfolded=["setting"])


def _text(value: object) -> str:
    """The value as the environment would hold it."""
    if value is None:
        return "(not set)"
    return str(value).lower() if isinstance(value, bool) else str(value)

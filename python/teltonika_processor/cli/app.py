"""The command `teltonika-processor` and its subcommands, each imported only when it is called.

So `decode` loads no event loop and no client of a server.
"""

import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Final

import typer

from teltonika_processor.errors import ConfigError
from teltonika_processor.service.exit_codes import ExitCode

SUBCOMMANDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "run": "teltonika_processor.cli.run",
        "ingest": "teltonika_processor.cli.ingest",
        "config": "teltonika_processor.cli.config",
        "migrate": "teltonika_processor.cli.migrate",
        "doctor": "teltonika_processor.cli.doctor",
        "health": "teltonika_processor.cli.health",
        "status": "teltonika_processor.cli.status",
        "consumers": "teltonika_processor.cli.consumers",
        "pending": "teltonika_processor.cli.pending",
        "audit": "teltonika_processor.cli.audit",
        "dlq": "teltonika_processor.cli.dlq",
        "device": "teltonika_processor.cli.device",
        "group": "teltonika_processor.cli.group",
        "partitions": "teltonika_processor.cli.partitions",
        "zones": "teltonika_processor.cli.zones",
        "sessions": "teltonika_processor.cli.sessions",
        "timing": "teltonika_processor.cli.timing",
        "decode": "teltonika_processor.cli.decode",
        "explain": "teltonika_processor.cli.explain",
        "demo": "teltonika_processor.cli.demo",
        "simulate": "teltonika_processor.cli.simulate",
    }
)
"""Name of each subcommand and its module, whose `app` holds it."""


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """Build the command line with the subcommand that `arguments` call, or with all (for help)."""
    app = typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False
    )
    app.callback()(teltonika_processor)
    for module in _modules_for(arguments):
        app.add_typer(import_module(module).app)
    _unfold_help(app)
    return app


def _unfold_help(app: typer.Typer) -> None:
    """Give every command its docstring as paragraphs: the help folds them for the terminal."""
    for command in app.registered_commands:
        text = inspect.cleandoc(command.help or getattr(command.callback, "__doc__", None) or "")
        command.help = "\n\n".join(map(_unfolded, text.split("\n\n")))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _unfold_help(group.typer_instance)


def _unfolded(paragraph: str) -> str:
    return paragraph if "\n " in paragraph else paragraph.replace("\n", " ")


def _modules_for(arguments: Sequence[str]) -> list[str]:
    called = next((word for word in arguments if not word.startswith("-")), "")
    if called in SUBCOMMANDS:
        return [SUBCOMMANDS[called]]
    return [] if "--version" in arguments else list(SUBCOMMANDS.values())


def _print_version(asked: bool) -> None:
    if asked:
        from teltonika_processor import __version__  # noqa: PLC0415 -- `run` has no need of it

        typer.echo(f"teltonika-processor {__version__}")
        raise typer.Exit


def teltonika_processor(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Teltonika tracker frames from a Redis stream into Postgres."""


def main() -> None:
    """Run the command line: the entry point of the distribution."""
    try:
        build_app(sys.argv[1:])(prog_name="teltonika-processor")
    except (SystemExit, KeyboardInterrupt):
        raise
    except OSError as error:  # a disk that is full, a file that may not be read
        typer.echo(str(error), err=True)
        sys.exit(ExitCode.UNREACHABLE)
    except BaseException as error:  # noqa: BLE001 -- a bug must not end with 1: that is a finding
        sys.stderr.write(_stack_of(error))
        sys.exit(ExitCode.PANIC)


def _stack_of(error: BaseException) -> str:
    """The stack as the interpreter prints it, without passwords of the settings."""
    # Loaded where something broke already, which may be one of these.
    import traceback  # noqa: PLC0415

    from teltonika_processor.service.redaction import hiding, secrets_of  # noqa: PLC0415
    from teltonika_processor.settings import load_settings  # noqa: PLC0415

    stack = "".join(traceback.format_exception(error))
    try:
        return hiding(secrets_of(load_settings(), os.environ))(stack)
    except ConfigError:  # then no password was used
        return stack


if __name__ == "__main__":
    main()

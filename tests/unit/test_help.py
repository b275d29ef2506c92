"""What `--help` says of every command: the same option in the same words."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from teltonika_processor.cli.app import build_app

# A process of its own, or nothing that a script asks for.
WITHOUT_EXIT_CODES = {
    *("config show", "consumers list", "pending list", "partitions list"),
    *("run", "ingest", "demo", "decode", "explain", "audit"),
}
JSON_WORDINGS = {"Print one JSON object.", "Print one JSON object a line."}


def commands_of(group: typer.core.TyperGroup, *names: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from commands_of(command, *names, name)
        else:
            yield " ".join((*names, name)), command


COMMANDS = dict(commands_of(typer.main.get_command(build_app([]))))


def options_of(name: str) -> Iterator[tuple[str, Any]]:
    for parameter in COMMANDS[name].params:
        for option in parameter.opts:
            yield option, parameter


@pytest.mark.parametrize("name", COMMANDS)
def test_a_paragraph_is_folded_by_the_terminal_alone(name: str) -> None:
    assert "\n" not in (COMMANDS[name].help or "").replace("\n\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_json_has_one_wording_and_seconds_are_named(name: str) -> None:
    options = dict(options_of(name))
    if "--json" in options:
        assert options["--json"].help in JSON_WORDINGS
    for option in {"--wait", "--timeout", "--interval", "--sample", "--every"} & options.keys():
        assert options[option].metavar == "SECONDS"


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - WITHOUT_EXIT_CODES))
def test_exit_codes_are_told(name: str) -> None:
    told = " ".join((COMMANDS[name].help or "").split())
    assert "Exits with " in told or "exit code" in told


@pytest.mark.parametrize("name", COMMANDS)
def test_what_can_be_tried_first_says_so_in_json_too(name: str) -> None:
    options = dict(options_of(name))
    if "--dry-run" in options:
        assert "--json" in options

"""The settings of a command that is run by hand."""

import os

import typer

from teltonika_processor.settings import Settings, load_settings, near_misses


def command_settings() -> Settings:
    """The settings; what looks like a mistyped one is named on standard error.

    Raises:
        ConfigError: A setting is wrong.
    """
    name_near_misses()
    return load_settings()


def name_near_misses() -> None:
    """Name on standard error what looks like a mistyped setting."""
    for found, likely in near_misses(os.environ):
        typer.echo(f"{found} is no setting, and is not used; {likely} is one", err=True)

"""`teltonika-processor health`: does the service on this machine live, is it ready?"""

import json
import os
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonObject
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.service.health_check import (
    LIVEZ,
    READYZ,
    Address,
    Answer,
    address_in,
    address_of,
    ask,
)
from teltonika_processor.texts import printable

app = typer.Typer()


@app.command("health")
def health_command(
    *,
    ready: Annotated[
        bool,
        typer.Option("--ready", help="Ask whether it is ready to work; else whether it lives."),
    ] = False,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="http://HOST:PORT of the service. Default: HTTP_HOST and HTTP_PORT.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonObject = False,
) -> None:
    """Ask the running service for /livez, or for /readyz with --ready.

    Exits with 0 if it says ok, and with 1 if it does not, or does not answer within 2 s.
    """
    with failures_told():
        answer = ask(_address(url), READYZ if ready else LIVEZ)
    typer.echo(_as_json(answer) if as_json else _as_line(answer))
    if answer.http_status is None and url is None:
        _name_mistyped_settings()
    raise typer.Exit(0 if answer.healthy else EXIT_FINDING)


def _address(url: str | None) -> Address:
    if url is not None:
        try:
            return address_of(url)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--url") from None
    address = address_in(os.environ)
    if address.port == 0:
        raise typer.BadParameter(
            "HTTP_PORT is 0, so only the line http.started of the service's log says where it "
            "listens: name it with --url"
        )
    return address


def _as_line(answer: Answer) -> str:
    code = "" if answer.healthy or answer.http_status is None else f"{answer.http_status}, "
    return f"{answer.url}: {code}{printable(' '.join(answer.sentences))}"


def _as_json(answer: Answer) -> str:
    return json.dumps(
        {
            "url": answer.url,
            "healthy": answer.healthy,
            "http_status": answer.http_status,
            "answer": list(answer.sentences),
        }
    )


def _name_mistyped_settings() -> None:
    # Only where a person may look for the reason: it costs more than all of the question.
    from teltonika_processor.settings import near_misses  # noqa: PLC0415

    for found, likely in near_misses(os.environ):
        typer.echo(f"{found} is no setting, and is not used; {likely} is one", err=True)

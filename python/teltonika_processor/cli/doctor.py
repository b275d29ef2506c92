"""`teltonika-processor doctor`: is everything that the service depends on as it must be?"""

import asyncio
import sys
from typing import Annotated

import typer

from teltonika_processor.cli.arguments import JsonLines
from teltonika_processor.cli.configuration import command_settings
from teltonika_processor.cli.doctor_output import print_json, print_plain, print_terminal
from teltonika_processor.cli.failures import failures_told
from teltonika_processor.doctor.examination import Examination, examine
from teltonika_processor.doctor.findings import Status, n_of
from teltonika_processor.service.exit_codes import EXIT_FINDING, ExitCode

app = typer.Typer()


@app.command("doctor")
def doctor_command(
    *,
    problems: Annotated[
        bool, typer.Option("--problems", help="Leave out the checks that are ok.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 on warnings and on what is unknown too.")
    ] = False,
    as_json: JsonLines = False,
) -> None:
    """Look at settings, servers, instances, gateway and clocks: what is wrong, what to do.

    Nothing is changed anywhere, and the service may run meanwhile. It takes ten seconds at most,
    and says what can be said where a server is away.
    Exits with 0 if no check failed, 1 if one did, 75 if a server was not reached.
    """
    with failures_told():
        examination = asyncio.run(examine(command_settings()))
    if as_json:
        print_json(examination.findings, problems=problems)
    elif sys.stdout.isatty():
        print_terminal(examination.findings, problems=problems)
    else:
        print_plain(examination.findings, problems=problems)
    raise typer.Exit(_exit_code(examination, strict=strict))


def _exit_code(examination: Examination, *, strict: bool) -> int:
    if examination.unreached:
        return ExitCode.UNREACHABLE
    bad = {Status.FAILURE, Status.WARNING, Status.UNKNOWN} if strict else {Status.FAILURE}
    return EXIT_FINDING if any(n_of(examination.findings, status) for status in bad) else 0

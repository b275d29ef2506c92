"""`teltonika-processor timing`: crossings, laps, stays in zones."""

import typer

from teltonika_processor.cli.timing_laps import laps
from teltonika_processor.cli.timing_limits import limits
from teltonika_processor.cli.timing_recompute import recompute
from teltonika_processor.cli.timing_show import show, stays

_HELP = "Crossings of zones: look at them, at laps and stays; derive them again."

app = typer.Typer()
_timing = typer.Typer(no_args_is_help=True, help=_HELP)
app.add_typer(_timing, name="timing")

_timing.command("show")(show)
_timing.command("laps")(laps)
_timing.command("stays")(stays)
_timing.command("limits")(limits)
_timing.command("recompute")(recompute)

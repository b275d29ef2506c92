"""`teltonika-processor zones`: circles, polygons and gates whose crossings are timed."""

import typer

from teltonika_processor.cli.zones_check import check
from teltonika_processor.cli.zones_disable import disable
from teltonika_processor.cli.zones_export import export
from teltonika_processor.cli.zones_import import import_zones
from teltonika_processor.cli.zones_list import list_zones
from teltonika_processor.cli.zones_show import show

_HELP = "Circles, polygons and gates whose crossings are timed: import, look at and end them."

app = typer.Typer()
_zones = typer.Typer(no_args_is_help=True, help=_HELP)
app.add_typer(_zones, name="zones")

_zones.command("import")(import_zones)
_zones.command("list")(list_zones)
_zones.command("show")(show)
_zones.command("export")(export)
_zones.command("disable")(disable)
_zones.command("check")(check)

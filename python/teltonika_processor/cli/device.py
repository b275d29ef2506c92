"""`teltonika-processor device`: look at devices, let them in or not, forget one."""

import typer

from teltonika_processor.cli.device_admission import allow, deny
from teltonika_processor.cli.device_forget import forget
from teltonika_processor.cli.device_list import list_devices
from teltonika_processor.cli.device_rehydrate import rehydrate
from teltonika_processor.cli.device_show import show

_HELP = "Devices: look at them, let them in or not, forget one."

app = typer.Typer()
_device = typer.Typer(no_args_is_help=True, help=_HELP)
app.add_typer(_device, name="device")

_device.command("list")(list_devices)
_device.command("show")(show)
_device.command("allow")(allow)
_device.command("deny")(deny)
_device.command("rehydrate")(rehydrate)
_device.command("forget")(forget)

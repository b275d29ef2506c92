"""`demo --keep`: after the accounts, servers and services go on for whoever wants to try them."""

import asyncio
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from teltonika_processor.cli.demo_output import DemoOutput
from teltonika_processor.cli.demo_processes import LOOPBACK, Servers, Services
from teltonika_processor.cli.interruption import Interruption
from teltonika_processor.gateway.limits import OTHER_DESCRIPTORS
from teltonika_processor.settings import Settings

_LOOK_EVERY_S: Final = 0.5
_HERE: Final = frozenset({LOOPBACK, "0.0.0.0", "::"})  # noqa: S104 -- as an operator may ask for
_CONNECTIONS_MAX: Final[int] = Settings.model_fields["ingest_connections_max"].default


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where devices are to reach the gateway.

    Attributes:
        listen: The address that it listens on.
        port: Of TCP and UDP; 0 takes free ones.
    """

    listen: str
    port: int

    @property
    def settings(self) -> Mapping[str, str]:
        """What the gateway is told besides; IMEIs of anybody's simulation are let in."""
        return {
            "INGEST_HOST": self.listen,
            "INGEST_TCP_PORT": str(self.port),
            "INGEST_UDP_PORT": str(self.port),
            "INGEST_ADMISSION": "open",
            "INGEST_CONNECTIONS_MAX": str(_connections_max()),
        }


def keep_on(
    servers: Servers,
    services: Services,
    keeping: Keeping,
    output: DemoOutput,
    interruption: Interruption,
) -> bool:
    """Run the services again until SIGINT or SIGTERM; whether they ended with 0.

    Raises:
        DemoError: A service ended by itself.
    """
    services.gateway.serve_all(keeping.settings)
    try:
        interruption.run(_go_on(servers, services, keeping, output))
    except (KeyboardInterrupt, SystemExit):
        output.say("\nStopping all three with SIGTERM, and then the servers; their files go too.")
    return not any(interruption.run(services.stop()).values())


async def _go_on(
    servers: Servers, services: Services, keeping: Keeping, output: DemoOutput
) -> None:
    for service in services.all:
        service.spawn()
    for service in services.all:
        await service.ready()
    output.plain(_addresses(servers, services, keeping))
    while True:
        services.check_alive()
        await asyncio.sleep(_LOOK_EVERY_S)


def _addresses(servers: Servers, services: Services, keeping: Keeping) -> str:
    gateway = services.gateway
    ports = gateway.address
    elsewhere = "" if keeping.listen in _HERE else f"--host {keeping.listen} "
    # redis-cli takes no password without a user.
    redis_url = servers.redis_url.replace("redis://:", "redis://default:")
    simulate = f"simulate {elsewhere}--port {ports.tcp_port} --udp-port {ports.udp_port}"
    lines = [
        "\nServers, gateway and processors go on until Ctrl-C. For another shell:\n",
        f"  export REDIS_URL='{redis_url}'",
        f"  export DATABASE_URL='{servers.database_url}'",
        f"  teltonika-processor {simulate} --duration 10s --verify\n",
        f"  devices      {keeping.listen}, TCP {ports.tcp_port}, UDP {ports.udp_port}",
        "               every IMEI is let in",
    ]
    asked = [f"  {one.name:<11}  http://{LOOPBACK}:{one.http_port}/status" for one in services.all]
    return "\n".join([*lines, *asked])


def _connections_max() -> int:
    """As by default, if so many descriptors may be had."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return _CONNECTIONS_MAX
    return max(1, min(_CONNECTIONS_MAX, hard - OTHER_DESCRIPTORS))

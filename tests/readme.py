"""The README as tests read it."""

import re
from pathlib import Path
from typing import Final

README: Final = (Path(__file__).parents[1] / "README.md").read_text()


def python_blocks() -> list[tuple[str, str]]:
    """Each python block, and the text block behind it that shows what it prints."""
    return re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)

"""For how long and from which seed: FAULT_SECONDS and FAULT_SEED, see `make test-fault`."""

import os
import random
from typing import Final

import pytest

SECONDS: Final = float(os.environ.get("FAULT_SECONDS") or 12)
SEED: Final = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))
IS_LONG: Final = SECONDS > 60


def report(capsys: pytest.CaptureFixture[str], title: str, **facts: object) -> None:
    """What a run came to, on the terminal whether it passes or not."""
    with capsys.disabled():
        print(f"\n{title}: " + ", ".join(f"{name} {value}" for name, value in facts.items()))  # noqa: T201

"""Random faults for as long as asked: FAULT_SECONDS and FAULT_SEED, see `make test-fault`."""

import time
from collections import Counter
from typing import Final

import pytest

from fault.asked import IS_LONG, SECONDS, SEED, report
from fault.chaos import Chaos, Publishing
from fault.fleet import Fleet, Mixture, refuse_a_value
from fault.stand import Stand
from telemetry import GROUP, STREAM
from waiting import eventually

RESTARTS: Final = 100 if IS_LONG else 4

# Bound: a name that is idle for a minute goes with the next sweep, a minute later at most; what it
# held is claimed meanwhile.
SWEPT_UP_S: Final = 150.0

MIXTURE: Final = Mixture(devices=40, refused_every=2000, duplicated=True)

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(SECONDS + 300)]


def test_random_faults_lose_and_double_nothing(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    refuse_a_value(stand.dsn)
    fleet = Fleet(seed=SEED, mixture=MIXTURE)
    counts: Counter[str] = Counter()
    try:
        with Chaos(stand, SEED, counts) as chaos:
            with Publishing(stand, fleet):
                while time.monotonic() < began + SECONDS:
                    chaos.step()
            chaos.finish()
        stand.assert_balanced(fleet)
    finally:
        report(
            capsys,
            "random faults",
            FAULT_SEED=SEED,
            seconds=round(time.monotonic() - began),
            entries=len(fleet.sendings),
            records=sum(len(sending.keys) for sending in fleet.sendings),
            letters=sum(sending.code is not None for sending in fleet.sendings),
            faults=counts.total(),
            **{f"'{name}'": n for name, n in sorted(counts.items())},
        )


def test_restarts_under_load_lose_and_double_nothing(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    """By SIGTERM and SIGKILL in turn, as soon as the instance has acknowledged something.

    Each has a name of its own, as pods have. It stays behind for a minute or two where something
    was pending at the end: in flight when it was killed, or failed and to be tried again.
    """
    began = time.monotonic()
    refuse_a_value(stand.dsn)
    fleet = Fleet(seed=SEED, mixture=MIXTURE)
    codes: Counter[int] = Counter()
    most_names = 0
    with Publishing(stand, fleet):
        for number in range(RESTARTS):
            name = f"restart-{number}"
            with stand.processor(name, MAX_ATTEMPTS="3") as processor:
                # Not at the commit: killed there again and again, an entry that is tried alone
                # looks like the cause.
                processor.wait_for("entries.xacked")
                if number % 2:
                    processor.kill()
                else:
                    processor.terminate()
                codes[processor.exit_code()] += 1
            most_names = max(most_names, len(consumers(stand)))
    restarted_s = time.monotonic() - began
    with stand.reading("last") as last:
        if IS_LONG:
            eventually(lambda: consumers(stand) == {"last"}, timeout_s=SWEPT_UP_S)
        stand.drain(last)
    stand.assert_balanced(fleet)
    assert codes == {0: RESTARTS // 2, -9: RESTARTS // 2}
    assert "last" not in consumers(stand)
    report(
        capsys,
        "restarts",
        FAULT_SEED=SEED,
        seconds=round(restarted_s),
        entries=len(fleet.sendings),
        restarts=RESTARTS,
        most_names=most_names,
        names_left=len(consumers(stand)),
    )


def consumers(stand: Stand) -> set[str]:
    """Names that the group knows."""
    found = stand.telemetry.client.xinfo_consumers(STREAM, GROUP)
    return {one["name"].decode() for one in found}

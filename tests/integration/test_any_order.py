"""Results do not depend on the order in which records came, on who wrote them, or on who folded.

ORDER_CASES asks for more cases, TEST_SEED for others; each prints its seed. ORDER_TIMEOUT_S is the
longest wait for the folds of one case.
"""

import os

import pytest

from any_order import random_case, run_case
from writing import SEED

CASES = int(os.environ.get("ORDER_CASES") or 12)
TIMEOUT_S = float(os.environ.get("ORDER_TIMEOUT_S") or 30)


@pytest.mark.parametrize("number", range(CASES))
async def test_any_order_gives_what_a_single_sorted_pass_gives(dsn: str, number: int) -> None:
    case = random_case(SEED + number)
    outcome = await run_case(dsn, case, timeout_s=TIMEOUT_S)
    kills = outcome.kills
    print(  # noqa: T201 -- to repeat a failure, and to count
        f"seed {case.seed}: {len(case.sent)} records by {case.n_writers} writers,"
        f" killed {kills.n_before} before a statement, {kills.n_behind} behind a COMMIT,"
        f" {kills.n_at_random} at random; undecided {outcome.undecided}"
    )
    assert not outcome.wrong, case.seed

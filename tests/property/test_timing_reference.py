"""Native crossings are those of a slow reference in plain Python, which shares nothing with them.

ORDER_CASES asks for more tracks, TEST_SEED for others.
"""

import os
import random
from collections import Counter

from courses import course
from reference_timing import UndecidedError, tell
from timing_rows import differences, read_crossings
from tracks import single_pass, track
from writing import IMEI, SEED

CASES = max(200, 4 * int(os.environ.get("ORDER_CASES") or 50))


def test_crossings_of_random_tracks_are_those_of_the_reference() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SEED, SEED + CASES):
        randomly = random.Random(seed)
        records = track(randomly, IMEI, randomly.randint(3, 60))
        drawn = course(randomly, [record.recorded_at_ms for record in records])
        found = single_pass([one.native() for one in drawn.versions], records)
        try:
            expected = tell([one.reference() for one in drawn.versions], records)
        except UndecidedError:
            seen["undecided"] += 1
            continue
        rows = read_crossings(found[IMEI])
        assert not differences(rows, expected), seed
        seen.update(f"{row.kind} {row.cause}" for row in rows)
        seen.update("several in a segment" for row in rows if row.n)
    print(CASES, "tracks from seed", SEED, dict(seen))  # noqa: T201 -- to count
    assert seen["undecided"] <= CASES // 50
    expected_kinds = {
        *("cross ok", "initial ok", "several in a segment"),
        *(f"{kind} {cause}" for kind in ("enter", "exit") for cause in ("ok", "gap")),
        *("exit jump", "exit zone_ended"),
    }
    assert expected_kinds <= set(seen), seen

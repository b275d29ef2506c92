"""How far derived moments are from the true ones: 60 cars, 25 laps, three gates, a fix a second.

Nothing is timed and all is seeded: the figures are the same wherever they are taken. Errors of
fixes are those of a standalone receiver, which drift (`race.drifting`); 2.1 m along each axis are
the 2.5 m CEP of data sheets.
"""

import statistics
from collections.abc import Sequence
from itertools import groupby, pairwise

from measurement import Result, Series
from race import CARS, CORRELATION_S, GATES_M, LAPS, Passage, drifting, exact, passages

SIGMAS_M = (1.5, 2.1, 3.0)


def measure(_rounds: int) -> list[Result]:
    results = []
    perfect = list(passages(lambda _: exact))
    plain = [one for one in perfect if one.is_plain]
    elsewhere = [one for one in perfect if not one.is_plain]
    results += [judged("none, straight and steady", plain), judged("none, elsewhere", elsewhere)]
    for sigma_m in SIGMAS_M:
        noisy = list(passages(lambda car, sigma_m=sigma_m: drifting(sigma_m, seed=car)))  # type: ignore[misc]
        results.append(judged(f"{sigma_m} m along each axis", noisy))
    return results


def judged(noise: str, found: Sequence[Passage]) -> Result:
    shape = {
        "error of fixes": noise,
        "its correlation in s": CORRELATION_S,
        "cars": CARS,
        "laps": LAPS,
        "gates": len(GATES_M),
        "passages": len(found),
        "m/s, slowest": round(min(one.speed_m_s for one in found), 1),
        "m/s, fastest": round(max(one.speed_m_s for one in found), 1),
    }
    off_ms = [abs(one.off_us) / 1000 for one in found]
    series = [
        *percentiles("moment", off_ms),
        *percentiles(
            "lap", lap_errors_ms(found) if len(found) == CARS * LAPS * len(GATES_M) else []
        ),
        Series.of("reported uncertainty", "ms", [one.uncertainty_us / 1000 for one in found]),
    ]
    within = sum(abs(one.off_us) <= one.uncertainty_us for one in found) / len(found)
    return Result("race", shape, series, {"share within the reported uncertainty": within})


def lap_errors_ms(found: Sequence[Passage]) -> list[float]:
    """Of laps from gate 0 to gate 0."""
    errors = []
    of_gate = [one for one in found if one.gate == 0]
    for _, of_car in groupby(of_gate, key=lambda one: one.car):
        laps = list(of_car)
        errors += [abs(end.off_us - begin.off_us) / 1000 for begin, end in pairwise(laps)]
    return errors


def percentiles(name: str, values: Sequence[float]) -> list[Series]:
    """Each with itself as its spread: there is one run."""
    if len(values) < 2:
        return []
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    found = {"p50": cuts[49], "p90": cuts[89], "p99": cuts[98], "max": max(values)}
    return [
        Series(f"{name} off, {rank}", "ms", len(values), value, value, value)
        for rank, value in found.items()
    ]

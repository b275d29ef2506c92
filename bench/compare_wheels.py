"""Two builds of the service in alternating pairs: ``bench/compare_wheels.py OLD NEW [--pairs N]``.

OLD and NEW are Python interpreters, each with one build installed. Only pairs within this one run
are comparable; what is asked is whether the new build is slower than the old one.
"""

import argparse
from dataclasses import replace
from typing import Final

from corpus import fixed_frames
from measurement import Series
from pipeline import drain, open_pipeline

RECORDS_A_FRAME: Final = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--frames", type=int, default=60_000)
    options = parser.parse_args()
    frames = fixed_frames(options.frames, records_a_frame=RECORDS_A_FRAME, seed=1)
    n_records = options.frames * RECORDS_A_FRAME
    rates: dict[str, list[float]] = {"old": [], "new": []}
    cpu_us: dict[str, list[float]] = {"old": [], "new": []}
    with open_pipeline() as pipeline:
        for _ in range(options.pairs):
            for name, python in (("old", options.old), ("new", options.new)):
                drained = drain(replace(pipeline, python=python), frames)
                rates[name].append(n_records / drained.seconds)
                cpu_us[name].append(drained.cpu_seconds / n_records * 1e6)
    for found, unit in ((rates, "records/s"), (cpu_us, "us/record")):
        for name, values in found.items():
            one = Series.of(name, unit, values)
            print(f"{name} {one.median:,.2f} {unit} ({one.low:,.2f} .. {one.high:,.2f}) n={one.n}")
    ratios = sorted(new / old for old, new in zip(rates["old"], rates["new"], strict=True))
    print("new / old of the pairs:", ", ".join(f"{ratio:.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()

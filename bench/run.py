"""Measure: ``bench/run.py [SCENARIO ...] [--rounds N] [--output DIRECTORY]``.

Each scenario prints what it found and writes ``<scenario>.json``: one object with where and with
what it was measured and a list of results. Figures of one file were taken in alternation in one
run; figures of different files or machines are not comparable.
"""

import argparse
import json
from pathlib import Path

import scenario_decode
import scenario_drain
import scenario_duplicates
import scenario_fleet
import scenario_gateway
import scenario_latency
import scenario_memory
import scenario_race
import scenario_shutdown
import scenario_timing
from machine import provenance

SCENARIOS = {
    "decode": scenario_decode.measure,
    "drain": scenario_drain.measure,
    "duplicates": scenario_duplicates.measure,
    "fleet": scenario_fleet.measure,
    "gateway": scenario_gateway.measure,
    "latency": scenario_latency.measure,
    "memory": scenario_memory.measure,
    "race": scenario_race.measure,
    "shutdown": scenario_shutdown.measure,
    "timing": scenario_timing.measure,
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = parse()
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.scenarios or SCENARIOS:
        results = SCENARIOS[name](options.rounds)
        document = {**provenance(), "results": [result.as_json() for result in results]}
        path = options.output / f"{name}.json"
        path.write_text(json.dumps(document, indent=2) + "\n")
        for result in results:
            print(*result.lines(), sep="\n")
        print(f"written to {path}\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


if __name__ == "__main__":
    main()

"""What `timing recompute` says of a re-run."""

import pytest

from teltonika_processor.cli.recompute_output import Findings, RecomputeOutput
from teltonika_processor.timing.rerun import Rerun


@pytest.mark.parametrize(
    ("n", "said"), [(1, "1 device, 1 segment"), (1200, "1,200 devices, 1,200 segments")]
)
def test_one_segment_is_one(n: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = Findings({}, n_devices=n, n_segments=n)
    output = RecomputeOutput(50, as_json=False)
    output.found(found)
    output.done(found, Rerun(n_devices=n, n_segments=n), 0.25, dry_run=False)
    assert capsys.readouterr().out.splitlines() == [
        f"{said} looked at: every crossing is as it should be",
        f"derived again: {said}, in 0.2 s",
    ]

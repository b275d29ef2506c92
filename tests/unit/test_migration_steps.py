import hashlib
from pathlib import Path

import pytest

from teltonika_processor.errors import SchemaMismatch
from teltonika_processor.store.steps import (
    AppliedStep,
    Step,
    compare,
    packaged_steps,
    parse_step,
    read_steps,
)


def step(name: str, contents: str = "-- phase: pre\nSELECT 1") -> Step:
    return parse_step(name, contents.encode())


def applied(*steps: Step) -> list[AppliedStep]:
    return [AppliedStep(step.name, step.phase, step.sha256) for step in steps]


def test_header_gives_phase_and_transaction() -> None:
    contents = b"-- phase: post\n-- transaction: none\n--\n-- Why: it is slow.\nCREATE INDEX"
    parsed = parse_step("0007_index", contents)
    assert (parsed.phase, parsed.transactional) == ("post", False)
    assert parsed.sha256 == hashlib.sha256(contents).hexdigest()


@pytest.mark.parametrize(
    "contents",
    [
        "SELECT 1",
        "-- phase: later\nSELECT 1",
        "-- phase: pre\n-- transaction: own\n",
        "\n-- phase: pre",
    ],
)
def test_a_file_without_a_proper_header_is_refused(contents: str) -> None:
    with pytest.raises(SchemaMismatch, match="0001_x: the header needs"):
        step("0001_x", contents)


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("0002_b.sql", "0001_a.sql", "README.md", "0003_c.sql.orig"):
        (tmp_path / name).write_text("-- phase: pre\n")
    assert [found.name for found in read_steps(tmp_path)] == ["0001_a", "0002_b"]


def test_the_package_carries_its_steps() -> None:
    assert [found.name for found in packaged_steps()] == [
        "0001_spine",
        "0002_day_partitions",
        "0003_io_elements",
        "0004_default_plausible",
        "0005_default_current_sessions",
        "0006_timing",
        "0007_sessions",
        "0008_limits_marked",
    ]


def test_the_link_at_the_top_leads_to_the_packaged_steps() -> None:
    link = Path(__file__).parents[2] / "migrations"
    assert read_steps(link) == packaged_steps()


def test_all_applied_fits() -> None:
    steps = [step("0001_a"), step("0002_b")]
    state = compare(steps, applied(*steps))
    assert state.fits
    assert state.applied == ("0001_a", "0002_b")


def test_a_step_not_applied_is_pending() -> None:
    steps = [step("0001_a"), step("0002_b")]
    state = compare(steps, applied(steps[0]))
    assert state.pending == ("0002_b",)
    state.require_same_history()
    with pytest.raises(SchemaMismatch, match="pending: 0002_b"):
        state.require_fit()


POST = "-- phase: post\n"


def test_a_post_step_waits_and_the_version_runs_without_it() -> None:
    steps = [step("0001_a"), step("0002_b", POST)]
    state = compare(steps, applied(steps[0]))
    assert (state.fits, state.pending, state.deferred) == (True, (), ("0002_b",))


def test_a_post_step_before_a_pending_pre_step_cannot_wait() -> None:
    steps = [step("0001_a"), step("0002_b", POST), step("0003_c"), step("0004_d", POST)]
    state = compare(steps, applied(steps[0]))
    assert (state.fits, state.pending, state.deferred) == (
        False,
        ("0002_b", "0003_c"),
        ("0004_d",),
    )


def test_in_a_new_database_nothing_waits() -> None:
    state = compare([step("0001_a"), step("0002_b", POST)], [])
    assert (state.pending, state.deferred) == (("0001_a", "0002_b"), ())


def test_a_step_changed_after_it_was_applied_is_refused() -> None:
    state = compare([step("0001_a", "-- phase: pre\nSELECT 2")], applied(step("0001_a")))
    assert state.mismatched == ("0001_a",)
    with pytest.raises(SchemaMismatch, match="changed after they were applied: 0001_a"):
        state.require_same_history()


def test_a_later_versions_pre_step_is_harmless_and_named() -> None:
    old, new = step("0001_a"), step("0002_b")
    state = compare([old], applied(old, new))
    assert state.fits
    assert state.newer == ("0002_b",)


def test_a_later_versions_post_step_is_refused() -> None:
    old, new = step("0001_a"), step("0002_b", "-- phase: post\n")
    state = compare([old], applied(old, new))
    assert not state.fits
    with pytest.raises(SchemaMismatch, match="newer than this version: it has 0002_b"):
        state.require_same_history()

import pytest

from teltonika_processor.processor.refusals import Refusals, may_be_the_servers


@pytest.mark.parametrize(
    ("sqlstate", "may_be"),
    [
        ("22003", True),  # a number out of range
        ("22P02", True),
        ("XX000", True),
        ("55000", True),  # listed nowhere
        ("23514", False),  # a constraint names its row
        ("54000", False),
        ("P0001", False),
        ("", False),  # no refusal of Postgres
    ],
)
def test_which_refusals_may_hit_any_row(sqlstate: str, *, may_be: bool) -> None:
    assert may_be_the_servers(sqlstate) is may_be


def ids(n: int, first: int = 0) -> list[bytes]:
    return [b"%d-0" % i for i in range(first, first + n)]


def test_ten_entries_in_a_row_are_everything() -> None:
    refusals = Refusals()
    refusals.refused(ids(9), n_commits_before=0)
    assert not refusals.hit_everything
    refusals.refused(ids(1, first=9), n_commits_before=0)
    assert refusals.hit_everything


def test_one_entry_that_is_tried_again_and_again_is_one() -> None:
    refusals = Refusals()
    for _ in range(100):
        refusals.refused([b"1-0"], n_commits_before=0)
    assert refusals.n_in_a_row == 1


def test_a_commit_ends_the_row() -> None:
    refusals = Refusals()
    refusals.refused(ids(9), n_commits_before=0)
    refusals.committed()
    refusals.refused(ids(1, first=9), n_commits_before=1)
    assert refusals.n_in_a_row == 1


def test_what_was_refused_beside_a_commit_is_in_no_row() -> None:
    refusals = Refusals()
    refusals.committed()
    refusals.refused(ids(50), n_commits_before=0)
    assert (refusals.n_in_a_row, refusals.hit_everything) == (0, False)

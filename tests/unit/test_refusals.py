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


def refuse(refusals: Refusals, refused: list[bytes], *, are_new: bool = True) -> set[bytes]:
    return refusals.refused(refused, n_commits_before=refusals.n_commits, are_new=are_new)


def test_ten_new_entries_in_a_row_are_everything() -> None:
    refusals = Refusals()
    refuse(refusals, ids(9))
    assert not refusals.hit_everything
    refuse(refusals, ids(1, first=9))
    assert refusals.hit_everything


def test_redelivered_entries_say_nothing_of_the_server() -> None:
    refusals = Refusals()
    refuse(refusals, ids(50), are_new=False)
    assert (refusals.n_in_a_row, refusals.hit_everything) == (0, False)


def test_one_entry_that_comes_again_and_again_is_one() -> None:
    refusals = Refusals()
    for _ in range(100):
        refuse(refusals, [b"1-0"])
    assert refusals.n_in_a_row == 1


def test_a_commit_ends_the_row() -> None:
    refusals = Refusals()
    refuse(refusals, ids(9))
    refusals.committed()
    refuse(refusals, ids(1, first=9))
    assert refusals.n_in_a_row == 1


def test_what_was_refused_beside_a_commit_is_in_no_row() -> None:
    refusals = Refusals()
    refusals.committed()
    refusals.refused(ids(50), n_commits_before=0, are_new=True)
    assert (refusals.n_in_a_row, refusals.hit_everything) == (0, False)


def test_a_refusal_beside_a_commit_is_the_entrys_own_fault() -> None:
    refusals = Refusals()
    refusals.committed()
    assert refusals.refused(ids(2), n_commits_before=0, are_new=True) == {*ids(2)}


def test_a_commit_before_the_entry_was_in_hand_says_nothing_of_it() -> None:
    refusals = Refusals()
    refusals.committed()
    assert refuse(refusals, ids(1)) == set()


def test_a_commit_between_two_refusals_of_an_entry_makes_the_second_its_own_fault() -> None:
    refusals = Refusals()
    assert refuse(refusals, ids(1)) == set()
    assert refuse(refusals, ids(1)) == set()
    refusals.committed()
    assert refuse(refusals, ids(2), are_new=False) == {*ids(1)}
    assert refuse(refusals, ids(2), are_new=False) == set()


def test_of_what_was_refused_long_ago_nothing_is_known() -> None:
    refusals = Refusals()
    refuse(refusals, ids(1), are_new=False)
    refuse(refusals, ids(50_000, first=1), are_new=False)
    refusals.committed()
    assert refuse(refusals, [b"1-0", b"0-0"], are_new=False) == {b"1-0"}

import pytest

from teltonika_processor.store.hosts import host_of, single_host_dsns

ONE = "postgresql://user:pass%2Cword@a:5432/fleet?sslmode=require"


@pytest.mark.parametrize(
    ("dsn", "singles"),
    [
        (ONE, [ONE]),
        (
            "postgresql://user:pass%2Cword@a:1,b,[::1]:3/fleet?sslmode=require",
            [
                "postgresql://user:pass%2Cword@a:1/fleet?sslmode=require",
                "postgresql://user:pass%2Cword@b/fleet?sslmode=require",
                "postgresql://user:pass%2Cword@[::1]:3/fleet?sslmode=require",
            ],
        ),
        ("postgresql://a,b/fleet", ["postgresql://a/fleet", "postgresql://b/fleet"]),
        (
            "postgresql:///fleet?host=/run/a,/run/b&port=1,2&user=me",
            [
                "postgresql:///fleet?host=%2Frun%2Fa&port=1&user=me",
                "postgresql:///fleet?host=%2Frun%2Fb&port=2&user=me",
            ],
        ),
        (
            "postgresql:///fleet?host=a,b&port=7",
            ["postgresql:///fleet?host=a&port=7", "postgresql:///fleet?host=b&port=7"],
        ),
        (
            "postgresql:///fleet?host=a,b",
            ["postgresql:///fleet?host=a", "postgresql:///fleet?host=b"],
        ),
        ("postgresql:///fleet?host=%2Frun%2Fa", ["postgresql:///fleet?host=%2Frun%2Fa"]),
        ("postgresql:///fleet", ["postgresql:///fleet"]),
        # Wrong, which the client says better than we could.
        ("postgresql:///fleet?host=a,b&port=1,2,3", ["postgresql:///fleet?host=a,b&port=1,2,3"]),
    ],
)
def test_each_host_of_an_address_gets_one_of_its_own(dsn: str, singles: list[str]) -> None:
    assert single_host_dsns(dsn) == singles


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        (ONE, "a:5432"),
        ("postgresql://me:secret@/fleet?host=%2Frun%2Fa&port=1", "/run/a"),
        ("postgresql:///fleet", "localhost"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_password(dsn: str, shown: str) -> None:
    assert host_of(dsn) == shown

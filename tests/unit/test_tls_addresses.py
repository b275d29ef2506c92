"""What an address of Postgres asks of TLS; no server is asked."""

import os

import pytest

from ordinary import closed_directory
from teltonika_processor.store.tls import check_dsn, secured


@pytest.mark.parametrize("mode", ["disable", "prefer", "require", "verify-full"])
def test_a_home_that_may_not_be_searched_holds_no_authority(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    dsn = f"postgresql://h/fleet?sslmode={mode}"
    with closed_directory() as closed:
        monkeypatch.setenv("HOME", str(closed))
        check_dsn(dsn, os.environ, setting="DATABASE_URL")
        address, context = secured(dsn, os.environ)
    assert address == dsn
    assert (context is not None) is (mode in {"require", "verify-full"})

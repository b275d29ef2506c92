"""What no server at hand is: too old, managed, of another kind."""

from dataclasses import replace

import pytest

from teltonika_processor.errors import ConfigError
from teltonika_processor.stream.server_checks import Doubt, ServerFacts, doubts_about

FACTS = ServerFacts(
    product="redis",
    version="7.0.15",
    role="master",
    maxmemory=0,
    maxmemory_policy="noeviction",
    appendonly=True,
    appendfsync="everysec",
)


def doubts(facts: ServerFacts) -> list[Doubt]:
    return doubts_about(facts, block_ms=500, command_timeout_s=5.5)


@pytest.mark.parametrize("version", ["6.2.14", "6.9", "5.0.3", "unstable", ""])
def test_a_server_before_7_0_is_refused(version: str) -> None:
    with pytest.raises(ConfigError, match=r"at least Redis 7\.0 or any Valkey is needed"):
        doubts(replace(FACTS, version=version))


@pytest.mark.parametrize(
    "version", ["7.0.0", "7.2.4", "7.10.1", "8.6.0", "9.1.2", "10.0", "7.0-rc1"]
)
def test_a_later_server_is_taken(version: str) -> None:
    assert doubts(replace(FACTS, version=version)) == []


def test_a_limit_that_cannot_be_read_is_taken_for_one() -> None:
    (doubt,) = doubts(replace(FACTS, maxmemory=None, maxmemory_policy="allkeys-lru"))
    assert doubt.check == "maxmemory-policy"


def test_only_what_cannot_be_read_is_named() -> None:
    (doubt,) = doubts(replace(FACTS, appendonly=None))
    assert doubt.check == "appendonly"
    assert doubts(replace(FACTS, appendfsync=None)) == []


def test_without_the_log_its_fsync_does_not_matter() -> None:
    found = doubts(replace(FACTS, appendonly=False, appendfsync="no"))
    assert [doubt.check for doubt in found] == ["appendonly"]

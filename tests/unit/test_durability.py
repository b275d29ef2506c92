"""What each mode demands of a server, and what it says where the server does not do so."""

from dataclasses import replace

import pytest

from teltonika_processor.errors import ConfigError, StreamUnavailable
from teltonika_processor.stream.durability import Durability, require_durable
from teltonika_processor.stream.server_checks import ServerFacts

DURABLE = ServerFacts(
    product="valkey",
    version="9.1.2",
    role="master",
    appendonly=True,
    appendfsync="always",
    fsync_on_rewrite=True,
    log_rewriting=False,
)
UNREADABLE = replace(
    DURABLE, appendonly=None, appendfsync=None, fsync_on_rewrite=None, log_rewriting=None
)
FSYNC = Durability(fsync=True)


@pytest.mark.parametrize(
    ("setting", "meaning"),
    [
        ("fsync", Durability(fsync=True)),
        ("memory", Durability(fsync=False)),
        ("replicated:1", Durability(fsync=True, replicas=1)),
        ("replicated:20", Durability(fsync=True, replicas=20)),
    ],
)
def test_a_setting_and_its_meaning(setting: str, meaning: Durability) -> None:
    assert Durability.of(setting) == meaning
    assert str(meaning) == setting


@pytest.mark.parametrize(
    "setting",
    [
        *("", "Fsync", "always", "memory\n", "replicated", "replicated:", "replicated:0"),
        *("replicated:21", "replicated:-1", "replicated:1 ", "replicated:\u0661"),
    ],
)
def test_any_other_setting_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Durability.of(setting)
    assert str(caught.value) == (
        f"INGEST_DURABILITY: {setting!r} is none; allowed: fsync, memory or replicated:N with N "
        "from 1 to 20"
    )


@pytest.mark.parametrize("setting", ["fsync", "memory", "replicated:2"])
def test_a_durable_master_is_taken_by_every_mode(setting: str) -> None:
    require_durable(DURABLE, Durability.of(setting), vouched=False)


@pytest.mark.parametrize("setting", ["fsync", "replicated:1"])
@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (replace(DURABLE, appendonly=False), "appendonly no"),
        (replace(DURABLE, appendfsync="everysec"), "appendfsync everysec"),
        (replace(DURABLE, appendfsync="no"), "appendfsync no"),
        (replace(DURABLE, fsync_on_rewrite=False), "no-appendfsync-on-rewrite yes"),
        (
            replace(DURABLE, appendonly=False, appendfsync="everysec"),
            "appendonly no, appendfsync everysec",
        ),
        (replace(UNREADABLE, appendonly=False), "appendonly no"),
        (
            replace(DURABLE, maxmemory=1 << 30, maxmemory_policy="allkeys-lru"),
            "maxmemory-policy allkeys-lru, which deletes whole streams",
        ),
    ],
)
@pytest.mark.parametrize("vouched", [False, True])
def test_what_is_known_to_be_wrong_is_refused_vouched_for_or_not(
    setting: str,
    facts: ServerFacts,
    found: str,
    vouched: bool,  # noqa: FBT001 -- a fact of the case
) -> None:
    with pytest.raises(ConfigError) as caught:
        require_durable(facts, Durability.of(setting), vouched=vouched)
    assert str(caught.value).startswith(f"INGEST_DURABILITY={setting}: Redis has {found}. Either ")


def test_the_refusal_names_both_remedies_and_what_the_second_may_lose() -> None:
    with pytest.raises(ConfigError) as caught:
        require_durable(replace(DURABLE, appendfsync="everysec"), FSYNC, vouched=False)
    assert str(caught.value) == (
        "INGEST_DURABILITY=fsync: Redis has appendfsync everysec. Either set the server so (CONFIG "
        "SET appendonly yes, CONFIG SET appendfsync always, CONFIG SET no-appendfsync-on-rewrite "
        "no, CONFIG SET maxmemory-policy noeviction, and the same in its file of settings), or "
        "choose INGEST_DURABILITY=memory and accept that frames which devices were told are safe, "
        "and have deleted, are lost when the server "
        "or its machine stops: those of the last 2 s with appendfsync everysec, all since the last "
        "snapshot with appendonly no"
    )


def test_what_cannot_be_read_must_be_vouched_for() -> None:
    with pytest.raises(ConfigError) as caught:
        require_durable(UNREADABLE, FSYNC, vouched=False)
    assert str(caught.value) == (
        "INGEST_DURABILITY=fsync: this user may not read appendonly, appendfsync, "
        "no-appendfsync-on-rewrite. Either let the user read it (ACL: +info +config|get), or set "
        "INGEST_DURABILITY_VOUCHED=true and so vouch that the server has appendonly yes, "
        "appendfsync always and no-appendfsync-on-rewrite no, or choose INGEST_DURABILITY=memory "
        "and accept that frames which devices were told are safe may be lost when the server stops"
    )
    require_durable(UNREADABLE, FSYNC, vouched=True)


@pytest.mark.parametrize("setting", ["fsync", "replicated:1"])
def test_a_server_that_rewrites_its_log_is_waited_for(setting: str) -> None:
    rewriting = replace(DURABLE, log_rewriting=True)
    with pytest.raises(StreamUnavailable, match="Redis: it rewrites its log"):
        require_durable(rewriting, Durability.of(setting), vouched=True)
    require_durable(rewriting, Durability.of("memory"), vouched=False)


def test_memory_demands_nothing_of_the_disk() -> None:
    require_durable(UNREADABLE, Durability(fsync=False), vouched=False)
    in_memory = replace(DURABLE, appendonly=False, appendfsync="no")
    require_durable(in_memory, Durability(fsync=False), vouched=False)


@pytest.mark.parametrize("setting", ["fsync", "memory", "replicated:1"])
def test_a_replica_is_refused_by_every_mode(setting: str) -> None:
    with pytest.raises(ConfigError, match="is a replica, which takes no frames: name the master"):
        require_durable(replace(DURABLE, role="replica"), Durability.of(setting), vouched=True)


@pytest.mark.parametrize("setting", ["fsync", "memory"])
def test_a_server_before_7_0_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"at least Redis 7\.0"):
        require_durable(replace(DURABLE, version="6.2.14"), Durability.of(setting), vouched=True)

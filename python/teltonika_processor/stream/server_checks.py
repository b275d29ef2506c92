"""At the start: is this Redis new enough, and may it lose the stream?

A user with few permissions cannot ask everything: HELLO is open to all, INFO and CONFIG are not.
What cannot be read is not guessed.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from teltonika_processor.errors import ConfigError, ContractError
from teltonika_processor.stream.connection import CommandDeniedError, RedisClient, execute
from teltonika_processor.stream.group import pairs_of

# XAUTOCLAIM tells of trimmed payloads and XINFO GROUPS of the lag from here on.
_OLDEST: Final = (7, 0)
_NEEDED: Final = "at least Redis 7.0 or any Valkey is needed"

MEMORY_FULL: Final = 0.8
"""Part of its limit above which a server's memory is nearly full."""

_OF_THE_LOG: Final = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite")

_REWRITING: Final = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")

_DURABLE_FSYNC: Final = frozenset({"always", "everysec"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """Which server it is and how it is set up; None: not to be read.

    Attributes:
        product: ``redis``, ``valkey`` or what else HELLO says.
        version: The product's own.
        role: ``master`` or ``replica``.
        maxmemory: Bytes; 0 is no limit.
        maxmemory_policy: What is evicted at that limit.
        appendonly: Whether the log of commands is on.
        appendfsync: When the log is written through to the disk.
        fsync_on_rewrite: Whether that goes on while the server saves in the background.
        log_rewriting: Whether the log is being written anew, or about to be; if it was only just
            turned on, it holds nothing until that is over.
    """

    product: str
    version: str
    role: str
    maxmemory: int | None = None
    maxmemory_policy: str | None = None
    appendonly: bool | None = None
    appendfsync: str | None = None
    fsync_on_rewrite: bool | None = None
    log_rewriting: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Something about a server through which the stream may be lost."""

    check: str
    found: str
    expected: str
    why: str

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        return f"{self.check}: found {self.found}, expected {self.expected}: {self.why}"


async def check_server(
    client: RedisClient, *, block_ms: int, command_timeout_s: float
) -> list[Doubt]:
    """Ask the server about itself; what speaks against leaving frames to it.

    Raises:
        ConfigError: It is older than Redis 7.0, or refuses the user.
        StreamUnavailable: It is away.
    """
    facts = await read_server_facts(client)
    return doubts_about(facts, block_ms=block_ms, command_timeout_s=command_timeout_s)


async def read_server_facts(client: RedisClient) -> ServerFacts:
    """What the server says of itself, as far as this user may ask.

    Raises:
        ConfigError: It does not know HELLO (Redis 6.0), or refuses the user.
        StreamUnavailable: It is away.
    """
    try:
        hello = pairs_of(await execute(client, "HELLO"))
    except ContractError as error:
        raise ConfigError(f"REDIS_URL: {_NEEDED}; this one answers HELLO with {error}") from error
    facts = ServerFacts(
        product=hello[b"server"].decode(),
        version=hello[b"version"].decode(),
        role=hello[b"role"].decode(),
    )
    info = await if_allowed(client, "INFO")
    if info:
        facts = _with_info(facts, info)
    config: Mapping[str, Any] = await if_allowed(client, "CONFIG GET", *_OF_THE_LOG) or {}
    return _with_config(facts, config)


def doubts_about(facts: ServerFacts, *, block_ms: int, command_timeout_s: float) -> list[Doubt]:
    """What speaks against leaving frames to this server.

    An eviction of keys that expire (``volatile-*``) is no doubt: only the leases of the consumer
    names expire, and two instances under one name are merely wasteful.

    Args:
        facts: What the server said.
        block_ms: How long a read waits in the server.
        command_timeout_s: How long the client waits for the server's reply to it.

    Raises:
        ConfigError: The server is older than Redis 7.0.
    """
    require_version(facts)
    return [
        *loss_doubts(facts),
        *_unreadable_doubts(facts),
        *_timeout_doubts(block_ms, command_timeout_s),
    ]


def loss_doubts(facts: ServerFacts) -> list[Doubt]:
    """What of the server's set-up may lose frames, as far as it could be read."""
    return [*_role_doubts(facts), *_eviction_doubts(facts), *_durability_doubts(facts)]


def is_nearly_full(used: int, limit: int) -> bool:
    """Whether so many bytes are too near to a limit, one that there is."""
    return used > MEMORY_FULL * limit


def require_version(facts: ServerFacts) -> None:
    """Refuse a server that is too old.

    Raises:
        ConfigError: It is older than Redis 7.0.
    """
    numbers = re.match(r"(\d+)\.(\d+)", facts.version)
    if not numbers or (int(numbers[1]), int(numbers[2])) < _OLDEST:
        raise ConfigError(
            f"REDIS_URL: {_NEEDED}, and this is {facts.product} {facts.version}: an older one does "
            "not tell which pending entries lost their payload"
        )


async def if_allowed(client: RedisClient, *command: Any) -> Any | None:
    """The reply; None where the command is forbidden, renamed or does not exist.

    Raises:
        StreamUnavailable: Redis is away.
        ConfigError: It refuses the user altogether.
    """
    try:
        return await execute(client, *command)
    except (CommandDeniedError, ContractError):  # unknown: managed servers take CONFIG away
        return None


def refuse(doubts: Sequence[Doubt]) -> ConfigError:
    """The error of a strict start: every doubt in a line of its own."""
    lines = [f"REDIS_URL: {doubt.sentence}" for doubt in doubts]
    return ConfigError("\n".join([*lines, "STRICT_CHECKS=false starts all the same"]))


def _with_info(facts: ServerFacts, info: Mapping[str, Any]) -> ServerFacts:
    maxmemory, aof_enabled = info.get("maxmemory"), info.get("aof_enabled")
    return dataclasses.replace(
        facts,
        maxmemory=None if maxmemory is None else int(maxmemory),
        maxmemory_policy=info.get("maxmemory_policy"),
        appendonly=None if aof_enabled is None else bool(int(aof_enabled)),
        log_rewriting=any(int(info.get(name, 0)) for name in _REWRITING),
    )


def _with_config(facts: ServerFacts, config: Mapping[str, Any]) -> ServerFacts:
    paused = config.get("no-appendfsync-on-rewrite")
    return dataclasses.replace(
        facts,
        appendonly=config["appendonly"] == "yes" if "appendonly" in config else facts.appendonly,
        appendfsync=config.get("appendfsync"),
        fsync_on_rewrite=None if paused is None else paused == "no",
    )


def _role_doubts(facts: ServerFacts) -> Iterator[Doubt]:
    if facts.role != "master":
        yield Doubt(
            check="role",
            found=facts.role,
            expected="master",
            why="a replica refuses to acknowledge entries, so the same ones come for ever",
        )


def _eviction_doubts(facts: ServerFacts) -> Iterator[Doubt]:
    policy = facts.maxmemory_policy or ""
    if facts.maxmemory != 0 and policy.startswith("allkeys"):
        yield Doubt(
            check="maxmemory-policy",
            found=policy,
            expected="noeviction",
            why="at its memory limit the server deletes whole streams with all they hold; with "
            "noeviction the gateway is refused instead, and the devices keep their records",
        )


def _durability_doubts(facts: ServerFacts) -> Iterator[Doubt]:
    if facts.appendonly is False:
        yield Doubt(
            check="appendonly",
            found="no",
            expected="yes",
            why="a restart of the server loses every frame since the last snapshot",
        )
    elif facts.appendfsync is not None and facts.appendfsync not in _DURABLE_FSYNC:
        yield Doubt(
            check="appendfsync",
            found=facts.appendfsync,
            expected="always or everysec",
            why="the system writes to the disk when it likes, and a power cut loses all until then",
        )


def _unreadable_doubts(facts: ServerFacts) -> Iterator[Doubt]:
    """One doubt for all that cannot be read; appendfsync alone is none: everysec is the default."""
    readable = {
        "maxmemory-policy": facts.maxmemory_policy,
        "appendonly": facts.appendonly,
    }
    unknown = [name for name, found in readable.items() if found is None]
    if unknown:
        yield Doubt(
            check=", ".join(unknown),
            found="not readable",
            expected="a user who may run INFO (ACL: +info +config|get)",
            why="whether the server may lose the stream cannot be checked",
        )


def _timeout_doubts(block_ms: int, command_timeout_s: float) -> Iterator[Doubt]:
    if command_timeout_s * 1e3 <= block_ms:
        yield Doubt(
            check="command timeout",
            found=f"{command_timeout_s * 1e3:.0f} ms",
            expected=f"more than the {block_ms} ms of BLOCK",
            why="each read of an empty stream would be given up before the server answers",
        )

"""The lease of a consumer name: stable across restarts, held by one running instance at a time.

A stable name lets a restarted instance find its own pending entries; a random one would pile up
consumers in the group. Two instances under one name would still be correct, only wasteful.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from teltonika_processor.errors import ConfigError
from teltonika_processor.model import consumer_lease_key
from teltonika_processor.stream.connection import RedisClient, execute

LEASE_MS: Final = 10_000
RENEW_S: Final = 3.0
_POLL_S: Final = 0.25
_MOST_NAMES: Final = 1000

# PTTL of a key without a time limit: somebody else's, and it will not lapse.
_NO_LIMIT: Final = -1

_REPLACE: Final = b"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_RELEASE: Final = b"""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

Sleep = Callable[[float], Awaitable[None]]


class ConsumerLease:
    """Holds ``<wanted>``, or ``<wanted>-2``, ``-3`` where another live instance holds that."""

    def __init__(
        self, client: RedisClient, *, stream: str, group: str, wanted: str, sleep: Sleep
    ) -> None:
        self._client: Final = client
        self._stream: Final = stream
        self._group: Final = group
        self._wanted: Final = wanted
        self._sleep: Final = sleep
        self._me: Final = _process_identity(os.getpid()).encode()
        self.name = wanted

    async def take(self) -> str:
        """Take the first free name and return it.

        A name whose holder died on this host is taken at once; one whose holder cannot be judged
        is watched until it is renewed (then the next name is tried) or lapses.

        Raises:
            ConfigError: A thousand names are held.
        """
        for number in range(1, _MOST_NAMES):
            self.name = self._wanted if number == 1 else f"{self._wanted}-{number}"
            if await self._take_this():
                return self.name
        raise ConfigError(f"REDIS_CONSUMER_NAME: {self._wanted} and its successors are all held")

    async def renew(self) -> bool:
        """Extend the lease; False if somebody else holds the name now."""
        if await self._replace(self._me):
            return True
        return await self._set_if_free()

    async def release(self) -> None:
        """Give the name back, so that a successor need not wait."""
        await execute(self._client, "EVAL", _RELEASE, 1, self._key, self._me)

    @property
    def _key(self) -> str:
        return consumer_lease_key(self._stream, self._group, self.name)

    async def _take_this(self) -> bool:
        """True once the name is ours; False once its holder was seen to be alive."""
        left_ms = LEASE_MS
        while not await self._set_if_free():
            holder = await execute(self._client, "GET", self._key)
            if holder is not None and _is_dead_neighbour(holder.decode()):
                if await self._replace(holder):
                    return True
                continue
            before_ms, left_ms = left_ms, await execute(self._client, "PTTL", self._key)
            if left_ms > before_ms or left_ms == _NO_LIMIT:
                return False
            await self._sleep(_POLL_S)
        return True

    async def _set_if_free(self) -> bool:
        reply = await execute(self._client, "SET", self._key, self._me, "NX", "PX", LEASE_MS)
        return reply is not None and reply is not False

    async def _replace(self, holder: bytes) -> bool:
        done = await execute(
            self._client, "EVAL", _REPLACE, 1, self._key, holder, self._me, LEASE_MS
        )
        return bool(done)


def _process_identity(pid: int) -> str:
    """Boot of a kernel, process namespace, process id and start time: no two processes share it."""
    return f"{_boot_id()}/{_pid_namespace()}/{pid}/{_start_ticks(pid)}"


def _is_dead_neighbour(identity: str) -> bool:
    """Whether `identity` is a process of our kernel and namespace that no longer runs."""
    boot, _, process = identity.partition("/")
    namespace, _, process = process.partition("/")
    if boot != _boot_id() or namespace != _pid_namespace():
        return False
    pid, _, ticks = process.partition("/")
    return pid.isdecimal() and _start_ticks(int(pid)) != ticks


def _boot_id() -> str:
    """Differs between machines and between boots of one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return os.uname().nodename


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "-"


def _start_ticks(pid: int) -> str:
    """Field 22 of /proc/PID/stat, counted after the command name, which may hold anything."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "-"
    return stat.rpartition(")")[2].split()[19]

"""The control channel: an operator's commands to every running instance, and their answers.

A command is published; each instance that runs pushes its answer to a list that the command names
and that lapses by itself. Who ought to answer is known by the leases of the consumer names.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, NoReturn, TypeVar

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.model import consumer_lease_key, control_channel
from teltonika_processor.stream.connection import RedisClient, execute, redis_errors
from teltonika_processor.stream.control_messages import (
    Answer,
    Command,
    Holding,
    Inspect,
    Rehydrate,
    encode_command,
    parse_answer,
    parse_command,
    parse_holding,
)

T = TypeVar("T", Answer, Holding)

ASK_TIMEOUT_MAX_S: Final = 60.0
"""Bound: longer than answers are kept nobody can wait for them."""

_ANSWERS_KEPT_S: Final = 60

# A subscriber is told nothing when its server vanishes: so silence is asked about, and silence
# after that is taken for an end.
_SILENCE_S: Final = 5.0

# Bound: one BLPOP; well below the client's limit for a command.
_POP_S: Final = 1.0

# Bound: a look through a million keys that are not ours takes about a second.
_SCAN_COUNT: Final = 1000
_SCANS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answers in the order of their instances, and the names of those that gave none."""

    answers: tuple[Answer, ...]
    silent: tuple[str, ...]

    @property
    def all_did(self) -> bool:
        """Whether there is an instance and each of them did it."""
        return bool(self.answers) and not self.silent and all(a.ok for a in self.answers)


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the instances hold of a device, in their order, and the names of those that are silent.

    Silent is also an instance of a version that does not know the command.
    """

    answers: tuple[Holding, ...]
    silent: tuple[str, ...]


def reply_key(stream: str, command_id: str) -> str:
    """Name of the list to which the answers to one command are pushed."""
    return f"{control_channel(stream)}:reply:{command_id}"


class ControlListener:
    """Receives the commands to one group's instances, on a connection of its own.

    Args:
        client: Gives that connection, and takes the answers on another one.
        stream: The telemetry stream.
        group: The consumer group; commands to others are not ours.
    """

    def __init__(self, client: RedisClient, *, stream: str, group: str) -> None:
        self._client: Final = client
        self._stream: Final = stream
        self._group: Final = group
        self.ignored = 0

    async def serve(self, handle: Callable[[Command], Awaitable[Answer | Holding]]) -> NoReturn:
        """Answer each command with what `handle` returns, until the connection ends.

        Raises:
            StreamUnavailable: Redis is away; call again. Commands of meanwhile are lost.
            ConfigError: The user may not subscribe.
        """
        pubsub = self._client.pubsub()
        try:
            with redis_errors():
                await pubsub.subscribe(control_channel(self._stream))
            while True:
                raw = await _next_text(pubsub)
                command = parse_command(raw, self._group)
                if command is None:
                    self.ignored += 1
                    continue
                await self._answer(command, await handle(command))
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call] # redis-py's

    async def _answer(self, command: Command, answer: Answer | Holding) -> None:
        key = reply_key(self._stream, command.id)
        pipeline = self._client.pipeline(transaction=True)
        pipeline.execute_command("RPUSH", key, json.dumps(asdict(answer)))
        pipeline.execute_command("EXPIRE", key, _ANSWERS_KEPT_S)
        with redis_errors():
            await pipeline.execute()


class ControlCaller:
    """Sends commands to every running instance of a group."""

    def __init__(self, client: RedisClient, *, stream: str, group: str) -> None:
        self._client: Final = client
        self._stream: Final = stream
        self._group: Final = group

    async def running(self) -> list[str]:
        """Names of the instances whose lease has not lapsed, sorted.

        Raises:
            StreamUnavailable: Redis is away, or holds too many keys to look through.
        """
        prefix = consumer_lease_key(self._stream, self._group, "")
        names: set[str] = set()
        cursor = b"0"
        for _ in range(_SCANS_MAX):
            cursor, keys = await execute(
                self._client, "SCAN", cursor, "MATCH", _glob(prefix), "COUNT", _SCAN_COUNT
            )
            names.update(key.decode().removeprefix(prefix) for key in keys)
            if int(cursor) == 0:
                return sorted(names)
        limit = _SCANS_MAX * _SCAN_COUNT
        raise StreamUnavailable(f"Redis holds more than {limit} keys: the leases are not found")

    async def ask(self, command: Rehydrate, *, timeout_s: float) -> Outcome:
        """Publish `command` and wait until every running instance has answered.

        Args:
            command: Its id must be new.
            timeout_s: At most ASK_TIMEOUT_MAX_S.

        Raises:
            StreamUnavailable: Redis is away.
        """
        answers, silent = await self._ask(command, parse_answer, timeout_s)
        return Outcome(answers, silent)

    async def inspect(self, command: Inspect, *, timeout_s: float) -> Holdings:
        """Ask every running instance what it holds; arguments and errors as of `ask`."""
        answers, silent = await self._ask(command, parse_holding, timeout_s)
        return Holdings(answers, silent)

    async def _ask(
        self, command: Command, parse: Callable[[bytes], T | None], timeout_s: float
    ) -> tuple[tuple[T, ...], tuple[str, ...]]:
        """Answers in the order of their instances, and the names of those that gave none."""
        expected = await self.running()
        if not expected:
            return (), ()
        text = encode_command(command, self._group)
        await execute(self._client, "PUBLISH", control_channel(self._stream), text)
        key = reply_key(self._stream, command.id)
        answers = await self._collect(key, set(expected), parse, timeout_s)
        await execute(self._client, "UNLINK", key)
        silent = tuple(name for name in expected if name not in answers)
        return tuple(answers[name] for name in sorted(answers)), silent

    async def _collect(
        self, key: str, expected: set[str], parse: Callable[[bytes], T | None], timeout_s: float
    ) -> dict[str, T]:
        """Answers by instance; also of one that started meanwhile."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        answers: dict[str, T] = {}
        while expected - answers.keys() and (left_s := deadline - clock()) > 0:
            # BLPOP takes 0 for ever, and Redis counts in milliseconds.
            popped = await execute(self._client, "BLPOP", key, max(0.001, min(left_s, _POP_S)))
            answer = parse(popped[1]) if popped else None
            if answer is not None:
                answers[answer.instance] = answer
        return answers


async def _next_text(pubsub: Any) -> bytes:
    """What the next publisher said; a server that does not even answer a ping is away."""
    was_asked = False
    while True:
        with redis_errors():
            told = await pubsub.get_message(timeout=_SILENCE_S)
            if told is not None:
                was_asked = False
            elif was_asked:
                raise StreamUnavailable(f"Redis: silent for {_SILENCE_S} s after a ping")
            else:
                was_asked = True
                await pubsub.ping()
        if told is not None and told["type"] == "message":
            text: bytes = told["data"]
            return text


def _glob(prefix: str) -> str:
    """A pattern of SCAN for all keys that begin with `prefix`."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", prefix) + "*"

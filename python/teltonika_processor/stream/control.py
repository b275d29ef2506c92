"""The control channel: an operator's commands to every running instance, and their answers.

A command is published; each instance that runs pushes its answer to a list that the command names
and that lapses by itself. Who ought to answer is known by the leases of the consumer names.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, NoReturn

from teltonika_processor.errors import StreamUnavailable
from teltonika_processor.model import consumer_lease_key, control_channel, format_imei
from teltonika_processor.stream.connection import RedisClient, execute, redis_errors

VERSION: Final = 1

ASK_TIMEOUT_MAX_S: Final = 60.0
"""Bound: longer than answers are kept nobody can wait for them."""

_ANSWERS_KEPT_S: Final = 60
_COMMAND_MAX_BYTES: Final = 4096
_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_IMEI: Final = re.compile(r"[0-9]{15}")

# A subscriber is told nothing when its server vanishes: so silence is asked about, and silence
# after that is taken for an end.
_SILENCE_S: Final = 5.0

# Bound: one BLPOP; well below the client's limit for a command.
_POP_S: Final = 1.0

# Bound: a look through a million keys that are not ours takes about a second.
_SCAN_COUNT: Final = 1000
_SCANS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehydrate:
    """Drop what is held of a device and load it anew.

    Attributes:
        id: 1 to 64 letters, digits and ``-``: names the list of answers.
        imei: The device.
    """

    id: str
    imei: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one instance did.

    Attributes:
        instance: Its consumer name.
        ok: Whether the state is what ``last_position`` says.
        was_held: Whether the device's state was held before.
        found: Whether ``last_position`` knows the device.
        error: Why it is not ok.
    """

    instance: str
    ok: bool
    was_held: bool
    found: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answers in the order of their instances, and the names of those that gave none."""

    answers: tuple[Answer, ...]
    silent: tuple[str, ...]

    @property
    def all_did(self) -> bool:
        """Whether there is an instance and each of them did it."""
        return bool(self.answers) and not self.silent and all(a.ok for a in self.answers)


def reply_key(stream: str, command_id: str) -> str:
    """Name of the list to which the answers to one command are pushed."""
    return f"{control_channel(stream)}:reply:{command_id}"


def encode_command(command: Rehydrate, group: str) -> str:
    """The text that is published."""
    imei = format_imei(command.imei)
    known = {"v": VERSION, "id": command.id, "group": group, "command": "rehydrate", "imei": imei}
    return json.dumps(known)


def parse_command(raw: bytes, group: str) -> Rehydrate | None:
    """The command, or None: not for this group, not understood, or of a later version."""
    fields = _object_in(raw)
    if fields is None or (fields.get("v"), fields.get("group")) != (VERSION, group):
        return None
    command_id, imei = str(fields.get("id")), str(fields.get("imei"))
    if fields.get("command") != "rehydrate" or not _ID.fullmatch(command_id):
        return None
    return Rehydrate(id=command_id, imei=int(imei)) if _IMEI.fullmatch(imei) else None


def parse_answer(raw: bytes) -> Answer | None:
    """What an instance pushed; None where it is no answer."""
    fields = _object_in(raw)
    if fields is None or not isinstance(fields.get("instance"), str):
        return None
    return Answer(
        instance=fields["instance"],
        ok=fields.get("ok") is True,
        was_held=fields.get("was_held") is True,
        found=fields.get("found") is True,
        error=str(fields.get("error") or ""),
    )


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

    async def serve(self, handle: Callable[[Rehydrate], Awaitable[Answer]]) -> NoReturn:
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

    async def _answer(self, command: Rehydrate, answer: Answer) -> None:
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
        expected = await self.running()
        if not expected:
            return Outcome((), ())
        text = encode_command(command, self._group)
        await execute(self._client, "PUBLISH", control_channel(self._stream), text)
        key = reply_key(self._stream, command.id)
        answers = await self._collect(key, set(expected), timeout_s)
        await execute(self._client, "UNLINK", key)
        silent = tuple(name for name in expected if name not in answers)
        return Outcome(tuple(answers[name] for name in sorted(answers)), silent)

    async def _collect(self, key: str, expected: set[str], timeout_s: float) -> dict[str, Answer]:
        """Answers by instance; also of one that started meanwhile."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        answers: dict[str, Answer] = {}
        while expected - answers.keys() and (left_s := deadline - clock()) > 0:
            # BLPOP takes 0 for ever, and Redis counts in milliseconds.
            popped = await execute(self._client, "BLPOP", key, max(0.001, min(left_s, _POP_S)))
            answer = parse_answer(popped[1]) if popped else None
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


def _object_in(raw: bytes) -> dict[str, Any] | None:
    """The JSON object that `raw` is; None where it is something else, or too long to be one."""
    if len(raw) > _COMMAND_MAX_BYTES:
        return None
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _glob(prefix: str) -> str:
    """A pattern of SCAN for all keys that begin with `prefix`."""
    return re.sub(r"([*?\[\]\\^])", r"\\\1", prefix) + "*"

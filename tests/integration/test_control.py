"""Operators' commands over a real Redis: who is asked, who answers, who is silent."""

import asyncio
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.errors import ConfigError, SinkUnavailable, StreamUnavailable
from teltonika_processor.events import DeviceRehydrated, Emit, Event, ServerDoubted
from teltonika_processor.service import control as service_control
from teltonika_processor.service.control import (
    CommandHandler,
    LastPosition,
    RehydrationHandler,
    serve_commands,
)
from teltonika_processor.stream import control, control_messages
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.control import ControlCaller, ControlListener
from teltonika_processor.stream.control_messages import (
    Answer,
    HeldFix,
    Holding,
    Inspect,
    Rehydrate,
)
from teltonika_processor.tasks.retry import Surroundings
from waiting import eventually_async

STREAM = "telemetry:teltonika"
GROUP = "processor"
CHANNEL = "telemetry:teltonika:control"
IMEI = 356307042441013
BASE_MS = 1_790_000_000_000
POSITION: LastPosition = (IMEI, 1_790_000_000_000_000, -7, 25.2798, 54.6872)
COMMAND = Rehydrate(id="abc-1", imei=IMEI)
TEXT = (
    b'{"v": 1, "id": "abc-1", "group": "processor", "command": "rehydrate", '
    b'"imei": "356307042441013"}'
)


@dataclass
class FakeState:
    """A device state that is a set of devices."""

    held: set[int] = field(default_factory=set)
    hydrated: list[tuple[Sequence[int], Sequence[LastPosition]]] = field(default_factory=list)

    def drop(self, imei: int, /) -> bool:
        was_held = imei in self.held
        self.held.discard(imei)
        return was_held

    def hydrate(self, asked: Sequence[int], found: Sequence[LastPosition], /) -> None:
        self.held.update(asked)
        self.hydrated.append((asked, found))

    def holds(self, imei: int, /) -> bool:
        return imei in self.held

    def position(self, imei: int, /) -> tuple[int, int, float, float] | None:
        rows = [row for _, found in self.hydrated for row in found if row[0] == imei]
        return rows[-1][1:] if rows and imei in self.held else None


@dataclass
class FakeTable:
    """A last_position that can be away."""

    rows: list[LastPosition] = field(default_factory=list)
    error: Exception | None = None
    hangs: bool = False

    async def __call__(self, imeis: Sequence[int]) -> list[LastPosition]:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return [row for row in self.rows if row[0] in imeis]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisClient]:
    client = open_client(url, name="test")
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    async with opened(redis_url) as client:
        yield client


def caller(client: RedisClient) -> ControlCaller:
    return ControlCaller(client, stream=STREAM, group=GROUP)


async def hold_name(client: RedisClient, name: str, group: str = GROUP) -> None:
    key = f"telemetry:teltonika:consumer:{group}:{name}"
    await client.execute_command("SET", key, "who", "PX", 60_000)


async def subscribers(client: RedisClient) -> int:
    _, count = await client.execute_command("PUBSUB", "NUMSUB", CHANNEL)
    return int(count)


def handler_of(
    name: str, state: FakeState, table: FakeTable, emit: Emit, unregistered: list[int] | None = None
) -> CommandHandler:
    unregister = [].append if unregistered is None else unregistered.append
    return CommandHandler(name, state, RehydrationHandler(name, state, table, unregister, emit))


@asynccontextmanager
async def instance(
    url: str,
    name: str,
    state: FakeState | None = None,
    table: FakeTable | None = None,
    events: list[Event] | None = None,
    *,
    unregistered: list[int] | None = None,
) -> AsyncIterator[ControlListener]:
    """What a running instance does about commands, in this loop."""
    emit = [].append if events is None else events.append
    handler = handler_of(name, state or FakeState(), table or FakeTable(), emit, unregistered)
    around = Surroundings(emit, asyncio.get_running_loop().time, lambda: 0.0)
    async with opened(url) as client:
        listener = ControlListener(client, stream=STREAM, group=GROUP)
        before = await subscribers(client)
        await hold_name(client, name)
        task = asyncio.create_task(serve_commands(listener, handler, around), name="control")

        async def subscribed() -> bool:
            return await subscribers(client) > before

        try:
            await eventually_async(subscribed)
            yield listener
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()


async def test_every_instance_reloads_the_device_and_says_so(
    client: RedisClient, redis_url: str
) -> None:
    holding, other = FakeState({IMEI, 1}), FakeState()
    events: list[Event] = []
    unregistered: list[int] = []
    table = FakeTable([POSITION])
    async with (
        instance(redis_url, "two", other, FakeTable()),
        instance(redis_url, "one", holding, table, events, unregistered=unregistered),
    ):
        outcome = await caller(client).ask(COMMAND, timeout_s=20)
    assert outcome.answers == (
        Answer(instance="one", ok=True, was_held=True, found=True),
        Answer(instance="two", ok=True, was_held=False, found=False),
    )
    assert (outcome.silent, outcome.all_did) == ((), True)
    assert holding.hydrated == [((IMEI,), [POSITION])]
    assert other.hydrated == [((IMEI,), [])]
    assert holding.held == {IMEI, 1}
    assert events == [DeviceRehydrated(imei=IMEI, was_held=True, found=True)]
    assert unregistered == [IMEI]
    assert await client.execute_command("EXISTS", "telemetry:teltonika:control:reply:abc-1") == 0


async def test_every_instance_says_what_it_holds_and_changes_nothing(
    client: RedisClient, redis_url: str
) -> None:
    with_fix, without_fix = FakeState(), FakeState({IMEI})
    with_fix.hydrate([IMEI], [POSITION])
    async with (
        instance(redis_url, "one", with_fix),
        instance(redis_url, "three"),
        instance(redis_url, "two", without_fix),
    ):
        holdings = await caller(client).inspect(Inspect(id="abc-2", imei=IMEI), timeout_s=20)
    fix = HeldFix(recorded_at_ms=BASE_MS, digest=-7, longitude=25.2798, latitude=54.6872)
    assert holdings.answers == (
        Holding(instance="one", held=True, fix=fix),
        Holding(instance="three", held=False),
        Holding(instance="two", held=True),
    )
    assert holdings.silent == ()
    assert (with_fix.held, without_fix.held) == ({IMEI}, {IMEI})
    assert await client.execute_command("EXISTS", "telemetry:teltonika:control:reply:abc-2") == 0


async def test_a_version_that_does_not_know_the_command_is_silent_and_goes_on(
    client: RedisClient, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(control_messages._KINDS, "inspect")
    async with instance(redis_url, "one") as listener:
        text = TEXT.replace(b"rehydrate", b"inspect").decode()
        monkeypatch.setattr(control, "encode_command", lambda *_: text)
        holdings = await caller(client).inspect(Inspect(id="abc-1", imei=IMEI), timeout_s=0.3)
        monkeypatch.undo()
        assert listener.ignored == 1
        assert (await caller(client).ask(COMMAND, timeout_s=20)).all_did
    assert (holdings.answers, holdings.silent) == ((), ("one",))


async def test_an_instance_that_does_not_answer_is_named(
    client: RedisClient, redis_url: str
) -> None:
    await hold_name(client, "frozen")
    async with instance(redis_url, "one"):
        outcome = await caller(client).ask(COMMAND, timeout_s=0.3)
    assert [answer.instance for answer in outcome.answers] == ["one"]
    assert (outcome.silent, outcome.all_did) == (("frozen",), False)


async def test_without_instances_nobody_is_asked(client: RedisClient) -> None:
    outcome = await caller(client).ask(COMMAND, timeout_s=20)
    assert (outcome.answers, outcome.silent, outcome.all_did) == ((), (), False)


async def test_postgres_away_leaves_the_device_dropped_and_says_why(
    client: RedisClient, redis_url: str
) -> None:
    state = FakeState({IMEI})
    events: list[Event] = []
    table = FakeTable(error=SinkUnavailable("Postgres: connection refused"))
    async with instance(redis_url, "one", state, table, events):
        outcome = await caller(client).ask(COMMAND, timeout_s=20)
    (answer,) = outcome.answers
    assert (answer.ok, answer.was_held, answer.found) == (False, True, False)
    assert answer.error == "Postgres: connection refused"
    assert not outcome.all_did
    assert state.held == set()
    assert events == []


async def test_a_load_that_hangs_is_given_up(
    client: RedisClient, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_control, "_LOAD_S", 0.05)
    async with instance(redis_url, "one", table=FakeTable(hangs=True)):
        outcome = await caller(client).ask(COMMAND, timeout_s=20)
    (answer,) = outcome.answers
    assert (answer.ok, answer.error) == (False, "last_position was not read within 0 s")


async def test_names_of_other_groups_and_streams_are_not_asked(client: RedisClient) -> None:
    await hold_name(client, "b")
    await hold_name(client, "a")
    await hold_name(client, "x", group="audit")
    await client.execute_command("SET", "telemetry:other:consumer:processor:y", "who")
    assert await caller(client).running() == ["a", "b"]
    for name in ("[ab]?*\\", "^"):
        await client.execute_command("SET", f"{name}:consumer:g:one", "who")
        await client.execute_command("SET", "axx:consumer:g:two", "who")
        assert await ControlCaller(client, stream=name, group="g").running() == ["one"]


async def test_too_many_keys_are_no_reason_to_scan_for_ever(
    client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_SCANS_MAX", 1)
    monkeypatch.setattr(control, "_SCAN_COUNT", 1)
    for i in range(100):
        await hold_name(client, str(i))
    with pytest.raises(StreamUnavailable, match="holds more than 1 keys"):
        await caller(client).running()


async def test_what_is_not_understood_is_ignored_and_the_next_command_is_not(
    client: RedisClient, redis_url: str
) -> None:
    async with instance(redis_url, "one") as listener:
        for text in (b"\xff", b"[]", TEXT.replace(b'"v": 1', b'"v": 2'), b"x" * 1_000_000):
            await client.execute_command("PUBLISH", CHANNEL, text)
        outcome = await caller(client).ask(COMMAND, timeout_s=20)
        assert listener.ignored == 4
    assert outcome.all_did


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        (b'"v": 1', b'"v": 2'),
        (b'"processor"', b'"audit"'),
        (b"rehydrate", b"reboot"),
        (b"abc-1", b"a:b"),
        (b"abc-1", b""),
        (b"356307042441013", b"35630704244101"),
        (b'"356307042441013"', b"[1]"),
        (b"}", b""),
        (b"}", b', "more": "' + b"x" * 5000 + b'"}'),
    ],
)
def test_a_command_is_understood_whole_or_not_at_all(found: bytes, instead: bytes) -> None:
    assert control_messages.parse_command(TEXT, GROUP) == COMMAND
    assert control_messages.encode_command(COMMAND, GROUP).encode() == TEXT
    assert control_messages.parse_command(TEXT.replace(found, instead), GROUP) is None


@pytest.mark.parametrize("raw", [b"", b"7", b"{}", b'{"instance": 7}', b"[" * 4000])
def test_what_is_no_answer_is_none(raw: bytes) -> None:
    assert control_messages.parse_answer(raw) is None
    assert control_messages.parse_holding(raw) is None


@pytest.mark.parametrize(
    "fix",
    [
        b"7",
        b"{}",
        b'{"recorded_at_ms": 1e999, "digest": 1, "longitude": 1.5, "latitude": 1.5}',
        b'{"recorded_at_ms": 1, "digest": "1", "longitude": 1.5, "latitude": 1.5}',
        b'{"recorded_at_ms": 1, "digest": 1, "longitude": "east", "latitude": 1.5}',
    ],
)
def test_a_fix_that_is_none_is_no_fix(fix: bytes) -> None:
    found = control_messages.parse_holding(b'{"instance": "one", "held": true, "fix": %s}' % fix)
    assert found == Holding(instance="one", held=True)


async def test_answers_lapse_where_nobody_fetches_them(client: RedisClient, redis_url: str) -> None:
    key = "telemetry:teltonika:control:reply:abc-1"
    async with instance(redis_url, "one"):
        await client.execute_command("PUBLISH", CHANNEL, TEXT)

        async def answered() -> bool:
            return bool(await client.execute_command("LLEN", key))

        await eventually_async(answered)
    (text,) = await client.execute_command("LRANGE", key, 0, -1)
    assert json.loads(text) == {
        "instance": "one",
        "ok": True,
        "was_held": False,
        "found": False,
        "error": "",
    }
    assert 0 < await client.execute_command("TTL", key) <= 60


async def test_after_a_restart_of_redis_commands_arrive_again(own_redis: EmbeddedRedis) -> None:
    url = own_redis.url()
    async with instance(url, "one"):
        own_redis.kill()
        own_redis.start()
        async with opened(url) as client:
            ids = map(str, itertools.count())

            async def all_did() -> bool:
                command = Rehydrate(id=next(ids), imei=IMEI)
                return (await caller(client).ask(command, timeout_s=0.3)).all_did

            await eventually_async(all_did)


async def test_a_server_that_freezes_without_a_word_is_noticed(
    own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_SILENCE_S", 0.1)
    assert own_redis.pid is not None
    handler = handler_of("one", FakeState(), FakeTable(), lambda _: None)
    async with opened(own_redis.url()) as client:
        listener = ControlListener(client, stream=STREAM, group=GROUP)
        serving = asyncio.create_task(listener.serve(handler))

        async def subscribed() -> bool:
            return await subscribers(client) == 1

        await eventually_async(subscribed)
        # Five times as long as a silent server is believed in: an idle one answers its pings.
        done, _ = await asyncio.wait({serving}, timeout=0.5)
        assert not done
        os.kill(own_redis.pid, signal.SIGSTOP)
        try:
            with pytest.raises(StreamUnavailable, match=r"silent for 0.1 s"):
                await serving
        finally:
            os.kill(own_redis.pid, signal.SIGCONT)


async def test_a_user_who_may_not_subscribe_is_doubted_once_and_costs_nothing_else(
    own_redis: EmbeddedRedis,
) -> None:
    url = f"redis://small:word@127.0.0.1:{own_redis.port}"
    events: list[Event] = []
    around = Surroundings(events.append, asyncio.get_running_loop().time, lambda: 0.0)
    handler = handler_of("one", FakeState(), FakeTable(), events.append)
    async with opened(own_redis.url()) as admin, opened(url) as client:
        user = ("ACL", "SETUSER", "small")
        await admin.execute_command(*user, "on", ">word", "~*", "resetchannels", "+@all")
        listener = ControlListener(client, stream=STREAM, group=GROUP)
        with pytest.raises(ConfigError):
            await listener.serve(handler)
        serving = asyncio.create_task(serve_commands(listener, handler, around))

        async def refused_often() -> bool:
            (log,) = await admin.execute_command("ACL", "LOG", 1)
            return int(log[log.index(b"count") + 1]) >= 4

        await eventually_async(refused_often)
        await admin.execute_command(*user, "allchannels")

        async def subscribed() -> bool:
            return await subscribers(admin) == 1

        await eventually_async(subscribed)
        serving.cancel()
        await asyncio.wait({serving})
    (doubt,) = events
    assert isinstance(doubt, ServerDoubted)
    assert doubt.check == "control_channel"

"""Metrics and health over real sockets, watched on real servers."""

import asyncio
import contextlib
import dataclasses
import math
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
import redis as blocking_redis

from figures import Group, Marks, Partitions, State, samples
from teltonika_processor.embedded import EmbeddedRedis
from teltonika_processor.errors import ConfigError, SinkUnavailable, StreamUnavailable
from teltonika_processor.events import (
    BatchDecoded,
    ConsumerDraining,
    ConsumerStarted,
    Event,
    HttpPortTaken,
    HttpStarted,
    RetryScheduled,
    RetrySucceeded,
    SchemaChecked,
)
from teltonika_processor.figures import GroupFigures, PartitionFigures
from teltonika_processor.metrics import Metrics
from teltonika_processor.processor.work import Totals
from teltonika_processor.service import http
from teltonika_processor.service.health import Readiness
from teltonika_processor.service.http import Answers, HttpServer
from teltonika_processor.service.observability import Observability, Running
from teltonika_processor.service.watch import Questions, Watch
from teltonika_processor.settings import Settings
from teltonika_processor.stream.connection import open_client
from teltonika_processor.stream.health import group_health
from teltonika_processor.tasks.companions import companions
from waiting import eventually_async

HOST = "127.0.0.1"
STREAM = "telemetry:teltonika"
WALL_MS = 1_700_000_000_000

ANSWERS = Answers(
    metrics=lambda: (b"the_page", b" 1\n"),
    livez=lambda: (),
    readyz=lambda: ["Redis was not asked yet.", "The schema was not checked yet."],
    status=lambda: {"alive": True, "consumer": None},
)


@contextlib.asynccontextmanager
async def serving(
    *, port: int = 0, is_default_port: bool = False, answers: Answers = ANSWERS
) -> AsyncIterator[list[Event]]:
    said: list[Event] = []
    server = HttpServer(
        HOST, port, is_default_port=is_default_port, answers=answers, emit=said.append
    )
    await server.start()
    try:
        yield said
    finally:
        await server.close()


def port_of(said: list[Event]) -> int:
    return next(event.port for event in said if isinstance(event, HttpStarted))


async def fetch(port: int, path: str, method: str = "GET", **more: Any) -> tuple[int, str, str]:
    """Status, body and content type."""
    async with (
        aiohttp.ClientSession() as client,
        client.request(method, f"http://{HOST}:{port}{path}", **more) as response,
    ):
        return response.status, await response.text(), response.headers["Content-Type"]


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


# The four pages


async def test_the_server_says_where_it_listens() -> None:
    async with serving() as said:
        assert said == [HttpStarted(host=HOST, port=port_of(said))]
        assert port_of(said) > 0


async def test_metrics_are_the_rendered_page() -> None:
    async with serving() as said:
        assert await fetch(port_of(said), "/metrics") == (
            200,
            "the_page 1\n",
            "text/plain; version=0.0.4; charset=utf-8",
        )


async def test_health_is_ok_or_503_with_a_sentence_a_line() -> None:
    async with serving() as said:
        text = "text/plain; charset=utf-8"
        assert await fetch(port_of(said), "/livez") == (200, "ok\n", text)
        assert await fetch(port_of(said), "/readyz") == (
            503,
            "Redis was not asked yet.\nThe schema was not checked yet.\n",
            text,
        )


async def test_status_is_json() -> None:
    async with serving() as said:
        assert await fetch(port_of(said), "/status") == (
            200,
            '{"alive": true, "consumer": null}',
            "application/json; charset=utf-8",
        )


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("POST", "/", 404),
        *(
            (method, path, 405)
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
            for path in ("/metrics", "/livez", "/readyz", "/status")
        ),
    ],
)
async def test_nothing_else_is_served(method: str, path: str, code: int) -> None:
    async with serving() as said:
        found, _, _ = await fetch(port_of(said), path, method)
        assert found == code


def test_no_route_changes_anything() -> None:
    routes = http._application(ANSWERS).router.routes()
    assert {route.method for route in routes} == {"GET", "HEAD"}


async def test_a_request_that_is_too_long_is_refused() -> None:
    async with serving() as said:
        code, _, _ = await fetch(port_of(said), "/livez?" + "x" * 4000)
        assert code == 400
        code, _, _ = await fetch(port_of(said), "/livez", headers={"X-Long": "x" * 4000})
        assert code == 400


# The port


async def test_a_default_port_that_is_taken_is_replaced_by_a_free_one(taken_port: int) -> None:
    async with serving(port=taken_port, is_default_port=True) as said:
        assert said[0] == HttpPortTaken(port=taken_port)
        assert port_of(said) != taken_port
        code, _, _ = await fetch(port_of(said), "/livez")
        assert code == 200


async def test_a_port_that_was_asked_for_and_is_taken_refuses_to_start(taken_port: int) -> None:
    with pytest.raises(ConfigError, match=f"HTTP_PORT .found {taken_port}.: another process"):
        async with serving(port=taken_port):
            pass


async def test_an_address_of_another_machine_refuses_to_start() -> None:
    server = HttpServer("192.0.2.1", 0, is_default_port=True, answers=ANSWERS, emit=lambda _: None)
    with pytest.raises(ConfigError, match=r"HTTP_HOST .found '192.0.2.1'."):
        await server.start()


async def test_a_name_that_nobody_knows_refuses_to_start() -> None:
    server = HttpServer(
        "nowhere.invalid", 0, is_default_port=True, answers=ANSWERS, emit=lambda _: None
    )
    with pytest.raises(ConfigError, match=r"HTTP_HOST .found 'nowhere.invalid'."):
        await server.start()


# The end


async def test_it_closes_within_a_second_whoever_is_connected() -> None:
    async with serving() as said, contextlib.AsyncExitStack() as closing:
        port = port_of(said)
        sent = (b"", b"GET /live", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        for beginning in sent:
            reader, writer = await asyncio.open_connection(HOST, port)
            closing.callback(writer.close)
            writer.write(beginning)
        assert await reader.readuntil(b"ok\n")
        began = time.monotonic()
    assert time.monotonic() - began < 1.0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)


async def test_a_scraper_that_does_not_read_its_page_holds_up_nothing() -> None:
    asked = asyncio.Event()

    def endless() -> tuple[bytes]:
        asked.set()
        return (b"x" * 50_000_000,)

    answers = dataclasses.replace(ANSWERS, metrics=endless)
    async with contextlib.AsyncExitStack() as closing, serving(answers=answers) as said:
        with_socket = closing.enter_context(socket.create_connection((HOST, port_of(said))))
        with_socket.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        await asked.wait()
        assert (await fetch(port_of(said), "/livez"))[0] == 200
        began = time.monotonic()
    assert time.monotonic() - began < 1.0


async def test_it_leaves_the_signals_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with serving():
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


# The watch


class Watched:
    """A watch with its metrics and readiness; runs while the block does."""

    def __init__(
        self,
        *,
        group: Callable[[], Any] | None = None,
        partitions: Callable[[], Any] | None = None,
        probe: Callable[[], Any] | None = None,
        answer_within_s: float = 5.0,
    ) -> None:
        self.metrics = Metrics(version="1", reject_codes=[], wall_clock_ms=lambda: WALL_MS)
        self.readiness = Readiness()
        self.readiness.see(SchemaChecked(applied=(), migrated=True))
        questions = Questions(
            group_health=group or answer_group,
            partitions=partitions or answer_partitions,
            probe=probe or answer_writable,
            in_flight=lambda: 4,
            folding=Marks(),
            state=State(n_devices=2, n_bytes=300, hits=8, misses=2),
        )
        self.watch = Watch(
            questions,
            self.metrics,
            self.readiness,
            look_every_s=0.01,
            answer_within_s=answer_within_s,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with companions(self.watch.works()):
            yield

    def scrape(self) -> dict[str, float]:
        return samples(b"".join(self.metrics.render()))

    async def until(self, fact: Callable[[], bool]) -> None:
        async def holds() -> bool:
            return fact()

        await eventually_async(holds)


async def answer_group() -> GroupFigures:
    return Group()


async def answer_partitions() -> PartitionFigures:
    return Partitions()


async def answer_writable() -> str | None:
    return None


async def never() -> Any:
    await asyncio.Event().wait()


async def test_what_the_watch_sees_is_in_the_metrics() -> None:
    watched = Watched()
    async with watched.running():
        await watched.until(lambda: watched.readiness.is_ready)
        await watched.until(lambda: watched.scrape()["ready"] == 1)
        found = watched.scrape()
    assert (found["redis_reachable"], found["postgres_writable"]) == (1, 1)
    assert (found["group_lag_entries"], found["group_pending_entries"]) == (7, 11)
    assert found["entries_in_flight"] == 4
    assert (found["device_state_devices"], found["device_state_hits_total"]) == (2, 8)
    assert watched.watch.group == Group()


async def test_a_watch_goes_on_where_a_server_fails() -> None:
    is_away = True

    async def group() -> GroupFigures:
        if is_away:
            raise StreamUnavailable("connection refused")
        return Group()

    async def probe() -> str | None:
        if is_away:
            raise SinkUnavailable("the server is starting up")
        return None

    expected = {
        "Redis is not reachable: connection refused",
        "The consumer group was not looked for yet.",
        "Postgres is not writable: the server is starting up",
    }
    watched = Watched(group=group, probe=probe)
    async with watched.running():
        await watched.until(lambda: set(watched.readiness.failings()) == expected)
        assert watched.watch.group is None
        is_away = False
        await watched.until(lambda: watched.readiness.is_ready)


async def test_a_user_who_may_not_ask_is_told_and_stops_nothing() -> None:
    async def group() -> GroupFigures:
        raise ConfigError("the user may not run XINFO")

    watched = Watched(group=group)
    async with watched.running():
        await watched.until(lambda: watched.readiness.facts()["postgres_writable"])
        assert "Redis is not reachable: the user may not run XINFO" in watched.readiness.failings()


async def test_the_partitions_figures_are_known_while_postgres_answers() -> None:
    is_away = False

    async def partitions() -> PartitionFigures:
        if is_away:
            raise SinkUnavailable("the server is starting up")
        return Partitions()

    watched = Watched(partitions=partitions)
    async with watched.running():
        await watched.until(lambda: watched.scrape()["positions_default_plausible_rows"] == 3)
        assert watched.scrape()["positions_partitions"] == 33
        is_away = True
        await watched.until(lambda: math.isnan(watched.scrape()["positions_partitions"]))
        await watched.until(lambda: watched.readiness.is_ready)


async def test_a_bug_in_a_question_ends_the_watch() -> None:
    async def group() -> GroupFigures:
        raise LookupError("a bug")

    watched = Watched(group=group)
    with pytest.raises(ExceptionGroup) as found:
        async with watched.running():
            await never()
    assert isinstance(found.value.exceptions[0], LookupError)


async def test_a_server_that_hangs_does_not_hide_the_other() -> None:
    watched = Watched(probe=never, answer_within_s=0.05)
    watched.readiness.postgres_answered(None)
    async with watched.running():
        await watched.until(lambda: not watched.readiness.facts()["postgres_writable"])
        assert watched.readiness.facts()["redis_reachable"]
    assert list(watched.readiness.failings()) == [
        "Postgres is not writable: it did not answer in time."
    ]


async def test_a_blocked_event_loop_is_measured() -> None:
    watched = Watched()
    async with watched.running():
        await watched.until(lambda: watched.scrape()["event_loop_lag_seconds_count"] >= 1)
        time.sleep(0.4)  # noqa: ASYNC251 -- the fault itself
        late = "event_loop_lag_seconds_bucket{le=0.05}"
        await watched.until(
            lambda: watched.scrape()[late] < watched.scrape()["event_loop_lag_seconds_count"]
        )
        assert watched.scrape()["event_loop_lag_seconds_sum"] > 0.25


async def test_a_redis_that_dies_and_comes_back_is_seen(own_redis: EmbeddedRedis) -> None:
    client = open_client(own_redis.url(), name="watch", command_timeout_s=2.0)

    async def group() -> GroupFigures:
        return await group_health(client, STREAM, "processor", now_ms=time.time_ns() // 1_000_000)

    with blocking_redis.Redis.from_url(own_redis.url()) as writing:
        writing.xgroup_create(STREAM, "processor", id="0", mkstream=True)
        writing.xadd(STREAM, {"imei": "1", "frame": "x"})
    watched = Watched(group=group)
    async with watched.running():
        await watched.until(lambda: watched.readiness.is_ready)
        assert watched.scrape()["group_lag_entries"] == 1
        own_redis.kill()
        await watched.until(lambda: not watched.readiness.facts()["redis_reachable"])
        assert watched.watch.group is None
        own_redis.start()
        await watched.until(lambda: watched.readiness.is_ready)
        assert watched.scrape()["group_lag_entries"] == 1
        with blocking_redis.Redis.from_url(own_redis.url()) as writing:
            writing.xgroup_destroy(STREAM, "processor")
        await watched.until(lambda: not watched.readiness.facts()["group_exists"])
        assert watched.readiness.facts()["redis_reachable"]
    await client.aclose()


# The whole


def settings_with(**more: Any) -> Settings:
    return Settings(
        redis_url="redis://:secret-one@127.0.0.1:6379/3",
        database_url="postgresql://fleet:secret-two@127.0.0.1/fleet?password=secret-three",
        **more,
    )


STARTED = ConsumerStarted(
    consumer="one-2",
    group="processor",
    stream=STREAM,
    last_delivered_id="0-0",
    redis="redis://127.0.0.1",
    database="postgresql://127.0.0.1",
    version="1",
)


def running() -> Running:
    return Running(
        questions=Questions(
            group_health=answer_group,
            partitions=answer_partitions,
            probe=answer_writable,
            in_flight=lambda: 4,
            folding=Marks(),
            state=State(),
        ),
        totals=lambda: Totals(entries=9, records=20, stored=18),
        progress_age_s=lambda: 0.5,
    )


@pytest.fixture
async def observability() -> AsyncIterator[tuple[Observability, list[Event]]]:
    said: list[Event] = []
    observability = Observability(settings_with(http_port=0), said.append, lambda: WALL_MS)
    await observability.start()
    yield observability, said
    await observability.close()


async def test_an_instance_that_starts_is_alive_and_not_ready(
    observability: tuple[Observability, list[Event]],
) -> None:
    _, said = observability
    assert (await fetch(port_of(said), "/livez"))[0] == 200
    code, text, _ = await fetch(port_of(said), "/readyz")
    assert code == 503
    assert "The schema was not checked yet.\n" in text


async def test_an_instance_is_ready_from_the_first_look_until_it_drains(
    observability: tuple[Observability, list[Event]],
) -> None:
    whole, said = observability
    port = port_of(said)

    async def answers(code: int) -> bool:
        return (await fetch(port, "/readyz"))[0] == code

    whole.emit(SchemaChecked(applied=(), migrated=True))
    whole.emit(STARTED)
    async with whole.watching(running(), lambda work: work):
        await eventually_async(lambda: answers(200))
        whole.emit(ConsumerDraining(reason="SIGTERM", in_flight_entries=4))
        assert (await fetch(port, "/readyz"))[:2] == (503, "Draining: SIGTERM.\n")
        assert (await fetch(port, "/livez"))[0] == 200


async def test_while_it_starts_the_metrics_tell_the_server_it_waits_for_and_of_others_nothing(
    observability: tuple[Observability, list[Event]],
) -> None:
    whole, _ = observability

    def known() -> dict[str, float | None]:
        found = samples(b"".join(whole.metrics.render()))
        values = {name: found[name] for name in ("redis_reachable", "postgres_writable", "ready")}
        return {name: None if math.isnan(value) else value for name, value in values.items()}

    nothing = {"redis_reachable": None, "postgres_writable": None, "ready": 0}
    assert known() == nothing
    whole.emit(
        RetryScheduled(stage="sink", attempt=1, wait_s=0.1, error_type="SinkUnavailable", error="x")
    )
    assert known() == {**nothing, "postgres_writable": 0}
    whole.emit(RetrySucceeded(stage="sink", attempts=2, outage_s=0.1))
    assert known() == nothing


async def test_an_event_is_counted_and_logged(
    observability: tuple[Observability, list[Event]],
) -> None:
    whole, said = observability
    decoded = BatchDecoded(batch_id=1, entries=1, records=12, rejects=0, bytes=9, duration_ms=1.0)
    whole.emit(decoded)
    assert said[-1] == decoded
    _, page, _ = await fetch(port_of(said), "/metrics")
    assert samples(page.encode())["records_decoded_total"] == 12


async def test_status_names_the_instance_and_its_settings_without_secrets(
    observability: tuple[Observability, list[Event]],
) -> None:
    whole, said = observability
    whole.emit(STARTED)
    async with whole.watching(running(), lambda work: work):
        _, text, _ = await fetch(port_of(said), "/status")
    assert '"consumer": "one-2"' in text
    assert '"started_at": "2023-11-14T22:13:20.000+00:00"' in text
    assert '"REDIS_URL": "redis://127.0.0.1:6379/3"' in text
    assert '"entries": 9, "records": 20, "stored": 18' in text
    assert "secret" not in text


async def test_a_default_port_may_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTP_PORT", raising=False)
    said: list[Event] = []
    observability = Observability(settings_with(), said.append, lambda: WALL_MS)
    with contextlib.ExitStack() as held:
        # Where another process holds it already, it is just as taken.
        with contextlib.suppress(OSError):
            held.enter_context(socket.create_server((HOST, 9105)))
        await observability.start()
    await observability.close()
    assert [type(event) for event in said] == [HttpPortTaken, HttpStarted]


async def test_a_port_that_was_set_may_not_be_taken(taken_port: int) -> None:
    observability = Observability(
        settings_with(http_port=taken_port), lambda _: None, lambda: WALL_MS
    )
    async with contextlib.AsyncExitStack() as closing:
        closing.push_async_callback(observability.close)
        with pytest.raises(ConfigError, match="HTTP_PORT"):
            await observability.start()

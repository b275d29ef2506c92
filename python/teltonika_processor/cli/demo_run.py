"""The middle of the demo: tables, services, and the devices until all they have is settled."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from teltonika_processor.cli.demo_accounts import FoundAccounts, Wanted
from teltonika_processor.cli.demo_output import DemoOutput
from teltonika_processor.cli.demo_processes import Servers, Services
from teltonika_processor.cli.demo_race import Board, draw_lines
from teltonika_processor.cli.demo_traffic import GROUP, Clients, Looks, Watch
from teltonika_processor.cli.simulate_verify import Verification, Verifier
from teltonika_processor.codec.native import decode_entries
from teltonika_processor.model import TELEMETRY_STREAM
from teltonika_processor.simulate.expectation import ExpectedAccounts
from teltonika_processor.simulate.foreigners import Foreigners
from teltonika_processor.simulate.grand_prix import GrandPrix, make_grand_prix
from teltonika_processor.simulate.keys import SentKeys
from teltonika_processor.simulate.latency import Latencies
from teltonika_processor.simulate.outbox import Parcel
from teltonika_processor.simulate.script import Script
from teltonika_processor.simulate.showcase import Showcase, make_showcase
from teltonika_processor.store.accounts import accounts_session, newest_positions, stored_accounts
from teltonika_processor.store.admission import known
from teltonika_processor.store.connection import Session
from teltonika_processor.store.devices import admit, devices_session
from teltonika_processor.store.migrate import migrate
from teltonika_processor.stream.accounts import (
    count_responses,
    dead_letters_by_code,
    group_progress,
)
from teltonika_processor.stream.audit import AuditedStream
from teltonika_processor.stream.connection import RedisClient, open_client
from teltonika_processor.stream.publish import Publisher

_NAME: Final = "demo"
_VERIFIED_S: Final = 30.0
_EXAMPLE_ROWS: Final = 5
_FOREIGNERS: Final = 2
# The race lasts minutes, and nobody waits for that long.
_RACE_TIMES_FASTER: Final = 40.0


@dataclass(frozen=True, slots=True)
class Simulated:
    """What the options ask for."""

    devices: int
    records: int
    seed: int
    chaos: bool
    cars: int
    laps: int


async def run_through(
    servers: Servers, services: Services, simulated: Simulated, output: DemoOutput
) -> tuple[Wanted, FoundAccounts]:
    """Let devices send all they have through the services, and count what came of it.

    Args:
        servers: Those of this run, without tables.
        services: Not running yet.
        simulated: Who sends, and how much.
        output: Where it is said.

    Raises:
        DemoError: A service ended early, nothing went on, or one did not stop.
        TransientError: A server went away.
    """
    with output.step("Creating the tables, as `teltonika-processor migrate` does"):
        await migrate(servers.database_url)
    for processor in services.processors:  # they need nobody's leave
        processor.spawn()
    told = _Told()
    with output.step(_making(simulated)):
        showcase = _showcase(simulated, told)
        grand_prix = _grand_prix(simulated, told)
    output.describe(showcase, grand_prix)
    with output.step("Allowing their IMEIs, as `teltonika-processor device allow` does"):
        await _allow(servers.database_url, showcase, grand_prix)
    with output.step("Starting `teltonika-processor ingest` and, twice, `... run`"):
        services.gateway.spawn()
        for service in services.all:
            await service.ready()
    clients = Clients(
        showcase, grand_prix, Foreigners(_FOREIGNERS, seed=simulated.seed), simulated.seed
    )
    imeis = [*showcase.allowed, *(car.imei for car in grand_prix.cars)]
    verifier = Verifier(servers.database_url, "none", list(map(int, imeis)))
    await verifier.begin()
    async with (
        _redis_client(servers.redis_url) as client,
        accounts_session(servers.database_url, instance=_NAME) as session,
    ):
        board = await _board(session, grand_prix, output)
        watch = Watch(Looks(client, session, board), services, clients, output)
        with output.step("Sending it by TCP and UDP, until all is acknowledged and stored"):
            publisher = Publisher(client, TELEMETRY_STREAM)
            await publisher.publish(one.fields(_NAME) for one in showcase.direct)
            await watch.until_settled(chaos=simulated.chaos)
        output.replies(told.latencies)
        with output.step("Looking up every record in Postgres by its key"):
            never = asyncio.Event()
            verified = await verifier.verify(told.keys, within_s=_VERIFIED_S, at_once=never)
        with output.step("Stopping all three with SIGTERM"):
            exit_codes = await services.stop()
        found = await _found(client, session, clients, verified, exit_codes)
        if board is not None:
            standings, race = await board.at_the_end()
            found = replace(found, race=race, board=standings)
    return Wanted(frames=_expected(showcase, grand_prix), responses=showcase.n_responses), found


class _Told:
    """What devices were told.

    Attributes:
        keys: Of the records that were acknowledged.
        latencies: From a frame's first byte to its reply.
    """

    def __init__(self) -> None:
        self.keys: Final = SentKeys()
        self.latencies: Final = Latencies()

    def settled(self, imei: str, parcel: Parcel, waited_s: float, *, in_doubt: bool) -> None:
        self.latencies.count(waited_s)
        self.keys.settled(imei, parcel, in_doubt=in_doubt)


def _making(simulated: Simulated) -> str:
    return f"Making {simulated.devices:,} trackers with {simulated.records:,} AVL records"


async def _board(session: Session, grand_prix: GrandPrix, output: DemoOutput) -> Board | None:
    """The board of the race, whose lines are drawn; None where nobody races."""
    if not grand_prix.cars:
        return None
    with output.step("Drawing the lines of a race, as `... zones` and `... sessions` do"):
        await draw_lines(session, grand_prix)
    return Board(session, grand_prix)


def _grand_prix(simulated: Simulated, told: _Told) -> GrandPrix:
    return make_grand_prix(
        cars=simulated.cars,
        laps=simulated.laps,
        seed=simulated.seed,
        now_ms=time.time_ns() // 1_000_000,
        times_faster=_RACE_TIMES_FASTER,
        jitter=random.random,
        settled=told.settled,
    )


def _expected(showcase: Showcase, grand_prix: GrandPrix) -> ExpectedAccounts:
    """With what the cars made, which is known at the end."""
    expected = showcase.expected
    made = {car.imei: car.tracker.link.outbox.n_made for car in grand_prix.cars}
    return replace(
        expected,
        records=expected.records + sum(made.values()),
        stored_by_imei={**expected.stored_by_imei, **made},
    )


def _showcase(simulated: Simulated, told: _Told) -> Showcase:
    return make_showcase(
        devices=simulated.devices,
        records=simulated.records,
        seed=simulated.seed,
        now_ms=time.time_ns() // 1_000_000,
        jitter=random.random,
        settled=told.settled,
    )


async def _allow(database_url: str, showcase: Showcase, grand_prix: GrandPrix) -> None:
    names: dict[int, str | None] = dict.fromkeys(map(int, showcase.allowed))
    names |= {int(car.imei): car.name for car in grand_prix.cars}
    async with devices_session(database_url) as session:
        async for _ in admit(session, names, allowed=True):
            pass


async def _found(
    client: RedisClient,
    session: Session,
    clients: Clients,
    verified: Verification,
    exit_codes: Mapping[str, int],
) -> FoundAccounts:
    return FoundAccounts(
        acknowledged=clients.n_acknowledged,
        n_missing=len(verified.missing),
        n_invented=len(verified.invented),
        n_different=len(verified.different),
        n_foreign_answers=clients.foreigners.account.answered,
        n_refused=await _n_refused(session, clients.showcase.stranger),
        progress=await group_progress(client, TELEMETRY_STREAM, GROUP),
        dead_letters=await dead_letters_by_code(client, TELEMETRY_STREAM),
        responses=await count_responses(client, TELEMETRY_STREAM),
        stored=await stored_accounts(session),
        exit_codes=exit_codes,
        rows=await newest_positions(session, _EXAMPLE_ROWS),
        in_stream=await _in_stream(client),
    )


async def _n_refused(session: Session, stranger: Script) -> int:
    """1 if the stranger was told so, and noted."""
    imei = int(stranger.link.imei)
    noted = await known(session, [imei])
    return int(bool(stranger.link.account.refusals) and noted == {imei: False})


async def _in_stream(client: RedisClient) -> int | None:
    """Records in the stream that can be stored, copies included; None if entries are gone.

    The client reads entries as they are from then on.
    """
    stream = AuditedStream(client, TELEMETRY_STREAM, GROUP)
    held = await stream.held()
    if held is None or held.n_removed:
        return None
    return sum([decode_entries(page).rows().n_records async for page in stream.pages(b"+")])


@contextlib.asynccontextmanager
async def _redis_client(url: str) -> AsyncIterator[RedisClient]:
    client = open_client(url, name=_NAME)
    try:
        yield client
    finally:
        await client.aclose()

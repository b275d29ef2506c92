"""Simulated trackers on real sockets: all they make arrives once, whatever the gateway does."""

import asyncio
import math

import pytest

from book_gateways import Conversation, listening
from teltonika_processor.codec import reference
from teltonika_processor.errors import ConfigError
from teltonika_processor.simulate.account import Account, total
from teltonika_processor.simulate.link import Patience
from teltonika_processor.simulate.outbox import Order
from teltonika_processor.simulate.schedule import Pace, Schedule
from teltonika_processor.simulate.tracker import FleetPlan, Tracker, trackers_of
from teltonika_processor.simulate.traffic import (
    GatewayUnreachable,
    Limits,
    Target,
    Traffic,
    demand_descriptors,
)

STARTED_AT_MS = 1_790_000_000_000
LIMITS = Limits(duration_s=30.0, drain_s=20.0)
# Short, so that a test sees what it does; long beside any reply on this machine.
IMPATIENT = Patience(response_s=0.3, reconnect_base_s=0.01, reconnect_max_s=0.05)
PATIENT = Patience(response_s=20.0, reconnect_base_s=0.01, reconnect_max_s=0.05)


def fleet(
    *,
    devices: int = 3,
    patience: Patience = PATIENT,
    udp_share: float = 0.0,
    records: tuple[int, int] = (1, 3),
    built_frames: int = 0,
    order: Order = "oldest",
) -> list[Tracker]:
    plan = FleetPlan(
        devices=devices,
        seed=1,
        started_at_ms=STARTED_AT_MS,
        udp_share=udp_share,
        records_per_frame=records,
        order=order,
        patience=patience,
        built_frames=built_frames,
    )
    return trackers_of(plan, jitter=lambda: 0.5)


async def run(
    trackers: list[Tracker],
    port: int,
    *,
    n_frames: int | None = 30,
    limits: Limits = LIMITS,
    period_s: float = 0.05,
) -> Traffic:
    pace = Pace(period_s=period_s, records_per_frame=(1, 3), n_frames=n_frames)
    schedule = Schedule(trackers, pace, seed=1, started_at_ms=STARTED_AT_MS)
    target = Target(host="127.0.0.1", tcp_port=port, udp_port=port)
    traffic = Traffic(trackers, schedule, target, seed=1)
    await traffic.run(limits, stop=asyncio.Event(), at_once=asyncio.Event())
    return traffic


def account_of(trackers: list[Tracker]) -> Account:
    return total(tracker.link.account for tracker in trackers)


def n_made(trackers: list[Tracker]) -> int:
    return sum(tracker.link.outbox.n_made for tracker in trackers)


def assert_all_arrived(trackers: list[Tracker], frames: list[bytes]) -> None:
    """Every record that was made is in one of the frames, and nothing else is."""
    account = account_of(trackers)
    assert account.records_acknowledged == n_made(trackers)
    assert sum(tracker.link.n_kept() for tracker in trackers) == 0
    packets = [reference.decode_frame(frame, transport="tcp") for frame in frames]
    records = {bytes(record.raw) for packet in packets for record in packet.records}
    assert len(records) == n_made(trackers)


async def test_everything_arrives_and_the_run_ends_by_itself() -> None:
    async with listening() as gateway:
        trackers = fleet()
        traffic = await run(trackers, gateway.port)
    assert_all_arrived(trackers, gateway.frames())
    account = account_of(trackers)
    assert (account.frames_sent, account.frames_resent, account.connections) == (30, 0, 3)
    assert (account.connections_lost, traffic.n_connected_max) == (0, 3)
    assert {one.server.imei for one in gateway.conversations} == {
        tracker.link.imei for tracker in trackers
    }


async def test_records_are_of_the_time_of_the_run() -> None:
    async with listening() as gateway:
        trackers = fleet(devices=1)
        await run(trackers, gateway.port, n_frames=10)
    packets = [reference.decode_frame(frame, transport="tcp") for frame in gateway.frames()]
    times = [record.recorded_at_ms for packet in packets for record in packet.records]
    assert min(times) >= STARTED_AT_MS
    assert max(times) <= STARTED_AT_MS + 10 * 53


async def test_datagrams_are_answered_too() -> None:
    async with listening() as gateway:
        trackers = fleet(devices=4, udp_share=0.5)
        await run(trackers, gateway.port)
    assert [tracker.transport for tracker in trackers].count("udp") == 2
    assert account_of(trackers).records_acknowledged == n_made(trackers)
    packets = [
        reference.decode_frame(datagram[23:], transport="udp") for datagram in gateway.datagrams
    ]
    assert sum(map(len, packets)) == sum(
        tracker.link.account.records_sent for tracker in trackers if tracker.transport == "udp"
    )


async def test_a_wrong_count_brings_the_records_again() -> None:
    def one_too_many(conversation: Conversation, answer: bytes) -> bytes:
        wrong = len(conversation.server.frames) % 2
        return answer[:-1] + bytes((answer[-1] + wrong,)) if len(answer) == 4 else answer

    async with listening(one_too_many) as gateway:
        trackers = fleet()
        await run(trackers, gateway.port)
    assert_all_arrived(trackers, gateway.frames())
    account = account_of(trackers)
    assert account.replies_wrong == account.frames_resent == account.frames_acknowledged > 0
    assert account.records_in_doubt == 0


async def test_a_reply_that_never_comes_brings_the_records_again() -> None:
    def every_third(conversation: Conversation, answer: bytes) -> bytes:
        silent = len(answer) == 4 and len(conversation.server.frames) % 3 == 0
        return b"" if silent else answer

    async with listening(every_third) as gateway:
        trackers = fleet(patience=IMPATIENT)
        await run(trackers, gateway.port, n_frames=9)
    assert_all_arrived(trackers, gateway.frames())
    account = account_of(trackers)
    assert account.timeouts == account.frames_resent > 0


async def test_a_late_reply_leaves_a_second_one_and_doubt_about_the_next() -> None:
    loop = asyncio.get_running_loop()

    def late(conversation: Conversation, answer: bytes) -> bytes:
        if len(answer) == 4:
            loop.call_later(0.6, conversation.transport.write, answer)
            return b""
        return answer

    async with listening(late) as gateway:
        trackers = fleet(devices=1, patience=IMPATIENT, records=(1, 1))
        await run(trackers, gateway.port, n_frames=4)
    account = account_of(trackers)
    assert account.records_acknowledged == n_made(trackers)
    assert 0 < account.records_in_doubt < account.records_acknowledged


async def test_a_gateway_that_closes_gets_the_kept_records_again() -> None:
    def close_at_the_third(conversation: Conversation, answer: bytes) -> bytes:
        if len(conversation.server.frames) == 3:
            conversation.transport.abort()
            return b""
        return answer

    async with listening(close_at_the_third) as gateway:
        trackers = fleet()
        await run(trackers, gateway.port)
    assert_all_arrived(trackers, gateway.frames())
    account = account_of(trackers)
    assert account.connections_lost >= 10
    assert account.connections == 3 + account.connections_lost


async def test_refused_trackers_send_nothing_and_keep_everything() -> None:
    async with listening(refuses=True) as gateway:
        trackers = fleet(devices=2)
        limits = Limits(duration_s=30.0, drain_s=0.5)
        await run(trackers, gateway.port, n_frames=6, limits=limits)
    account = account_of(trackers)
    assert account.refusals == account.connections >= 2
    assert (account.frames_sent, sum(one.link.n_kept() for one in trackers)) == (
        0,
        n_made(trackers),
    )
    assert gateway.frames() == []


@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_a_backlog_is_sent_high_priority_first_then_in_its_order(order: Order) -> None:
    trackers = fleet(devices=1, records=(1, 25), order=order)
    trackers[0].make(60, since_ms=STARTED_AT_MS - 600_000, at_ms=STARTED_AT_MS)
    async with listening() as gateway:
        await run(trackers, gateway.port, n_frames=0)
    packets = [reference.decode_frame(frame, transport="tcp") for frame in gateway.frames()]
    sent = [(one.priority, one.recorded_at_ms) for packet in packets for one in packet.records]
    assert {priority for priority, _ in sent} > {0}
    assert sent == sorted(sent, key=lambda one: (-one[0], one[1] if order == "oldest" else -one[1]))


async def test_built_frames_follow_each_reply_until_they_are_sent() -> None:
    async with listening() as gateway:
        trackers = fleet(built_frames=5)
        for tracker in trackers:
            tracker.grant(20)
        target = Target(host="127.0.0.1", tcp_port=gateway.port, udp_port=gateway.port)
        traffic = Traffic(trackers, None, target, seed=1)
        await traffic.run(LIMITS, stop=asyncio.Event(), at_once=asyncio.Event())
    assert len(gateway.frames()) == 60
    assert len(set(gateway.frames())) == 15
    assert account_of(trackers).records_acknowledged == n_made(trackers)


async def test_the_stop_event_ends_the_making_and_what_is_kept_is_sent() -> None:
    stop = asyncio.Event()

    def stop_at_ten(conversation: Conversation, answer: bytes) -> bytes:
        if len(conversation.server.frames) == 10:
            stop.set()
        return answer

    async with listening(stop_at_ten) as gateway:
        trackers = fleet(devices=1)
        pace = Pace(period_s=0.02, records_per_frame=(1, 1))
        schedule = Schedule(trackers, pace, seed=1, started_at_ms=STARTED_AT_MS)
        target = Target(host="127.0.0.1", tcp_port=gateway.port, udp_port=gateway.port)
        limits = Limits(duration_s=math.inf, drain_s=20.0)
        await Traffic(trackers, schedule, target, seed=1).run(
            limits, stop=stop, at_once=asyncio.Event()
        )
    assert_all_arrived(trackers, gateway.frames())


async def test_nobody_there_is_told_with_the_reason() -> None:
    async with listening() as gateway:
        port = gateway.port
    traffic = await run(fleet(), port, n_frames=3, limits=Limits(duration_s=0.3, drain_s=0.0))
    with pytest.raises(GatewayUnreachable, match=rf"^127.0.0.1:{port}: .*refused"):
        traffic.demand_one_connection()


async def test_nobody_there_is_told_by_trackers_of_udp_as_well() -> None:
    async with listening() as gateway:
        port = gateway.port
    limits = Limits(duration_s=0.3, drain_s=0.0)
    traffic = await run(fleet(udp_share=1.0), port, n_frames=3, limits=limits)
    with pytest.raises(GatewayUnreachable, match=rf"^127.0.0.1:{port}: no reply by UDP$"):
        traffic.demand_one_connection()


async def test_a_gateway_that_answers_datagrams_is_reached() -> None:
    async with listening() as gateway:
        target = Target(host="127.0.0.1", tcp_port=1, udp_port=gateway.port)
        trackers = fleet(devices=2, udp_share=0.5)
        pace = Pace(period_s=0.05, records_per_frame=(1, 1), n_frames=6)
        schedule = Schedule(trackers, pace, seed=1, started_at_ms=STARTED_AT_MS)
        traffic = Traffic(trackers, schedule, target, seed=1)
        limits = Limits(duration_s=0.5, drain_s=0.5)
        await traffic.run(limits, stop=asyncio.Event(), at_once=asyncio.Event())
    traffic.demand_one_connection()


async def test_an_address_that_no_datagram_reaches_is_told() -> None:
    trackers = fleet(udp_share=1.0)
    target = Target(host="255.255.255.255", tcp_port=1, udp_port=1)
    traffic = Traffic(trackers, None, target, seed=1)
    await traffic.prepare()
    limits = Limits(duration_s=0.2, drain_s=0.0)
    await traffic.run(limits, stop=asyncio.Event(), at_once=asyncio.Event())
    with pytest.raises(GatewayUnreachable, match=r"^255.255.255.255:1: .*[Pp]ermission denied"):
        traffic.demand_one_connection()
    assert account_of(trackers).unreached == 3


def test_more_files_than_allowed_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"1000000000 files to open, and \d+ are allowed"):
        demand_descriptors(1_000_000_000)

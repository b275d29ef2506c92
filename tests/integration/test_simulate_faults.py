"""Trackers with faults at a gateway by the book: what is acknowledged arrived, and all of it is."""

import asyncio

import pytest
from typing_extensions import override

from book_gateways import Gateway, listening
from teltonika_processor.cli.simulate_run import Order, Run, simulate
from teltonika_processor.codec import reference
from teltonika_processor.service.signals import StopRequests
from teltonika_processor.simulate import foreigners, wire_faults
from teltonika_processor.simulate.foreigners import ForeignAccount
from teltonika_processor.simulate.keys import Keys, SentKeys
from teltonika_processor.simulate.link import DeviceLink, Patience
from teltonika_processor.simulate.outbox import Order as RecordOrder
from teltonika_processor.simulate.outbox import Parcel
from teltonika_processor.simulate.outcome import Outcome
from teltonika_processor.simulate.published import Transport
from teltonika_processor.simulate.schedule import Pace
from teltonika_processor.simulate.tracker import FleetPlan
from teltonika_processor.simulate.traffic import Limits, Target
from teltonika_processor.simulate.wire_faults import Fault

PATIENCE = Patience(response_s=0.5, reconnect_base_s=0.01, reconnect_max_s=0.1)
HONEST = sorted(set(Fault) - {Fault.DEAF, Fault.POISON, Fault.GARBAGE})


async def watch(_run: Run) -> None:
    """Nobody looks."""


async def run(
    gateway: Gateway,
    *faults: Fault,
    n_frames: int = 40,
    drain_s: float = 30.0,
    built_frames: int = 0,
    udp_share: float = 0.0,
    order: RecordOrder = "oldest",
) -> tuple[Outcome, SentKeys]:
    sent = SentKeys()
    order = Order(
        fleet=FleetPlan(
            devices=3,
            seed=1,
            started_at_ms=1_790_000_000_000,
            patience=PATIENCE,
            udp_share=udp_share,
            order=order,
            built_frames=built_frames,
            faults=dict.fromkeys(faults, 1.0),
        ),
        target=Target(host="127.0.0.1", tcp_port=gateway.port, udp_port=gateway.port),
        limits=Limits(duration_s=60.0, drain_s=drain_s),
        pace=Pace(period_s=0.05, records_per_frame=(1, 2), n_frames=n_frames),
        n_frames=None,
    )
    return await simulate(order, watch, StopRequests(), sent), sent


def imeis_of(sent: SentKeys) -> list[int]:
    return sorted({*sent.acknowledged.imeis(), *sent.possible.imeis()})


def arrived(gateway: Gateway) -> Keys:
    """Keys of all records in frames whose CRC is right."""
    keys = Keys()
    for conversation in gateway.conversations:
        for frame in conversation.server.frames:
            keys.add(conversation.server.imei, Parcel(frame, frame[9]))
    return keys


@pytest.mark.parametrize("fault", HONEST)
async def test_all_is_acknowledged_and_has_arrived(fault: Fault) -> None:
    async with listening() as gateway:
        outcome, sent = await run(gateway, fault)
    assert outcome.findings() == []
    assert outcome.totals.records_acknowledged == outcome.n_made > 0
    there = arrived(gateway)
    for imei in imeis_of(sent):
        assert sent.acknowledged.of(imei) <= there.of(imei) <= sent.may_be_stored(imei)
    assert gateway.n_foreign == 0


async def test_faults_leave_their_traces() -> None:
    async with listening() as gateway:
        outcome, _ = await run(gateway, Fault.DISCONNECT, Fault.DUPLICATE, Fault.DAMAGE, Fault.GLUE)
    totals = outcome.totals
    servers = [conversation.server for conversation in gateway.conversations]
    assert totals.connections == len(servers) > 3
    assert totals.frames_resent >= totals.timeouts > 0
    assert any(server.damaged for server in servers)
    assert sum(server.n_pings for server in servers) > 0
    assert totals.records_in_doubt == 0


async def test_twins_share_an_imei_and_not_their_records() -> None:
    async with listening() as gateway:
        outcome, _ = await run(gateway, Fault.TWINS)
    assert len(outcome.devices) == 6
    assert len({device.imei for device in outcome.devices}) == 3
    frames = gateway.frames()
    assert len(set(frames)) == len(frames)


def priorities_and_times(frame: bytes, transport: Transport = "tcp") -> list[tuple[int, int]]:
    records = reference.decode_frame(frame, transport=transport).records
    return [(record.priority, record.recorded_at_ms) for record in records]


@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_a_gap_ends_with_a_backlog(order: RecordOrder) -> None:
    async with listening() as gateway:
        outcome, _ = await run(gateway, Fault.GAP, n_frames=120, order=order)
    assert outcome.findings() == []
    assert outcome.totals.connections > 3
    frames = [priorities_and_times(frame) for frame in gateway.frames()]
    assert max(map(len, frames)) > 5
    for records in frames:
        assert records == sorted(
            records, key=lambda one: (-one[0], one[1] if order == "oldest" else -one[1])
        )


async def test_trackers_by_udp_have_the_faults_that_need_no_connection() -> None:
    async with listening() as gateway:
        faults = (Fault.NO_FIX, Fault.CLOCK_2004, Fault.DUPLICATE, Fault.GAP)
        outcome, sent = await run(gateway, *faults, n_frames=120, udp_share=1.0)
    assert outcome.findings() == []
    assert outcome.totals.records_acknowledged == outcome.n_made
    assert {device.transport for device in outcome.devices} == {"udp"}
    assert outcome.totals.timeouts > 0
    packets = [datagram[23:] for datagram in gateway.datagrams]
    assert len(packets) > len(set(packets))
    assert max(len(priorities_and_times(packet, "udp")) for packet in packets) > 5
    times = [at for packet in packets for _, at in priorities_and_times(packet, "udp")]
    assert min(times) < 1_100_000_000_000 < max(times)
    for imei in imeis_of(sent):
        assert sent.acknowledged.of(imei)


@pytest.mark.parametrize("udp_share", [0.0, 1.0])
async def test_a_gap_ends_with_the_run(monkeypatch: pytest.MonkeyPatch, udp_share: float) -> None:
    monkeypatch.setattr(wire_faults, "_GAP_PERIODS", (10_000.0, 10_000.0))
    async with listening() as gateway:
        outcome, _ = await run(gateway, Fault.GAP, n_frames=150, drain_s=8.0, udp_share=udp_share)
    assert outcome.findings() == []
    frames = gateway.frames() or [datagram[23:] for datagram in gateway.datagrams]
    assert len(frames) < 100


async def test_a_deaf_tracker_keeps_everything_and_is_no_finding() -> None:
    async with listening() as gateway:
        outcome, sent = await run(gateway, Fault.DEAF, n_frames=9, drain_s=1.0)
    assert outcome.findings() == []
    assert (outcome.totals.records_acknowledged, outcome.n_kept) == (0, outcome.n_made)
    there = arrived(gateway)
    assert len(gateway.frames()) >= 60
    for imei in imeis_of(sent):
        assert there.of(imei) <= sent.possible.of(imei)


async def test_poison_is_sent_the_same_until_it_is_taken() -> None:
    heard: dict[bytes, int] = {}

    async with listening() as gateway:
        gateway.quarantine_after = 3
        outcome, sent = await run(gateway, Fault.POISON, n_frames=6)
        for conversation in gateway.conversations:
            for frame, times in conversation.server.damaged.items():
                heard[frame] = heard.get(frame, 0) + times
    assert outcome.findings() == []
    assert outcome.n_poisoned == outcome.n_made >= 6
    assert set(heard.values()) == {3}
    assert imeis_of(sent) == []


async def test_clients_that_are_no_devices_are_closed_without_an_answer() -> None:
    async with listening() as gateway:
        outcome, _ = await run(gateway, Fault.GARBAGE, n_frames=150)
    assert outcome.findings() == []
    assert outcome.foreign is not None
    assert outcome.foreign.closed == gateway.n_foreign > 0
    assert_adds_up(outcome.foreign)


def assert_adds_up(account: ForeignAccount) -> None:
    assert account.connections == account.closed + account.held + account.still_open


@pytest.mark.parametrize("handshake_s", [0.5, 100.0])
async def test_a_gateway_that_closes_no_stranger_is_found_out(
    monkeypatch: pytest.MonkeyPatch, handshake_s: float
) -> None:
    monkeypatch.setattr(foreigners, "_HANDSHAKE_S", handshake_s)
    async with listening() as gateway:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        port, gateway.port = gateway.port, server.sockets[0].getsockname()[1]
        outcome, _ = await run(gateway, Fault.GARBAGE, n_frames=100, drain_s=2.0)
        gateway.port = port
        server.close()
    assert outcome.foreign is not None
    assert_adds_up(outcome.foreign)
    is_found = outcome.foreign.held > 0
    assert is_found == any("not closed" in one for one in outcome.findings()) == (handshake_s < 1)


async def test_an_answer_to_no_device_is_a_finding() -> None:
    async with listening() as gateway:
        server = await asyncio.get_running_loop().create_server(Talker, "127.0.0.1", 0)
        gateway.port = server.sockets[0].getsockname()[1]
        outcome, _ = await run(gateway, Fault.GARBAGE, n_frames=100, drain_s=1.0)
        server.close()
    assert any("no devices got an answer" in finding for finding in outcome.findings())


class Talker(asyncio.Protocol):
    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"\x01")  # type: ignore[attr-defined] # as the loop gives it


async def test_all_records_can_be_decoded() -> None:
    async with listening() as gateway:
        await run(gateway, Fault.NO_FIX, Fault.CLOCK_2004, n_frames=30)
    packets = [reference.decode_frame(frame, transport="tcp") for frame in gateway.frames()]
    records = [record for packet in packets for record in packet.records]
    assert any(record.recorded_at_ms < 1_100_000_000_000 for record in records)
    assert any(record.satellites == 0 for record in records)


async def test_a_bug_in_a_callback_ends_the_run_and_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(DeviceLink, "received", broken)
    async with listening() as gateway:
        with pytest.raises(ZeroDivisionError):
            await run(gateway)

"""One device in the stream: its newest entries, and those that nobody needs any more."""

from collections.abc import Iterator

import pytest
import redis

from letters import add_letter
from telemetry import BASE_MS, GROUP, IMEI, STREAM, Telemetry, entry, frame_at
from teltonika_processor.stream import device_entries
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.device_entries import DeviceStream, EntryState

OTHER = 352093081452251
FRAME = frame_at(BASE_MS)


@pytest.fixture
def telemetry(redis_url: str) -> Iterator[Telemetry]:
    telemetry = Telemetry(redis_url)
    yield telemetry
    telemetry.close()


@pytest.fixture
def device(client: RedisClient) -> DeviceStream:
    return DeviceStream(client, stream=STREAM, group=GROUP, imei=IMEI)


def deliver(client: redis.Redis, count: int, group: str = GROUP) -> list[bytes]:
    """Give a group that many more entries; their ids."""
    if not any(found["name"] == group.encode() for found in client.xinfo_groups(STREAM)):
        client.xgroup_create(STREAM, group, "0")
    reply = client.xreadgroup(group, "one", {STREAM: ">"}, count=count)
    return [entry_id for entry_id, _ in reply[0][1]]


def texts(ids: list[bytes]) -> list[str]:
    return [entry_id.decode() for entry_id in ids]


async def test_the_newest_entries_of_a_device_come_newest_first_with_their_fields(
    telemetry: Telemetry, device: DeviceStream
) -> None:
    ids = telemetry.publish([entry(FRAME, imei) for imei in (IMEI, OTHER, IMEI, OTHER, IMEI)])
    found = await device.newest(limit=2, look_max=1000)
    assert [one.entry_id for one in found.entries] == texts([ids[4], ids[2]])
    fields = found.entries[0].fields
    assert dict(zip(fields[::2], fields[1::2], strict=True))[b"frame"] == FRAME
    assert (found.n_looked, found.is_whole) == (5, True)


async def test_an_entry_is_undelivered_pending_or_acknowledged(
    telemetry: Telemetry, device: DeviceStream
) -> None:
    telemetry.publish([entry(FRAME) for _ in range(3)])
    without_group = await device.newest(limit=5, look_max=1000)
    assert {one.state for one in without_group.entries} == {EntryState.UNDELIVERED}
    ids = deliver(telemetry.client, 2)
    telemetry.client.xack(STREAM, GROUP, ids[0])
    found = await device.newest(limit=5, look_max=1000)
    assert [one.state for one in found.entries] == ["undelivered", "pending", "acknowledged"]


@pytest.mark.parametrize(("look_max", "n_found"), [(999, 0), (1000, 0), (1001, 1), (5000, 1)])
async def test_no_more_entries_are_looked_at_than_allowed_and_it_is_said_how_many(
    telemetry: Telemetry, device: DeviceStream, look_max: int, n_found: int
) -> None:
    telemetry.publish([entry(FRAME), *(entry(b"", OTHER) for _ in range(1000))])
    found = await device.newest(limit=5, look_max=look_max)
    assert len(found.entries) == n_found
    assert found.n_looked == min(look_max, 1001)
    assert found.is_whole == (look_max > 1001)


async def test_entries_of_any_shape_are_walked_over(
    telemetry: Telemetry, device: DeviceStream
) -> None:
    telemetry.client.xadd(STREAM, {"frame": b"imei", b"\xff": b"\x00"})
    telemetry.client.xadd(STREAM, {"imei": f"{IMEI} "})
    telemetry.client.execute_command("XADD", STREAM, "*", "imei", f"{IMEI}", "imei", f"{OTHER}")
    last = telemetry.client.execute_command(
        "XADD", STREAM, "*", "imei", f"{OTHER}", "imei", f"{IMEI}"
    )
    found = await device.newest(limit=5, look_max=1000)
    assert [one.entry_id for one in found.entries] == texts([last])


async def test_without_a_stream_there_is_nothing(device: DeviceStream) -> None:
    found = await device.newest(limit=5, look_max=1000)
    assert (found.entries, found.n_looked, found.is_whole) == ([], 0, True)
    letters = await device.letters(limit=5, look_max=1000)
    assert (letters.n_letters, letters.newest, letters.is_whole) == (0, [], True)
    counted = await device.counted()
    assert (counted.n_settled, counted.n_needed) == (0, 0)


async def test_letters_are_counted_and_the_newest_shown(
    telemetry: Telemetry, device: DeviceStream
) -> None:
    ids = [add_letter(telemetry.client, entry(FRAME), error=f"no {n}") for n in range(600)]
    add_letter(telemetry.client, entry(FRAME, OTHER))
    foreign = telemetry.client.xadd(f"{STREAM}:dlq", {"imei": f"{IMEI}"}).decode()
    found = await device.letters(limit=3, look_max=5000)
    assert (found.n_letters, found.n_looked, found.is_whole) == (601, 602, True)
    assert [letter_id for letter_id, _ in found.newest] == [foreign, ids[599], ids[598]]
    assert [cause.error if cause else None for _, cause in found.newest] == [
        None,
        "no 599",
        "no 598",
    ]
    few = await device.letters(limit=3, look_max=100)
    assert (few.n_letters, few.n_looked, few.is_whole) == (99, 100, False)


async def test_only_what_every_group_has_acknowledged_is_erased(
    telemetry: Telemetry, device: DeviceStream
) -> None:
    ids = telemetry.publish([entry(FRAME, imei) for imei in (IMEI, IMEI, OTHER, IMEI, IMEI)])
    delivered = deliver(telemetry.client, 4)
    telemetry.client.xack(STREAM, GROUP, delivered[0], delivered[2], delivered[3])
    for found in (await device.counted(), await device.erase_settled()):
        assert found.n_settled == 2
        assert (dict(found.undelivered), dict(found.pending)) == ({GROUP: 1}, {GROUP: 1})
        assert found.n_needed == 2
    assert [one for one, _ in telemetry.client.xrange(STREAM)] == [ids[1], ids[2], ids[4]]


async def test_entries_that_another_group_needs_stay(
    telemetry: Telemetry, device: DeviceStream
) -> None:
    telemetry.publish([entry(FRAME) for _ in range(3)])
    telemetry.client.xack(STREAM, GROUP, *deliver(telemetry.client, 3))
    (seen, _) = deliver(telemetry.client, 2, "reports")
    telemetry.client.xack(STREAM, "reports", seen)
    found = await device.erase_settled()
    assert found.n_settled == 1
    assert (dict(found.undelivered), dict(found.pending)) == ({"reports": 1}, {"reports": 1})


async def test_without_our_group_everything_is_needed(
    telemetry: Telemetry, device: DeviceStream
) -> None:
    telemetry.publish([entry(FRAME)])
    telemetry.client.xack(STREAM, "reports", *deliver(telemetry.client, 1, "reports"))
    found = await device.erase_settled()
    assert (found.n_settled, dict(found.undelivered)) == (0, {GROUP: 1})


async def test_many_entries_are_erased_in_scripts_of_bounded_length(
    telemetry: Telemetry, device: DeviceStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_entries, "_PAGE_BYTES", 2000)
    telemetry.publish([entry(FRAME, imei) for _ in range(700) for imei in (IMEI, OTHER)])
    telemetry.client.xack(STREAM, GROUP, *deliver(telemetry.client, 1400))
    assert (await device.counted()).n_settled == 700
    assert (await device.erase_settled()).n_settled == 700
    assert (await device.erase_settled()).n_settled == 0
    assert telemetry.client.xlen(STREAM) == 700

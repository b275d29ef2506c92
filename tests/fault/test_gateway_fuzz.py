"""Random and damaged bytes on every socket: no exception, no leak, and honest devices are served.

FUZZ_SECONDS and FUZZ_SEED say for how long, and repeat a run.
"""

import contextlib
import os
import random
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
import redis

from devices import Device, channel_packet, datagrams, handshake, honest_device, numbered
from documented import documented
from processes import Gateway
from scraped import figures
from servers import new_redis
from teltonika_processor.embedded import EmbeddedRedis
from tls_proxy import AUTHORITY
from waiting import eventually

SECONDS: Final = float(os.environ.get("FUZZ_SECONDS") or 5)
SEED: Final = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(10**6))

STREAM: Final = "telemetry:teltonika"
ATTACKERS: Final = range(999_999_999_999_900, 999_999_999_999_905)

FRAMES: Final = [v for v in documented() if "data_length" in v["expect"]]
DATAGRAMS: Final = [bytes.fromhex(v["hex"]) for v in documented() if v["transport"] == "udp"]
TLS: Final = AUTHORITY.parent


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with new_redis(tcp=True, appendfsync="always") as started:
        yield started


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    return tmp_path / "panic-dumps"


@pytest.fixture
def gateway(server: EmbeddedRedis, dumps: Path) -> Iterator[Gateway]:
    """One with all its listeners, which must end as if nothing had been."""
    with redis.Redis.from_url(server.url()) as client:
        client.flushall()
    with Gateway(
        server.url(),
        PANIC_DUMP_DIR=str(dumps),
        INGEST_TLS_PORT="0",
        INGEST_TLS_CERT_FILE=str(TLS / "server.pem"),
        INGEST_TLS_KEY_FILE=str(TLS / "server.key"),
        INGEST_HANDSHAKE_TIMEOUT_MS="500",
        INGEST_IDLE_TIMEOUT_MS="1000",
    ) as started:
        assert started.tcp_port
        yield started
        assert started.terminate() == 0
        assert {event["level"] for event in started.events} <= {"info", "warning"}
        assert all(line.startswith("{") for line in started.output), started.output
        assert not dumps.exists()


def stored(server: EmbeddedRedis) -> Counter[bytes]:
    with redis.Redis.from_url(server.url()) as client:
        return Counter(fields[b"frame"] for _, fields in client.xrange(STREAM))


# 24 damaged variants of each documented frame


def with_bit_flipped(frame: bytes, at: int, bit: int) -> bytes:
    return frame[:at] + bytes([frame[at] ^ 1 << bit]) + frame[at + 1 :]


def flipped(frame: bytes) -> list[bytes]:
    """16 with one wrong bit behind the length: codec id, counts, records, all of the CRC."""
    inside = [10 + (len(frame) - 15) * i // 9 for i in range(9)]
    places = [8, 9, *inside, *range(len(frame) - 5, len(frame))]
    return [with_bit_flipped(frame, at, number % 8) for number, at in enumerate(places)]


def cut(frame: bytes) -> list[bytes]:
    """4 that end early."""
    return [frame[:n] for n in (5, 9, len(frame) // 2, len(frame) - 1)]


def unframed(frame: bytes) -> list[bytes]:
    """4 whose head is wrong."""
    length = int.from_bytes(frame[4:8])
    wrong = [(length + off).to_bytes(4) for off in (1, -1)]
    return [
        *(b"\x01" + frame[1:], b"\x00\x00\x00\x01" + frame[4:]),
        *(frame[:4] + other + frame[8:] for other in wrong),
    ]


def by_id(vector: dict[str, Any]) -> str:
    return str(vector["id"])


def test_each_frame_has_24_variants() -> None:
    for vector in FRAMES:
        frame = bytes.fromhex(vector["hex"])
        variants = [*flipped(frame), *cut(frame), *unframed(frame)]
        assert len(variants) == len(set(variants)) == 24
        assert frame not in variants


def test_no_damaged_variant_of_a_documented_frame_is_answered_or_stored(
    gateway: Gateway, server: EmbeddedRedis
) -> None:
    port, intact = gateway.tcp_port, numbered(7, 77)
    answer = (77).to_bytes(4)
    n_answered = 0
    for vector in FRAMES:
        frame = bytes.fromhex(vector["hex"])
        with Device(port) as device:
            # The link is kept, and what comes next is answered.
            for variant in flipped(frame):
                device.send(variant + intact)
                assert device.receive(4) == answer, vector["id"]
                n_answered += 1
        for variant in cut(frame):
            with Device(port) as device:
                device.send(variant)
                device.socket.shutdown(socket.SHUT_WR)
                assert device.rest() == b""
        for variant in unframed(frame):
            with Device(port) as device:
                device.send(variant + intact)
                device.socket.shutdown(socket.SHUT_WR)
                # Where what is left over happens to read as a ping, the next is found.
                received = device.rest()
                assert received in {b"", answer}
                n_answered += received == answer
    in_stream = stored(server)
    assert set(in_stream) == {intact}
    assert in_stream[intact] >= n_answered
    assert figures(gateway)["gateway_damaged_frames_total"] >= 16 * len(FRAMES)


# At random


class Attacker:
    """Does something to a gateway that no device does, or does it in another way."""

    def __init__(self, gateway: Gateway, rng: random.Random) -> None:
        self._ports: Final = [gateway.tcp_port] * 4 + [gateway.tls_port]
        self._tls_port: Final = gateway.tls_port
        self._udp_port: Final = gateway.udp_port
        self._rng: Final = rng
        self._held: Final[list[Device]] = []
        self._tls: Final = ssl.create_default_context(cafile=str(AUTHORITY))

    def step(self) -> str:
        """One attack; its name."""
        attack = self._rng.choice(
            [self._talk, self._talk, self._talk, self._talk_by_tls, self._datagram, self._hang]
        )
        with contextlib.suppress(OSError):
            attack()
        return attack.__name__.lstrip("_")

    def close(self) -> None:
        for device in self._held:
            device.close()

    def _talk(self) -> None:
        device = Device(self._rng.choice(self._ports), None)
        try:
            self._send_split(device, self._conversation())
        except BaseException:
            device.close()
            raise
        self._leave(device)

    def _talk_by_tls(self) -> None:
        with Device(self._tls_port, None, tls=self._tls) as device:
            self._send_split(device, self._conversation())

    def _datagram(self) -> None:
        with datagrams(self._udp_port) as sender:
            for _ in range(self._rng.randint(1, 10)):
                datagram = self._rng.choice(DATAGRAMS) * self._rng.choice([1, 1, 3, 40])
                if self._rng.random() < 0.2:
                    noise = self._rng.randbytes(self._rng.randint(0, 300))
                    datagram = channel_packet(noise, self._rng.choice(ATTACKERS))
                sender.send(self._mutated(datagram)[:60_000])

    def _hang(self) -> None:
        """Stay there, silent in the middle of something."""
        device = Device(self._rng.choice(self._ports), None)
        self._held.append(device)
        device.send(self._conversation()[: self._rng.randint(0, 60)])
        if len(self._held) > 50:
            self._leave(self._held.pop(self._rng.randrange(50)))

    def _conversation(self) -> bytes:
        rng = self._rng
        opening = rng.choice([handshake(rng.choice(ATTACKERS))] * 6 + [b"", b"\xff"])
        if rng.random() < 0.15:
            return rng.randbytes(rng.choice([1, 2, 17, 300, 5000]))
        words = [self._word() for _ in range(rng.randint(0, 8))]
        return self._mutated(opening) + b"".join(words)

    def _word(self) -> bytes:
        rng = self._rng
        frame = bytes.fromhex(rng.choice(FRAMES)["hex"])
        kind = rng.random()
        if kind < 0.3:
            return frame
        if kind < 0.7:
            return self._mutated(frame)
        if kind < 0.8:
            return self._mutated(frame) * 4
        if kind < 0.9:
            return b"\xff" * rng.randint(1, 5)
        head = bytes(4) + rng.choice([0, 1, 3, 4084, 4085, 2**31, 2**32 - 1]).to_bytes(4)
        return head + rng.randbytes(rng.randint(0, 20))

    def _mutated(self, data: bytes) -> bytes:
        rng, mutated = self._rng, bytearray(data)
        for _ in range(rng.choice([0, 1, 1, 1, 2, 5])):
            at = rng.randint(0, len(mutated))
            change: Callable[[], Any] = rng.choice(
                [
                    lambda at=at: mutated.__setitem__(slice(at, at + 1), rng.randbytes(1)),
                    lambda at=at: mutated.__delitem__(slice(at, at + rng.randint(1, 4))),
                    lambda at=at: mutated.__setitem__(slice(at, at), rng.randbytes(2)),
                    lambda at=at: mutated.__delitem__(slice(at, None)),
                ]
            )
            change()
        return bytes(mutated)

    def _send_split(self, device: Device, data: bytes) -> None:
        while data:
            at = self._rng.choice([1, 2, 7, 40, 1000, 100_000])
            device.send(data[:at])
            data = data[at:]

    def _leave(self, device: Device) -> None:
        if self._rng.random() < 0.3:
            with contextlib.suppress(OSError):
                device.socket.shutdown(socket.SHUT_WR)
                device.socket.settimeout(0.02)
                device.rest()
        if self._rng.random() < 0.5:
            device.reset()
        device.close()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_random_bytes_end_in_no_exception_and_leave_nothing_behind(
    gateway: Gateway, server: EmbeddedRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    attacks: Counter[str] = Counter()
    process = psutil.Process(gateway.pid)
    before = process.num_fds()
    with honest_device(gateway.tcp_port) as took:
        attacker = Attacker(gateway, random.Random(SEED))
        end = time.monotonic() + SECONDS
        try:
            while time.monotonic() < end and gateway.running:
                attacks[attacker.step()] += 1
        finally:
            attacker.close()
            with capsys.disabled():
                print(f"\nfuzz: seed {SEED}, {attacks.total()} attacks, {len(took)} honest frames")  # noqa: T201
        assert gateway.running, "".join(gateway.output)
        eventually(lambda: n_connections(gateway) == 1)
    eventually(lambda: n_connections(gateway) == 0)
    eventually(lambda: process.num_fds() <= before)
    assert figures(gateway)["gateway_in_flight_bytes"] == 0
    in_stream = stored(server)
    assert all(in_stream[numbered(number, 7)] == 1 for number in range(len(took)))
    assert sorted(took)[len(took) // 2] < 0.5


def n_connections(gateway: Gateway) -> int:
    found = figures(gateway)
    return int(sum(n for name, n in found.items() if name.startswith("gateway_connections{")))

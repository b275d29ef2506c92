"""Frames for tests, into the stream and back out of the tables."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import redis

import teltonika_processor as tp

STREAM = "telemetry:teltonika"
LETTERS = "telemetry:teltonika:dlq"
RESPONSES = "telemetry:teltonika:responses"
GROUP = "processor"

IMEI = 356307042441013
BASE_MS = 1_790_000_000_000
RECEIVED_MS = BASE_MS + 3_600_000


def record(recorded_at_ms: int, **fields: Any) -> dict[str, Any]:
    """A record with a fix."""
    return {
        "recorded_at_ms": recorded_at_ms,
        "longitude_e7": 252_798_000,
        "latitude_e7": 546_872_000,
        "altitude_m": 112,
        "angle_deg": 90,
        "satellites": 11,
        "speed_kmh": 40,
        "io": {239: 1, 66: 12_345},
        **fields,
    }


def frame_at(*times_ms: int, **fields: Any) -> bytes:
    """One Codec 8E frame with a record for each time."""
    return tp.encode_frame([record(time_ms, **fields) for time_ms in times_ms])


def entry(frame: bytes, imei: int = IMEI, **fields: str) -> dict[str, bytes | str]:
    """A stream entry as the gateway writes it."""
    return {
        "imei": f"{imei:015d}",
        "frame": frame,
        "received_at_ms": str(RECEIVED_MS),
        "transport": "tcp",
        **fields,
    }


@dataclass(frozen=True)
class Key:
    """A record as the tables name it, but for its digest."""

    imei: int
    recorded_at_ms: int


class Telemetry:
    """The stream of one test."""

    def __init__(self, url: str) -> None:
        self.client: redis.Redis = redis.Redis.from_url(url)

    def close(self) -> None:
        self.client.close()

    def publish(self, entries: Iterable[Mapping[str, bytes | str]]) -> list[bytes]:
        """Append entries; their ids."""
        pipeline = self.client.pipeline(transaction=False)
        for fields in entries:
            pipeline.xadd(STREAM, dict(fields))
        ids: list[bytes] = pipeline.execute()
        return ids

    def pending(self) -> int:
        """Entries delivered and not acknowledged; 0 before the group exists."""
        if not self.client.exists(STREAM):
            return 0
        groups = self.client.xinfo_groups(STREAM)
        return sum(int(group["pending"]) for group in groups)

    def settled(self) -> bool:
        """Whether everything was delivered and acknowledged."""
        groups = self.client.xinfo_groups(STREAM)
        last = self.client.xinfo_stream(STREAM)["last-generated-id"]
        return bool(groups) and all(
            group["pending"] == 0 and group["last-delivered-id"] == last for group in groups
        )

    def letters(self) -> list[dict[bytes, bytes]]:
        """The dead letters' fields, oldest first."""
        return [fields for _, fields in self.client.xrange(LETTERS)]


def fetch(dsn: str, sql: str, *arguments: Any) -> list[asyncpg.Record]:
    """Rows of one query on a connection of its own."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def stored_keys(dsn: str) -> list[Key]:
    """The key of every stored row, in order: a list, so that a row stored twice shows."""
    rows = fetch(
        dsn,
        "SELECT imei, (extract(epoch FROM recorded_at) * 1000)::bigint AS ms FROM positions "
        "ORDER BY imei, recorded_at, digest",
    )
    return [Key(row["imei"], row["ms"]) for row in rows]


@contextmanager
def holding(dsn: str, statement: str) -> Iterator[None]:
    """Keep a session open after `statement`, with the locks that it took."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(dsn))
        try:
            runner.run(connection.execute(statement))
            yield
        finally:
            runner.run(connection.close())


def locked(dsn: str, table: str) -> AbstractContextManager[None]:
    """Hold a table against every reader and writer while the block runs."""
    return holding(dsn, f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")

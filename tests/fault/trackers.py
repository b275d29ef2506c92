"""Trackers under load: each keeps its frame until it is acknowledged, and comes again."""

import asyncio
import contextlib
import threading
from collections import Counter
from types import TracebackType
from typing import Final, Self

import redis
import uvloop

from devices import handshake, numbered

FIRST_IMEI: Final = 352093081452000

_STREAM: Final = "telemetry:teltonika"

# A device waits for its reply, at least five seconds by its parameters; here it is in a hurry.
_REPLY_S: Final = 8.0
_AGAIN_S: Final = 0.02


class Trackers:
    """Devices on a loop of their own thread, that send frames like no other, one after the other.

    Args:
        port: Of a gateway, or of the next one.
        count: Devices.
        pipelined: Frames that each has under way at once.
        series: Of their frames; another one is that of other frames of the same devices.

    Attributes:
        acknowledged: Frames that were answered with their count, in order.
        n_sent: Frames that were ever sent.
    """

    def __init__(self, port: int, count: int, *, pipelined: int = 1, series: int = 0) -> None:
        self._port: Final = port
        self._count: Final = count
        self._pipelined: Final = pipelined
        self._series: Final = series
        self._loop: Final = uvloop.new_event_loop()
        self._thread: Final = threading.Thread(target=self._run, daemon=True)
        self._over: Final = asyncio.Event()
        self._failures: Final[list[BaseException]] = []
        self.acknowledged: Final[list[bytes]] = []
        self.n_sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """No more frames; those under way are given up."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        assert not self._failures, self._failures

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._send_all())
        except BaseException as error:  # noqa: BLE001 -- raised where they are stopped
            self._failures.append(error)
        finally:
            self._loop.close()

    async def _send_all(self) -> None:
        tasks = [asyncio.create_task(self._device(number)) for number in range(self._count)]
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait([over, *tasks], return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _device(self, number: int) -> None:
        first, unacknowledged = self._series << 48 | number << 32, list[bytes]()
        while True:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    writer.write(handshake(FIRST_IMEI + number))
                    async with asyncio.timeout(_REPLY_S):
                        assert await reader.readexactly(1) == b"\x01"
                    for frame in unacknowledged:
                        writer.write(frame)
                    while True:
                        while len(unacknowledged) < self._pipelined:
                            frame = numbered(first, 1 + first % 200)
                            first += 1
                            unacknowledged.append(frame)
                            self.n_sent += 1
                            writer.write(frame)
                        async with asyncio.timeout(_REPLY_S):
                            reply = int.from_bytes(await reader.readexactly(4))
                        assert reply == unacknowledged[0][9], "a reply to another frame"
                        self.acknowledged.append(unacknowledged.pop(0))
                finally:
                    writer.transport.abort()
            await asyncio.sleep(_AGAIN_S)


def stored(client: redis.Redis) -> Counter[bytes]:
    """How often each frame is in the stream."""
    return Counter(fields[b"frame"] for _, fields in client.xrange(_STREAM))


def assert_all_acknowledged_is_stored(
    trackers: Trackers, client: redis.Redis, *, others: int = 0
) -> None:
    """Every frame that was answered is in the stream, once or more; none was invented.

    Args:
        trackers: Who sent.
        client: Of the server that the stream is in.
        others: Frames that somebody else sent.
    """
    in_stream = stored(client)
    missing = [frame for frame in trackers.acknowledged if not in_stream[frame]]
    assert not missing, f"{len(missing)} of {len(trackers.acknowledged)} are not in the stream"
    assert len(set(trackers.acknowledged)) == len(trackers.acknowledged)
    assert len(in_stream) <= trackers.n_sent + others

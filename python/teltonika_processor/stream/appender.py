"""Appending for many connections at once: their commands share writes on one connection.

Rules. Nothing is appended before the server has shown, on that very connection, that it keeps what
a reply promises, and that it takes appends; it is asked again while it is used. No command is sent
twice. Whatever is not answered with an id ends the connection, once the replies to what is in
flight have come or are overdue; what was not sent by then waits for the next one, until whoever
appended it withdraws it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import hiredis
from redis.exceptions import RedisError

from teltonika_processor.errors import (
    ConfigError,
    ContractError,
    StreamUnavailable,
    TeltonikaProcessorError,
    TransientError,
)
from teltonika_processor.stream.connection import COMMAND_TIMEOUT_S, RedisClient, translate
from teltonika_processor.stream.durability import (
    Durability,
    check_durability,
    probe,
    too_few_replicas,
)
from teltonika_processor.stream.group_commit import (
    REFUSED,
    CommitLimits,
    Done,
    GroupCommit,
    Settled,
)
from teltonika_processor.stream.line import Line, one_connection
from teltonika_processor.tasks.backoff import Backoff
from teltonika_processor.tasks.retry import sleep_unless

# How long the server waits for replicas; well under the time that a reply may take.
_REPLICAS_MS: Final = 1000


def _nothing(*_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of what; each is called on the loop and must not block.

    Attributes:
        changed: None: appends go out from now on. Otherwise why they do not, at the loss and at
            each try to come back that failed.
        answered: A batch has its last reply: appends in it, and seconds since it was sent.
    """

    changed: Callable[[Exception | None], None] = _nothing
    answered: Callable[[int, float], None] = _nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class AppenderConfig:
    """What an appender is to do.

    Attributes:
        streams: All that are appended to; the commands name theirs themselves.
        durability: What is demanded before anything is appended.
        vouched: The operator vouches for what of the server's settings cannot be read.
        limits: What is sent and held at most.
        ask_again_s: How often the server is asked whether it still keeps what `durability` demands.
        reply_timeout_s: A batch that is not answered within it is lost, and its connection.
    """

    streams: Sequence[str]
    durability: Durability
    vouched: bool = False
    limits: CommitLimits = field(default_factory=CommitLimits)
    ask_again_s: float = 5.0
    reply_timeout_s: float = COMMAND_TIMEOUT_S


class Appender:
    """Group commit on one connection.

    Args:
        client: Where connections come from.
        config: What it is to do.
        clock: Seconds, monotonic.
        jitter: Uniform numbers in [0, 1).
        listener: Who hears of what.

    Attributes:
        is_open: Whether what is appended goes out; otherwise it waits.
    """

    def __init__(
        self,
        client: RedisClient,
        config: AppenderConfig,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        listener: Listener | None = None,
    ) -> None:
        self._client: Final = client
        self._config: Final = config
        self._clock: Final = clock
        self._listener: Final = listener or Listener()
        self._backoff: Final = Backoff(jitter)
        self._replicas: Final = config.durability.replicas
        self._commits: Final = GroupCommit(
            config.limits, replicas=self._replicas, wait=_wait_command(self._replicas)
        )
        self._line: Line | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended: Final = asyncio.Event()
        self._failure: Exception | None = None
        self._was_open = False
        # One is due, or would not be able to send: so that an append costs no look at all this.
        self._needs_no_flush = True
        self.is_open = False

    @property
    def bytes_waiting(self) -> int:
        """Bytes of commands that are not answered, sent or not."""
        return self._commits.n_bytes

    def append(self, command: bytes, done: Done) -> int:
        """Send an XADD with those that come in the same turn of the loop.

        Args:
            command: The whole command as RESP.
            done: Called exactly once, never from in here: True once the entry is stored as
                durably as was demanded; False if that is not known, or will not be.

        Returns:
            Its number, for `withdraw`.
        """
        number = self._commits.add(command, done)
        if number == REFUSED:
            asyncio.get_running_loop().call_soon(done, False)
        elif not self._needs_no_flush:
            self._needs_no_flush = True
            asyncio.get_running_loop().call_soon(self._flush)
        return number

    def withdraw(self, number: int) -> bool:
        """Take back an append whose caller is gone, if it was not sent; then it is told False."""
        done = self._commits.withdraw(number)
        if done is None:
            return False
        done(False)
        return True

    async def run(self) -> None:
        """Connect, check, serve, and again for ever; at its end whoever waits is told False.

        Raises:
            ConfigError: The server cannot keep what `durability` demands, or refuses the user; only
                until appends went out for the first time: from then on it is told, and waited for.
            ContractError: Likewise, what nobody expects a server to answer.
        """
        try:
            while True:
                await self._serve_until_failure()
                await asyncio.sleep(self._backoff.next_s())
        finally:
            self._settle(self._commits.close())

    async def _serve_until_failure(self) -> None:
        try:
            await self._serve()
        except TeltonikaProcessorError as error:
            if not self._was_open and not isinstance(error, TransientError):
                raise
            if error is not self._failure:
                self._listener.changed(error)

    async def _serve(self) -> None:
        async with one_connection(self._client) as own:
            config = self._config
            await check_durability(own, config.durability, vouched=config.vouched)
            await probe(own, config.streams, replicas=self._replicas, wait_ms=_REPLICAS_MS)
            line = Line(replied=self._take_replies, lost=self._lose)
            line.take(own)
            try:
                await self._serve_on(line)
            finally:
                self._drop(line)

    async def _serve_on(self, line: Line) -> None:
        """Ends when the line is lost, by raising why."""
        self._ended.clear()
        self._failure = None
        self._line = line
        self.is_open = self._was_open = True
        self._listener.changed(None)
        self._flush()
        await sleep_unless(self._ended, self._config.ask_again_s)
        while not self._ended.is_set():
            await self._ask_again()
            await sleep_unless(self._ended, self._config.ask_again_s)
        if self._failure is not None:
            raise self._failure

    async def _ask_again(self) -> None:
        """The settings of a server may be changed while it runs: then the line is left.

        On another connection, as this one's replies are those of appends. Whether the server is
        away the line itself will know.
        """
        with contextlib.suppress(TransientError):
            try:
                async with one_connection(self._client) as other:
                    config = self._config
                    await check_durability(other, config.durability, vouched=config.vouched)
            except ConfigError as error:
                self._lose(error)

    def _flush(self) -> None:
        line = self._line
        if line is None or not self.is_open or line.is_closing:
            return
        now = self._clock()
        while commands := self._commits.next_batch(now):
            line.write(commands)
        self._needs_no_flush = not self._commits.may_send
        self._watch()

    def _take_replies(self, replies: list[Any]) -> None:
        answered = self._commits.answer(replies)
        was_open = self.is_open
        if answered.refused:
            self._shut(_error_of(answered.refused[0], self._replicas))
        elif answered.settled:
            self._backoff.attempts = 0
        self._settle(answered.settled)
        now = self._clock()
        for batch in answered.batches:
            self._listener.answered(len(batch.dones), now - batch.sent_at)
        if was_open and not self.is_open:
            self._listener.changed(self._failure)
        self._go_on()

    def _go_on(self) -> None:
        """After replies: send what waits, or leave a connection that refused something."""
        if not self.is_open:
            if not self._commits.n_in_flight and self._failure is not None:
                self._lose(self._failure)
        elif self._commits.has_waiting:
            self._needs_no_flush = True
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._needs_no_flush = False

    def _shut(self, error: Exception) -> None:
        """Send nothing more on this connection; the first reason is the one that is told."""
        if self.is_open:
            self.is_open = False
            self._needs_no_flush = True
            self._failure = error

    def _lose(self, error: Exception) -> None:
        """The connection is over: nobody knows what became of what is in flight."""
        was_open = self.is_open
        self._shut(error)
        if self._line is not None:
            self._line.end()
        try:
            if not isinstance(error, TeltonikaProcessorError):
                self._failure = error  # a bug of ours
            self._settle(self._commits.lost())
            if was_open:
                self._listener.changed(self._failure)
        except Exception as bug:  # noqa: BLE001 -- raised by `run`
            self._failure = bug
        self._ended.set()

    def _drop(self, line: Line) -> None:
        line.end()
        self._line = None
        self.is_open = False
        self._needs_no_flush = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        """Look at the oldest batch when its time is over: one timer, however many batches."""
        sent_at = self._commits.oldest_sent_at
        if self._timer is None and sent_at is not None:
            left_s = sent_at + self._config.reply_timeout_s - self._clock()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, left_s), self._look)

    def _look(self) -> None:
        self._timer = None
        sent_at = self._commits.oldest_sent_at
        if sent_at is not None and self._clock() - sent_at >= self._config.reply_timeout_s:
            self._lose(
                StreamUnavailable(f"Redis: no reply within {self._config.reply_timeout_s:g} s")
            )
        else:
            self._watch()

    def _settle(self, settled: Iterable[Settled]) -> None:
        """Tell everybody, whatever one of them does; then raise the first error of theirs."""
        untold = iter(settled)
        errors: list[Exception] = []
        while True:
            try:
                for done, is_stored in untold:
                    done(is_stored)
            except Exception as error:  # noqa: BLE001 -- raised below, once all are told
                errors.append(error)
            else:
                break
        if errors:
            raise errors[0]


def _wait_command(replicas: int) -> bytes:
    if not replicas:
        return b""
    wait: bytes = hiredis.pack_command((b"WAIT", b"%d" % replicas, b"%d" % _REPLICAS_MS))  # type: ignore[arg-type] # a tuple of any length
    return wait


def _error_of(refusal: object, replicas: int) -> Exception:
    """Why an append is not stored, or too few replicas have it."""
    if isinstance(refusal, RedisError):
        return translate(refusal)
    if isinstance(refusal, int):
        return too_few_replicas(refusal, replicas)
    return ContractError(f"Redis: XADD was answered with {type(refusal).__name__}")

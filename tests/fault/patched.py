"""One method of the installed package replaced by one that fails: no hook in the product.

Each function is the `first` of a `Processor` or of a command.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn

from teltonika_processor.cli import audit as cli_audit
from teltonika_processor.codec.native import DecodedBatch
from teltonika_processor.errors import LedgerViolation
from teltonika_processor.processor import handover
from teltonika_processor.processor.ledger import Ledger
from teltonika_processor.service import instance
from teltonika_processor.simulate.device import imei_of
from teltonika_processor.store.positions import PositionWriter
from teltonika_processor.stream.lease import ConsumerLease


class PanicException(BaseException):
    """What a Rust panic becomes in Python: no Exception."""


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_arguments: object, **_named: object) -> NoReturn:
        raise error

    return fail


def failing_async(error: BaseException) -> Callable[..., Any]:
    async def fail(*_arguments: object, **_named: object) -> NoReturn:
        raise error

    return fail


def break_write() -> None:
    PositionWriter.write = failing_async(RuntimeError("injected"))  # type: ignore[method-assign]


def break_decoding() -> None:
    handover.decode_entries = failing(PanicException("injected"))  # type: ignore[attr-defined]


def break_ledger() -> None:
    Ledger.demand_settled = failing(LedgerViolation("injected"))  # type: ignore[method-assign]


def break_lease() -> None:
    instance.RENEW_S = 0.5  # type: ignore[attr-defined]
    ConsumerLease.renew = failing_async(RuntimeError("injected"))  # type: ignore[method-assign]


async def hang(*_arguments: object, **_named: object) -> None:
    await asyncio.Event().wait()


def hang_between_start_and_farewell() -> None:
    PositionWriter.ensure_open = hang  # type: ignore[method-assign,assignment]
    PositionWriter.close = hang  # type: ignore[method-assign]
    ConsumerLease.release = hang  # type: ignore[method-assign]


def break_audit() -> None:
    cli_audit.audit = failing_async(RuntimeError("injected"))  # type: ignore[assignment]


BREAKS: Final = MappingProxyType(
    {
        "a writer": break_write,
        "the native decoder": break_decoding,
        "the ledger": break_ledger,
        "the lease": break_lease,
    }
)

POISON_DEVICES: Final = (901, 902, 903, 904, 905)
"""An entry of one of these kills the process as soon as it is decoded, in whatever company."""


def die_of_poison() -> None:
    decode = handover.decode_entries
    poison = {imei_of(number).encode() for number in POISON_DEVICES}

    def decode_or_die(entries: Sequence[Any], **named: Any) -> DecodedBatch:
        if any(poison.intersection(fields) for _, fields in entries):
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(entries, **named)

    handover.decode_entries = decode_or_die  # type: ignore[assignment]

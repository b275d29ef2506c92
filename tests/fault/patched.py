"""The command line with one method of the package replaced by one that fails: no hook in it.

``python patched.py WHAT run``
"""

import sys
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, NoReturn

from teltonika_processor.cli.app import main
from teltonika_processor.errors import LedgerViolation
from teltonika_processor.processor import handover
from teltonika_processor.processor.ledger import Ledger
from teltonika_processor.service import instance
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


BREAKS: Final = MappingProxyType(
    {
        "a writer": break_write,
        "the native decoder": break_decoding,
        "the ledger": break_ledger,
        "the lease": break_lease,
    }
)

if __name__ == "__main__":
    BREAKS[sys.argv.pop(1)]()
    main()

"""A connection that was accepted and is not made yet: TLS may be under way."""

import asyncio
from collections.abc import Callable
from typing import Final

from typing_extensions import override


class Arrival(asyncio.Transport):
    """Stands for the transport of a connection that is not made yet: it can only be cut off.

    Args:
        cut: Does so.
    """

    __slots__ = ("_cut",)

    def __init__(self, cut: Callable[[], object]) -> None:
        super().__init__()
        self._cut: Final = cut

    @override
    def is_reading(self) -> bool:
        return False

    @override
    def is_closing(self) -> bool:
        return True

    @override
    def close(self) -> None:
        self._cut()

    @override
    def abort(self) -> None:
        self._cut()

"""Audits one after the other: what is missing is told while the stream still holds it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, NoReturn

from teltonika_processor.cli.audit_run import AuditReport, AuditTarget, audit, record
from teltonika_processor.cli.interruption import Interruption
from teltonika_processor.errors import TransientError

# Bound: a server that was away for a moment must not cost an hour's audit.
_AGAIN_AFTER_S: Final = 30.0


def audit_until_stopped(
    target: AuditTarget,
    *,
    every_s: float,
    say: Callable[[AuditReport, bool], None],
    say_away: Callable[[TransientError], None],
) -> None:
    """Audit, record and say it every `every_s` seconds until SIGTERM.

    Args:
        target: What is audited.
        every_s: From the beginning of one to that of the next.
        say: Gets each report, and whether it was recorded.
        say_away: Gets the reason why there is none; it is tried again soon.

    Raises:
        KeyboardInterrupt: SIGINT came.
        TeltonikaProcessorError: What no waiting mends, as `audit` and `record` say.
    """

    async def run() -> NoReturn:
        while True:
            due_s = time.monotonic() + every_s
            try:
                report = await audit(target)
                say(report, await record(target, report))
            except TransientError as error:
                say_away(error)
                due_s = min(due_s, time.monotonic() + _AGAIN_AFTER_S)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))

    with Interruption() as interruption:
        try:
            interruption.run(run())
        except SystemExit:
            return  # SIGTERM is how a supervisor ends what has no end

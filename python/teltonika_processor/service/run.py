"""`teltonika-processor run` as a process."""

from collections.abc import Coroutine
from typing import Any, Final

from teltonika_processor.events import Emit
from teltonika_processor.service.exit_codes import ExitCode
from teltonika_processor.service.instance import Instance
from teltonika_processor.service.observability import Observability
from teltonika_processor.service.panic import PanicRecorder
from teltonika_processor.service.process import run_service, unix_ms
from teltonika_processor.settings import Settings


def run_processor(settings: Settings) -> ExitCode:
    """Run until told to stop; why it ended."""
    return run_service(settings, lambda log: _Processor(settings, log))


class _Processor:
    def __init__(self, settings: Settings, log: Emit) -> None:
        self._settings: Final = settings
        self._observability: Final = Observability(settings, log, unix_ms)
        self.emit: Final[Emit] = self._observability.emit

    def run(self, panics: PanicRecorder) -> Coroutine[Any, Any, ExitCode]:
        return Instance(self._settings, self._observability, panics).run()

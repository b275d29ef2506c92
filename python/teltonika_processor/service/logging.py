"""Events as log lines: JSON for machines, colours for people."""

import contextlib
import dataclasses
import logging
import sys
from typing import Any, Final, Literal

import structlog

from teltonika_processor.events import Emit, Event
from teltonika_processor.model import format_imei
from teltonika_processor.service.redaction import Hide

LogImei = Literal["plain", "last4", "none"]

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logging(
    *,
    level: str,
    log_format: Literal["auto", "json", "console"],
    log_imei: LogImei,
    hide: Hide = str,
) -> Emit:
    """Set up the log on standard error and return the function that writes events to it.

    Args:
        level: Least level that is written.
        log_format: ``auto`` writes JSON unless standard error is a terminal.
        log_imei: How devices appear.
        hide: Blots secrets out of a whole line.
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
            lambda _logger, _method, line: hide(str(line)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    log = structlog.get_logger()
    least = _LEVELS[level]

    def emit(event: Event) -> None:
        if _LEVELS[event.level] >= least:
            getattr(log, event.level)(event.name, **event_fields(event, log_imei))

    return emit


def event_fields(event: Event, log_imei: LogImei) -> dict[str, Any]:
    """The fields of an event as they are logged."""
    fields: dict[str, Any] = {
        field.name: getattr(event, field.name) for field in dataclasses.fields(event)
    }
    if "imei" in fields:
        fields["imei"] = shown_imei(fields["imei"], log_imei)
    return fields


def shown_imei(imei: int, log_imei: LogImei) -> str | None:
    """The device as LOG_IMEI allows; None where it is unknown or must not appear."""
    if imei == 0 or log_imei == "none":
        return None
    text = format_imei(imei)
    return text if log_imei == "plain" else text[-4:]


def log_exception(error: BaseException, name: str = "service.panicked") -> None:
    """Write an error that nobody expected, with its stack."""
    with _even_if_nobody_reads():
        structlog.get_logger().error(name, exc_info=error)


def log_aside(what: str, error: BaseException | None) -> None:
    """Write a failure beside the work, after which the work goes on."""
    with _even_if_nobody_reads():
        structlog.get_logger().warning("failure.ignored", what=what, exc_info=error)


def _even_if_nobody_reads() -> contextlib.AbstractContextManager[None]:
    """Standard error may be closed or full; what is said last must not change how it ends."""
    return contextlib.suppress(OSError, ValueError)

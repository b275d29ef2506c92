"""What operators' commands and the answers of instances look like on the wire: no I/O.

An instance ignores a command that it does not understand, so one of a later version goes unanswered
and does no harm.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from teltonika_processor.model import format_imei

VERSION: Final = 1

_TEXT_MAX_BYTES: Final = 4096
_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_IMEI: Final = re.compile(r"[0-9]{15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehydrate:
    """Drop what is held of a device and load it anew.

    Attributes:
        id: 1 to 64 letters, digits and ``-``: names the list of answers.
        imei: The device.
    """

    id: str
    imei: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect:
    """Say what is held of a device, and change nothing; attributes as of `Rehydrate`."""

    id: str
    imei: int


Command: TypeAlias = Rehydrate | Inspect

_KINDS: Final[dict[str, type[Command]]] = {"rehydrate": Rehydrate, "inspect": Inspect}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one instance did about `Rehydrate`.

    Attributes:
        instance: Its consumer name.
        ok: Whether the state is what ``last_position`` says.
        was_held: Whether the device's state was held before.
        found: Whether ``last_position`` knows the device.
        error: Why it is not ok.
    """

    instance: str
    ok: bool
    was_held: bool
    found: bool
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFix:
    """The newest committed fix that an instance holds of a device.

    Attributes:
        recorded_at_ms: The tracker's clock, Unix milliseconds.
        digest: Signed digest of the record.
        longitude: Degrees.
        latitude: Degrees.
    """

    recorded_at_ms: int
    digest: int
    longitude: float
    latitude: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one instance holds of a device: its answer to `Inspect`.

    Attributes:
        instance: Its consumer name.
        held: Whether the device is held, with a fix or as one that has none.
        fix: The fix; None where none is held.
    """

    instance: str
    held: bool
    fix: HeldFix | None = None


def encode_command(command: Command, group: str) -> str:
    """The text that is published."""
    (kind,) = (name for name, made in _KINDS.items() if isinstance(command, made))
    imei = format_imei(command.imei)
    known = {"v": VERSION, "id": command.id, "group": group, "command": kind, "imei": imei}
    return json.dumps(known)


def parse_command(raw: bytes, group: str) -> Command | None:
    """The command, or None: not for this group, not understood, or of a later version."""
    fields = _object_in(raw)
    if fields is None or (fields.get("v"), fields.get("group")) != (VERSION, group):
        return None
    command_id, imei = str(fields.get("id")), str(fields.get("imei"))
    kind = _KINDS.get(str(fields.get("command")))
    if kind is None or not _ID.fullmatch(command_id) or not _IMEI.fullmatch(imei):
        return None
    return kind(id=command_id, imei=int(imei))


def parse_answer(raw: bytes) -> Answer | None:
    """What an instance pushed about `Rehydrate`; None where it is no answer."""
    fields = _object_in(raw)
    if fields is None or not isinstance(fields.get("instance"), str):
        return None
    return Answer(
        instance=fields["instance"],
        ok=fields.get("ok") is True,
        was_held=fields.get("was_held") is True,
        found=fields.get("found") is True,
        error=str(fields.get("error") or ""),
    )


def parse_holding(raw: bytes) -> Holding | None:
    """What an instance pushed about `Inspect`; None where it is no answer."""
    fields = _object_in(raw)
    if fields is None or not isinstance(fields.get("instance"), str):
        return None
    return Holding(
        instance=fields["instance"],
        held=fields.get("held") is True,
        fix=_fix_in(fields.get("fix")),
    )


def _fix_in(found: object) -> HeldFix | None:
    if not isinstance(found, dict):
        return None
    recorded_at_ms, digest = found.get("recorded_at_ms"), found.get("digest")
    longitude, latitude = found.get("longitude"), found.get("latitude")
    if not (isinstance(recorded_at_ms, int) and isinstance(digest, int)):
        return None
    if not (isinstance(longitude, float) and isinstance(latitude, float)):
        return None
    return HeldFix(
        recorded_at_ms=recorded_at_ms, digest=digest, longitude=longitude, latitude=latitude
    )


def _object_in(raw: bytes) -> dict[str, Any] | None:
    """The JSON object that `raw` is; None where it is something else, or too long to be one."""
    if len(raw) > _TEXT_MAX_BYTES:
        return None
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

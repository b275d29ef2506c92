"""Having pending entries claimed: what is asked, what came of it."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import typer

from teltonika_processor.cli.confirmation import is_confirmed
from teltonika_processor.service.exit_codes import EXIT_FINDING
from teltonika_processor.stream.connection import RedisClient
from teltonika_processor.stream.control import ControlCaller
from teltonika_processor.stream.release import RELEASE_MAX, Release, Releases, Whereabouts
from teltonika_processor.texts import count_text, printable

# Bound: ids named one by one of what was not released.
_NAMED_MAX: Final = 10

_WHY: Final = {
    Release.NOT_PENDING: "is not pending",
    Release.MOVED: "was claimed or settled meanwhile",
    Release.NOT_IDLE: "was not idle for as long as --min-idle",
    Release.PAYLOAD_GONE: "has no payload any more: it is dead-lettered as payload_trimmed once it "
    "was idle for CLAIM_THRESHOLD_MS",
    Release.RUNNING: "is held by an instance that runs; --force has it tried again all the same",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOrder:
    """What the operator wants claimed: what `holder` holds, or `ids`."""

    holder: str | None
    ids: Sequence[str]
    min_idle_ms: int
    force: bool
    wait_s: float
    dry_run: bool
    yes: bool
    as_json: bool


@dataclass(slots=True)
class Plan:
    """Ids by who holds them, and those that are not released with the reason."""

    by_holder: dict[str, list[str]] = field(default_factory=dict)
    hindered: dict[str, Release] = field(default_factory=dict)

    @property
    def n_entries(self) -> int:
        """How many shall be released."""
        return sum(map(len, self.by_holder.values()))


async def claim(client: RedisClient, stream: str, group: str, order: ClaimOrder) -> int:
    """Do it; the exit code."""
    releases = Releases(client, stream, group)
    planned = await _plan(releases, order)
    await _leave_to_the_running(releases, planned, order)
    if order.dry_run or not planned.n_entries:
        return _say_plan(planned, order)
    if not is_confirmed(f"have {_described(planned)} claimed now", yes=order.yes):
        return EXIT_FINDING
    released = await _release(releases, planned, order)
    running = await ControlCaller(client, stream=stream, group=group).running()
    wait_s = order.wait_s if running else 0.0
    found = await releases.until_claimed(released, timeout_s=wait_s)
    return _say_outcome(found, planned, running, order)


async def _plan(releases: Releases, order: ClaimOrder) -> Plan:
    if order.holder is not None:
        ids = await releases.ids_of(order.holder, min_idle_ms=order.min_idle_ms)
        return Plan({order.holder: ids} if ids else {})
    planned = Plan()
    for found in await releases.where(order.ids):
        if found.holder is None:
            planned.hindered[found.entry_id] = Release.NOT_PENDING
        elif found.idle_ms < order.min_idle_ms:
            planned.hindered[found.entry_id] = Release.NOT_IDLE
        else:
            planned.by_holder.setdefault(found.holder, []).append(found.entry_id)
    return planned


async def _leave_to_the_running(releases: Releases, planned: Plan, order: ClaimOrder) -> None:
    if order.force:
        return
    for holder in list(planned.by_holder):
        if await releases.is_running(holder):
            planned.hindered |= dict.fromkeys(planned.by_holder.pop(holder), Release.RUNNING)


async def _release(releases: Releases, planned: Plan, order: ClaimOrder) -> list[str]:
    released: list[str] = []
    for holder, ids in planned.by_holder.items():
        became = await releases.release(
            holder, ids, min_idle_ms=order.min_idle_ms, force=order.force
        )
        for entry_id, what in zip(ids, became, strict=True):
            if what is Release.RELEASED:
                released.append(entry_id)
            else:
                # It was pending a moment ago.
                settled = what is Release.NOT_PENDING
                planned.hindered[entry_id] = Release.MOVED if settled else what
    return released


def _described(planned: Plan) -> str:
    holders = ", ".join(
        f"{printable(holder)} {len(ids):,}" for holder, ids in planned.by_holder.items()
    )
    return f"{_entries(planned.n_entries)} ({holders})"


def _say_plan(planned: Plan, order: ClaimOrder) -> int:
    _say_hindered(planned.hindered, order)
    if order.as_json:
        print(json.dumps(_object([], planned, order)))
    elif planned.n_entries:
        typer.echo(f"would have {_described(planned)} claimed")
    elif not planned.hindered:
        who = "" if order.holder is None else f" of {printable(order.holder)}"
        typer.echo(f"nothing is pending{who}")
    return EXIT_FINDING if _matters(planned.hindered) else 0


def _say_outcome(
    found: Sequence[Whereabouts], planned: Plan, running: Sequence[str], order: ClaimOrder
) -> int:
    waiting = sum(one.waits for one in found)
    if order.as_json:
        print(json.dumps(_object(found, planned, order)))
    else:
        typer.echo(f"{_entries(len(found))}: {_outcome_text(found)}")
    _say_hindered(planned.hindered, order)
    if waiting and not running:
        typer.echo("no instance is running: the next one that starts claims them", err=True)
    elif waiting:
        typer.echo(
            f"not claimed within {order.wait_s:g} s: they are with the next look of an instance; "
            "see whether one reads (teltonika-processor status), or its breaker is open",
            err=True,
        )
    if order.holder is not None and len(found) >= RELEASE_MAX:
        typer.echo(f"{RELEASE_MAX:,} at once: run it again for the rest", err=True)
    return EXIT_FINDING if waiting or _matters(planned.hindered) else 0


def _outcome_text(found: Sequence[Whereabouts]) -> str:
    said = []
    settled = sum(one.holder is None and not one.letter for one in found)
    if settled:
        said.append(f"{settled:,} settled")
    letters = Counter(one.letter for one in found if one.letter)
    said += [f"{count:,} dead-lettered ({reason})" for reason, count in sorted(letters.items())]
    said += [f"{count:,} held by {printable(name)}" for name, count in _held(found).items()]
    waiting = sum(one.waits for one in found)
    if waiting:
        said.append(f"{waiting:,} not claimed yet")
    return ", ".join(said) or "nothing was released"


def _held(found: Iterable[Whereabouts]) -> dict[str, int]:
    counts = Counter(one.holder for one in found if one.holder is not None and not one.waits)
    return dict(sorted(counts.items()))


def _say_hindered(hindered: dict[str, Release], order: ClaimOrder) -> None:
    by_reason: dict[Release, list[str]] = {}
    for entry_id, why in hindered.items():
        by_reason.setdefault(why, []).append(entry_id)
    if order.holder is not None and (held := by_reason.pop(Release.RUNNING, None)):
        who = printable(order.holder)
        typer.echo(
            f"{who} is running, and works on its {_entries(len(held))} itself; --force has them "
            "tried again all the same",
            err=True,
        )
    for why, ids in by_reason.items():
        for entry_id in ids[:_NAMED_MAX]:
            typer.echo(f"{entry_id} {_WHY[why]}", err=True)
        if len(ids) > _NAMED_MAX:
            typer.echo(f"... and {len(ids) - _NAMED_MAX:,} more", err=True)


def _matters(hindered: dict[str, Release]) -> bool:
    """Whether something that was to be claimed was not; what somebody else claimed is well."""
    return any(why is not Release.MOVED for why in hindered.values())


def _object(found: Sequence[Whereabouts], planned: Plan, order: ClaimOrder) -> dict[str, object]:
    return {
        "dry_run": order.dry_run,
        "entries": planned.n_entries,
        "by_holder": {holder: len(ids) for holder, ids in planned.by_holder.items()},
        "released": len(found),
        "settled": sum(one.holder is None and not one.letter for one in found),
        "dead_lettered": dict(Counter(one.letter for one in found if one.letter)),
        "held": _held(found),
        "waiting": sum(one.waits for one in found),
        "hindered": {entry_id: why.value for entry_id, why in planned.hindered.items()},
    }


def _entries(count: int) -> str:
    return count_text(count, "entry", "entries")

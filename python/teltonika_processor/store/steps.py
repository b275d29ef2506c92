"""Migration steps as files, and what is left to do. Pure but for reading the package's own files.

A step is ``NNNN_name.sql`` and opens with ``-- phase: pre`` (may be applied while the version
before is running) or ``-- phase: post`` (only after it is gone). ``-- transaction: none`` in the
opening comment lets one statement run outside a transaction; such a step must be safe to run twice,
because a kill may come between it and the note that it was applied.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, Literal

from teltonika_processor.errors import SchemaMismatch

Phase = Literal["pre", "post"]

_NAME: Final = re.compile(r"\d{4}_[a-z0-9_]+\.sql")
_PHASES: Final[dict[str, Phase]] = {"pre": "pre", "post": "post"}


@dataclass(frozen=True, slots=True)
class Step:
    """One migration file.

    Attributes:
        name: File name without ``.sql``; steps are applied in the order of their names.
        phase: Whether it may be applied under the version before.
        transactional: Whether it runs inside a transaction together with its note.
        sql: The file.
        sha256: Of the file's bytes, in hex.
    """

    name: str
    phase: Phase
    transactional: bool
    sql: str
    sha256: str


@dataclass(frozen=True, slots=True)
class AppliedStep:
    """What the database says of a step."""

    name: str
    phase: str
    sha256: str


@dataclass(frozen=True, slots=True)
class SchemaState:
    """How a database compares with this version, as names of steps in their order.

    Attributes:
        applied: Known to both.
        pending: To be applied before this version may run.
        deferred: To be applied once no instance of the version before runs; harmless until then.
        mismatched: Applied from a file with other contents.
        newer: Applied by a later version and harmless to this one.
        too_new: Applied by a later version, after which this one must not run.
    """

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    deferred: tuple[str, ...]
    mismatched: tuple[str, ...]
    newer: tuple[str, ...]
    too_new: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether this version may run on the database as it is."""
        return not (self.pending or self.mismatched or self.too_new)

    def require_same_history(self) -> None:
        """Refuse a database whose past is not ours.

        Raises:
            SchemaMismatch: A step was changed after it was applied, or the database is newer than
                this version can bear.
        """
        if self.mismatched:
            names = ", ".join(self.mismatched)
            raise SchemaMismatch(f"migrations changed after they were applied: {names}")
        if self.too_new:
            names = ", ".join(self.too_new)
            raise SchemaMismatch(f"the database is newer than this version: it has {names}")

    def require_fit(self) -> None:
        """Refuse a database on which this version cannot run.

        Raises:
            SchemaMismatch: As above, or steps are pending.
        """
        self.require_same_history()
        if self.pending:
            names = ", ".join(self.pending)
            raise SchemaMismatch(
                f"migrations are pending: {names}; run `teltonika-processor migrate` as the owner"
            )


def packaged_steps() -> tuple[Step, ...]:
    """The steps of this version, in their order."""
    return read_steps(files("teltonika_processor") / "migrations")


def read_steps(directory: Traversable) -> tuple[Step, ...]:
    """The steps in a directory, in their order; other files are not looked at."""
    found = [file for file in directory.iterdir() if _NAME.fullmatch(file.name)]
    return tuple(
        parse_step(file.name.removesuffix(".sql"), file.read_bytes())
        for file in sorted(found, key=lambda file: file.name)
    )


def parse_step(name: str, contents: bytes) -> Step:
    """One step from its file.

    Raises:
        SchemaMismatch: The header is missing or says something unknown.
    """
    sql = contents.decode()
    header = _header(sql)
    phase = _PHASES.get(header.get("phase", ""))
    transaction = header.get("transaction")
    if phase is None or transaction not in {None, "none"}:
        raise SchemaMismatch(
            f"migration {name}: the header needs `-- phase: pre` or `-- phase: post`, "
            "and knows `-- transaction: none` beside it"
        )
    sha256 = hashlib.sha256(contents).hexdigest()
    return Step(name, phase, transaction is None, sql, sha256)


def compare(steps: Sequence[Step], applied: Iterable[AppliedStep]) -> SchemaState:
    """How a database with these applied steps compares with this version's `steps`."""
    there = {step.name: step for step in applied}
    known = {step.name for step in steps}
    strangers = [there[name] for name in sorted(there.keys() - known)]
    pending, deferred = _unapplied([step for step in steps if step.name not in there], there)
    return SchemaState(
        applied=tuple(step.name for step in steps if step.name in there),
        pending=pending,
        deferred=deferred,
        mismatched=tuple(
            step.name
            for step in steps
            if step.name in there and there[step.name].sha256 != step.sha256
        ),
        newer=tuple(step.name for step in strangers if step.phase == "pre"),
        too_new=tuple(step.name for step in strangers if step.phase != "pre"),
    )


def _unapplied(
    steps: Sequence[Step], there: Mapping[str, AppliedStep]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the steps that are pending, and of those that may wait.

    Only the last ones may: what comes before a step may be what it is built on. And a new database
    has no version before.
    """
    n_pending = len(steps)
    while there and n_pending and steps[n_pending - 1].phase == "post":
        n_pending -= 1
    names = tuple(step.name for step in steps)
    return names[:n_pending], names[n_pending:]


def _header(sql: str) -> dict[str, str]:
    """The `-- key: value` lines of the comment that opens a file."""
    found: dict[str, str] = {}
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        key, colon, value = line.removeprefix("--").partition(":")
        if colon:
            found[key.strip()] = value.strip()
    return found

"""The rules of the folds, and each taken out: what a mutant does instead."""

import asyncio
import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Change = tuple[str, str, str]
"""A file of Rust, what stands there once, and what takes its place."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A rule that is taken out.

    Attributes:
        rule: Its number, and what is done instead.
        apply: In the process of the tests.
        changes: Of the sources in Rust.
    """

    rule: str
    apply: Callable[[], None] = lambda: None
    changes: Sequence[Change] = ()


def _sql(name: str, *pairs: tuple[str, str]) -> Callable[[], None]:
    """Another text of a statement."""

    def apply() -> None:
        from teltonika_processor.store import queries  # noqa: PLC0415 -- in the tests' process

        text = getattr(queries, name)
        for old, new in pairs:
            assert old in text, (name, old)
            text = text.replace(old, new)
        setattr(queries, name, text)

    return apply


def _all(*applied: Callable[[], None]) -> Callable[[], None]:
    def apply() -> None:
        for one in applied:
            one()

    return apply


def _read_by_an_older_snapshot() -> None:
    from teltonika_processor.store import folding  # noqa: PLC0415 -- in the tests' process

    copied = folding._copied
    ages: dict[int, Any] = {}

    async def one_snapshot(session: Any, query: str) -> bytes:
        """Fixes as they were when the marks were asked for, which come a little later."""
        if "refold" in query:
            ages[id(session)] = await session.fetchval("SELECT pg_current_snapshot()::text")
            await asyncio.sleep(random.uniform(0, 0.01))
            return await copied(session, query)
        if "FROM public.positions" in query and id(session) in ages:
            snapshot = ages[id(session)]
            seen = f" AND pg_visible_in_snapshot(r.xmin::text::xid8, '{snapshot}')"
            query = query.replace("r.satellites > 0", f"r.satellites > 0{seen}")
        return await copied(session, query)

    folding._copied = one_snapshot


def _ask_for_zones_before_the_first_write() -> None:
    from teltonika_processor.store import paths, positions, queries  # noqa: PLC0415

    upsert = paths._upsert_newest
    said: dict[int, bool] = {}

    async def remembered(connection: Any, newest: Any) -> bool:
        await upsert(connection, newest)
        return said[id(connection)]

    def asking(write: Any) -> Any:
        async def asked(connection: Any, *arguments: Any) -> Any:
            said[id(connection)] = bool(await connection.fetchval(queries.HAS_ZONES))
            return await write(connection, *arguments)

        return asked

    paths._upsert_newest = remembered
    positions.write_direct = asking(positions.write_direct)
    positions.write_staged = asking(positions.write_staged)


def _mark_without_waiting() -> None:
    from teltonika_processor.store import zone_edits  # noqa: PLC0415 -- in the tests' process

    async def at_once(*_: Any) -> None:
        pass

    zone_edits._until_writers_of_before_have_ended = at_once


def _wait_by_a_snapshot() -> None:
    from teltonika_processor.store import zone_edits  # noqa: PLC0415 -- in the tests' process

    zone_edits._TAKE_NUMBER = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"


def _fold_by_any_zones() -> None:
    from teltonika_processor.store import folding  # noqa: PLC0415 -- in the tests' process

    derived = folding.Folder._derived

    async def unchecked(self: Any, zones: Any, imeis: Any) -> Any:
        fetch = self._session.fetch

        class Unchecked:
            """Says of zones what the fold holds of them."""

            def __getattr__(self, name: str) -> Any:
                return getattr(session, name)

            async def fetch(self, query: str, *arguments: Any) -> Any:
                found = await fetch(query, *arguments)
                if query == folding._AS_BEFORE:
                    return [(zones.changes, found[0][1])]
                return found

        session = self._session
        self._session = Unchecked()
        try:
            return await derived(self, zones, imeis)
        finally:
            self._session = session

    folding.Folder._derived = unchecked  # type: ignore[method-assign]


def _count_changes_behind_the_zones() -> None:
    from teltonika_processor.timing import worker, zone_cache  # noqa: PLC0415

    load = zone_cache.load_zones

    async def loaded(session: Any) -> Any:
        known = await load(session)
        return dataclasses.replace(known, changes=await zone_cache.count_changes(session))

    zone_cache.load_zones = worker.load_zones = loaded  # type: ignore[attr-defined]


def _clear_behind_the_commit() -> None:
    from teltonika_processor.store import folding, queries  # noqa: PLC0415

    write = folding._write

    async def write_then_clear(session: Any, found: Any, changed: list[int]) -> None:
        clear = queries.CLEAR_MARKS.format(rest=folding._listed(found.rest()))
        execute = session.execute

        class Uncleared:
            """Leaves the marks alone."""

            def __getattr__(self, name: str) -> Any:
                return getattr(session, name)

            async def execute(self, query: str) -> Any:
                assert query == "COMMIT" or clear in query
                return await execute(query.replace(clear, "SELECT"))

        await write(Uncleared(), found, changed)  # type: ignore[arg-type]
        await execute(clear)

    folding._write = write_then_clear


_OF_TIMING: Final = (
    "\nr.satellites > 0 AND NOT r.clock_suspect\nAND r.longitude BETWEEN -180 AND 180"
    " AND r.latitude BETWEEN -90 AND 90\n"
)
_LEFT: Final = f"AND {_OF_TIMING}\n        ORDER BY recorded_at DESC"
_LEFT_FAR: Final = f"AND {_OF_TIMING}\n    ORDER BY recorded_at DESC"
_RIGHT: Final = f"AND {_OF_TIMING}\n        ORDER BY recorded_at, digest LIMIT {{right}}"
_RIGHT_FAR: Final = f"AND {_OF_TIMING}\n    ORDER BY recorded_at, digest LIMIT {{n_right}}"
_END: Final = "t.end_t > m.behind AND t.end_t <= m.upto"

MUTANTS: Final[Mapping[str, Mutant]] = {
    "nothing": Mutant("no rule is taken out"),
    "R1": Mutant("fixes are read by a snapshot older than the marks", _read_by_an_older_snapshot),
    "R2-ask": Mutant(
        "zones are asked for before the first write", _ask_for_zones_before_the_first_write
    ),
    "R2-wait": Mutant("an edit marks at once: no wait for open batches", _mark_without_waiting),
    "R2-number": Mutant("an edit waits for those below the end of a snapshot", _wait_by_a_snapshot),
    "R3": Mutant("the change counter of zones is not looked at", _fold_by_any_zones),
    "R3-load": Mutant(
        "changes of zones are counted behind the loading", _count_changes_behind_the_zones
    ),
    "R4": Mutant(
        "the left neighbour may be any record",
        _all(
            _sql("FIXES", (_LEFT, "\n        ORDER BY recorded_at DESC")),
            _sql("FAR_FIXES", (_LEFT_FAR, "\n    ORDER BY recorded_at DESC")),
        ),
    ),
    "R4-right": Mutant(
        "the right neighbours may be any records",
        _all(
            _sql("FIXES", (_RIGHT, "\n        ORDER BY recorded_at, digest LIMIT {right}")),
            _sql("FAR_FIXES", (_RIGHT_FAR, "\n    ORDER BY recorded_at, digest LIMIT {n_right}")),
        ),
    ),
    "R4-twin": Mutant(
        "of one millisecond the smallest digest counts",
        changes=[
            (
                "timing/src/fix.rs",
                "(fix.t_us, std::cmp::Reverse(fix.digest))",
                "(fix.t_us, fix.digest)",
            )
        ],
    ),
    "R5": Mutant(
        "a sane copy does not clear clock_suspect",
        _sql("CLEAR_SUSPECTS", ("NOT s.clock_suspect", "false")),
    ),
    "R5b": Mutant(
        "last_position: of one millisecond the last that came wins",
        _sql(
            "UPSERT_NEWEST",
            ("(excluded.recorded_at, excluded.digest)", "excluded.recorded_at"),
            ("(t.recorded_at, t.digest)", "t.recorded_at"),
        ),
    ),
    "R6-members": Mutant(
        "membership within the band at the left neighbour: outside",
        _sql("MEMBERS", ("newest.kind IN ('initial', 'enter')", "false")),
    ),
    "R6-band": Mutant(
        "the end fix decides by the border, within the band too",
        changes=[
            (
                "timing/src/circle.rs",
                (
                    "} else if excess_m > hysteresis_m {\n            Some(false)\n"
                    "        } else {\n            None\n        }"
                ),
                "} else {\n            Some(excess_m <= 0.0)\n        }",
            )
        ],
    ),
    "R7": Mutant(
        "the fold ends at the first neighbour on the right",
        changes=[
            (
                "fold/src/device.rs",
                ".position(|fix| index.is_beyond_every_band(fix))?;",
                ".position(|fix| index.is_beyond_every_band(fix) || true)?;",
            )
        ],
    ),
    "R8": Mutant(
        "the rightmost stretch is folded first",
        changes=[
            (
                "fold/src/device.rs",
                "let (&(lo_us, mut hi_us), mut rest) = mark.ranges_us.split_first()?;",
                "let (&(lo_us, mut hi_us), mut rest) = mark.ranges_us.split_last()?;",
            ),
            (
                "fold/src/device.rs",
                (
                    "while let Some((&next, others)) = rest.split_first()\n"
                    "            && next.0.saturating_sub(hi_us) <= HOLE_MAX_US"
                ),
                (
                    "while let Some((&next, others)) = rest.split_first()\n"
                    "            && next.0 > hi_us && next.0.saturating_sub(hi_us) <= HOLE_MAX_US"
                ),
            ),
        ],
    ),
    "R9-at": Mutant(
        "crossings are replaced by their moment",
        _all(
            _sql("STORED_CROSSINGS", (_END, "t.at > m.behind AND t.at <= m.upto")),
            _sql("DELETE_CROSSINGS", (_END, "t.at > m.behind AND t.at <= m.upto")),
        ),
    ),
    "R9-start": Mutant(
        "crossings are replaced by their start fix",
        _all(
            *(
                _sql(
                    name,
                    (
                        _END,
                        (
                            "coalesce(t.start_t, t.end_t) > m.behind"
                            " AND coalesce(t.start_t, t.end_t) <= m.upto"
                        ),
                    ),
                )
                for name in ("STORED_CROSSINGS", "DELETE_CROSSINGS")
            )
        ),
    ),
    "version": Mutant(
        "a fold writes whatever became of the mark meanwhile",
        _sql("LOCK_MARKS", ("f.xmin::text::bigint = m.version AND ", "")),
    ),
    "R13": Mutant("marks are cleared behind the COMMIT", _clear_behind_the_commit),
}

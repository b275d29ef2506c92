"""The statements of the write path."""

from collections.abc import Iterable
from typing import Final

from teltonika_processor.store.connection import SESSION_PREFIX

COLUMNS: Final = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
WHERE a.attrelid IN ('public.positions'::regclass, 'public.last_position'::regclass)
  AND a.attnum > 0 AND NOT a.attisdropped
"""

# Looks at no row: it fails at once if the column is of another type than the rows were encoded for,
# which text and jsonb would not tell by themselves, and keeps it so until the transaction ends.
# Costs 0.02 ms in the same round trip as BEGIN.
REQUIRE_IO: Final = """
SELECT FROM ONLY public.positions WHERE false AND coalesce(io, NULL::{io_type}) IS NULL
"""

# Emptied by the commit, so that a session has one of each for life. Our columns only: an operator's
# own may be NOT NULL with a default, which LIKE would take over without the default.
CREATE_NEWEST: Final = """
CREATE TEMP TABLE IF NOT EXISTS newest ON COMMIT DELETE ROWS AS
SELECT
    imei, recorded_at, digest, received_at, longitude, latitude, altitude_m, angle_deg,
    satellites, speed_kmh, priority, event_io_id
FROM public.last_position
WITH NO DATA
"""

CREATE_STAGE: Final = """
CREATE TEMP TABLE IF NOT EXISTS stage ON COMMIT DELETE ROWS AS
SELECT
    imei, recorded_at, digest, received_at, longitude, latitude, altitude_m, angle_deg,
    satellites, speed_kmh, priority, event_io_id, generation_type, clock_suspect, io
FROM public.positions
WITH NO DATA
"""

# Dropped by the commit, for sessions whose server process is another one in the next transaction.
CREATE_NEWEST_FOR_NOW: Final = CREATE_NEWEST.replace("DELETE ROWS", "DROP")
CREATE_STAGE_FOR_NOW: Final = CREATE_STAGE.replace("DELETE ROWS", "DROP")

# $1: an `array`; $2: Unix ms. Sorted, so that instances that register the same devices lock them in
# one order.
REGISTER_DEVICES: Final = """
INSERT INTO public.devices AS d (imei, first_seen_at, last_seen_at)
SELECT imei, seen_at, seen_at
FROM unnest($1::text::bigint[]) AS imei, to_timestamp($2::double precision / 1000) AS seen_at
ORDER BY imei
ON CONFLICT (imei) DO UPDATE SET
    first_seen_at = least(d.first_seen_at, excluded.first_seen_at),
    last_seen_at = greatest(d.last_seen_at, excluded.last_seen_at)
"""

# $1: an `array` of UTC days since 1970-01-01.
ENSURE_DAYS: Final = """
SELECT public.positions_ensure_days(
    array(SELECT DATE '1970-01-01' + day FROM unnest($1::text::integer[]) AS day)
)
"""

# Who holds a lock that a new partition has to wait for.
HOLDERS_OF_DAYS: Final = """
SELECT DISTINCT pid FROM pg_catalog.pg_locks
WHERE granted AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND (
    relation = 'public.positions_default'::regclass
    OR relation = 'public.positions'::regclass
    AND mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
  )
ORDER BY pid
"""

# Invariant: the same order as the rows of COPY, partition by partition, so that two writers with
# the same records meet their keys in one order.
INSERT_STAGED: Final = """
INSERT INTO public.positions (
    imei, recorded_at, digest, received_at, longitude, latitude, altitude_m, angle_deg,
    satellites, speed_kmh, priority, event_io_id, generation_type, clock_suspect, io
)
SELECT
    imei, recorded_at, digest, received_at, longitude, latitude, altitude_m, angle_deg,
    satellites, speed_kmh, priority, event_io_id, generation_type, clock_suspect, io
FROM pg_temp.stage
ORDER BY (recorded_at AT TIME ZONE 'UTC')::date, imei, recorded_at, digest
ON CONFLICT (imei, recorded_at, digest) DO NOTHING
"""

# A record is suspect only if every copy of it is. $1, $2: Unix seconds around the plausible copies,
# for the planner to leave other partitions alone. It compares the two clocks rather than asking for
# suspect rows, which the planner takes for so rare that it would scan whole days to find them.
CLEAR_SUSPECTS: Final = """
UPDATE public.positions AS p SET clock_suspect = false
FROM pg_temp.stage AS s
WHERE p.imei = s.imei AND p.recorded_at = s.recorded_at AND p.digest = s.digest
  AND p.clock_suspect <> s.clock_suspect AND NOT s.clock_suspect
  AND p.recorded_at >= to_timestamp($1::double precision)
  AND p.recorded_at < to_timestamp($2::double precision)
"""

HAS_ZONES: Final = "SELECT EXISTS (SELECT FROM public.zones)"

# Newest wins by the pair, so that the order of batches does not matter. Says whether there are
# zones: asked behind the first write of the transaction, so that whoever commits the first zone
# waits for it, and never remembered.
UPSERT_NEWEST: Final = f"""
WITH upserted AS (
INSERT INTO public.last_position AS t (
    imei, recorded_at, digest, received_at, longitude, latitude, altitude_m, angle_deg,
    satellites, speed_kmh, priority, event_io_id
)
SELECT
    imei, recorded_at, digest, received_at, longitude, latitude, altitude_m, angle_deg,
    satellites, speed_kmh, priority, event_io_id
FROM pg_temp.newest
ORDER BY imei
ON CONFLICT (imei) DO UPDATE SET
    recorded_at = excluded.recorded_at,
    digest = excluded.digest,
    received_at = excluded.received_at,
    longitude = excluded.longitude,
    latitude = excluded.latitude,
    altitude_m = excluded.altitude_m,
    angle_deg = excluded.angle_deg,
    satellites = excluded.satellites,
    speed_kmh = excluded.speed_kmh,
    priority = excluded.priority,
    event_io_id = excluded.event_io_id
WHERE (excluded.recorded_at, excluded.digest) > (t.recorded_at, t.digest)
)
{HAS_ZONES}
"""  # noqa: S608 -- a constant of ours

# Of records `r` timing sees no others.
_IS_TIMING_FIX: Final = """
r.satellites > 0 AND NOT r.clock_suspect
AND r.longitude BETWEEN -180 AND 180 AND r.latitude BETWEEN -90 AND 90
"""

CREATE_MARKS: Final = """
CREATE TEMP TABLE IF NOT EXISTS marks (imei bigint, first_at timestamptz, last_at timestamptz)
ON COMMIT DELETE ROWS
"""
CREATE_MARKS_FOR_NOW: Final = CREATE_MARKS.replace("DELETE ROWS", "DROP")

# Bound: a device whose stretches take 400 bytes, some 20 of them, gets one that holds them all.
_MERGE_RANGES: Final = """
ON CONFLICT (imei) DO UPDATE SET ranges = CASE
    WHEN pg_column_size(f.ranges) < 400 THEN f.ranges + excluded.ranges
    ELSE tstzmultirange(range_merge(f.ranges + excluded.ranges))
END
"""

MARK: Final = f"""
INSERT INTO public.refold AS f (imei, ranges)
SELECT imei, range_agg(tstzrange(first_at, last_at, '[]')) FROM pg_temp.marks
GROUP BY imei ORDER BY imei
{_MERGE_RANGES}
"""  # noqa: S608 -- a constant of ours

# Of the stage only what this transaction has written: new rows, and those that are not suspect any
# more. $1, $2: Unix seconds around them, for the planner to leave other partitions alone. Runs end
# with a hole as those of `Rows.copy_marks` do.
MARK_STAGED: Final = f"""
INSERT INTO public.refold AS f (imei, ranges)
SELECT imei, range_agg(run) FROM (
    SELECT imei, tstzrange(min(recorded_at), max(recorded_at), '[]') AS run FROM (
        SELECT imei, recorded_at,
            count(*) FILTER (WHERE is_after_hole) OVER (
                PARTITION BY imei ORDER BY recorded_at
            ) AS run_number
        FROM (
            SELECT imei, recorded_at, recorded_at - lag(recorded_at) OVER (
                PARTITION BY imei ORDER BY recorded_at
            ) > interval '10 minutes' AS is_after_hole
            FROM pg_temp.stage AS s JOIN public.positions AS r USING (imei, recorded_at, digest)
            WHERE r.xmin = pg_current_xact_id()::xid AND {_IS_TIMING_FIX}
              AND r.recorded_at >= to_timestamp($1::double precision)
              AND r.recorded_at < to_timestamp($2::double precision)
        ) AS changed
    ) AS numbered
    GROUP BY imei, run_number
) AS runs
GROUP BY imei ORDER BY imei
{_MERGE_RANGES}
"""  # noqa: S608 -- a constant of ours

_FIX: Final = "recorded_at, digest, longitude, latitude, satellites"

# What `Fold` takes, by COPY. {imeis}: an `array`. The version is compared again under the lock. Who
# marks by hand may leave out a bound; no timing fix is older than 2010. Until all are marked for
# other limits, each may be derived by these for the first time.
MARKS: Final = """
SELECT f.imei, f.xmin::text::bigint,
    f.is_rerun OR EXISTS (SELECT FROM public.timing_limits WHERE NOT is_marked),
    l.recorded_at,
    greatest(lower(r), '2010-01-01 00:00:00+00'),
    greatest(coalesce(upper(r), 'infinity'), '2010-01-01 00:00:00+00')
FROM public.refold AS f
LEFT JOIN public.last_position AS l USING (imei)
CROSS JOIN LATERAL unnest(f.ranges) AS r
WHERE f.imei = ANY ('{imeis}'::bigint[])
ORDER BY f.imei, r
"""

# $1: how many.
# The same of stretches that nobody marked.
MARKS_OF_CONSTANTS: Final = """
SELECT m.imei, 0::bigint, true, l.recorded_at, m.lo, m.hi
FROM (VALUES {stretches}) AS m (imei, lo, hi)
LEFT JOIN public.last_position AS l USING (imei)
ORDER BY m.imei, m.lo
"""

MARKED_DEVICES: Final = """
SELECT imei FROM public.refold WHERE NOT isempty(ranges) LIMIT $1
"""

# The fixes of each stretch and their neighbours. {low}, {high}: literal, so that the planner leaves
# all other partitions alone: with a default partition it cannot do so while it executes.
FIXES: Final = f"""
SELECT m.imei, p.* FROM (VALUES {{stretches}}) AS m (imei, lo, hi)
CROSS JOIN LATERAL (
    (
        SELECT (-1)::smallint, {_FIX} FROM public.positions AS r
        WHERE imei = m.imei AND recorded_at < m.lo
          AND recorded_at >= '{{low}}' AND recorded_at < '{{high}}' AND {_IS_TIMING_FIX}
        ORDER BY recorded_at DESC, digest DESC LIMIT 1
    )
    UNION ALL
    (
        SELECT 0::smallint, {_FIX} FROM public.positions AS r
        WHERE imei = m.imei AND recorded_at >= m.lo AND recorded_at <= m.hi
          AND recorded_at >= '{{low}}' AND recorded_at < '{{high}}' AND {_IS_TIMING_FIX}
        ORDER BY recorded_at, digest LIMIT {{within}}
    )
    UNION ALL
    (
        SELECT 1::smallint, {_FIX} FROM public.positions AS r
        WHERE imei = m.imei AND recorded_at > m.hi
          AND recorded_at >= '{{low}}' AND recorded_at < '{{high}}' AND {_IS_TIMING_FIX}
        ORDER BY recorded_at, digest LIMIT {{right}}
    )
) AS p
"""  # noqa: S608 -- constants of ours

# Neighbours that are far, of few devices.
FAR_FIXES: Final = f"""
SELECT m.imei, p.* FROM (VALUES {{left}}) AS m (imei, lo)
CROSS JOIN LATERAL (
    SELECT (-1)::smallint, {_FIX} FROM public.positions AS r
    WHERE imei = m.imei AND recorded_at < m.lo AND {_IS_TIMING_FIX}
    ORDER BY recorded_at DESC, digest DESC LIMIT 1
) AS p
UNION ALL
SELECT m.imei, p.* FROM (VALUES {{right}}) AS m (imei, hi)
CROSS JOIN LATERAL (
    SELECT 1::smallint, {_FIX} FROM public.positions AS r
    WHERE imei = m.imei AND recorded_at > m.hi AND {_IS_TIMING_FIX}
    ORDER BY recorded_at, digest LIMIT {{n_right}}
) AS p
"""  # noqa: S608 -- constants of ours

NEXT_FIXES: Final = f"""
SELECT m.imei, p.recorded_at FROM (VALUES {{stretches}}) AS m (imei, lo)
CROSS JOIN LATERAL (
    SELECT recorded_at FROM public.positions AS r
    WHERE imei = m.imei AND recorded_at >= m.lo AND {_IS_TIMING_FIX}
    ORDER BY recorded_at LIMIT 1
) AS p
"""  # noqa: S608 -- constants of ours

OLDER: Final = """
SELECT m.imei FROM (VALUES {first}) AS m (imei, at)
WHERE EXISTS (
    SELECT FROM public.timing_records AS t
    WHERE t.imei = m.imei AND t.end_t <= m.at AND (t.end_t < m.at OR t.start_t IS NOT NULL)
)
"""

MEMBERS: Final = """
SELECT m.imei, m.zone_id FROM (VALUES {members}) AS m (imei, zone_id, at)
CROSS JOIN LATERAL (
    SELECT kind FROM public.timing_records
    WHERE imei = m.imei AND zone_id = m.zone_id AND end_t <= m.at
    ORDER BY end_t DESC, n DESC LIMIT 1
) AS newest
WHERE newest.kind IN ('initial', 'enter')
"""

# Sorted, so that two folds lock in one order; who is locked is somebody else's to do.
LOCK_MARKS: Final = """
SELECT f.imei FROM (VALUES {versions}) AS m (imei, version)
JOIN public.refold AS f ON f.imei = m.imei
WHERE f.xmin::text::bigint = m.version AND NOT isempty(f.ranges)
ORDER BY f.imei
FOR UPDATE OF f SKIP LOCKED
"""

# {imeis}: an `array`.
HOLD_MARKS: Final = """
SELECT imei FROM public.refold
WHERE imei = ANY ('{imeis}'::bigint[]) AND NOT isempty(ranges)
ORDER BY imei
FOR UPDATE SKIP LOCKED
"""

STORED_CROSSINGS: Final = """
SELECT
    t.imei, t.end_t, t.zone_id, t.n, t.zone_version, t.kind, t.at, t.uncertainty_us, t.direction,
    t.cause, t.start_t, t.start_digest, t.end_digest, t.distance_m, t.satellites
FROM (VALUES {replaced}) AS m (imei, behind, upto)
JOIN public.timing_records AS t ON t.imei = m.imei AND t.end_t > m.behind AND t.end_t <= m.upto
ORDER BY t.imei, t.end_t, t.zone_id, t.n
"""

DELETE_CROSSINGS: Final = """
DELETE FROM public.timing_records AS t
USING (VALUES {replaced}) AS m (imei, behind, upto)
WHERE t.imei = m.imei AND t.end_t > m.behind AND t.end_t <= m.upto
  AND t.imei = ANY ('{imeis}'::bigint[])
"""

CLEAR_MARKS: Final = """
UPDATE public.refold AS f
SET ranges = m.ranges, is_rerun = f.is_rerun AND NOT isempty(m.ranges)
FROM (VALUES {rest}) AS m (imei, ranges) WHERE f.imei = m.imei
"""

# $1: an `array`.
LAST_POSITIONS: Final = """
SELECT imei, (extract(epoch FROM recorded_at) * 1000000)::bigint, digest, longitude, latitude
FROM public.last_position WHERE imei = ANY($1::text::bigint[])
"""

# A frozen instance keeps its locks for ever in the middle of a COPY: no timeout of the server's
# fires there. $1: seconds.
END_STALE_SESSIONS: Final = f"""
SELECT count(pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
WHERE starts_with(application_name, '{SESSION_PREFIX}')
  AND usename = current_user
  AND datname = current_database()
  AND pid <> pg_backend_pid()
  AND xact_start < clock_timestamp() - make_interval(secs => $1)
"""  # noqa: S608 -- a constant of ours


def array(numbers: Iterable[int]) -> str:
    """An array as Postgres writes it.

    As a type of its own the client would look it up first, and turn off ``jit`` for that: in a
    session behind a pooler it would stay off for everybody.
    """
    return f"{{{','.join(map(str, numbers))}}}"

-- phase: pre
--
-- What is a path, the sessions of a race meeting, and what people ask of the crossings: laps, and
-- stays in zones. Views decide what counts; timing_records holds all that happened.

-- One row, in the database and not in a setting: crossings are the same whoever folds.
CREATE TABLE public.timing_limits (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    gap_s double precision NOT NULL CHECK (gap_s > 0),
    jump_m_s double precision NOT NULL CHECK (jump_m_s > 0)
);
COMMENT ON TABLE public.timing_limits IS 'What is a path between two fixes: one row, changed by timing limits.';
COMMENT ON COLUMN public.timing_limits.only_row IS 'Always true.';
COMMENT ON COLUMN public.timing_limits.gap_s IS 'Two fixes farther apart in time have no path between them, in seconds.';
COMMENT ON COLUMN public.timing_limits.jump_m_s IS 'Nor have two that would need a higher speed than this, in metres a second.';
INSERT INTO public.timing_limits (gap_s, jump_m_s) VALUES (300, 140);

-- Whoever holds zones in memory holds these with them.
CREATE TRIGGER timing_limits_changed
    AFTER INSERT OR UPDATE OR DELETE ON public.timing_limits
    FOR EACH STATEMENT EXECUTE FUNCTION public.zones_changed();

CREATE TABLE public.sessions (
    name text PRIMARY KEY CHECK (name <> ''),
    kind text NOT NULL CHECK (kind IN ('practice', 'qualifying', 'race')),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    zones integer[] NOT NULL CHECK (cardinality(zones) > 0 AND array_position(zones, NULL) IS NULL),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (starts_at < ends_at)
);
COMMENT ON TABLE public.sessions IS 'Practice, qualifying, race: when, and over which zones.';
COMMENT ON COLUMN public.sessions.name IS 'What people call it.';
COMMENT ON COLUMN public.sessions.kind IS 'practice, qualifying or race.';
COMMENT ON COLUMN public.sessions.starts_at IS 'First moment whose crossings count.';
COMMENT ON COLUMN public.sessions.ends_at IS 'First moment whose crossings count no more.';
COMMENT ON COLUMN public.sessions.zones IS 'Ids of zones: start and finish first, then the sector gates in the order of a lap.';
COMMENT ON COLUMN public.sessions.created_at IS 'When it was written.';

CREATE FUNCTION public.sphere_distance_m(
    longitude_a double precision, latitude_a double precision,
    longitude_b double precision, latitude_b double precision
) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN 2 * 6371008.8 * asin(least(1.0, sqrt(
    sin(radians(latitude_b - latitude_a) / 2) ^ 2
    + cos(radians(latitude_a)) * cos(radians(latitude_b))
    * sin(radians(longitude_b - longitude_a) / 2) ^ 2
)));
COMMENT ON FUNCTION public.sphere_distance_m(double precision, double precision, double precision, double precision) IS 'Metres between two places on the sphere that timing_records are derived on.';

CREATE VIEW public.zone_stays AS
SELECT
    imei,
    zone_id,
    at AS entered_at,
    left_at,
    left_at - at AS duration,
    left_at IS NULL AS is_open,
    kind = 'initial' AS is_initial,
    cause AS entered_cause,
    left_cause
FROM (
    SELECT
        imei, zone_id, kind, at, cause,
        lead(at) OVER stays AS left_at,
        lead(cause) OVER stays AS left_cause
    FROM public.timing_records
    WHERE kind IN ('initial', 'enter', 'exit')
    WINDOW stays AS (PARTITION BY imei, zone_id ORDER BY end_t, n)
) AS changes
WHERE kind <> 'exit';
COMMENT ON VIEW public.zone_stays IS 'From when to when a device was inside a zone; left_at is null while it is.';

-- Fixes are read once a device, along with its first lap: with a join the planner might read them
-- once a lap, as long as it knows nothing of a young table.
CREATE VIEW public.laps AS
WITH crossed AS (
    SELECT
        s.name, s.zones, t.imei, t.zone_id, t.at, t.end_t, t.n, t.start_t, t.uncertainty_us,
        row_number() OVER crossings AS number,
        min(t.start_t) OVER device AS first_t,
        max(t.end_t) OVER device AS last_t,
        lead(t.at) OVER crossings AS next_at,
        lead(t.end_t) OVER crossings AS next_end_t,
        lead(t.zone_version) OVER crossings AS next_zone_version,
        lead(t.uncertainty_us) OVER crossings AS next_uncertainty_us
    FROM public.sessions AS s
    JOIN public.timing_records AS t
        ON t.zone_id = s.zones[1] AND t.at >= s.starts_at AND t.at < s.ends_at
    WHERE t.kind IN ('enter', 'cross') AND t.cause = 'ok'
    WINDOW
        device AS (PARTITION BY s.name, t.imei),
        crossings AS (device ORDER BY t.at, t.end_t, t.n)
),
judged AS (
    SELECT
        c.*, c.next_at - c.at AS duration,
        coalesce(c.next_at - c.at < make_interval(secs => z.minimum_lap_s), false) AS too_short
    FROM crossed AS c
    LEFT JOIN public.zones AS z ON z.id = c.zone_id AND z.version = c.next_zone_version
    WHERE c.next_at IS NOT NULL
),
numbered AS (
    SELECT
        j.*,
        count(*) FILTER (WHERE NOT j.too_short) OVER laps AS lap,
        first_value(path.first_t) OVER laps AS known_from,
        first_value(path.last_t) OVER laps AS known_to,
        first_value(path.gaps) OVER laps AS gaps,
        first_value(path.jumps) OVER laps AS jumps
    FROM judged AS j
    CROSS JOIN LATERAL (
        SELECT
            min(end_t) AS first_t,
            max(end_t) AS last_t,
            array_agg(tstzrange(start_t, end_t, '()')) FILTER (WHERE is_gap) AS gaps,
            array_agg(tstzrange(start_t, end_t, '()')) FILTER (WHERE is_jump) AS jumps
        FROM (
            SELECT
                start_t, end_t,
                end_t - start_t > make_interval(secs => l.gap_s) AS is_gap,
                -- A way along a meridian and a parallel is never shorter: mostly it settles it.
                CASE
                    WHEN 111196 * (abs(latitude - latitude_a) + abs(longitude - longitude_a))
                        > l.jump_m_s * date_part('epoch', end_t - start_t)
                    THEN public.sphere_distance_m(longitude_a, latitude_a, longitude, latitude)
                        > l.jump_m_s * date_part('epoch', end_t - start_t)
                END AS is_jump
            FROM public.timing_limits AS l, (
                SELECT
                    recorded_at AS end_t, longitude, latitude,
                    lag(recorded_at) OVER fixes AS start_t,
                    lag(longitude) OVER fixes AS longitude_a,
                    lag(latitude) OVER fixes AS latitude_a
                FROM (
                    SELECT DISTINCT ON (recorded_at) recorded_at, longitude, latitude
                    FROM public.positions
                    WHERE j.number = 1 AND imei = j.imei
                      AND recorded_at BETWEEN j.first_t AND j.last_t
                      AND satellites > 0 AND NOT clock_suspect
                      AND longitude BETWEEN -180 AND 180 AND latitude BETWEEN -90 AND 90
                    ORDER BY recorded_at, digest DESC
                ) AS timing_fixes
                WINDOW fixes AS (ORDER BY recorded_at)
            ) AS pairs
        ) AS steps
    ) AS path
    WINDOW laps AS (PARTITION BY j.name, j.imei ORDER BY j.at, j.end_t, j.n)
)
SELECT
    j.name AS session,
    j.imei,
    CASE WHEN NOT j.too_short THEN j.lap END AS lap,
    j.at AS started_at,
    j.next_at AS ended_at,
    j.duration,
    j.uncertainty_us + j.next_uncertainty_us AS uncertainty_us,
    sectors.times AS sector_times,
    j.too_short,
    CASE WHEN is_known THEN coalesce(whole && ANY (j.gaps), false) END AS has_gap,
    CASE WHEN is_known THEN coalesce(whole && ANY (j.jumps), false) END AS has_jump
FROM numbered AS j
CROSS JOIN LATERAL (
    SELECT
        tstzrange(j.start_t, j.next_end_t) AS whole,
        j.known_from <= j.start_t AND j.next_end_t <= j.known_to AS is_known
) AS lap
CROSS JOIN LATERAL (
    SELECT
        coalesce(array_agg(CASE WHEN time >= interval '0' THEN time END ORDER BY number), '{}')
            AS times
    FROM (
        SELECT number, split - lag(split, 1, j.at) OVER (ORDER BY number) AS time
        FROM (
            SELECT sector.number, (
                SELECT min(t.at) FROM public.timing_records AS t
                WHERE t.imei = j.imei AND t.zone_id = sector.zone_id
                  AND t.end_t BETWEEN j.start_t AND j.next_end_t
                  AND t.at > j.at AND t.at < j.next_at
                  AND t.kind IN ('enter', 'cross') AND t.cause = 'ok'
            ) AS split
            FROM unnest(j.zones[2:]) WITH ORDINALITY AS sector (zone_id, number)
            UNION ALL
            SELECT cardinality(j.zones), j.next_at WHERE cardinality(j.zones) > 1
        ) AS splits
    ) AS times
) AS sectors;
COMMENT ON VIEW public.laps IS 'From one crossing of start and finish to the next, by session and device. A lap below the minimum is flagged, and has no number; has_gap and has_jump are null where the positions are gone.';
COMMENT ON COLUMN public.laps.session IS 'The session.';
COMMENT ON COLUMN public.laps.imei IS 'The device; its name is in devices.';
COMMENT ON COLUMN public.laps.lap IS 'Number within the session, from 1; null where the lap is too short.';
COMMENT ON COLUMN public.laps.started_at IS 'Crossing of start and finish that begins it.';
COMMENT ON COLUMN public.laps.ended_at IS 'The next one.';
COMMENT ON COLUMN public.laps.duration IS 'Between the two.';
COMMENT ON COLUMN public.laps.uncertainty_us IS 'By how much the duration may be off, in microseconds: the sum of both crossings'' uncertainty.';
COMMENT ON COLUMN public.laps.sector_times IS 'In the order of the session''s sector gates, the last one to the finish; null for a sector whose gate was not seen, empty without gates.';
COMMENT ON COLUMN public.laps.too_short IS 'Whether it is shorter than the minimum of its zone.';
COMMENT ON COLUMN public.laps.has_gap IS 'Whether two fixes in it are farther apart in time than timing_limits allow.';
COMMENT ON COLUMN public.laps.has_jump IS 'Whether two fixes in it would need a higher speed than timing_limits allow.';
COMMENT ON COLUMN public.zone_stays.imei IS 'The device; its name is in devices.';
COMMENT ON COLUMN public.zone_stays.zone_id IS 'The zone; its name is in zones. Gates have no stays.';
COMMENT ON COLUMN public.zone_stays.entered_at IS 'When it came in.';
COMMENT ON COLUMN public.zone_stays.left_at IS 'When it left; null while it is inside.';
COMMENT ON COLUMN public.zone_stays.duration IS 'Between the two; null while it is inside.';
COMMENT ON COLUMN public.zone_stays.is_open IS 'Whether it is inside.';
COMMENT ON COLUMN public.zone_stays.is_initial IS 'Whether it was inside at its first fix, so that nobody knows since when.';
COMMENT ON COLUMN public.zone_stays.entered_cause IS 'ok; or what made the change without a path: gap, jump.';
COMMENT ON COLUMN public.zone_stays.left_cause IS 'The same of leaving, or zone_ended; null while it is inside.';

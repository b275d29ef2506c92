-- phase: pre
--
-- Day partitions are made by the writers themselves, which own nothing: hence SECURITY DEFINER.
--
-- CREATE TABLE .. PARTITION OF would lock out every reader and writer of positions, and fails while
-- the default partition holds a row of the day. ATTACH takes SHARE UPDATE EXCLUSIVE on positions,
-- which readers and writers do not feel, and ACCESS EXCLUSIVE on the default partition only.

CREATE FUNCTION public.positions_create_day(day date) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    partition text := 'positions_' || to_char(day, 'YYYYMMDD');
    lower_bound text := to_char(day, 'YYYY-MM-DD') || ' 00:00:00+00';
    upper_bound text := to_char(day + 1, 'YYYY-MM-DD') || ' 00:00:00+00';
BEGIN
    EXECUTE format(
        'CREATE TABLE public.%I (LIKE public.positions INCLUDING ALL EXCLUDING COMMENTS)',
        partition
    );
    -- Suspect copies came before the first plausible record of their day.
    EXECUTE format(
        'WITH moved AS ('
        '    DELETE FROM public.positions_default'
        '    WHERE recorded_at >= %L AND recorded_at < %L RETURNING *'
        ') INSERT INTO public.%I SELECT * FROM moved',
        lower_bound, upper_bound, partition
    );
    EXECUTE format(
        'ALTER TABLE public.positions ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        partition, lower_bound, upper_bound
    );
END
$$;

COMMENT ON FUNCTION public.positions_create_day(date) IS 'Part of positions_ensure_days, which holds the locks.';
REVOKE EXECUTE ON FUNCTION public.positions_create_day(date) FROM PUBLIC;

-- A day that any partition touches is left to whoever made that one: operators may keep old records
-- in coarser partitions. A table with the name of a day's partition counts, attached or not.
CREATE FUNCTION public.positions_missing_days(days date[]) RETURNS date[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
    WITH covered AS MATERIALIZED (
        SELECT tstzrange(
            replace(bounds[1], 'MINVALUE', '-infinity')::timestamptz,
            replace(bounds[2], 'MAXVALUE', 'infinity')::timestamptz
        ) AS period
        FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid,
            regexp_match(
                pg_get_expr(c.relpartbound, c.oid),
                'FROM [(]''?([^'')]+)''?[)] TO [(]''?([^'')]+)''?[)]'
            ) AS bounds
        WHERE inhparent = 'public.positions'::regclass
          AND bounds IS NOT NULL  -- the default partition has none
    )
    SELECT coalesce(array_agg(DISTINCT day ORDER BY day), '{}') FROM unnest(days) AS day
    WHERE day >= DATE '2010-01-01'
      AND to_regclass('public.positions_' || to_char(day, 'YYYYMMDD')) IS NULL
      AND NOT EXISTS (
          SELECT FROM covered
          WHERE period && tstzrange(day::timestamptz, (day + 1)::timestamptz)
      )
$$;

COMMENT ON FUNCTION public.positions_missing_days(date[]) IS 'Part of positions_ensure_days: those of the days that want a partition of their own.';
REVOKE EXECUTE ON FUNCTION public.positions_missing_days(date[]) FROM PUBLIC;

-- Bound: the lock timeout stands above the default deadlock_timeout (1 s), at which the server makes
-- an autovacuum of the default partition give way.
CREATE FUNCTION public.positions_ensure_days(days date[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1500ms'
AS $$
DECLARE
    missing date[];
BEGIN
    -- Asked twice: without any lock, which nearly always suffices, and under the lock.
    FOR attempt IN 1..2 LOOP
        missing := public.positions_missing_days(days);
        IF missing = '{}' THEN
            RETURN 0;
        END IF;
        IF attempt = 1 THEN
            LOCK TABLE ONLY public.positions IN SHARE UPDATE EXCLUSIVE MODE;
        END IF;
    END LOOP;
    LOCK TABLE ONLY public.positions_default IN ACCESS EXCLUSIVE MODE;
    PERFORM public.positions_create_day(day) FROM unnest(missing) AS day;
    RETURN cardinality(missing);
END
$$;

COMMENT ON FUNCTION public.positions_ensure_days(date[]) IS 'Gives each of these UTC days from 2010 on a partition of positions if none holds any of it, with the rows that waited in the default partition; returns how many were made. A day whose table was detached stays as it is.';
REVOKE EXECUTE ON FUNCTION public.positions_ensure_days(date[]) FROM PUBLIC;

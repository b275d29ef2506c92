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
        missing := array(
            SELECT DISTINCT day FROM unnest(days) AS day
            WHERE day >= DATE '2010-01-01'
              AND to_regclass('public.positions_' || to_char(day, 'YYYYMMDD')) IS NULL
            ORDER BY day
        );
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

COMMENT ON FUNCTION public.positions_ensure_days(date[]) IS 'Gives each of these UTC days from 2010 on a partition of positions if it has none, with the rows that waited in the default partition; returns how many were made. A day whose table was detached stays as it is.';
REVOKE EXECUTE ON FUNCTION public.positions_ensure_days(date[]) FROM PUBLIC;

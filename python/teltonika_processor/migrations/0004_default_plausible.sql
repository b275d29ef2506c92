-- phase: pre
--
-- A plausible row in the default partition is there by mistake: its day had no partition when it
-- came, as after a DETACH by hand. It is not lost, but it stays when its day is dropped, and while
-- it is there no partition of that day can be attached. The index is empty where all is well, so
-- that looking costs nothing however many suspect rows there are.

CREATE INDEX positions_default_plausible ON public.positions_default (recorded_at)
    WHERE NOT clock_suspect;

-- Writers own nothing and may not read partitions by their names: hence SECURITY DEFINER.
-- Bound: 10,000 rows are read at most.
CREATE FUNCTION public.positions_default_plausible(at_most integer, since date DEFAULT '-infinity')
RETURNS TABLE (day date, plausible_rows bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
    SELECT recorded_at::date, count(*) FROM (
        SELECT recorded_at FROM public.positions_default
        WHERE NOT clock_suspect AND recorded_at >= since::timestamptz
        ORDER BY recorded_at LIMIT least(greatest(at_most, 0), 10000)
    ) AS plausible
    GROUP BY 1 ORDER BY 1
$$;

COMMENT ON FUNCTION public.positions_default_plausible(integer, date) IS 'How many plausible rows the default partition holds, by UTC day from `since` on; looks at no more than `at_most` of them, or 10,000.';
REVOKE EXECUTE ON FUNCTION public.positions_default_plausible(integer, date) FROM PUBLIC;

-- Whoever may make partitions may know which are missing: no role needs a new grant by hand.
DO $$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN
        SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_catalog.pg_proc AS p, pg_catalog.aclexplode(p.proacl) AS a
        WHERE p.oid = 'public.positions_ensure_days(date[])'::regprocedure
          AND a.grantee <> p.proowner
    LOOP
        EXECUTE format(
            'GRANT EXECUTE ON FUNCTION public.positions_default_plausible(integer, date) TO %s',
            grantee
        );
    END LOOP;
END
$$;

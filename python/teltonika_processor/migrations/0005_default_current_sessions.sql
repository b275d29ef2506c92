-- phase: pre
--
-- A session that reads its list of partitions while ATTACH commits may keep a list without the new
-- one, until positions changes again: the server's notice of the change arrives while the list is
-- being made, and is lost (seen on PostgreSQL 15.20; 18 has the same code). Such a session sends
-- rows of that day to the default partition, whose own bounds it takes from the same list, and there
-- they would be stored once more. So it is ended, and the next one reads the list anew; to raise an
-- error would not do, since a pooler would hand out the same server process again.
-- Partitions with other names than ours are not looked for: attach such a one while nobody writes.

CREATE FUNCTION public.positions_default_current() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
DECLARE
    partition regclass := to_regclass(
        'public.positions_' || to_char(NEW.recorded_at AT TIME ZONE 'UTC', 'YYYYMMDD')
    );
BEGIN
    IF partition IS NULL THEN
        RETURN NEW;
    END IF;
    -- A table that was detached keeps its name, and one that was attached by hand may hold a part
    -- of the day: what it does not hold stays in the default partition.
    PERFORM FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid,
        regexp_match(
            pg_get_expr(c.relpartbound, c.oid), 'FROM [(]''([^'']+)''[)] TO [(]''([^'']+)''[)]'
        ) AS bounds
    WHERE inhrelid = partition AND inhparent = 'public.positions'::regclass
      AND NEW.recorded_at >= bounds[1]::timestamptz AND NEW.recorded_at < bounds[2]::timestamptz;
    IF FOUND THEN
        RAISE LOG 'positions: this session does not know partition %, and is ended', partition;
        PERFORM pg_terminate_backend(pg_backend_pid());
        RAISE EXCEPTION 'positions: this session does not know partition %', partition
            USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION public.positions_default_current() IS 'Ends a session that sends a row to the default partition although its day has a partition.';
REVOKE EXECUTE ON FUNCTION public.positions_default_current() FROM PUBLIC;

CREATE TRIGGER current_sessions BEFORE INSERT ON public.positions_default
    FOR EACH ROW EXECUTE FUNCTION public.positions_default_current();

-- Who may do what with the tables of teltonika-processor, as OPERATIONS.md, "Roles", says it.
--
-- Run it in the service's database as a superuser, before the first `teltonika-processor migrate`
-- and again after it; at any later time it puts right what differs, and after an upgrade it covers
-- new tables. It changes nothing while it is run twice.
--
--     psql --quiet --single-transaction --set ON_ERROR_STOP=1 --file roles.sql fleet
--
-- The roles get no passwords here: psql's \password sets them without showing them to the server.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY[
        'teltonika_owner', 'teltonika_writer', 'teltonika_gateway', 'teltonika_reader'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I', role);
        END IF;
        EXECUTE format(
            'ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS',
            role
        );
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
        EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', role);
    END LOOP;
    -- For the table through which a batch goes that holds records stored before.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO teltonika_writer', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CREATE ON SCHEMA public TO teltonika_owner;

-- What is there already belongs to the owner, or it could not be migrated by it.
DO $$
DECLARE
    ours oid[];
    own record;
BEGIN
    SELECT array_agg(to_regclass('public.' || name)::oid) INTO ours
    FROM unnest(ARRAY[
        'teltonika_migrations', 'devices', 'positions', 'last_position', 'io_elements',
        'position_elements', 'zones', 'zones_change', 'refold', 'timing_records',
        'timing_revisions', 'timing_limits', 'sessions', 'zone_stays', 'laps'
    ]) AS name;
    FOR own IN
        SELECT c.oid::regclass AS name, c.relkind = 'v' AS is_view
        FROM pg_catalog.pg_class AS c
        WHERE (c.oid = ANY (ours) OR c.oid IN (
            SELECT inhrelid FROM pg_catalog.pg_inherits
            WHERE inhparent = to_regclass('public.positions')
        )) AND c.relowner <> 'teltonika_owner'::regrole
    LOOP
        EXECUTE format(
            'ALTER %s %s OWNER TO teltonika_owner',
            CASE WHEN own.is_view THEN 'VIEW' ELSE 'TABLE' END, own.name
        );
    END LOOP;
    FOR own IN
        SELECT oid::regprocedure AS name FROM pg_catalog.pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proowner <> 'teltonika_owner'::regrole
          AND proname IN (
              'positions_create_day', 'positions_missing_days', 'positions_ensure_days',
              'positions_default_plausible', 'positions_default_current', 'positions_io',
              'zones_changed', 'sphere_distance_m'
          )
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO teltonika_owner', own.name);
    END LOOP;
END
$$;

-- Partitions of positions need no grants: they are read and written through it, and made by the
-- function.
REVOKE ALL ON ALL TABLES IN SCHEMA public
    FROM teltonika_writer, teltonika_gateway, teltonika_reader;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public
    FROM teltonika_writer, teltonika_gateway, teltonika_reader;

DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT * FROM (VALUES
            ('teltonika_writer', 'SELECT', 'teltonika_migrations'),
            ('teltonika_writer', 'SELECT, INSERT, UPDATE', 'devices'),
            ('teltonika_writer', 'SELECT, INSERT, UPDATE', 'positions'),
            ('teltonika_writer', 'SELECT, INSERT, UPDATE', 'last_position'),
            ('teltonika_writer', 'SELECT', 'zones'),
            ('teltonika_writer', 'UPDATE (unmarked)', 'zones'),
            ('teltonika_writer', 'SELECT', 'zones_change'),
            ('teltonika_writer', 'SELECT', 'timing_limits'),
            ('teltonika_writer', 'UPDATE (is_marked)', 'timing_limits'),
            ('teltonika_writer', 'SELECT, INSERT, UPDATE', 'refold'),
            ('teltonika_writer', 'SELECT, INSERT, DELETE', 'timing_records'),
            ('teltonika_writer', 'INSERT', 'timing_revisions'),
            ('teltonika_gateway', 'SELECT', 'teltonika_migrations'),
            ('teltonika_reader', 'SELECT', 'teltonika_migrations'),
            ('teltonika_reader', 'SELECT', 'devices'),
            ('teltonika_reader', 'SELECT', 'positions'),
            ('teltonika_reader', 'SELECT', 'last_position'),
            ('teltonika_reader', 'SELECT', 'zones'),
            ('teltonika_reader', 'SELECT', 'timing_records'),
            ('teltonika_reader', 'SELECT', 'timing_revisions'),
            ('teltonika_reader', 'SELECT', 'timing_limits'),
            ('teltonika_reader', 'SELECT', 'refold'),
            ('teltonika_reader', 'SELECT', 'sessions'),
            ('teltonika_reader', 'SELECT', 'zone_stays'),
            ('teltonika_reader', 'SELECT', 'laps'),
            ('teltonika_reader', 'SELECT', 'io_elements'),
            ('teltonika_reader', 'SELECT', 'position_elements')
        ) AS grants (role, privileges, name)
    LOOP
        IF to_regclass('public.' || granted.name) IS NOT NULL THEN
            EXECUTE format(
                'GRANT %s ON public.%I TO %I', granted.privileges, granted.name, granted.role
            );
        END IF;
    END LOOP;
    -- The gateway listens to the internet: it says who was seen, never who is allowed.
    IF to_regclass('public.devices') IS NOT NULL THEN
        GRANT SELECT (imei, allowed, first_seen_at, last_seen_at),
            INSERT (imei, first_seen_at, last_seen_at), UPDATE (first_seen_at, last_seen_at)
            ON public.devices TO teltonika_gateway;
    END IF;
    IF to_regprocedure('public.positions_default_plausible(integer, date)') IS NOT NULL THEN
        GRANT EXECUTE ON FUNCTION public.positions_default_plausible(integer, date)
            TO teltonika_writer, teltonika_reader;
    END IF;
    IF to_regprocedure('public.positions_ensure_days(date[])') IS NOT NULL THEN
        GRANT EXECUTE ON FUNCTION public.positions_ensure_days(date[]) TO teltonika_writer;
    ELSE
        RAISE NOTICE 'there are no tables yet: run this again after teltonika-processor migrate';
    END IF;
END
$$;

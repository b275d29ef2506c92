"""The statements of an examination: none of them writes, and each has a bound."""

from typing import Final

SERVER: Final = """
SELECT
    current_setting('server_version_num')::integer AS version_num,
    current_setting('server_version') AS version,
    pg_is_in_recovery() AS in_recovery,
    current_setting('transaction_read_only') = 'on' AS read_only,
    current_user::text AS role,
    (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS is_superuser,
    current_database()::text AS database
"""

# $1: names.
SETTINGS: Final = "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY($1::text[])"

ALLOWS_ANY: Final = "SELECT EXISTS (SELECT FROM public.devices WHERE allowed)"

CLOCK_MS: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::double precision"

# By the catalogue: the functions that take a name refuse one in a schema that may not be used.
# NULL where the object is not there.
GRANTS: Final = """
WITH tables AS (
    SELECT c.relname, c.oid
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public'
), ensure_days AS (
    SELECT p.oid
    FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = 'public' AND p.proname = 'positions_ensure_days'
)
SELECT 'TEMPORARY ON DATABASE ' || quote_ident(current_database()),
    has_database_privilege(current_database(), 'TEMPORARY')
UNION ALL
SELECT 'USAGE ON SCHEMA public', has_schema_privilege('public', 'USAGE')
UNION ALL
SELECT right_name || ' ON public.' || table_name,
    has_table_privilege((SELECT oid FROM tables WHERE relname = table_name), right_name)
FROM unnest(ARRAY['devices', 'positions', 'last_position']) AS table_name,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS right_name
UNION ALL
SELECT 'SELECT ON public.teltonika_migrations',
    has_table_privilege(
        (SELECT oid FROM tables WHERE relname = 'teltonika_migrations'), 'SELECT'
    )
UNION ALL
SELECT right_name || ' ON public.' || table_name,
    has_table_privilege((SELECT oid FROM tables WHERE relname = table_name), right_name)
FROM (VALUES
    ('zones', 'SELECT'), ('zones_change', 'SELECT'), ('timing_limits', 'SELECT'),
    ('refold', 'SELECT'), ('refold', 'INSERT'), ('refold', 'UPDATE'),
    ('timing_records', 'SELECT'), ('timing_records', 'INSERT'), ('timing_records', 'DELETE'),
    ('timing_revisions', 'INSERT')
) AS timing (table_name, right_name)
UNION ALL
SELECT 'UPDATE (unmarked) ON public.zones',
    has_column_privilege((SELECT oid FROM tables WHERE relname = 'zones'), 'unmarked', 'UPDATE')
UNION ALL
-- By its number: of a column that is not there yet the name is an error, and null is not.
SELECT 'UPDATE (is_marked) ON public.timing_limits',
    has_column_privilege(t.oid, a.attnum, 'UPDATE')
FROM (VALUES ('timing_limits')) AS limits (relname)
LEFT JOIN tables AS t USING (relname)
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attname = 'is_marked'
UNION ALL
SELECT 'EXECUTE ON FUNCTION public.positions_ensure_days(date[])',
    has_function_privilege((SELECT oid FROM ensure_days), 'EXECUTE')
"""

# Everybody may read the counts of pg_stat_database; of pg_stat_activity only the own sessions.
CONNECTIONS: Final = """
SELECT
    (SELECT coalesce(sum(numbackends), 0)::integer FROM pg_catalog.pg_stat_database) AS used,
    (
        current_setting('max_connections')::integer
        - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true), '0')::integer
    ) AS allowed,
    (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user) AS role_limit,
    (
        SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = current_database()
    ) AS database_limit
"""

IDLE_SLOTS: Final = """
SELECT slot_name::text, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
FROM pg_catalog.pg_replication_slots
WHERE NOT active
ORDER BY slot_name
LIMIT 100
"""

N_PARTITIONS: Final = """
SELECT count(*)::integer
FROM pg_catalog.pg_inherits
WHERE inhparent = (
    SELECT c.oid
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relname = 'positions'
)
"""

DETACHED_DAYS: Final = """
SELECT c.relname::text
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relname ~ '^positions_[0-9]{8}$'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = c.oid)
ORDER BY c.relname
LIMIT 1000
"""

IDENTITY: Final = """
SELECT s.system_identifier::text, d.oid::bigint
FROM pg_catalog.pg_control_system() AS s, pg_catalog.pg_database AS d
WHERE d.datname = current_database()
"""

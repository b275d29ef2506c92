-- phase: pre
--
-- Zones, the stretches whose crossings are to be derived again, and the crossings.
-- What a crossing is depends on the fixes and the zones alone, so its key holds no serial number.

CREATE TABLE public.zones (
    id integer NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    name text NOT NULL CHECK (name <> ''),
    kind text NOT NULL CHECK (kind IN ('circle', 'polygon', 'gate')),
    geometry jsonb NOT NULL,
    radius_m double precision CHECK (radius_m > 0),
    direction text CHECK (direction IN ('left_to_right', 'right_to_left', 'both')),
    hysteresis_m double precision NOT NULL DEFAULT 0 CHECK (hysteresis_m >= 0),
    minimum_lap_s double precision CHECK (minimum_lap_s >= 0),
    valid_from timestamptz NOT NULL DEFAULT '-infinity',
    valid_to timestamptz NOT NULL DEFAULT 'infinity',
    unmarked tstzrange NOT NULL DEFAULT 'empty',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, version),
    CHECK (valid_from <= valid_to),
    CHECK ((kind = 'circle') = (radius_m IS NOT NULL)),
    CHECK ((kind = 'gate') = (direction IS NOT NULL))
);

COMMENT ON TABLE public.zones IS 'Versions of zones: of each zone one at most counts at a time.';
COMMENT ON COLUMN public.zones.id IS 'The zone; the same in all its versions.';
COMMENT ON COLUMN public.zones.version IS '1 for the first, and one more for each edit.';
COMMENT ON COLUMN public.zones.name IS 'What people call it.';
COMMENT ON COLUMN public.zones.kind IS 'circle, polygon (also several, with holes) or gate (a line).';
COMMENT ON COLUMN public.zones.geometry IS 'GeoJSON geometry: Point, Polygon, MultiPolygon or LineString; degrees east and north.';
COMMENT ON COLUMN public.zones.radius_m IS 'Of a circle, in metres on the sphere; null for others.';
COMMENT ON COLUMN public.zones.direction IS 'Of a gate, seen along its line: left_to_right, right_to_left or both; null for others.';
COMMENT ON COLUMN public.zones.hysteresis_m IS 'Deeper than this inside is in, farther than this outside is out, in metres; between, it stays as it was.';
COMMENT ON COLUMN public.zones.minimum_lap_s IS 'A lap from this gate to itself that is shorter is flagged, in seconds; null: none is.';
COMMENT ON COLUMN public.zones.valid_from IS 'First moment at which the version counts.';
COMMENT ON COLUMN public.zones.valid_to IS 'First moment at which it counts no more.';
COMMENT ON COLUMN public.zones.unmarked IS 'The stretch of time for which devices are yet to be marked because of an edit; empty once it is finished.';
COMMENT ON COLUMN public.zones.created_at IS 'When the version was written.';

CREATE INDEX zones_unmarked ON public.zones (id) WHERE NOT isempty(unmarked);

-- One row. Whoever holds zones in memory compares it: a changed row of zones moves it on.
CREATE TABLE public.zones_change (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    number bigint NOT NULL
);
COMMENT ON TABLE public.zones_change IS 'How often zones was changed: one row.';
COMMENT ON COLUMN public.zones_change.only_row IS 'Always true.';
COMMENT ON COLUMN public.zones_change.number IS 'One more for each statement that changed zones.';
INSERT INTO public.zones_change (number) VALUES (0);

CREATE FUNCTION public.zones_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.zones_change SET number = number + 1;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION public.zones_changed() IS 'Moves zones_change on.';

CREATE TRIGGER zones_changed
    AFTER INSERT OR DELETE OR UPDATE OF
        id, version, kind, geometry, radius_m, direction, hysteresis_m, valid_from, valid_to
    ON public.zones FOR EACH STATEMENT EXECUTE FUNCTION public.zones_changed();
CREATE TRIGGER zones_truncated
    AFTER TRUNCATE ON public.zones FOR EACH STATEMENT EXECUTE FUNCTION public.zones_changed();

CREATE TABLE public.refold (
    imei bigint PRIMARY KEY,
    ranges tstzmultirange NOT NULL DEFAULT '{}',
    is_rerun boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);  -- cleared and marked again all the time: both updates stay HOT

COMMENT ON TABLE public.refold IS 'Stretches of time whose crossings are to be derived again, by device; cleared to empty, never deleted.';
COMMENT ON COLUMN public.refold.imei IS 'The device.';
COMMENT ON COLUMN public.refold.ranges IS 'The stretches; empty where nothing is to be done.';
COMMENT ON COLUMN public.refold.is_rerun IS 'Whether somebody asked for it, by timing recompute.';

CREATE TABLE public.timing_records (
    imei bigint NOT NULL,
    end_t timestamptz NOT NULL,
    zone_id integer NOT NULL,
    n smallint NOT NULL,
    zone_version integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('initial', 'enter', 'exit', 'cross')),
    at timestamptz NOT NULL,
    uncertainty_us bigint NOT NULL,
    direction text CHECK (direction IN ('left_to_right', 'right_to_left')),
    cause text NOT NULL CHECK (cause IN ('ok', 'gap', 'jump', 'zone_ended')),
    start_t timestamptz,
    start_digest bigint,
    end_digest bigint NOT NULL,
    distance_m double precision NOT NULL,
    satellites smallint NOT NULL,
    PRIMARY KEY (imei, end_t, zone_id, n)
);

CREATE INDEX timing_records_zone ON public.timing_records (imei, zone_id, end_t, n);
CREATE INDEX timing_records_at ON public.timing_records (zone_id, at);

COMMENT ON TABLE public.timing_records IS 'Crossings of zones, derived from positions: never written by anybody else.';
COMMENT ON COLUMN public.timing_records.imei IS 'The device.';
COMMENT ON COLUMN public.timing_records.end_t IS 'recorded_at of the fix that ends the segment.';
COMMENT ON COLUMN public.timing_records.zone_id IS 'The zone.';
COMMENT ON COLUMN public.timing_records.n IS 'Which of the crossings of this zone in the segment, from 0.';
COMMENT ON COLUMN public.timing_records.zone_version IS 'The version that counted at end_t.';
COMMENT ON COLUMN public.timing_records.kind IS 'initial (inside at the first fix), enter, exit, or cross (of a gate).';
COMMENT ON COLUMN public.timing_records.at IS 'The moment, interpolated along the segment, in microseconds.';
COMMENT ON COLUMN public.timing_records.uncertainty_us IS 'By how much the moment may be off, in microseconds, from the distance of the two fixes in time and space and their satellites.';
COMMENT ON COLUMN public.timing_records.direction IS 'Of a cross, seen along the gate''s line; null for others.';
COMMENT ON COLUMN public.timing_records.cause IS 'ok; or what made the change without a path: gap, jump, zone_ended.';
COMMENT ON COLUMN public.timing_records.start_t IS 'recorded_at of the fix that begins the segment; null for initial.';
COMMENT ON COLUMN public.timing_records.start_digest IS 'digest of that fix.';
COMMENT ON COLUMN public.timing_records.end_digest IS 'digest of the fix at end_t.';
COMMENT ON COLUMN public.timing_records.distance_m IS 'Metres between the two fixes.';
COMMENT ON COLUMN public.timing_records.satellites IS 'The smaller number of satellites of the two.';

CREATE TABLE public.timing_revisions (
    revised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    imei bigint NOT NULL,
    end_t timestamptz NOT NULL,
    zone_id integer NOT NULL,
    n smallint NOT NULL,
    cause text NOT NULL CHECK (cause IN ('late_data', 'zone_edit', 'rerun')),
    was jsonb,
    is_now jsonb
);
CREATE INDEX timing_revisions_revised_at ON public.timing_revisions (revised_at);

COMMENT ON TABLE public.timing_revisions IS 'Crossings that were replaced by different ones, as they were and are.';
COMMENT ON COLUMN public.timing_revisions.revised_at IS 'When.';
COMMENT ON COLUMN public.timing_revisions.imei IS 'The device, as in timing_records.';
COMMENT ON COLUMN public.timing_revisions.end_t IS 'As in timing_records.';
COMMENT ON COLUMN public.timing_revisions.zone_id IS 'As in timing_records.';
COMMENT ON COLUMN public.timing_revisions.n IS 'As in timing_records.';
COMMENT ON COLUMN public.timing_revisions.cause IS 'late_data, zone_edit, or rerun (timing recompute).';
COMMENT ON COLUMN public.timing_revisions.was IS 'The row before; null where there was none.';
COMMENT ON COLUMN public.timing_revisions.is_now IS 'The row now; null where there is none.';

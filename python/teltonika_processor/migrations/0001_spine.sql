-- phase: pre
--
-- The log of AVL records, the newest fix of each device, and the devices themselves.
-- No foreign key leads from positions to devices: its row locks would order writers anew.

CREATE TABLE public.devices (
    imei bigint PRIMARY KEY,
    name text,
    allowed boolean NOT NULL DEFAULT false,
    first_seen_at timestamptz,
    last_seen_at timestamptz,
    attributes jsonb NOT NULL DEFAULT '{}'
);

COMMENT ON TABLE public.devices IS 'Trackers: those whose records are stored, and those an operator allows or the gateway refused.';
COMMENT ON COLUMN public.devices.imei IS 'IMEI as a number; people write it with 15 digits, leading zeros kept.';
COMMENT ON COLUMN public.devices.name IS 'What people call the tracker.';
COMMENT ON COLUMN public.devices.allowed IS 'Whether the gateway lets the tracker in.';
COMMENT ON COLUMN public.devices.first_seen_at IS 'Receive time of the earliest batch that registered it, which is that of the newest record in the batch; null if never seen.';
COMMENT ON COLUMN public.devices.last_seen_at IS 'Receive time of the latest batch that registered it, once an hour while it sends; null if never seen.';
COMMENT ON COLUMN public.devices.attributes IS 'Free for the operator; never written by the processor.';

CREATE TABLE public.positions (
    imei bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    digest bigint NOT NULL,
    received_at timestamptz NOT NULL,
    longitude double precision NOT NULL,
    latitude double precision NOT NULL,
    altitude_m smallint NOT NULL,
    angle_deg integer NOT NULL,
    satellites smallint NOT NULL,
    speed_kmh integer NOT NULL,
    priority smallint NOT NULL,
    event_io_id integer NOT NULL,
    generation_type smallint,
    clock_suspect boolean NOT NULL,
    io jsonb NOT NULL,
    PRIMARY KEY (imei, recorded_at, digest)
) PARTITION BY RANGE (recorded_at);

COMMENT ON TABLE public.positions IS 'The log: every AVL record exactly once.';
COMMENT ON COLUMN public.positions.imei IS 'IMEI of the tracker as a number.';
COMMENT ON COLUMN public.positions.recorded_at IS 'The tracker''s clock, to the millisecond.';
COMMENT ON COLUMN public.positions.digest IS 'xxh3-64 of the raw AVL record, as a signed number: tells records of one millisecond apart.';
COMMENT ON COLUMN public.positions.received_at IS 'The gateway''s clock when the first copy stored was received.';
COMMENT ON COLUMN public.positions.longitude IS 'Degrees east, as sent: may lie out of range.';
COMMENT ON COLUMN public.positions.latitude IS 'Degrees north, as sent: may lie out of range.';
COMMENT ON COLUMN public.positions.altitude_m IS 'Metres above sea level.';
COMMENT ON COLUMN public.positions.angle_deg IS 'Course in degrees clockwise from north.';
COMMENT ON COLUMN public.positions.satellites IS 'Satellites in use; 0 means no fix.';
COMMENT ON COLUMN public.positions.speed_kmh IS 'Speed in km/h.';
COMMENT ON COLUMN public.positions.priority IS '0 low, 1 high, 2 panic.';
COMMENT ON COLUMN public.positions.event_io_id IS 'IO id that caused the record; 0 means none.';
COMMENT ON COLUMN public.positions.generation_type IS 'Codec 16 only: what made the tracker generate the record; null for other codecs.';
COMMENT ON COLUMN public.positions.clock_suspect IS 'The clock was impossible in every copy of the record: before 2010, or too far ahead of its receive time.';
COMMENT ON COLUMN public.positions.io IS 'IO elements by id: unsigned raw values, variable-length ones as hex text. May be altered to json: writes faster, reads slower.';

CREATE TABLE public.positions_before_2010
    PARTITION OF public.positions FOR VALUES FROM (MINVALUE) TO ('2010-01-01 00:00:00+00');
COMMENT ON TABLE public.positions_before_2010 IS 'Clocks that were never set.';

CREATE TABLE public.positions_default PARTITION OF public.positions DEFAULT;
COMMENT ON TABLE public.positions_default IS 'Suspect clocks on days without a partition of their own; never a plausible record.';

CREATE TABLE public.last_position (
    imei bigint PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    digest bigint NOT NULL,
    received_at timestamptz NOT NULL,
    longitude double precision NOT NULL,
    latitude double precision NOT NULL,
    altitude_m smallint NOT NULL,
    angle_deg integer NOT NULL,
    satellites smallint NOT NULL,
    speed_kmh integer NOT NULL,
    priority smallint NOT NULL,
    event_io_id integer NOT NULL
) WITH (fillfactor = 50);  -- room for the next version beside each row keeps every update HOT

COMMENT ON TABLE public.last_position IS 'Newest valid fix of each tracker by (recorded_at, digest). Columns as in positions, where io is found by (imei, recorded_at, digest).';

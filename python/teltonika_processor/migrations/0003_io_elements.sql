-- phase: pre
--
-- What IO elements are called, and positions.io by name, value and unit.
-- The rows come with the version and its overlay file: `migrate` and a start that may migrate write
-- them where they differ, so that a longer dictionary needs no step of its own.

CREATE TABLE public.io_elements (
    io_id integer PRIMARY KEY,
    name text NOT NULL,
    width_bytes integer,
    type text NOT NULL,
    multiplier numeric NOT NULL,
    unit text NOT NULL,
    description text NOT NULL,
    source text NOT NULL,
    raw_below numeric GENERATED ALWAYS AS (
        CASE width_bytes
            WHEN 1 THEN 256 WHEN 2 THEN 65536 WHEN 4 THEN 4294967296
            WHEN 8 THEN 18446744073709551616
        END
    ) STORED
);

COMMENT ON TABLE public.io_elements IS 'The IO dictionary: packaged, with the rows of IO_DICTIONARY_FILE over it. Written by migrate; changes by hand are undone.';
COMMENT ON COLUMN public.io_elements.io_id IS 'IO id on the wire.';
COMMENT ON COLUMN public.io_elements.name IS 'What the vendor calls the element.';
COMMENT ON COLUMN public.io_elements.width_bytes IS 'Bytes of its value; null where that varies.';
COMMENT ON COLUMN public.io_elements.type IS 'unsigned, signed, hex or ascii.';
COMMENT ON COLUMN public.io_elements.multiplier IS 'The raw value times this is in the unit.';
COMMENT ON COLUMN public.io_elements.unit IS 'Empty where there is none.';
COMMENT ON COLUMN public.io_elements.description IS 'What the value says.';
COMMENT ON COLUMN public.io_elements.source IS 'Where the row comes from.';
COMMENT ON COLUMN public.io_elements.raw_below IS 'Raw numbers of this width are below it; null where the value is bytes, which positions.io holds as text.';

-- A view may not name a column whose type shall stay alterable; the body of a function may. The
-- planner puts it into the query: it costs what the column costs.
CREATE FUNCTION public.positions_io(p public.positions) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT p.io::pg_catalog.jsonb $$;

COMMENT ON FUNCTION public.positions_io(public.positions) IS 'The IO elements of a record as jsonb, whether the column is jsonb or json.';

CREATE VIEW public.position_elements AS
SELECT
    p.imei,
    p.recorded_at,
    p.digest,
    e.key::integer AS io_id,
    d.name,
    e.value #>> '{}' AS raw,
    CASE WHEN jsonb_typeof(e.value) = 'number' THEN
        (
            e.value::numeric
            - CASE
                WHEN d.type = 'signed' AND e.value::numeric * 2 >= d.raw_below THEN d.raw_below
                ELSE 0
            END
        ) * d.multiplier
    END AS value,
    d.unit
FROM public.positions AS p
CROSS JOIN LATERAL jsonb_each(public.positions_io(p)) AS e (key, value)
LEFT JOIN public.io_elements AS d
    ON d.io_id = e.key::integer
    AND CASE jsonb_typeof(e.value)
        WHEN 'number' THEN e.value::numeric < d.raw_below
        WHEN 'string' THEN
            d.raw_below IS NULL
            AND (
                d.width_bytes IS NULL
                OR length(e.value #>> '{}') IN (0, 2 * d.width_bytes)
            )
    END;

COMMENT ON VIEW public.position_elements IS 'The IO elements of positions by name. Ask it with imei and a range of recorded_at, which it prunes by.';
COMMENT ON COLUMN public.position_elements.name IS 'Null where the dictionary has no such id, or the raw value cannot have its width: another device family.';
COMMENT ON COLUMN public.position_elements.raw IS 'As in positions.io: an unsigned number, or bytes as hex text.';
COMMENT ON COLUMN public.position_elements.value IS 'In the unit, signed where the element is; null for bytes, and where name is null.';

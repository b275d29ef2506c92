-- phase: pre
--
-- Other limits mark devices as what somebody asked for, and not as an edit of some zone: revisions
-- say why.

ALTER TABLE public.timing_limits ADD COLUMN is_marked boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN public.timing_limits.is_marked IS 'Whether devices are marked for these limits; false until a change of them is finished.';

-- Who finishes a change sets is_marked, and what is folded by is the same.
CREATE OR REPLACE TRIGGER timing_limits_changed
    AFTER INSERT OR DELETE OR UPDATE OF gap_s, jump_m_s ON public.timing_limits
    FOR EACH STATEMENT EXECUTE FUNCTION public.zones_changed();

COMMENT ON COLUMN public.refold.is_rerun IS 'Whether somebody asked for it, by timing recompute or timing limits.';
COMMENT ON COLUMN public.timing_revisions.cause IS 'late_data, zone_edit (another version counts at end_t), or rerun (timing recompute, timing limits).';

-- Words that were not true, or not all.
COMMENT ON COLUMN public.zones.minimum_lap_s IS 'A lap from this zone to itself that is shorter is flagged, in seconds; null: none is.';
COMMENT ON COLUMN public.timing_records.kind IS 'initial (inside at its first fix since the zone counts), enter, exit, or cross (of a gate).';
COMMENT ON TABLE public.timing_revisions IS 'Crossings that were replaced by different ones, or by none, as they were and are.';
COMMENT ON COLUMN public.timing_revisions.revised_at IS 'When it was replaced.';
COMMENT ON COLUMN public.timing_revisions.was IS 'The row of this key before, without the key: always there.';
COMMENT ON COLUMN public.timing_revisions.is_now IS 'The row of this key now; null where there is none: the crossing may belong to another fix now.';
COMMENT ON COLUMN public.zone_stays.is_initial IS 'Whether it was inside at its first fix since the zone counts, so that nobody knows since when.';

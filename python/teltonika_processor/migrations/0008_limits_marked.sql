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
COMMENT ON COLUMN public.timing_revisions.cause IS 'late_data, zone_edit, or rerun (timing recompute, timing limits).';

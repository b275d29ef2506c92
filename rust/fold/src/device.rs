//! One device of a group: its stretch, the fixes around it, and what they gave.

use timing::{Fix, Limits, Membership, Row, ZoneIndex, timing_fixes};

use crate::fold::Budget;
use crate::instant::text;
use crate::needs::Needs;

/// Which side of the stretch a fix was read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Within,
    Right,
}

/// Stretches that are no farther apart are derived as one, for each costs a round of its own; what
/// lies between them stays as it is.
const HOLE_MAX_US: i64 = 600_000_000;

/// A row of `refold`.
#[derive(Debug)]
pub(crate) struct Mark {
    pub(crate) version: i64,
    pub(crate) is_rerun: bool,
    /// Of the device's newest fix, if it has one.
    pub(crate) newest_us: Option<i64>,
    /// First and last instants; they ascend and do not overlap.
    pub(crate) ranges_us: Vec<(i64, i64)>,
}

/// What is known of the left neighbour.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    Unknown,
    /// There is none; perhaps it was dropped.
    Gone,
    /// There never was one.
    Nobody,
    At(Fix),
}

/// How much of the stretch that was marked is done this time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    All,
    /// It ends before, and the rest stays marked.
    Cut,
    /// It was cut where there is no fix: nothing is derived.
    Skipped,
}

/// A device whose leftmost stretch is derived again.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) imei: i64,
    /// The mark's row as it was read.
    pub(crate) version: i64,
    pub(crate) is_rerun: bool,
    /// Its newest fix of all, by `last_position`; `i64::MIN` for none.
    newest_us: i64,
    /// The stretch, both ends included.
    lo_us: i64,
    hi_us: i64,
    /// What stays marked.
    rest: Vec<(i64, i64)>,
    left: Left,
    within: Vec<Fix>,
    right: Vec<Fix>,
    /// How many fixes on the right were asked for last.
    n_right_asked: usize,
    /// How many there were before the answer, while one is due.
    n_right_before: Option<usize>,
    /// Whether there are no more, whatever `newest_us` says: that one may be dropped.
    has_all_right: bool,
    /// Zones of the left neighbour's band that were looked up.
    members: Option<Vec<i32>>,
    end: End,
    pub(crate) rows: Vec<Row>,
}

impl Device {
    /// None where nothing is marked.
    pub(crate) fn new(imei: i64, mark: &Mark, budget: &Budget) -> Option<Self> {
        let (&(lo_us, mut hi_us), mut rest) = mark.ranges_us.split_first()?;
        while let Some((&next, others)) = rest.split_first()
            && next.0.saturating_sub(hi_us) <= HOLE_MAX_US
        {
            (hi_us, rest) = (next.1, others);
        }
        let mut device = Self {
            imei,
            version: mark.version,
            is_rerun: mark.is_rerun,
            newest_us: mark.newest_us.unwrap_or(i64::MIN),
            lo_us,
            hi_us,
            rest: rest.to_vec(),
            left: Left::Unknown,
            within: Vec::new(),
            right: Vec::new(),
            n_right_asked: budget.right,
            n_right_before: Some(0),
            has_all_right: false,
            members: None,
            end: End::All,
            rows: Vec::new(),
        };
        device.cut_to(lo_us.saturating_add(budget.window_us));
        Some(device)
    }

    /// The stretch, for the statement that reads it.
    pub(crate) fn stretch(&self) -> (i64, i64) {
        (self.lo_us, self.hi_us)
    }

    pub(crate) fn stretch_values(&self) -> String {
        values(self.imei, &[self.lo_us, self.hi_us])
    }

    /// Leaves what is later than `hi_us` for another time.
    fn cut_to(&mut self, hi_us: i64) {
        if hi_us < self.hi_us {
            let later = (hi_us.saturating_add(1), self.hi_us);
            if self.end == End::All {
                self.rest.insert(0, later);
            } else {
                self.rest[0].0 = later.0;
            }
            (self.hi_us, self.end) = (hi_us, End::Cut);
        }
    }

    pub(crate) fn take(&mut self, side: Side, fix: Fix) {
        match side {
            Side::Left => self.left = Left::At(fix),
            Side::Within => self.within.push(fix),
            Side::Right => self.right.push(fix),
        }
    }

    /// Its first fix behind a stretch that was cut and holds none; none at all: `None`.
    ///
    /// Nothing is derived this time: what was read lies too far from that fix. The segment over the
    /// stretch ends there, so it is marked also where it lies behind all that was. It lies within
    /// where it is the left neighbour itself, see `was_cut_off`: then it stays as it is.
    pub(crate) fn goes_on_at(&mut self, next_us: Option<i64>) {
        let next_us = next_us.unwrap_or(i64::MAX);
        self.rest.retain(|&(_, hi_us)| hi_us >= next_us);
        match self.rest.first_mut() {
            Some(first) if first.0 <= next_us => first.0 = next_us,
            _ if self.hi_us < next_us && next_us < i64::MAX => {
                self.rest.insert(0, (next_us, next_us));
            }
            _ => {}
        }
        self.end = End::Skipped;
    }

    /// Whether its stretch was cut and holds no fix.
    pub(crate) fn needs_next(&self) -> bool {
        self.end == End::Cut && self.within.is_empty()
    }

    /// Whether there is nothing to replace, and only the mark to shorten.
    pub(crate) fn is_skipped(&self) -> bool {
        self.end == End::Skipped
    }

    pub(crate) fn has_no_left(&mut self) {
        if self.left == Left::Unknown {
            self.left = Left::Gone;
        }
    }

    /// Crossings are older than its first fix, or begin before it: what came before was dropped.
    ///
    /// So the segment to that fix cannot be derived again. It is the left neighbour of the others.
    pub(crate) fn was_cut_off(&mut self) {
        let fixes = if self.within.is_empty() {
            &mut self.right
        } else {
            &mut self.within
        };
        if !fixes.is_empty() {
            self.left = Left::At(fixes.remove(0));
        }
    }

    /// The answer to `history` was read.
    pub(crate) fn history_was_read(&mut self) {
        if self.left == Left::Gone && self.first_known().is_some() {
            self.left = Left::Nobody;
        }
    }

    /// The zones of `members` that it was inside of, of those that were asked for.
    pub(crate) fn is_member_of(&mut self, zone_ids: impl Iterator<Item = i32>) {
        self.members.get_or_insert_default().extend(zone_ids);
    }

    /// All of a read has come: order it, keep one fix an instant, and keep to the budget.
    pub(crate) fn settle(&mut self, budget: &Budget) {
        let is_full = self.within.len() > budget.fixes;
        order(&mut self.within);
        if is_full {
            self.drop_last_instant_within();
        }
        self.settle_right(budget);
        if self.end != End::All {
            self.right.clear(); // they are marked, and folded another time
        }
    }

    fn settle_right(&mut self, budget: &Budget) {
        let Some(n_before) = self.n_right_before.take() else {
            return;
        };
        let is_full = self.right.len().saturating_sub(n_before) >= self.n_right_asked;
        order(&mut self.right);
        if is_full {
            // Its twins of the same instant may not have been read.
            self.right.pop();
        }
        // The first answer is of some days alone.
        self.has_all_right = !is_full && self.n_right_asked > budget.right;
    }

    fn drop_last_instant_within(&mut self) {
        // Bound: more twins of one instant than the budget would cut for ever; then they are all.
        if self.within.len() > 1 {
            self.within.pop();
        }
        if let Some(last) = self.within.last() {
            let hi_us = last.t_us;
            self.cut_to(hi_us);
        }
    }

    /// Says what is missing; asks for more on the right each time.
    pub(crate) fn add_needs(&mut self, index: &ZoneIndex, needs: &mut Needs) {
        if self.end == End::Skipped {
            return;
        }
        if self.needs_next() {
            needs.next.push(values(self.imei, &[self.lo_us]));
            return;
        }
        if self.left == Left::Unknown {
            needs.left.push(values(self.imei, &[self.lo_us]));
        }
        if let (Left::Gone, Some(first)) = (self.left, self.first_known()) {
            needs.history.push(values(self.imei, &[first.t_us]));
        }
        if let (Left::At(left), None) = (self.left, &self.members) {
            let in_band = index.in_band(&left);
            if in_band.is_empty() {
                self.members = Some(Vec::new());
            }
            for zone_id in in_band {
                needs.members.push(format!(
                    "({}::bigint, {zone_id}, '{}'::timestamptz)",
                    self.imei,
                    text(left.t_us)
                ));
            }
        }
        if self.wants_more_right(index) {
            self.n_right_asked = self.n_right_asked.saturating_mul(8);
            self.n_right_before = Some(self.right.len());
            let behind_us = self
                .last_known()
                .map_or(self.hi_us, |fix| fix.t_us.max(self.hi_us));
            needs.right.push(values(self.imei, &[behind_us]));
        }
    }

    fn first_known(&self) -> Option<&Fix> {
        self.within.first().or(self.right.first())
    }

    /// The next answer to `right` begins behind this.
    fn last_known(&self) -> Option<&Fix> {
        self.right.last().or(self.within.last())
    }

    fn wants_more_right(&self, index: &ZoneIndex) -> bool {
        self.end == End::All
            && !self.has_all_right
            && self.n_right(index).is_none()
            && !self.knows_the_newest()
    }

    fn knows_the_newest(&self) -> bool {
        let known_us = self.last_known().map_or(self.hi_us, |fix| fix.t_us);
        self.newest_us <= known_us
    }

    /// How many neighbours on the right are folded: up to the first beyond every band.
    fn n_right(&self, index: &ZoneIndex) -> Option<usize> {
        let at = self
            .right
            .iter()
            .position(|fix| index.is_beyond_every_band(fix))?;
        Some(at + 1)
    }

    /// How many fixes were looked at, each the end of a segment.
    pub(crate) fn derive(&mut self, index: &ZoneIndex, limits: &Limits) -> usize {
        if self.end == End::All {
            let n_right = self.n_right(index).unwrap_or(self.right.len());
            self.right.truncate(n_right);
        }
        let fixes: Vec<Fix> = self.within.iter().chain(&self.right).copied().collect();
        let left = self.left_with_members(index);
        let left = left.as_ref().map(|(fix, members)| (fix, members));
        self.rows.clear();
        if self.end == End::Skipped {
            return 0;
        }
        index.derive(limits, left, &fixes, &mut self.rows);
        fixes.len()
    }

    fn left_with_members(&self, index: &ZoneIndex) -> Option<(Fix, Membership)> {
        let Left::At(left) = self.left else {
            return None;
        };
        let mut members = index.membership_beyond_band(&left);
        for &zone_id in self.members.iter().flatten() {
            members.set(zone_id, true);
        }
        Some((left, members))
    }

    /// Keeps stored rows whose end fix is gone, as they are: what was dropped is not derived again.
    ///
    /// Nor is the segment to the first fix that was kept: one that came late for a dropped day is not
    /// its neighbour.
    pub(crate) fn keep_rows_of_dropped(&mut self, stored: &[Row]) {
        let fixes = self.within.iter().chain(&self.right);
        let ends_us: Vec<i64> = fixes.map(|fix| fix.t_us).collect();
        let after_gone_us: Vec<i64> = (stored.iter())
            .filter_map(|row| self.end_after_gone(&ends_us, row))
            .collect();
        let is_kept = |end_t_us: i64| {
            ends_us.binary_search(&end_t_us).is_err() || after_gone_us.contains(&end_t_us)
        };
        let n_derived = self.rows.len();
        self.rows.retain(|row| !is_kept(row.end_t_us));
        let n_left = self.rows.len();
        let kept = stored.iter().filter(|row| is_kept(row.end_t_us));
        self.rows.extend(kept.copied());
        if self.rows.len() != n_left || n_left != n_derived {
            self.rows
                .sort_by_key(|row| (row.end_t_us, row.zone_id, row.n));
        }
    }

    /// The fix that a segment ends with whose beginning is gone, as far as the row says so.
    fn end_after_gone(&self, ends_us: &[i64], row: &Row) -> Option<i64> {
        let (place, gone_us) = match ends_us.binary_search(&row.end_t_us) {
            Ok(place) => (place, row.start?.t_us),
            Err(place) => (place, row.end_t_us),
        };
        let before_us = match (place.checked_sub(1), self.left) {
            (Some(before), _) => *ends_us.get(before)?,
            (None, Left::At(left)) => left.t_us,
            (None, _) => return None,
        };
        (before_us < gone_us).then(|| ends_us.get(place).copied())?
    }

    /// Rows whose end fix lies behind the first and not behind the second are replaced.
    pub(crate) fn replaced(&self) -> (i64, i64) {
        let after_us = match self.left {
            Left::At(fix) => fix.t_us,
            Left::Unknown | Left::Gone | Left::Nobody => i64::MIN,
        };
        let upto_us = match (self.end != End::All, self.right.last()) {
            (true, _) => self.hi_us,
            (false, Some(last)) => last.t_us,
            (false, None) => i64::MAX,
        };
        (after_us, upto_us)
    }

    pub(crate) fn replaced_values(&self) -> String {
        let (after_us, upto_us) = self.replaced();
        values(self.imei, &[after_us, upto_us])
    }

    /// Whether a part of its mark stays.
    pub(crate) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// The mark that stays, as a multirange.
    pub(crate) fn rest_values(&self) -> String {
        let ranges: Vec<String> = self
            .rest
            .iter()
            .map(|&(lo_us, hi_us)| format!("[\"{}\",\"{}\"]", text(lo_us), text(hi_us)))
            .collect();
        format!(
            "({}::bigint, '{{{}}}'::tstzmultirange)",
            self.imei,
            ranges.join(",")
        )
    }
}

/// As timing sees them: one fix an instant, in order of time. The statement left suspects out.
fn order(fixes: &mut Vec<Fix>) {
    *fixes = timing_fixes(fixes.drain(..).map(|fix| (fix, false)));
}

/// One row of a `VALUES` list.
fn values(imei: i64, instants_us: &[i64]) -> String {
    let mut row = format!("({imei}::bigint");
    for &instant_us in instants_us {
        row.push_str(", '");
        row.push_str(&text(instant_us));
        row.push_str("'::timestamptz");
    }
    row.push(')');
    row
}

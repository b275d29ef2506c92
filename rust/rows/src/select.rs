//! Which records of a run of stream entries become rows.

use std::ops::Range;
use std::sync::OnceLock;

use state::DeviceState;
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::{is_storable, is_suspect};
use crate::frames::{Frame, FrameDigests};
use crate::last_positions::{Fix, newest_fixes};
use crate::order::{RowKey, sort_distinct};
use crate::view::BatchView;

/// Distinct storable rows in the order that writers must use, and what a transaction asks of them.
#[derive(Default)]
pub struct Rows {
    keys: Vec<RowKey>,
    n_records: usize,
    n_retransmitted: usize,
    n_suspect: usize,
    days: Vec<i64>,
    imeis: Vec<i64>,
    received_at_max_ms: i64,
    frames: Vec<Frame>,
    /// Picked when they are first asked for, unless a state thins them at once.
    newest: OnceLock<Vec<Fix>>,
}

impl Rows {
    /// Selects the rows of the entries `[entries.start, entries.end)` of a batch.
    ///
    /// A record is left out if a `timestamptz` cannot hold its time. Of copies (same imei,
    /// `recorded_at` and digest) one stays: a sane one before a suspect one, then the first.
    ///
    /// With a state, the copies of frames that it remembers are left out as well, and the newest
    /// fixes are those that beat the position that it holds.
    ///
    /// # Panics
    /// If `entries` does not lie within the batch.
    #[must_use]
    pub fn select(
        view: &BatchView<'_>,
        entries: Range<usize>,
        clock_ahead_max_ms: u64,
        state: Option<&DeviceState>,
    ) -> Self {
        let storable = Storable::of(view, entries, clock_ahead_max_ms, state);
        let n_kept = storable.keys.len();
        let keys = sort_distinct(&storable.keys);
        let rows = Self {
            n_records: n_kept + storable.n_retransmitted,
            n_retransmitted: storable.n_retransmitted,
            n_suspect: keys.iter().filter(|key| key.is_suspect()).count(),
            days: plausible_days(&keys),
            imeis: distinct_imeis(&keys),
            received_at_max_ms: storable.received_at_max_ms,
            frames: storable.frames,
            newest: OnceLock::new(),
            keys,
        };
        if let Some(state) = state {
            let mut newest = newest_fixes(view, &rows.keys);
            newest.retain(|fix| fix.beats(state.position(fix.imei())));
            rows.newest.get_or_init(|| newest);
        }
        rows
    }

    /// Rows: distinct records.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.keys.len()
    }

    /// Storable records before copies and retransmitted frames were removed.
    #[must_use]
    pub fn n_records(&self) -> usize {
        self.n_records
    }

    /// Storable records of the frames that the state remembers: they are no rows.
    #[must_use]
    pub fn n_retransmitted(&self) -> usize {
        self.n_retransmitted
    }

    /// Rows that are `clock_suspect`.
    #[must_use]
    pub fn n_suspect(&self) -> usize {
        self.n_suspect
    }

    /// UTC days since 1970-01-01 with at least one row that is not `clock_suspect`, ascending.
    #[must_use]
    pub fn days(&self) -> &[i64] {
        &self.days
    }

    /// Distinct devices, ascending.
    #[must_use]
    pub fn imeis(&self) -> &[i64] {
        &self.imeis
    }

    /// The latest receive time of the storable records, copies included, Unix ms; 0 if none.
    #[must_use]
    pub fn received_at_max_ms(&self) -> i64 {
        self.received_at_max_ms
    }

    pub(crate) fn keys(&self) -> &[RowKey] {
        &self.keys
    }

    /// The frames of the rows that a commit makes worth remembering.
    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The newest valid fix of each device, by imei, as far as it can win in `last_position`.
    pub(crate) fn newest(&self, view: &BatchView<'_>) -> &[Fix] {
        self.newest.get_or_init(|| newest_fixes(view, &self.keys))
    }
}

/// What the entries hold, in their order.
#[derive(Default)]
struct Storable {
    /// Of all storable records, less those of remembered frames.
    keys: Vec<RowKey>,
    /// The frames that they came in, as far as every record of them is storable.
    frames: Vec<Frame>,
    n_retransmitted: usize,
    received_at_max_ms: i64,
}

impl Storable {
    fn of(
        view: &BatchView<'_>,
        entries: Range<usize>,
        clock_ahead_max_ms: u64,
        state: Option<&DeviceState>,
    ) -> Self {
        let offsets = &view.record_offsets[entries.start..=entries.end];
        let mut storable = Self {
            keys: Vec::with_capacity((offsets[entries.len()] - offsets[0]) as usize),
            frames: Vec::with_capacity(entries.len()),
            ..Self::default()
        };
        let mut digests = FrameDigests::default();
        for (entry, bounds) in entries.zip(offsets.windows(2)) {
            let (records, n_before) = (bounds[0]..bounds[1], storable.keys.len());
            let keys = storable_of(view, entry, records.clone(), clock_ahead_max_ms);
            storable.keys.extend(keys);
            let keys = &storable.keys[n_before..];
            if keys.is_empty() {
                continue;
            }
            let received_at_ms = view.received_at_ms[entry];
            storable.received_at_max_ms = storable.received_at_max_ms.max(received_at_ms);
            if keys.len() == records.len() {
                let frame = digests.frame_of(view.imei[entry], keys);
                storable.push(frame, n_before, state);
            }
        }
        storable
    }

    /// Notes the frame of the keys from `start` on, or leaves them out again.
    fn push(&mut self, frame: Frame, start: usize, state: Option<&DeviceState>) {
        if state.is_some_and(|state| state.has_sane_frame(frame.imei, frame.digest)) {
            self.n_retransmitted += self.keys.len() - start;
            self.keys.truncate(start);
        } else {
            self.frames.push(frame);
        }
    }
}

/// The keys of the storable records of one entry.
fn storable_of(
    view: &BatchView<'_>,
    entry: usize,
    records: Range<u32>,
    clock_ahead_max_ms: u64,
) -> impl Iterator<Item = RowKey> {
    let (imei, received_at_ms) = (view.imei[entry], view.received_at_ms[entry]);
    records.filter_map(move |record| {
        let recorded_at_ms = view.recorded_at_ms[record as usize];
        is_storable(recorded_at_ms).then(|| {
            let suspect = is_suspect(recorded_at_ms, received_at_ms, clock_ahead_max_ms);
            let digest = xxh3_64(view.raw(record as usize)).cast_signed();
            RowKey::new(recorded_at_ms, imei, digest, suspect, record)
        })
    })
}

/// Days of the rows that are not suspect. Invariant: `keys` are sorted, so the days ascend.
fn plausible_days(keys: &[RowKey]) -> Vec<i64> {
    let mut days: Vec<i64> = Vec::new();
    for key in keys.iter().filter(|key| !key.is_suspect()) {
        let day = key.day().cast_signed();
        if days.last() != Some(&day) {
            days.push(day);
        }
    }
    days
}

fn distinct_imeis(keys: &[RowKey]) -> Vec<i64> {
    let mut imeis: Vec<i64> = Vec::new();
    for key in keys {
        let imei = key.imei();
        if imeis.last() != Some(&imei) {
            imeis.push(imei);
        }
    }
    imeis.sort_unstable();
    imeis.dedup();
    imeis
}

//! Which records of a run of stream entries become rows.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::clock::{is_storable, is_suspect};
use crate::order::{RowKey, sort_distinct};
use crate::view::BatchView;

/// Distinct storable rows in the order that writers must use, and what a transaction asks of them.
#[derive(Default)]
pub struct Rows {
    keys: Vec<RowKey>,
    n_records: usize,
    n_suspect: usize,
    days: Vec<i64>,
    imeis: Vec<i64>,
    received_at_max_ms: i64,
}

impl Rows {
    /// Selects the rows of the entries `[entries.start, entries.end)` of a batch.
    ///
    /// A record is left out if a `timestamptz` cannot hold its time. Of copies (same imei,
    /// `recorded_at` and digest) one stays: a sane one before a suspect one, then the first.
    ///
    /// # Panics
    /// If `entries` does not lie within the batch.
    #[must_use]
    pub fn select(view: &BatchView<'_>, entries: Range<usize>, clock_ahead_max_ms: u64) -> Self {
        let (keys, received_at_max_ms) = storable(view, entries, clock_ahead_max_ms);
        let n_records = keys.len();
        let keys = sort_distinct(&keys);
        Self {
            n_records,
            n_suspect: keys.iter().filter(|key| key.is_suspect()).count(),
            days: plausible_days(&keys),
            imeis: distinct_imeis(&keys),
            received_at_max_ms,
            keys,
        }
    }

    /// Rows: distinct records.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.keys.len()
    }

    /// Storable records before copies were removed.
    #[must_use]
    pub fn n_records(&self) -> usize {
        self.n_records
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
}

/// The keys of all storable records of the entries, in input order, and their latest receive time.
fn storable(
    view: &BatchView<'_>,
    entries: Range<usize>,
    clock_ahead_max_ms: u64,
) -> (Vec<RowKey>, i64) {
    let offsets = &view.record_offsets[entries.start..=entries.end];
    let mut keys = Vec::with_capacity((offsets[entries.len()] - offsets[0]) as usize);
    let mut received_at_max_ms = 0;
    for (entry, bounds) in entries.zip(offsets.windows(2)) {
        let n_before = keys.len();
        keys.extend(storable_of(
            view,
            entry,
            bounds[0]..bounds[1],
            clock_ahead_max_ms,
        ));
        if keys.len() > n_before {
            received_at_max_ms = received_at_max_ms.max(view.received_at_ms[entry]);
        }
    }
    (keys, received_at_max_ms)
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

//! The one order of rows: (UTC day, imei, `recorded_at`, digest), digest signed.
//!
//! The day comes first because COPY fills partitions in order of first appearance: with it, all
//! writers take their row locks in one order over all partitions.

use crate::clock::DAY_MS;

const MS_BITS: u32 = 27;
const IMEI_BITS: u32 = 64;
/// Flipped, it makes unsigned numbers order as signed ones do.
const SIGN: u64 = 1 << (IMEI_BITS - 1);

/// A row to be: its place in the order, and the record that it is.
///
/// The derived order is the order of rows; copies of one row stand together, the one to keep first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey {
    /// Day, imei and millisecond of the day, from the highest bits down.
    /// Bound: a storable day takes 27 bits, a millisecond of a day 27, so 118 of 128 are used.
    place: u128,
    digest: i64,
    /// Sane copies before suspect ones, then input order.
    copy: u64,
}

impl RowKey {
    pub(crate) fn new(
        recorded_at_ms: u64,
        imei: i64,
        digest: i64,
        is_suspect: bool,
        record: u32,
    ) -> Self {
        let day = u128::from(recorded_at_ms / DAY_MS);
        let ms_of_day = u128::from(recorded_at_ms % DAY_MS);
        let imei = u128::from(imei.cast_unsigned() ^ SIGN);
        Self {
            place: day << (IMEI_BITS + MS_BITS) | imei << MS_BITS | ms_of_day,
            digest,
            copy: u64::from(is_suspect) << 32 | u64::from(record),
        }
    }

    pub(crate) fn day(self) -> u64 {
        (self.place >> (IMEI_BITS + MS_BITS)) as u64
    }

    pub(crate) fn imei(self) -> i64 {
        ((self.place >> MS_BITS) as u64 ^ SIGN).cast_signed()
    }

    /// Device clock, Unix ms. Bound: a row is storable, so the time fits.
    pub(crate) fn recorded_at_ms(self) -> i64 {
        let ms_of_day = (self.place & ((1 << MS_BITS) - 1)) as u64;
        (self.day() * DAY_MS + ms_of_day).cast_signed()
    }

    pub(crate) fn digest(self) -> i64 {
        self.digest
    }

    pub(crate) fn is_suspect(self) -> bool {
        self.copy >> 32 != 0
    }

    pub(crate) fn record(self) -> usize {
        (self.copy & 0xFFFF_FFFF) as usize
    }

    /// Whether the two are copies of one record of one device.
    pub(crate) fn is_copy_of(self, other: Self) -> bool {
        (self.place, self.digest) == (other.place, other.digest)
    }
}

/// Sorts rows and keeps one copy of each: the sane one, else the first.
///
/// The records of a frame are one device's and mostly ascend, so the input is short sorted runs. A
/// run ends with its day, for other devices stand between two days of one. Ordering the runs by
/// their first rows is all there is to do unless two overlap: 22 against 38 ns a row for one sort of
/// all rows (benches/rows.rs, `select`).
pub(crate) fn sort_distinct(keys: &[RowKey]) -> Vec<RowKey> {
    let mut runs: Vec<&[RowKey]> = keys
        .chunk_by(|key, next| key <= next && key.day() == next.day())
        .collect();
    runs.sort_unstable_by_key(|run| run[0]);
    let overlap = runs.windows(2).any(|pair| pair[0].last() > pair[1].first());
    let mut sorted = runs.concat();
    if overlap {
        sorted.sort();
    }
    sorted.dedup_by(|later, kept| later.is_copy_of(*kept));
    sorted
}

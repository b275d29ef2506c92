//! The keys of rows as columns, for whoever compares them with those of a table.

use crate::select::Rows;
use crate::view::BatchView;

/// The key of each row and the stream entry that it came in, in the order of the rows.
///
/// Invariant: the columns are of one length.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeyColumns {
    /// Device.
    pub imei: Vec<i64>,
    /// Device clock, Unix ms.
    pub recorded_at_ms: Vec<i64>,
    /// Signed xxh3-64 of the raw record.
    pub digest: Vec<i64>,
    /// Index of the entry within the batch; of several copies, the entry of the one kept.
    pub entry: Vec<u32>,
}

impl KeyColumns {
    /// Writes the keys out; `view` is the batch that the rows were selected from.
    #[must_use]
    pub fn of(view: &BatchView<'_>, rows: &Rows) -> Self {
        let keys = rows.keys().iter();
        Self {
            imei: keys.clone().map(|key| key.imei()).collect(),
            recorded_at_ms: keys.clone().map(|key| key.recorded_at_ms()).collect(),
            digest: keys.clone().map(|key| key.digest()).collect(),
            entry: keys.map(|key| view.frame_index[key.record()]).collect(),
        }
    }
}

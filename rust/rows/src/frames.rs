//! The frames of a batch as a device's state remembers them.

use std::ops::Range;

use state::DeviceState;
use xxhash_rust::xxh3::xxh3_64;

use crate::order::RowKey;
use crate::select::Rows;
use crate::view::BatchView;

/// A frame whose records all are rows, or copies of rows.
pub(crate) struct Frame {
    pub(crate) imei: i64,
    pub(crate) digest: u64,
    /// Whether a record of it was suspect, as received this time.
    is_suspect: bool,
}

/// Digests frames by the digests of their records, which are there already.
///
/// A record's digest covers all its bytes, so two frames of one digest hold the same records in the
/// same order, whatever wraps them; and their bytes need not be read a second time.
#[derive(Default)]
pub(crate) struct FrameDigests {
    of_records: Vec<u8>,
}

impl FrameDigests {
    /// The frame of one device with the records of these keys, in its order.
    pub(crate) fn frame_of(&mut self, imei: i64, keys: &[RowKey]) -> Frame {
        self.of_records.clear();
        for key in keys {
            self.of_records.extend(key.digest().to_le_bytes());
        }
        Frame {
            imei,
            digest: xxh3_64(&self.of_records),
            is_suspect: keys.iter().any(|key| key.is_suspect()),
        }
    }
}

/// The distinct devices of the entries that hold a record, ascending.
///
/// `imei` and `record_offsets` are the columns of a [`BatchView`], which need not be there for this.
///
/// # Panics
/// If `entries` does not lie within the batch.
#[must_use]
pub fn senders(imei: &[i64], record_offsets: &[u32], entries: Range<usize>) -> Vec<i64> {
    let offsets = &record_offsets[entries.start..=entries.end];
    let with_records = offsets
        .windows(2)
        .zip(&imei[entries])
        .filter(|(bounds, _)| bounds[0] < bounds[1]);
    let mut imeis: Vec<i64> = with_records.map(|(_, imei)| *imei).collect();
    imeis.sort_unstable();
    imeis.dedup();
    imeis
}

/// Notes what a COMMIT of these rows, and of their newest fixes, has made true.
///
/// `view` is the batch that the rows were selected from. Devices that are not held stay unknown.
pub fn remember(view: &BatchView<'_>, rows: &Rows, state: &mut DeviceState) {
    for frame in rows.frames() {
        state.remember(frame.imei, frame.digest, frame.is_suspect);
    }
    for fix in rows.newest(view) {
        if let Some(position) = fix.position(view) {
            state.advance(fix.imei(), position);
        }
    }
}

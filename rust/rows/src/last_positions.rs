//! Binary COPY for `last_position`: the newest valid fix of each device.

use state::Position;

use crate::copy_buffer::{CopyBytes, Fields};
use crate::order::RowKey;
use crate::positions::{FIX_COLUMNS, FIX_ROOM, POSITION_COLUMNS, put_fix};
use crate::select::Rows;
use crate::view::BatchView;

/// Columns of the stream, in its order: those of `positions` that say where a device is.
pub const LAST_POSITION_COLUMNS: [&str; FIX_COLUMNS] = *POSITION_COLUMNS
    .first_chunk()
    .expect("more columns than those of a fix");

const LONGITUDE_MAX_E7: u32 = 1_800_000_000;
const LATITUDE_MAX_E7: u32 = 900_000_000;

/// Writes the newest valid fix of each device, by imei, as a COPY of [`LAST_POSITION_COLUMNS`].
///
/// A fix is valid with a satellite, coordinates on the globe and a sane clock. The newest one is
/// the greatest by (`recorded_at`, digest); of rows selected with a state, one that cannot win is
/// left out. `view` is the batch that the rows were selected from.
#[must_use]
pub fn copy_last_positions(view: &BatchView<'_>, rows: &Rows, room: Vec<u8>) -> CopyBytes {
    let mut copy = CopyBytes::start(room);
    for fix in rows.newest(view) {
        copy.append_row(FIX_ROOM, |out| write_row(view, fix.key, out));
    }
    copy.finish()
}

/// A valid fix; the derived order is by device, then by age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fix {
    imei: i64,
    recorded_at_ms: u64,
    digest: i64,
    key: RowKey,
}

impl Fix {
    fn new(view: &BatchView<'_>, key: RowKey) -> Self {
        let record = key.record();
        Self {
            imei: view.imei[view.entry_of(record)],
            recorded_at_ms: view.recorded_at_ms[record],
            digest: key.digest(),
            key,
        }
    }

    pub(crate) fn imei(&self) -> i64 {
        self.imei
    }

    /// Whether this one would replace what is held of its device.
    pub(crate) fn beats(&self, held: Option<Position>) -> bool {
        let (Some(held), Some(recorded_at_us)) = (held, self.recorded_at_us()) else {
            return true;
        };
        (recorded_at_us, self.digest) > (held.recorded_at_us, held.digest)
    }

    /// The fix as it is remembered once it has been committed.
    pub(crate) fn position(&self, view: &BatchView<'_>) -> Option<Position> {
        let record = self.key.record();
        self.recorded_at_us().map(|recorded_at_us| Position {
            recorded_at_us,
            digest: self.digest,
            longitude_e7: view.longitude_e7[record],
            latitude_e7: view.latitude_e7[record],
        })
    }

    /// Unix microseconds; none in the last 30 years that Postgres can hold, which count from 2000.
    fn recorded_at_us(&self) -> Option<i64> {
        self.key.recorded_at_ms().checked_mul(1_000)
    }
}

/// The newest valid fix of each device among sorted keys, by imei.
pub(crate) fn newest_fixes(view: &BatchView<'_>, keys: &[RowKey]) -> Vec<Fix> {
    let mut fixes: Vec<Fix> = Vec::new();
    for key in keys.iter().filter(|key| is_valid(view, **key)) {
        let fix = Fix::new(view, *key);
        match fixes.last_mut() {
            // Rows of one device that stand together ascend by (`recorded_at`, digest).
            Some(last) if last.imei == fix.imei => *last = fix,
            _ => fixes.push(fix),
        }
    }
    fixes.sort_unstable();
    fixes.dedup_by(|newer, kept| {
        let same_device = newer.imei == kept.imei;
        if same_device {
            *kept = *newer;
        }
        same_device
    });
    fixes
}

pub(crate) fn is_valid(view: &BatchView<'_>, key: RowKey) -> bool {
    let record = key.record();
    view.satellites[record] > 0
        && view.longitude_e7[record].unsigned_abs() <= LONGITUDE_MAX_E7
        && view.latitude_e7[record].unsigned_abs() <= LATITUDE_MAX_E7
        && !key.is_suspect()
}

fn write_row(view: &BatchView<'_>, key: RowKey, out: &mut [u8]) -> usize {
    let out: &mut [u8; FIX_ROOM] = out.first_chunk_mut().expect("room for the row");
    let mut fields = Fields::start(out, LAST_POSITION_COLUMNS.len());
    put_fix(view, key, &mut fields);
    fields.end()
}

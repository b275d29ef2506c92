//! Binary COPY of the stretches of time in which a batch has fixes that take part in timing.

use crate::clock::postgres_micros;
use crate::copy_buffer::{CopyBytes, Fields};
use crate::last_positions::is_valid;
use crate::order::RowKey;
use crate::select::Rows;
use crate::view::BatchView;

/// Columns of the stream, in its order: a device, and the first and the last fix of a run.
pub const MARK_COLUMNS: [&str; 3] = ["imei", "first_at", "last_at"];

/// A hole longer than this ends a run: what lies in it needs no new derivation.
const HOLE_MAX_MS: i64 = 600_000;

/// Field count, and three fields of eight bytes, each behind its length.
const ROOM: usize = 2 + 3 * (4 + 8);

/// Writes the runs of each device's fixes, by (imei, time), as a COPY of [`MARK_COLUMNS`].
///
/// The fixes are those that may move `last_position`: with a satellite, on the globe, by a sane
/// clock. `view` is the batch that the rows were selected from.
#[must_use]
pub fn copy_marks(view: &BatchView<'_>, rows: &Rows, room: Vec<u8>) -> CopyBytes {
    let mut copy = CopyBytes::start(room);
    for run in runs(view, rows.keys()) {
        copy.append_row(ROOM, |out| write_row(&run, out));
    }
    copy.finish()
}

/// Fixes of a device without a long hole between them; the derived order is that of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    imei: i64,
    first_ms: i64,
    last_ms: i64,
}

impl Run {
    /// Takes a later run of the same device in, unless a hole lies between.
    fn takes_in(&mut self, next: &Self) -> bool {
        let joins = next.imei == self.imei && next.first_ms - self.last_ms <= HOLE_MAX_MS;
        if joins {
            self.last_ms = self.last_ms.max(next.last_ms);
        }
        joins
    }
}

/// Keys stand by (day, imei, time), so those of a device lie apart at midnight.
fn runs(view: &BatchView<'_>, keys: &[RowKey]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for key in keys.iter().filter(|key| is_valid(view, **key)) {
        let at_ms = key.recorded_at_ms();
        let fix = Run {
            imei: key.imei(),
            first_ms: at_ms,
            last_ms: at_ms,
        };
        if !runs.last_mut().is_some_and(|last| last.takes_in(&fix)) {
            runs.push(fix);
        }
    }
    runs.sort_unstable();
    runs.dedup_by(|next, kept| kept.takes_in(next));
    runs
}

fn write_row(run: &Run, out: &mut [u8]) -> usize {
    let out: &mut [u8; ROOM] = out.first_chunk_mut().expect("room for the row");
    let mut fields = Fields::start(out, MARK_COLUMNS.len());
    fields.int8(run.imei);
    fields.int8(postgres_micros(run.first_ms));
    fields.int8(postgres_micros(run.last_ms));
    fields.end()
}

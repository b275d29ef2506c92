//! Binary COPY of `positions`: every row.

use crate::clock::postgres_micros;
use crate::copy_buffer::{CopyBytes, Fields};
use crate::io_object::IoObjects;
use crate::order::RowKey;
use crate::select::Rows;
use crate::view::BatchView;

/// Columns of the stream, in its order.
pub const POSITION_COLUMNS: [&str; 15] = [
    "imei",
    "recorded_at",
    "digest",
    "received_at",
    "longitude",
    "latitude",
    "altitude_m",
    "angle_deg",
    "satellites",
    "speed_kmh",
    "priority",
    "event_io_id",
    "generation_type",
    "clock_suspect",
    "io",
];

/// So many of the columns, from the first, say where a device is.
pub(crate) const FIX_COLUMNS: usize = 12;
/// Bound: the field count, and those columns with their lengths.
pub(crate) const FIX_ROOM: usize = 2 + 6 * (4 + 8) + 3 * (4 + 4) + 3 * (4 + 2);
/// Bound: the same with `generation_type` and `clock_suspect`.
const FIXED_ROOM: usize = FIX_ROOM + (4 + 2) + (4 + 1);
const IO_LEN: usize = 4;

/// The type of the column `io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoType {
    /// A version byte, then JSON text.
    Jsonb,
    /// JSON text.
    Json,
}

impl IoType {
    /// What stands before the JSON text. Source: Postgres `jsonb_recv`, version 1.
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::Jsonb => &[1],
            Self::Json => &[],
        }
    }
}

/// Writes the rows as a COPY of [`POSITION_COLUMNS`], into `room` if it has been used before.
///
/// `view` is the batch that the rows were selected from.
#[must_use]
pub fn copy_positions(view: &BatchView<'_>, rows: &Rows, io: IoType, room: Vec<u8>) -> CopyBytes {
    let mut objects = IoObjects::new();
    let prefix = io.prefix();
    let mut copy = CopyBytes::start(room);
    for key in rows.keys() {
        let elements = view.elements(key.record());
        let row_room = FIXED_ROOM + IO_LEN + prefix.len() + IoObjects::room(&elements);
        copy.append_row(row_room, |out| {
            let io_at = write_fixed(view, *key, out);
            let (length, out) = out[io_at..].split_at_mut(IO_LEN);
            out[..prefix.len()].copy_from_slice(prefix);
            let n_bytes = prefix.len() + objects.write(&elements, &mut out[prefix.len()..]);
            length.copy_from_slice(&(n_bytes as u32).to_be_bytes());
            io_at + IO_LEN + n_bytes
        });
    }
    copy.finish()
}

/// Writes all columns but `io` and returns where that one starts.
fn write_fixed(view: &BatchView<'_>, key: RowKey, out: &mut [u8]) -> usize {
    let out: &mut [u8; FIXED_ROOM] = out.first_chunk_mut().expect("room for the fixed columns");
    let mut fields = Fields::start(out, POSITION_COLUMNS.len());
    put_fix(view, key, &mut fields);
    match view.generation_type[key.record()] {
        -1 => fields.null(),
        generation_type => fields.int2(generation_type),
    }
    fields.bool(key.is_suspect());
    fields.end()
}

/// Writes the columns that say where a device is, those before `generation_type`.
#[inline]
pub(crate) fn put_fix<const ROOM: usize>(
    view: &BatchView<'_>,
    key: RowKey,
    fields: &mut Fields<'_, ROOM>,
) {
    let record = key.record();
    let entry = view.entry_of(record);
    fields.int8(view.imei[entry]);
    fields.int8(postgres_micros(view.recorded_at_ms[record].cast_signed()));
    fields.int8(key.digest());
    fields.int8(postgres_micros(view.received_at_ms[entry]));
    fields.float8(f64::from(view.longitude_e7[record]) / 1e7);
    fields.float8(f64::from(view.latitude_e7[record]) / 1e7);
    fields.int2(view.altitude_m[record]);
    fields.int4(i32::from(view.angle_deg[record]));
    fields.int2(i16::from(view.satellites[record]));
    fields.int4(i32::from(view.speed_kmh[record]));
    fields.int2(i16::from(view.priority[record]));
    fields.int4(i32::from(view.event_io_id[record]));
}

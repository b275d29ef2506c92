//! Binary COPY of the rows that a fold writes.

use rows::{CopyBytes, Fields};
use timing::{Direction, Row};

use crate::instant::{text, timestamptz};

/// Columns of the stream of crossings, in its order.
pub const TIMING_RECORD_COLUMNS: [&str; 15] = [
    "imei",
    "end_t",
    "zone_id",
    "n",
    "zone_version",
    "kind",
    "at",
    "uncertainty_us",
    "direction",
    "cause",
    "start_t",
    "start_digest",
    "end_digest",
    "distance_m",
    "satellites",
];

/// Columns of the stream of revisions, in its order.
pub const REVISION_COLUMNS: [&str; 7] = ["imei", "end_t", "zone_id", "n", "cause", "was", "is_now"];

/// Field count, fifteen lengths, fixed fields, and the longest texts: initial, `right_to_left`,
/// `zone_ended`.
const ROOM: usize = 2 + 15 * 4 + 9 * 8 + 3 * 4 + 2 * 2 + 7 + 13 + 10;

pub(crate) fn append_record(copy: &mut CopyBytes, imei: i64, row: &Row) {
    copy.append_row(ROOM, |out| {
        let out: &mut [u8; ROOM] = out.first_chunk_mut().expect("room for the row");
        let mut fields = Fields::start(out, TIMING_RECORD_COLUMNS.len());
        fields.int8(imei);
        fields.int8(timestamptz(row.end_t_us));
        fields.int4(row.zone_id);
        fields.int2(n_of(row));
        fields.int4(row.version);
        fields.text(row.kind.as_str());
        fields.int8(timestamptz(row.at_us));
        fields.int8(row.uncertainty_us);
        match row.direction {
            Direction::None => fields.null(),
            direction => fields.text(direction.as_str()),
        }
        fields.text(row.cause.as_str());
        if let Some(start) = row.start {
            fields.int8(timestamptz(start.t_us));
            fields.int8(start.digest);
        } else {
            fields.null();
            fields.null();
        }
        fields.int8(row.end_digest);
        fields.float8(row.distance_m);
        fields.int2(i16::from(row.satellites));
        fields.end()
    });
}

/// Bound: a segment with more crossings of one zone than an int2 counts is no real one; they share
/// the last number, and COPY refuses them.
fn n_of(row: &Row) -> i16 {
    i16::try_from(row.n).unwrap_or(i16::MAX)
}

/// A row that was replaced, and what is there now.
pub(crate) struct Revision<'a> {
    pub(crate) imei: i64,
    pub(crate) cause: &'static str,
    pub(crate) was: &'a Row,
    pub(crate) is_now: Option<&'a Row>,
}

pub(crate) fn append_revision(copy: &mut CopyBytes, revision: &Revision<'_>) {
    let was = revision.was;
    let key = (
        revision.imei.to_be_bytes(),
        timestamptz(was.end_t_us).to_be_bytes(),
        was.zone_id.to_be_bytes(),
        n_of(was).to_be_bytes(),
    );
    let (was, is_now) = (jsonb(was), revision.is_now.map(jsonb));
    let fields: [Option<&[u8]>; REVISION_COLUMNS.len()] = [
        Some(&key.0),
        Some(&key.1),
        Some(&key.2),
        Some(&key.3),
        Some(revision.cause.as_bytes()),
        Some(&was),
        is_now.as_deref(),
    ];
    let row = row_of(&fields);
    copy.append_row(row.len(), |out| {
        out[..row.len()].copy_from_slice(&row);
        row.len()
    });
}

/// A row of fields of any length; none is null.
fn row_of(fields: &[Option<&[u8]>; REVISION_COLUMNS.len()]) -> Vec<u8> {
    let mut row = Vec::with_capacity(512);
    row.extend([0, 7]);
    for field in fields {
        match field {
            Some(bytes) => {
                // Bound: a field is less than a kilobyte.
                row.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
                row.extend(*bytes);
            }
            None => row.extend([0xFF; 4]),
        }
    }
    row
}

/// The columns of a row that are not its key, as `jsonb` is sent: a version byte and text.
fn jsonb(row: &Row) -> Vec<u8> {
    let direction = match row.direction {
        Direction::None => "null".to_owned(),
        direction => format!("\"{}\"", direction.as_str()),
    };
    let (start_t, start_digest) = match row.start {
        Some(start) => (
            format!("\"{}\"", text(start.t_us)),
            start.digest.to_string(),
        ),
        None => ("null".to_owned(), "null".to_owned()),
    };
    format!(
        "\u{1}{{\"zone_version\":{},\"kind\":\"{}\",\"at\":\"{}\",\"uncertainty_us\":{},\
         \"direction\":{direction},\"cause\":\"{}\",\"start_t\":{start_t},\
         \"start_digest\":{start_digest},\"end_digest\":{},\"distance_m\":{:?},\"satellites\":{}}}",
        row.version,
        row.kind.as_str(),
        text(row.at_us),
        row.uncertainty_us,
        row.cause.as_str(),
        row.end_digest,
        row.distance_m,
        row.satellites
    )
    .into_bytes()
}

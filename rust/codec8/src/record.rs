//! One AVL record: timestamp, priority, GPS element, IO elements.

use crate::codec_id::Widths;
use crate::columns::{Columns, FillElements, narrow};
use crate::io_element::read_io_elements;
use crate::reader::{Cut, Reader};

/// One AVL record without its IO elements. Units and signs are those of [`Columns`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) recorded_at_ms: u64,
    pub(crate) priority: u8,
    pub(crate) longitude_e7: i32,
    pub(crate) latitude_e7: i32,
    pub(crate) altitude_m: i16,
    pub(crate) angle_deg: u16,
    pub(crate) satellites: u8,
    pub(crate) speed_kmh: u16,
    pub(crate) event_io_id: u16,
    pub(crate) generation_type: i16,
    pub(crate) frame_index: u32,
    pub(crate) raw_start: u32,
    pub(crate) raw_end: u32,
    pub(crate) n_variable: u16,
}

/// Timestamp, priority and GPS element, in bytes.
const FIXED_BYTES: usize = 24;

/// How many elements a record states, and how many its groups hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Totals {
    stated: u16,
    found: usize,
}

impl Totals {
    /// Bits that are set where the two differ; 0 where they agree.
    #[inline(always)]
    pub(crate) fn contradiction(self) -> usize {
        usize::from(self.stated) ^ self.found
    }
}

/// Reads one record with its elements into the columns.
///
/// # Errors
/// The field that does not fit; elements of the record may have been appended.
#[inline(always)]
pub(crate) fn read_record<F: FillElements>(
    reader: &mut Reader<'_>,
    widths: Widths,
    frame_index: u32,
    columns: &mut Columns,
) -> Result<Totals, Cut> {
    let raw_start = narrow(reader.offset());
    let (mut record, stated) = read_head(reader, widths)?;
    let n_before = columns.n_elements();
    record.n_variable = read_io_elements::<F>(reader, widths, columns)?;
    record.frame_index = frame_index;
    record.raw_start = raw_start;
    record.raw_end = narrow(reader.offset());
    columns.push_record(&record);
    let found = columns.n_elements().wrapping_sub(n_before);
    Ok(Totals { stated, found })
}

/// Reads everything in front of the first group: the GPS element, event IO id, generation type and
/// the total number of elements, which delimits nothing: the groups carry their own counts.
#[inline(always)]
fn read_head(reader: &mut Reader<'_>, widths: Widths) -> Result<(Record, u16), Cut> {
    let Widths {
        id,
        count,
        generation_type,
        ..
    } = widths;
    let length = FIXED_BYTES
        .wrapping_add(id)
        .wrapping_add(generation_type)
        .wrapping_add(count);
    reader
        .take_part(length)
        .and_then(|fields| parse_head(fields, widths))
        .ok_or_else(|| reader.cut_in(&[8, 1, 4, 4, 2, 2, 1, 2, id, generation_type, count]))
}

/// Longitude precedes latitude on the wire; both and the altitude are signed.
///
/// Source: vendor wiki, "Teltonika Data Sending Protocols", GPS element.
#[inline(always)]
fn parse_head(mut fields: Reader<'_>, widths: Widths) -> Option<(Record, u16)> {
    let record = Record {
        recorded_at_ms: u64::from_be_bytes(fields.take()?),
        priority: u8::from_be_bytes(fields.take()?),
        longitude_e7: i32::from_be_bytes(fields.take()?),
        latitude_e7: i32::from_be_bytes(fields.take()?),
        altitude_m: i16::from_be_bytes(fields.take()?),
        angle_deg: u16::from_be_bytes(fields.take()?),
        satellites: u8::from_be_bytes(fields.take()?),
        speed_kmh: u16::from_be_bytes(fields.take()?),
        event_io_id: fields.take_narrow(widths.id)?,
        generation_type: match widths.generation_type {
            0 => -1,
            _ => i16::from(u8::from_be_bytes(fields.take()?)),
        },
        frame_index: 0,
        raw_start: 0,
        raw_end: 0,
        n_variable: 0,
    };
    Some((record, fields.take_narrow(widths.count)?))
}

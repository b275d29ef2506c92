//! The IO elements of a record: groups of one width each, then the group at the tail.

use crate::codec_id::{Tail, Widths};
use crate::columns::{Columns, FillElements};
use crate::reader::{Cut, Reader};

/// Reads all groups of a record and returns how many elements the tail held.
///
/// # Errors
/// The field that does not fit; elements in front of it have been appended.
#[inline(always)]
pub(crate) fn read_io_elements<F: FillElements>(
    reader: &mut Reader<'_>,
    widths: Widths,
    columns: &mut Columns,
) -> Result<u16, Cut> {
    read_group::<F, 1>(reader, widths, columns)?;
    read_group::<F, 2>(reader, widths, columns)?;
    read_group::<F, 4>(reader, widths, columns)?;
    read_group::<F, 8>(reader, widths, columns)?;
    let fixed = match widths.tail {
        Tail::Nothing => return Ok(0),
        Tail::Sixteen => Some(16),
        Tail::Variable => None,
    };
    match read_count(reader, widths)? {
        0 => Ok(0),
        n => read_spans(reader, widths, n, fixed, columns),
    }
}

/// Reads the count of a group and its elements of `VALUE` bytes.
///
/// Bound: at most as many elements as bytes of the record are present.
#[inline(always)]
fn read_group<F: FillElements, const VALUE: usize>(
    reader: &mut Reader<'_>,
    widths: Widths,
    columns: &mut Columns,
) -> Result<(), Cut> {
    let n = read_count(reader, widths)?;
    let length = usize::from(n).saturating_mul(widths.id.saturating_add(VALUE));
    let Some(group) = reader.take_slice(length) else {
        return Err(reader.cut_in_elements(widths.id, VALUE));
    };
    match widths.id {
        1 => F::fill::<1, VALUE>(columns, group),
        _ => F::fill::<2, VALUE>(columns, group),
    }
    Ok(())
}

/// Reads a group whose values stay in the frame: of `fixed` bytes, or each with a two-byte length.
fn read_spans(
    reader: &mut Reader<'_>,
    widths: Widths,
    n: u16,
    fixed: Option<u16>,
    columns: &mut Columns,
) -> Result<u16, Cut> {
    for _ in 0..n {
        let id = reader
            .take_narrow(widths.id)
            .ok_or_else(|| reader.cut_in(&[widths.id]))?;
        let length = match fixed {
            Some(length) => length,
            None => reader
                .take()
                .map(u16::from_be_bytes)
                .ok_or_else(|| reader.cut_in(&[2]))?,
        };
        let (offset, length) = (reader.offset(), usize::from(length));
        reader
            .take_slice(length)
            .ok_or_else(|| reader.cut_in(&[length]))?;
        columns.push_span(id, offset, length);
    }
    Ok(n)
}

#[inline(always)]
fn read_count(reader: &mut Reader<'_>, widths: Widths) -> Result<u16, Cut> {
    reader
        .take_narrow(widths.count)
        .ok_or_else(|| reader.cut_in(&[widths.count]))
}

//! Rows of `timing_records` as they are stored.

use std::collections::BTreeMap;

use timing::{Cause, Direction, FixKey, Kind, Row};

use crate::copy_out::{CopyError, CopyReader};
use crate::instant::unix_us;

/// What tells rows of one device apart.
pub(crate) fn key(row: &Row) -> (i64, i32, u16) {
    (row.end_t_us, row.zone_id, row.n)
}

/// The row of the same key; `rows` are by key.
pub(crate) fn row_of<'a>(rows: &'a [Row], like: &Row) -> Option<&'a Row> {
    let place = rows.binary_search_by_key(&key(like), key).ok()?;
    rows.get(place)
}

/// By device, each in the order of the keys.
pub(crate) fn stored_rows(stored: &[u8]) -> Result<BTreeMap<i64, Vec<Row>>, CopyError> {
    let mut rows: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    let mut reader = CopyReader::new(stored)?;
    while reader.row(15)? {
        let imei = reader.int8()?;
        let row = stored_row(&mut reader)?;
        rows.entry(imei).or_default().push(row);
    }
    Ok(rows)
}

fn stored_row(reader: &mut CopyReader<'_>) -> Result<Row, CopyError> {
    let end_t_us = unix_us(reader.int8()?);
    let zone_id = reader.int4()?;
    let n = u16::try_from(reader.int2()?).unwrap_or(u16::MAX);
    let version = reader.int4()?;
    let kind = named(
        reader,
        [Kind::Initial, Kind::Enter, Kind::Exit, Kind::Cross],
        Kind::as_str,
    )?;
    let at_us = unix_us(reader.int8()?);
    let uncertainty_us = reader.int8()?;
    let direction = named(
        reader,
        [Direction::LeftToRight, Direction::RightToLeft],
        Direction::as_str,
    )?;
    let cause = named(
        reader,
        [Cause::Ok, Cause::Gap, Cause::Jump, Cause::ZoneEnded],
        Cause::as_str,
    )?;
    let start_t_us = reader.maybe_int8()?.map(unix_us);
    let start_digest = reader.maybe_int8()?;
    Ok(Row {
        end_t_us,
        zone_id,
        n,
        version,
        // A text that nobody knows cannot equal what is derived: the row is replaced.
        kind: kind.unwrap_or(Kind::Initial),
        at_us,
        uncertainty_us,
        direction: direction.unwrap_or(Direction::None),
        cause: cause.unwrap_or(Cause::Ok),
        start: start_t_us
            .zip(start_digest)
            .map(|(t_us, digest)| FixKey { t_us, digest }),
        end_digest: reader.int8()?,
        distance_m: reader.float8()?,
        satellites: u8::try_from(reader.int2()?).unwrap_or(u8::MAX),
    })
}

/// The value of this name; none for null, or a name that is none of theirs.
fn named<T: Copy, const N: usize>(
    reader: &mut CopyReader<'_>,
    values: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Result<Option<T>, CopyError> {
    let found = reader.bytes()?;
    Ok(found.and_then(|found| {
        values
            .into_iter()
            .find(|&value| name(value).as_bytes() == found)
    }))
}

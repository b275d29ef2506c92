//! Columns turned back into records, so that what was decoded compares with what was encoded.

use std::iter::repeat_n;

use codec8::encode::{Group, IoElement, IoValue, Record};
use codec8::{CodecId, Columns, DecodeError, Limits, Transport, Widths, decode_frame};

/// Limits that let every frame of the tests through.
pub(crate) fn wide() -> Limits {
    Limits::new(64 << 20).expect("64 MiB is a legal limit")
}

/// The codec and the records of one frame, or of one AVL packet of UDP.
pub(crate) fn decode(
    frame: &[u8],
    transport: Transport,
) -> Result<(CodecId, Vec<Record>), DecodeError> {
    let mut columns = Columns::new();
    let packet = decode_frame(frame, transport, &wide(), 0, &mut columns)?;
    assert_eq!(usize::from(packet.n_records()), columns.n_records());
    Ok((
        packet.codec_id(),
        records(frame, packet.codec_id(), &columns),
    ))
}

/// The columns as records, each element with the width that its raw record gives it.
fn records(frame: &[u8], codec_id: CodecId, columns: &Columns) -> Vec<Record> {
    let record = |r: usize| Record {
        recorded_at_ms: columns.recorded_at_ms()[r],
        priority: columns.priority()[r],
        longitude_e7: columns.longitude_e7()[r],
        latitude_e7: columns.latitude_e7()[r],
        altitude_m: columns.altitude_m()[r],
        angle_deg: columns.angle_deg()[r],
        satellites: columns.satellites()[r],
        speed_kmh: columns.speed_kmh()[r],
        event_io_id: columns.event_io_id()[r],
        generation_type: u8::try_from(columns.generation_type()[r]).ok(),
        io: elements(frame, codec_id, columns, r),
    };
    (0..columns.n_records()).map(record).collect()
}

fn elements(frame: &[u8], codec_id: CodecId, columns: &Columns, r: usize) -> Vec<IoElement> {
    let range = columns.io_offsets()[r] as usize..columns.io_offsets()[r + 1] as usize;
    let raw = &frame[columns.raw_start()[r] as usize..columns.raw_end()[r] as usize];
    let groups = groups(raw, codec_id, columns.n_variable()[r].into());
    assert_eq!(
        groups.len(),
        range.len(),
        "as many elements as the counts state"
    );
    range
        .zip(groups)
        .map(|(k, group)| IoElement {
            id: columns.io_id()[k],
            value: value(frame, group, columns.io_value()[k]),
        })
        .collect()
}

/// The group of each element of a raw record, by the counts that it carries.
fn groups(raw: &[u8], codec_id: CodecId, n_tail: usize) -> Vec<Group> {
    let Widths {
        id,
        count,
        generation_type,
        ..
    } = codec_id.widths();
    let mut at = 24 + id + generation_type + count;
    let mut groups = Vec::new();
    for (group, width) in [
        (Group::N1, 1),
        (Group::N2, 2),
        (Group::N4, 4),
        (Group::N8, 8),
    ] {
        let n = raw[at..at + count]
            .iter()
            .fold(0, |n, byte| n << 8 | usize::from(*byte));
        groups.extend(repeat_n(group, n));
        at += count + n * (id + width);
    }
    let tail = if codec_id == CodecId::Codec8 {
        Group::N16
    } else {
        Group::NX
    };
    groups.extend(repeat_n(tail, n_tail));
    groups
}

fn value(frame: &[u8], group: Group, value: u64) -> IoValue {
    let (offset, length) = ((value >> 32) as usize, (value & 0xFFFF_FFFF) as usize);
    match group {
        Group::N1 => IoValue::U8(value.try_into().expect("one byte")),
        Group::N2 => IoValue::U16(value.try_into().expect("two bytes")),
        Group::N4 => IoValue::U32(value.try_into().expect("four bytes")),
        Group::N8 => IoValue::U64(value),
        Group::N16 => {
            IoValue::Bytes16(frame[offset..offset + length].try_into().expect("16 bytes"))
        }
        Group::NX => IoValue::Variable(frame[offset..offset + length].to_vec()),
    }
}

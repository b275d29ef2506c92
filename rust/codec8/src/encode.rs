//! AVL records to wire bytes: for tests, simulators and benches.
//!
//! What a codec cannot carry is refused, never cut or wrapped.

use std::fmt;

use crate::codec_id::{CodecId, Tail, Widths};
use crate::crc16::crc16;

/// One AVL record to encode. Units are those of the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Unix time in milliseconds.
    pub recorded_at_ms: u64,
    /// 0 low, 1 high, 2 panic.
    pub priority: u8,
    /// Longitude in 1e-7 degree.
    pub longitude_e7: i32,
    /// Latitude in 1e-7 degree.
    pub latitude_e7: i32,
    /// Altitude in metres.
    pub altitude_m: i16,
    /// Degrees from north, clockwise.
    pub angle_deg: u16,
    /// Satellites in use; 0 without a fix.
    pub satellites: u8,
    /// Speed in km/h.
    pub speed_kmh: u16,
    /// The IO id that caused the record; 0 for none.
    pub event_io_id: u16,
    /// Codec 16 only, where `None` is sent as 0.
    pub generation_type: Option<u8>,
    /// IO elements in any order. They are sent by width, narrow first, otherwise in this order.
    pub io: Vec<IoElement>,
}

/// One IO element: its id and a value that knows its width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoElement {
    /// The IO id.
    pub id: u16,
    /// The value, whose variant is the group that it is sent in.
    pub value: IoValue,
}

/// A value of an IO element; the variant is its width on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IoValue {
    /// Group N1.
    U8(u8),
    /// Group N2.
    U16(u16),
    /// Group N4.
    U32(u32),
    /// Group N8.
    U64(u64),
    /// Group N16, which only [`Layout::Codec8With16ByteGroup`] has.
    Bytes16([u8; 16]),
    /// Group NX of Codec 8 Extended: 0 to 65,535 bytes.
    Variable(Vec<u8>),
}

/// A group of IO elements of one width, by its name in the vendor's tables, in wire order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// One-byte values.
    N1,
    /// Two-byte values.
    N2,
    /// Four-byte values.
    N4,
    /// Eight-byte values.
    N8,
    /// 16-byte values, in the Codec 8 of some FM63 units.
    N16,
    /// Values that carry their length.
    NX,
}

/// How a packet is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As the vendor documents the codec.
    Documented(CodecId),
    /// Codec 8 with the 16-byte group behind N8, under the codec id of Codec 8.
    Codec8With16ByteGroup,
}

/// Why records cannot be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// Number of data is one byte.
    TooManyRecords {
        /// Records given.
        found: usize,
    },
    /// The data field length is four bytes.
    DataFieldTooLong {
        /// Length of the data field in bytes.
        found: usize,
    },
    /// One record holds what the layout cannot carry.
    Record {
        /// Its place among the records given.
        index: usize,
        /// What the layout cannot carry.
        refusal: Refusal,
    },
}

/// What a layout cannot carry of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The event IO id is wider than the codec's ids.
    EventIoId {
        /// The event IO id.
        found: u16,
    },
    /// An IO id is wider than the codec's ids.
    IoId {
        /// The IO id.
        found: u16,
    },
    /// More IO elements than the codec's counts can state.
    ElementCount {
        /// Elements of the record.
        found: usize,
    },
    /// The layout has no such group.
    Group {
        /// The element's IO id.
        io_id: u16,
        /// The group its value belongs to.
        found: Group,
    },
    /// A variable-length value is longer than its two-byte length can state.
    VariableLength {
        /// The element's IO id.
        io_id: u16,
        /// Length of the value in bytes.
        found: usize,
    },
    /// Only Codec 16 has a generation type.
    GenerationType {
        /// The generation type.
        found: u8,
    },
}

/// Encodes an AVL packet: codec id to number of data 2, as a UDP channel packet carries it.
///
/// # Errors
/// The layout cannot carry one of the records, or as many.
pub fn encode_packet(
    layout: impl Into<Layout>,
    records: &[Record],
) -> Result<Vec<u8>, EncodeError> {
    let layout = layout.into();
    let n_records = u8::try_from(records.len()).map_err(|_| EncodeError::TooManyRecords {
        found: records.len(),
    })?;
    let mut packet = vec![layout.codec_id().number(), n_records];
    for (index, record) in records.iter().enumerate() {
        push_record(&mut packet, layout.widths(), record)
            .map_err(|refusal| EncodeError::Record { index, refusal })?;
    }
    packet.push(n_records);
    Ok(packet)
}

/// Encodes a TCP frame: preamble, length, AVL packet, CRC.
///
/// # Errors
/// As [`encode_packet`], and where the length does not fit its field.
pub fn encode_frame(layout: impl Into<Layout>, records: &[Record]) -> Result<Vec<u8>, EncodeError> {
    frame_around(&encode_packet(layout, records)?)
}

/// Puts the TCP envelope of any codec around a data field: preamble and length before, CRC behind.
///
/// # Errors
/// The length does not fit its field.
pub fn frame_around(data_field: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let length = u32::try_from(data_field.len()).map_err(|_| EncodeError::DataFieldTooLong {
        found: data_field.len(),
    })?;
    let preamble = [0; 4];
    let crc = u32::from(crc16(data_field));
    Ok([
        &preamble[..],
        &length.to_be_bytes(),
        data_field,
        &crc.to_be_bytes(),
    ]
    .concat())
}

fn push_record(out: &mut Vec<u8>, widths: Widths, record: &Record) -> Result<(), Refusal> {
    push_head(out, record);
    push_uint(out, widths.id, record.event_io_id.into()).ok_or(Refusal::EventIoId {
        found: record.event_io_id,
    })?;
    match (widths.generation_type, record.generation_type) {
        (0, None) => {}
        (0, Some(found)) => return Err(Refusal::GenerationType { found }),
        (_, generation_type) => out.push(generation_type.unwrap_or_default()),
    }
    push_elements(out, widths, &record.io)
}

/// Timestamp, priority and GPS element, whose layout all codecs share.
fn push_head(out: &mut Vec<u8>, record: &Record) {
    out.extend(record.recorded_at_ms.to_be_bytes());
    out.push(record.priority);
    out.extend(record.longitude_e7.to_be_bytes());
    out.extend(record.latitude_e7.to_be_bytes());
    out.extend(record.altitude_m.to_be_bytes());
    out.extend(record.angle_deg.to_be_bytes());
    out.push(record.satellites);
    out.extend(record.speed_kmh.to_be_bytes());
}

fn push_elements(out: &mut Vec<u8>, widths: Widths, io: &[IoElement]) -> Result<(), Refusal> {
    let groups = groups(widths.tail);
    if let Some(element) = io
        .iter()
        .find(|element| !groups.contains(&element.value.group()))
    {
        return Err(Refusal::Group {
            io_id: element.id,
            found: element.value.group(),
        });
    }
    push_count(out, widths, io.len())?;
    for &group in groups {
        let members = || io.iter().filter(|element| element.value.group() == group);
        push_count(out, widths, members().count())?;
        members().try_for_each(|element| push_element(out, widths, element))?;
    }
    Ok(())
}

const fn groups(tail: Tail) -> &'static [Group] {
    match tail {
        Tail::Nothing => &[Group::N1, Group::N2, Group::N4, Group::N8],
        Tail::Sixteen => &[Group::N1, Group::N2, Group::N4, Group::N8, Group::N16],
        Tail::Variable => &[Group::N1, Group::N2, Group::N4, Group::N8, Group::NX],
    }
}

fn push_count(out: &mut Vec<u8>, widths: Widths, count: usize) -> Result<(), Refusal> {
    push_uint(out, widths.count, count).ok_or(Refusal::ElementCount { found: count })
}

fn push_element(out: &mut Vec<u8>, widths: Widths, element: &IoElement) -> Result<(), Refusal> {
    let io_id = element.id;
    push_uint(out, widths.id, io_id.into()).ok_or(Refusal::IoId { found: io_id })?;
    match &element.value {
        IoValue::U8(value) => out.push(*value),
        IoValue::U16(value) => out.extend(value.to_be_bytes()),
        IoValue::U32(value) => out.extend(value.to_be_bytes()),
        IoValue::U64(value) => out.extend(value.to_be_bytes()),
        IoValue::Bytes16(value) => out.extend(value),
        IoValue::Variable(value) => {
            let found = value.len();
            push_uint(out, 2, found).ok_or(Refusal::VariableLength { io_id, found })?;
            out.extend(value);
        }
    }
    Ok(())
}

/// Appends `value` in one or two bytes, or appends nothing where it does not fit.
fn push_uint(out: &mut Vec<u8>, width: usize, value: usize) -> Option<()> {
    if width == 1 {
        out.push(u8::try_from(value).ok()?);
    } else {
        out.extend(u16::try_from(value).ok()?.to_be_bytes());
    }
    Some(())
}

impl IoValue {
    /// The group that the value is sent in.
    #[must_use]
    pub const fn group(&self) -> Group {
        match self {
            Self::U8(_) => Group::N1,
            Self::U16(_) => Group::N2,
            Self::U32(_) => Group::N4,
            Self::U64(_) => Group::N8,
            Self::Bytes16(_) => Group::N16,
            Self::Variable(_) => Group::NX,
        }
    }
}

impl Layout {
    /// The codec id that the packet carries.
    #[must_use]
    pub const fn codec_id(self) -> CodecId {
        match self {
            Self::Documented(codec_id) => codec_id,
            Self::Codec8With16ByteGroup => CodecId::Codec8,
        }
    }

    const fn widths(self) -> Widths {
        match self {
            Self::Documented(codec_id) => codec_id.widths(),
            Self::Codec8With16ByteGroup => Widths::CODEC8_SIXTEEN,
        }
    }
}

impl From<CodecId> for Layout {
    fn from(codec_id: CodecId) -> Self {
        Self::Documented(codec_id)
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRecords { found } => write!(f, "{found} records, expected at most 255"),
            Self::DataFieldTooLong { found } => {
                write!(
                    f,
                    "data field of {found} bytes, expected at most 4294967295"
                )
            }
            Self::Record { index, refusal } => write!(f, "record {index}: {refusal}"),
        }
    }
}

impl std::error::Error for EncodeError {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventIoId { found } => {
                write!(f, "event IO id {found}, expected at most 255 in this codec")
            }
            Self::IoId { found } => write!(f, "IO id {found}, expected at most 255 in this codec"),
            Self::ElementCount { found } => {
                write!(f, "{found} IO elements, more than this codec can count")
            }
            Self::Group { io_id, found } => {
                write!(
                    f,
                    "IO id {io_id} has a value of group {found:?}, which this codec lacks"
                )
            }
            Self::VariableLength { io_id, found } => {
                write!(
                    f,
                    "IO id {io_id} has a value of {found} bytes, expected at most 65535"
                )
            }
            Self::GenerationType { found } => {
                write!(f, "generation type {found}, which only Codec 16 carries")
            }
        }
    }
}

//! The envelope of a frame, and the AVL packet in it.
//!
//! A TCP frame is: preamble (4 bytes, zero), data field length L (4), data field (L), CRC (4). The
//! data field of an AVL codec, the AVL packet, is: codec id, number of data 1, records, number of
//! data 2. UDP carries the AVL packet alone. Source: vendor wiki, "Teltonika Data Sending Protocols".

use crate::codec_id::{CodecClass, CodecId, Widths};
use crate::columns::{Columns, FillElements, Walk};
use crate::crc16::crc16;
use crate::error::{DecodeError, FatalReason, RejectReason};
use crate::limits::Limits;
use crate::reader::Reader;
use crate::record::read_record;

/// How an AVL packet is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A whole TCP frame, preamble to CRC.
    Tcp,
    /// The AVL packet of a UDP channel packet: no preamble, no length, no CRC.
    Udp,
}

/// An AVL packet whose envelope is verified: preamble, length, CRC, codec id and both counts.
#[derive(Clone, Copy, Debug)]
pub struct AvlPacket<'a> {
    frame: &'a [u8],
    codec_id: CodecId,
    n_records: u8,
    records_start: usize,
    records_end: usize,
}

/// Verifies the envelope of one frame; its records are not read yet.
///
/// # Errors
/// The first that holds, with the offset of its field: `truncated` below 8 bytes (`bad_preamble`
/// where a byte present contradicts it), `bad_preamble`, `length_out_of_range`, `truncated` or
/// `trailing_bytes` by the length, `crc_mismatch`, `not_avl`, `unsupported_codec`,
/// `record_count_mismatch`.
pub fn check_envelope<'a>(
    frame: &'a [u8],
    transport: Transport,
    limits: &Limits,
) -> Result<AvlPacket<'a>, DecodeError> {
    match transport {
        Transport::Tcp => {
            let crc_start = check_data_field(frame, *limits)?;
            check_packet(frame, TCP_DATA_START, crc_start)
        }
        Transport::Udp => {
            check_udp_length(frame, *limits)?;
            check_packet(frame, 0, frame.len())
        }
    }
}

/// Verifies the envelope of one frame and decodes its records into the columns.
///
/// # Errors
/// Those of [`check_envelope`] and [`AvlPacket::decode_into`].
pub fn decode_frame<'a>(
    frame: &'a [u8],
    transport: Transport,
    limits: &Limits,
    frame_index: u32,
    columns: &mut Columns,
) -> Result<AvlPacket<'a>, DecodeError> {
    let packet = check_envelope(frame, transport, limits)?;
    packet.decode_into(frame_index, columns)?;
    Ok(packet)
}

impl AvlPacket<'_> {
    /// The codec of the records.
    #[must_use]
    pub fn codec_id(&self) -> CodecId {
        self.codec_id
    }

    /// Number of data 1, which is number of data 2.
    #[must_use]
    pub fn n_records(&self) -> u8 {
        self.n_records
    }

    /// Appends all records to the columns, or leaves the columns as they were.
    ///
    /// Some FM63 units send Codec 8 with a 16-byte group that nothing announces (source: peers, real
    /// packets), and either layout can fit the other's bytes by accident. So the first of these holds:
    /// the documented layout with every total equal to the sum of its groups, the 16-byte group with
    /// the same, the documented layout with a wrong total (no reason to lose a record), its error.
    ///
    /// # Errors
    /// `truncated`: a field of a record does not fit. `trailing_bytes`: the records end early.
    pub fn decode_into(&self, frame_index: u32, columns: &mut Columns) -> Result<(), DecodeError> {
        let mark = columns.mark();
        let records = ReadRecords {
            packet: self,
            frame_index,
        };
        let documented = columns.walk(records);
        if self.codec_id != CodecId::Codec8 || documented == Ok(Fit::Certain) {
            return documented.map(drop);
        }
        columns.roll_back(mark);
        if columns.walk(WithSixteenByteGroup(records)) == Ok(Fit::Certain) {
            return Ok(());
        }
        columns.roll_back(mark);
        documented?;
        columns.walk(records).map(drop)
    }
}

/// How well a layout explains a packet that it fits exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// Nothing speaks against it.
    Certain,
    /// Codec 8: the number of elements that a record states is not that of its groups.
    Doubtful,
}

/// The walk over the records of one packet, by the layout that the vendor documents.
#[derive(Clone, Copy)]
struct ReadRecords<'a> {
    packet: &'a AvlPacket<'a>,
    frame_index: u32,
}

/// The same walk, with the 16-byte group of Codec 8 behind the 8-byte elements of every record.
struct WithSixteenByteGroup<'a>(ReadRecords<'a>);

impl Walk for ReadRecords<'_> {
    type Output = Result<Fit, DecodeError>;

    #[inline(always)]
    fn walk<F: FillElements>(self, columns: &mut Columns) -> Self::Output {
        const CODEC8: Widths = CodecId::Codec8.widths();
        const CODEC8_EXTENDED: Widths = CodecId::Codec8Extended.widths();
        const CODEC16: Widths = CodecId::Codec16.widths();
        let certain = |_| Fit::Certain;
        match self.packet.codec_id {
            CodecId::Codec8 => self.read::<F>(CODEC8, columns),
            CodecId::Codec8Extended => self.read::<F>(CODEC8_EXTENDED, columns).map(certain),
            CodecId::Codec16 => self.read::<F>(CODEC16, columns).map(certain),
        }
    }
}

impl Walk for WithSixteenByteGroup<'_> {
    type Output = Result<Fit, DecodeError>;

    #[inline(always)]
    fn walk<F: FillElements>(self, columns: &mut Columns) -> Self::Output {
        self.0.read::<F>(Widths::CODEC8_SIXTEEN, columns)
    }
}

impl ReadRecords<'_> {
    /// Reads the records by these widths, or leaves the columns as they were.
    #[inline(always)]
    fn read<F: FillElements>(
        &self,
        widths: Widths,
        columns: &mut Columns,
    ) -> Result<Fit, DecodeError> {
        let AvlPacket {
            frame,
            records_start,
            records_end,
            ..
        } = *self.packet;
        let mark = columns.mark();
        let mut reader = Reader::over(frame, records_start, records_end);
        let mut contradiction = 0;
        for _ in 0..self.packet.n_records {
            match read_record::<F>(&mut reader, widths, self.frame_index, columns) {
                Ok(totals) => contradiction |= totals.contradiction(),
                Err(cut) => {
                    columns.roll_back(mark);
                    return Err(cut.reject(frame.len()));
                }
            }
        }
        if reader.left() > 0 {
            columns.roll_back(mark);
            return Err(trailing(frame, reader.offset(), reader.left()));
        }
        Ok(match contradiction {
            0 => Fit::Certain,
            _ => Fit::Doubtful,
        })
    }
}

/// Preamble and data field length.
pub(crate) const TCP_DATA_START: usize = 8;
/// Codec id, number of data 1, number of data 2.
const DATA_MIN_BYTES: usize = 3;
/// The CRC field behind the data field.
const CRC_BYTES: usize = 4;
/// Preamble, data field length and CRC.
const TCP_ENVELOPE_BYTES: usize = 12;

/// Verifies preamble, length and CRC; returns where the CRC starts, which ends the data field.
///
/// Invariant: the data field has at least three bytes.
pub(crate) fn check_data_field(frame: &[u8], limits: Limits) -> Result<usize, DecodeError> {
    let end = frame_length(frame, limits)?;
    check_end(frame, end)?;
    let crc_start = end.saturating_sub(CRC_BYTES);
    check_crc(frame, crc_start)?;
    Ok(crc_start)
}

/// Length of the TCP frame that `frame` starts with, by its length field; what follows is not read.
pub(crate) fn frame_length(frame: &[u8], limits: Limits) -> Result<usize, DecodeError> {
    let mut reader = Reader::over(frame, 0, frame.len());
    let preamble = reader.take::<4>();
    check_preamble(frame)?;
    let (Some(_), Some(length)) = (preamble, reader.take::<4>()) else {
        return Err(incomplete(
            reader.offset(),
            TCP_DATA_START.saturating_sub(frame.len()),
        ));
    };
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let max = limits.frame_max_bytes().saturating_sub(TCP_ENVELOPE_BYTES);
    if !(DATA_MIN_BYTES..=max).contains(&length) {
        let reason = FatalReason::LengthOutOfRange {
            found: length,
            min: DATA_MIN_BYTES,
            max,
        };
        return Err(DecodeError::Fatal { offset: 4, reason });
    }
    Ok(length.saturating_add(TCP_ENVELOPE_BYTES))
}

/// Verifies as much of the preamble as is there.
fn check_preamble(frame: &[u8]) -> Result<(), DecodeError> {
    let mut found = [0u8; 4];
    for (to, from) in found.iter_mut().zip(frame) {
        *to = *from;
    }
    match u32::from_be_bytes(found) {
        0 => Ok(()),
        found => Err(DecodeError::Fatal {
            offset: 0,
            reason: FatalReason::BadPreamble { found },
        }),
    }
}

/// Verifies that the frame has exactly the bytes that its length field asks for.
fn check_end(frame: &[u8], end: usize) -> Result<(), DecodeError> {
    if let Some(needed) = end.checked_sub(frame.len()).filter(|&needed| needed > 0) {
        let crc_start = end.saturating_sub(CRC_BYTES);
        let offset = if frame.len() < crc_start {
            TCP_DATA_START
        } else {
            crc_start
        };
        return Err(incomplete(offset, needed));
    }
    match frame.len().saturating_sub(end) {
        0 => Ok(()),
        left => {
            let reason = RejectReason::TrailingBytes { left };
            Err(DecodeError::Rejected {
                consumed: end,
                offset: end,
                reason,
            })
        }
    }
}

/// Verifies the CRC of the data field; the upper two bytes of the field must be zero.
fn check_crc(frame: &[u8], crc_start: usize) -> Result<(), DecodeError> {
    let data = frame.get(TCP_DATA_START..crc_start).unwrap_or_default();
    let field = Reader::over(frame, crc_start, frame.len())
        .take()
        .unwrap_or_default();
    let (found, computed) = (u32::from_be_bytes(field), crc16(data));
    if found == u32::from(computed) {
        return Ok(());
    }
    let reason = RejectReason::CrcMismatch { found, computed };
    Err(DecodeError::Rejected {
        consumed: frame.len(),
        offset: crc_start,
        reason,
    })
}

fn check_udp_length(frame: &[u8], limits: Limits) -> Result<(), DecodeError> {
    let max = limits.frame_max_bytes();
    if frame.len() <= max {
        return Ok(());
    }
    let reason = FatalReason::LengthOutOfRange {
        found: frame.len(),
        min: DATA_MIN_BYTES,
        max,
    };
    Err(DecodeError::Fatal { offset: 0, reason })
}

/// Verifies codec id and counts of the AVL packet `start..end`.
fn check_packet(frame: &[u8], start: usize, end: usize) -> Result<AvlPacket<'_>, DecodeError> {
    let mut reader = Reader::over(frame, start, end);
    let reject = |offset, reason| DecodeError::Rejected {
        consumed: frame.len(),
        offset,
        reason,
    };
    let cut = |reader: Reader<'_>| reader.cut_in(&[1]).reject(frame.len());
    let [codec_id] = reader.take().ok_or_else(|| cut(reader))?;
    let codec_id = avl_codec(codec_id).map_err(|reason| reject(start, reason))?;
    let [first] = reader.take().ok_or_else(|| cut(reader))?;
    let records_start = reader.offset();
    let records_end = end.saturating_sub(1);
    let [second] = Reader::over(frame, records_end.max(records_start), end)
        .take()
        .ok_or_else(|| cut(reader))?;
    if first != second {
        return Err(reject(
            records_end,
            RejectReason::RecordCountMismatch { first, second },
        ));
    }
    Ok(AvlPacket {
        frame,
        codec_id,
        n_records: first,
        records_start,
        records_end,
    })
}

fn avl_codec(codec_id: u8) -> Result<CodecId, RejectReason> {
    match CodecClass::of(codec_id) {
        CodecClass::Avl(codec_id) => Ok(codec_id),
        CodecClass::NotAvl(_) => Err(RejectReason::NotAvl { codec_id }),
        CodecClass::Unsupported(_) => Err(RejectReason::UnsupportedCodec { codec_id }),
    }
}

#[cold]
fn incomplete(offset: usize, needed: usize) -> DecodeError {
    DecodeError::Incomplete { offset, needed }
}

#[cold]
fn trailing(frame: &[u8], offset: usize, left: usize) -> DecodeError {
    let reason = RejectReason::TrailingBytes { left };
    DecodeError::Rejected {
        consumed: frame.len(),
        offset,
        reason,
    }
}

#[cfg(test)]
mod tests;

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
    /// A Codec 8 packet that does not end exactly is read once more with the 16-byte group that some
    /// FM63 units send unannounced, and accepted only on an exact fit. Source: peers, real packets.
    ///
    /// # Errors
    /// `truncated`: a field of a record does not fit. `trailing_bytes`: the records end early.
    pub fn decode_into(&self, frame_index: u32, columns: &mut Columns) -> Result<(), DecodeError> {
        columns.walk(ReadRecords {
            packet: self,
            frame_index,
        })
    }
}

/// The walk over the records of one packet.
struct ReadRecords<'a> {
    packet: &'a AvlPacket<'a>,
    frame_index: u32,
}

impl Walk for ReadRecords<'_> {
    type Output = Result<(), DecodeError>;

    #[inline(always)]
    fn walk<F: FillElements>(self, columns: &mut Columns) -> Self::Output {
        const CODEC8: Widths = CodecId::Codec8.widths();
        const CODEC8_EXTENDED: Widths = CodecId::Codec8Extended.widths();
        const CODEC16: Widths = CodecId::Codec16.widths();
        match self.packet.codec_id {
            CodecId::Codec8 => self.read::<F>(CODEC8, columns).or_else(|first_error| {
                self.read::<F>(Widths::CODEC8_SIXTEEN, columns)
                    .map_err(|_| first_error)
            }),
            CodecId::Codec8Extended => self.read::<F>(CODEC8_EXTENDED, columns),
            CodecId::Codec16 => self.read::<F>(CODEC16, columns),
        }
    }
}

impl ReadRecords<'_> {
    /// Reads the records by these widths, or leaves the columns as they were.
    #[inline(always)]
    fn read<F: FillElements>(
        &self,
        widths: Widths,
        columns: &mut Columns,
    ) -> Result<(), DecodeError> {
        let AvlPacket {
            frame,
            records_start,
            records_end,
            ..
        } = *self.packet;
        let mark = columns.mark();
        let mut reader = Reader::over(frame, records_start, records_end);
        for _ in 0..self.packet.n_records {
            if let Err(cut) = read_record::<F>(&mut reader, widths, self.frame_index, columns) {
                columns.roll_back(mark);
                return Err(cut.reject(frame.len()));
            }
        }
        if reader.left() > 0 {
            columns.roll_back(mark);
            return Err(trailing(frame, reader.offset(), reader.left()));
        }
        Ok(())
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
    let [codec_id] = reader
        .take()
        .ok_or_else(|| reader.cut_in(&[1]).reject(frame.len()))?;
    let codec_id = match CodecClass::of(codec_id) {
        CodecClass::Avl(codec_id) => codec_id,
        CodecClass::NotAvl(codec) => {
            return Err(reject(
                start,
                RejectReason::NotAvl {
                    codec_id: codec.number(),
                },
            ));
        }
        CodecClass::Unsupported(codec_id) => {
            return Err(reject(start, RejectReason::UnsupportedCodec { codec_id }));
        }
    };
    let [first] = reader
        .take()
        .ok_or_else(|| reader.cut_in(&[1]).reject(frame.len()))?;
    let records_start = reader.offset();
    let records_end = end.saturating_sub(1);
    let [second] = Reader::over(frame, records_end.max(records_start), end)
        .take()
        .ok_or_else(|| reader.cut_in(&[1]).reject(frame.len()))?;
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
mod tests {
    use super::*;

    /// Vendor wiki, Codec 8, TCP example 2: one record, event 1, IO 21 = 3, 1 = 1, 66 = 24,080.
    const DOCUMENTED: &str = "000000000000002808010000016b40d9ad80010000000000000000000000000000\
                              000103021503010101425e100000010000f22a";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        digits
            .chunks(2)
            .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
            .collect()
    }

    /// A TCP frame round an AVL packet, with the right length and CRC.
    fn tcp(packet: &[u8]) -> Vec<u8> {
        let length = u32::try_from(packet.len()).unwrap().to_be_bytes();
        let crc = u32::from(crc16(packet)).to_be_bytes();
        [&[0; 4], &length[..], packet, &crc].concat()
    }

    /// A record of `widths` at 1,000 ms, behind which the element groups follow.
    fn head(event_and_total: &[u8]) -> Vec<u8> {
        let mut head = 1_000u64.to_be_bytes().to_vec();
        head.extend([0; 16]);
        head.extend(event_and_total);
        head
    }

    fn packet(codec_id: u8, n: u8, records: &[u8]) -> Vec<u8> {
        [&[codec_id, n], records, &[n]].concat()
    }

    fn decode(frame: &[u8], transport: Transport) -> Result<Columns, DecodeError> {
        let mut columns = Columns::new();
        decode_frame(frame, transport, &Limits::default(), 7, &mut columns).map(|_| columns)
    }

    fn code_and_offset(frame: &[u8], transport: Transport) -> (&'static str, usize) {
        let error = decode(frame, transport).unwrap_err();
        (error.code().name(), error.offset())
    }

    #[test]
    fn a_documented_frame_decodes_to_the_stated_values() {
        let columns = decode(&bytes(DOCUMENTED), Transport::Tcp).unwrap();
        assert_eq!(columns.recorded_at_ms(), [1_560_161_136_000]);
        assert_eq!(
            (columns.priority(), columns.event_io_id()),
            (&[1][..], &[1][..])
        );
        assert_eq!(columns.generation_type(), [-1]);
        assert_eq!(columns.io_offsets(), [0, 3]);
        assert_eq!(columns.io_id(), [21, 1, 66]);
        assert_eq!(columns.io_value(), [3, 1, 24_080]);
        assert_eq!(columns.frame_index(), [7]);
        assert_eq!(
            (columns.raw_start(), columns.raw_end()),
            (&[10][..], &[47][..])
        );
    }

    #[test]
    fn signed_fields_are_signed_and_unsigned_ones_unsigned() {
        let mut record = u64::MAX.to_be_bytes().to_vec();
        record.extend([0xFF; 18]);
        record.extend([0, 0, 0, 0]);
        let columns = decode(&packet(0x08, 1, &record), Transport::Udp).unwrap();
        assert_eq!(columns.recorded_at_ms(), [u64::MAX]);
        assert_eq!(
            (columns.longitude_e7(), columns.latitude_e7()),
            (&[-1][..], &[-1][..])
        );
        assert_eq!(
            (columns.altitude_m(), columns.angle_deg()),
            (&[-1][..], &[65_535][..])
        );
        assert_eq!(
            (columns.satellites(), columns.speed_kmh()),
            (&[255][..], &[65_535][..])
        );
    }

    #[test]
    fn codec_8_extended_keeps_variable_elements_as_spans() {
        let groups = [0, 0, 0, 0, 0, 0, 0, 1, 0, 9, 128, 0, 0, 0, 0, 0, 0, 1];
        let tail = [0, 2, 1, 0, 0, 3, 0xA, 0xB, 0xC, 1, 1, 0, 0];
        let record = [head(&[0, 0, 0, 3]), groups.to_vec(), tail.to_vec()].concat();
        let columns = decode(&packet(0x8E, 1, &record), Transport::Udp).unwrap();
        assert_eq!(columns.io_id(), [9, 256, 257]);
        assert_eq!(columns.io_value(), [1 << 63 | 1, 54 << 32 | 3, 61 << 32]);
        assert_eq!(columns.n_variable(), [2]);
    }

    #[test]
    fn codec_16_carries_a_generation_type_and_two_byte_ids() {
        let record = head(&[1, 2, 5, 1, 1, 1, 2, 7, 0, 0, 0]);
        let columns = decode(&packet(0x10, 1, &record), Transport::Udp).unwrap();
        assert_eq!(
            (columns.event_io_id(), columns.generation_type()),
            (&[258][..], &[5][..])
        );
        assert_eq!(
            (columns.io_id(), columns.io_value()),
            (&[258][..], &[7][..])
        );
    }

    #[test]
    fn codec_8_with_a_16_byte_group_is_accepted_on_an_exact_fit_only() {
        let group = [&[0, 0, 0, 0, 1, 11][..], &[0xEE; 16]].concat();
        let record = [head(&[0, 1]), group].concat();
        let columns = decode(&packet(0x08, 1, &record), Transport::Udp).unwrap();
        assert_eq!(
            (columns.io_id(), columns.io_value()),
            (&[11][..], &[34 << 32 | 16][..])
        );
        assert_eq!(columns.n_variable(), [1]);
        let one_too_many = packet(0x08, 1, &[&record[..], &[0]].concat());
        assert_eq!(
            code_and_offset(&one_too_many, Transport::Udp),
            ("trailing_bytes", 32)
        );
    }

    #[test]
    fn an_empty_packet_is_valid() {
        for codec_id in [0x08, 0x8E, 0x10] {
            let columns = decode(&tcp(&[codec_id, 0, 0]), Transport::Tcp).unwrap();
            assert_eq!((columns.n_records(), columns.io_offsets()), (0, &[0][..]));
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_truncated_at_the_field_that_is_cut() {
        let frame = bytes(DOCUMENTED);
        for length in 0..frame.len() {
            let offset = match length {
                0..4 => 0,
                4..8 => 4,
                8..48 => 8,
                _ => 48,
            };
            let found = code_and_offset(&frame[..length], Transport::Tcp);
            assert_eq!(found, ("truncated", offset), "{length} bytes");
        }
    }

    #[test]
    fn an_incomplete_frame_says_how_many_bytes_to_wait_for() {
        let frame = bytes(DOCUMENTED);
        let needed = |length| decode(&frame[..length], Transport::Tcp).unwrap_err();
        assert_eq!(
            needed(5),
            DecodeError::Incomplete {
                offset: 4,
                needed: 3
            }
        );
        assert_eq!(
            needed(50),
            DecodeError::Incomplete {
                offset: 48,
                needed: 2
            }
        );
    }

    #[test]
    fn the_envelope_is_checked_in_its_order() {
        let good = bytes(DOCUMENTED);
        let spoilt = |at: usize, byte: u8| {
            let mut frame = good.clone();
            frame[at] = byte;
            code_and_offset(&frame, Transport::Tcp)
        };
        assert_eq!(spoilt(3, 1), ("bad_preamble", 0));
        assert_eq!(
            code_and_offset(&[0, 9], Transport::Tcp),
            ("bad_preamble", 0)
        );
        assert_eq!(spoilt(5, 1), ("length_out_of_range", 4));
        assert_eq!(spoilt(7, 2), ("length_out_of_range", 4));
        assert_eq!(spoilt(7, 0x27), ("trailing_bytes", 51));
        assert_eq!(spoilt(7, 0x29), ("truncated", 49));
        assert_eq!(spoilt(51, 0), ("crc_mismatch", 48));
        assert_eq!(spoilt(48, 1), ("crc_mismatch", 48));
        assert_eq!(spoilt(20, 1), ("crc_mismatch", 48));
    }

    #[test]
    fn codec_and_counts_are_checked_behind_the_crc() {
        assert_eq!(
            code_and_offset(&tcp(&[0x0C, 1, 2]), Transport::Tcp),
            ("not_avl", 8)
        );
        assert_eq!(
            code_and_offset(&tcp(&[0x07, 1, 1]), Transport::Tcp),
            ("unsupported_codec", 8)
        );
        let counts = tcp(&[0x08, 1, 9, 2]);
        assert_eq!(
            code_and_offset(&counts, Transport::Tcp),
            ("record_count_mismatch", 11)
        );
        assert_eq!(
            code_and_offset(&tcp(&[0x8E, 1, 1]), Transport::Tcp),
            ("truncated", 10)
        );
        assert_eq!(
            code_and_offset(&tcp(&[0x8E, 0, 5, 0]), Transport::Tcp),
            ("trailing_bytes", 10)
        );
    }

    #[test]
    fn a_udp_packet_below_three_bytes_is_truncated_at_the_missing_field() {
        assert_eq!(code_and_offset(&[], Transport::Udp), ("truncated", 0));
        assert_eq!(code_and_offset(&[0x08], Transport::Udp), ("truncated", 1));
        assert_eq!(
            code_and_offset(&[0x08, 0], Transport::Udp),
            ("truncated", 2)
        );
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_before_it_is_read() {
        let limits = Limits::new(51).unwrap();
        let frame = bytes(DOCUMENTED);
        let error = check_envelope(&frame, Transport::Tcp, &limits).unwrap_err();
        assert_eq!(
            (error.code().name(), error.offset()),
            ("length_out_of_range", 4)
        );
        let error = check_envelope(&[0; 52], Transport::Udp, &limits).unwrap_err();
        assert_eq!(
            (error.code().name(), error.offset()),
            ("length_out_of_range", 0)
        );
    }

    #[test]
    fn a_rejected_frame_leaves_the_columns_as_they_were() {
        let mut columns = Columns::new();
        let limits = Limits::default();
        let good = bytes(DOCUMENTED);
        decode_frame(&good, Transport::Tcp, &limits, 0, &mut columns).unwrap();
        // Two records stated, the second one cut inside its 2-byte group.
        let record = head(&[0, 2, 1, 1, 1, 1, 1]);
        let bad = tcp(&packet(0x10, 2, &record));
        let error = decode_frame(&bad, Transport::Tcp, &limits, 1, &mut columns).unwrap_err();
        assert_eq!(error.code(), crate::RejectCode::Truncated);
        assert_eq!((columns.n_records(), columns.n_elements()), (1, 3));
        assert_eq!(columns.io_offsets(), [0, 3]);
    }

    #[test]
    fn a_group_count_beyond_the_frame_allocates_nothing_for_it() {
        let record = [head(&[0, 0, 0, 0]), vec![0xFF, 0xFF, 0, 1, 2, 0]].concat();
        let mut columns = Columns::new();
        let frame = packet(0x8E, 1, &record);
        let error = decode_frame(&frame, Transport::Udp, &Limits::default(), 0, &mut columns);
        // The second element of the group has one byte of its id.
        assert_eq!(error.unwrap_err().offset(), 2 + 28 + 2 + 3);
        assert_eq!(columns.capacity_bytes(), 0);
    }
}

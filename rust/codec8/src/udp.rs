//! The channel packets of a UDP datagram.
//!
//! A channel packet is: length of what follows (2 bytes), packet id (2), packet type (1), AVL packet
//! id (1), IMEI length (2), IMEI (15), AVL packet. Source: vendor wiki, "Teltonika Data Sending
//! Protocols"; the name and use of the packet type are those of older vendor documents.

use crate::error::{DecodeError, RejectReason};
use crate::imei::Imei;
use crate::reader::Reader;

/// One channel packet. Its identity is only what it claims: anyone can send any IMEI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelPacket<'a> {
    /// Packet id, echoed in the reply.
    pub packet_id: u16,
    /// Old text: 0 wants a channel acknowledgment, 1 does not. Real devices send 1; ignore it.
    pub packet_type: u8,
    /// AVL packet id, by which the device recognises the reply.
    pub avl_packet_id: u8,
    /// The device.
    pub imei: Imei,
    /// The AVL packet, not verified: to be decoded with [`Transport::Udp`](crate::Transport::Udp).
    pub avl_packet: &'a [u8],
    /// Where the AVL packet starts in the datagram, in bytes.
    pub avl_packet_start: usize,
}

impl ChannelPacket<'_> {
    /// The seven bytes that tell the device how many records were accepted, from the first on.
    #[must_use]
    pub const fn reply(&self, n_accepted: u8) -> [u8; 7] {
        reply(self.packet_id, self.avl_packet_id, n_accepted)
    }

    /// Codec id of the AVL packet, if it has a first byte.
    #[must_use]
    pub fn codec_id(&self) -> Option<u8> {
        self.avl_packet.first().copied()
    }

    /// Number of data 1 of the AVL packet, by which it is answered, if it has a second byte.
    #[must_use]
    pub fn n_data(&self) -> Option<u8> {
        self.avl_packet.get(1).copied()
    }
}

/// The answer to the channel packet with these ids, see [`ChannelPacket::reply`].
#[must_use]
pub const fn reply(packet_id: u16, avl_packet_id: u8, n_accepted: u8) -> [u8; 7] {
    let [high, low] = packet_id.to_be_bytes();
    [0x00, 0x05, high, low, 0x01, avl_packet_id, n_accepted]
}

/// Reads the channel packets of a datagram, of which there is at least one.
///
/// Offsets in errors count from the start of the datagram. Behind `bad_imei` the next one is read;
/// nothing follows `truncated` or `channel_length_mismatch`, whose length cannot be trusted.
#[must_use]
pub fn channel_packets(datagram: &[u8]) -> ChannelPackets<'_> {
    ChannelPackets {
        datagram,
        next: Some(0),
    }
}

/// The channel packets of one datagram, see [`channel_packets`].
#[derive(Clone, Debug)]
pub struct ChannelPackets<'a> {
    datagram: &'a [u8],
    /// Where the next channel packet starts, unless there is none.
    next: Option<usize>,
}

const LENGTH_BYTES: usize = 2;
/// Packet id, packet type, AVL packet id, IMEI length, IMEI.
const HEAD_WIDTHS: [usize; 5] = [2, 1, 1, 2, Imei::DIGITS];
const HEAD_BYTES: usize = IMEI_START - LENGTH_BYTES + Imei::DIGITS;
const IMEI_LENGTH_START: usize = LENGTH_BYTES + HEAD_WIDTHS[0] + HEAD_WIDTHS[1] + HEAD_WIDTHS[2];
const IMEI_START: usize = IMEI_LENGTH_START + HEAD_WIDTHS[3];

impl<'a> Iterator for ChannelPackets<'a> {
    type Item = Result<ChannelPacket<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next.take()?;
        let mut rest = Reader::over(self.datagram, start, self.datagram.len());
        let packet = take_enclosed(&mut rest).and_then(|fields| read_channel_packet(fields, start));
        // Bound: each turn but the last takes a length field and a head.
        if rest.left() > 0 && is_delimited(&packet) {
            self.next = Some(rest.offset());
        }
        Some(packet)
    }
}

/// Whether the channel packet ends where its length says.
const fn is_delimited(packet: &Result<ChannelPacket<'_>, DecodeError>) -> bool {
    match packet {
        Ok(_) => true,
        Err(DecodeError::Rejected { reason, .. }) => matches!(reason, RejectReason::BadImei { .. }),
        Err(_) => false,
    }
}

/// Takes what the length field encloses.
///
/// # Errors
/// `truncated` where there is no length field, `channel_length_mismatch` where the datagram does
/// not hold that many bytes.
fn take_enclosed<'a>(rest: &mut Reader<'a>) -> Result<Reader<'a>, DecodeError> {
    let (offset, consumed) = (rest.offset(), rest.left());
    let length = rest
        .take()
        .ok_or_else(|| rest.cut_in(&[LENGTH_BYTES]).reject(consumed))?;
    let (declared, present) = (usize::from(u16::from_be_bytes(length)), rest.left());
    let reason = RejectReason::ChannelLengthMismatch { declared, present };
    rest.take_part(declared).ok_or(DecodeError::Rejected {
        consumed,
        offset,
        reason,
    })
}

fn read_channel_packet(
    mut fields: Reader<'_>,
    start: usize,
) -> Result<ChannelPacket<'_>, DecodeError> {
    let consumed = LENGTH_BYTES.saturating_add(fields.left());
    let Some(head) = fields.take::<HEAD_BYTES>() else {
        return Err(fields.cut_in(&HEAD_WIDTHS).reject(consumed));
    };
    let [
        id_high,
        id_low,
        packet_type,
        avl_packet_id,
        length_high,
        length_low,
        digits @ ..,
    ] = head;
    let bad_imei = |within: usize, length| DecodeError::Rejected {
        consumed,
        offset: start.saturating_add(within),
        reason: RejectReason::BadImei { length },
    };
    let imei_length = usize::from(u16::from_be_bytes([length_high, length_low]));
    if imei_length != Imei::DIGITS {
        return Err(bad_imei(IMEI_LENGTH_START, imei_length));
    }
    let imei = Imei::from_digits(&digits).ok_or(bad_imei(IMEI_START, imei_length))?;
    let avl_packet_start = fields.offset();
    let avl_packet = fields.take_slice(fields.left()).unwrap_or_default();
    let packet_id = u16::from_be_bytes([id_high, id_low]);
    Ok(ChannelPacket {
        packet_id,
        packet_type,
        avl_packet_id,
        imei,
        avl_packet,
        avl_packet_start,
    })
}

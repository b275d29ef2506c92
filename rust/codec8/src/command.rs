//! Command frames: the envelopes of Codec 12 to 15 and the messages in them.
//!
//! The TCP envelope is that of an AVL frame. Its data field is: codec id, quantity 1, messages,
//! quantity 2. Nothing here says whether a frame is answered: responses and serial data are not.

use crate::codec_id::CommandCodec;
use crate::error::{DecodeError, RejectReason};
use crate::frame::{TCP_DATA_START, check_data_field};
use crate::imei::Imei;
use crate::limits::Limits;
use crate::reader::Reader;

/// Message type of a command, server to device.
pub const COMMAND: u8 = 0x05;

/// Message type of a response, device to server. Source: vendor wiki; older text has 05 in Codec 13.
pub const RESPONSE: u8 = 0x06;

/// Message type of Codec 14 by which a device says that the IMEI is not its own.
pub const WRONG_IMEI: u8 = 0x11;

/// A frame of Codec 12 to 15 whose envelope is verified: preamble, length, CRC, codec id.
#[derive(Clone, Debug)]
pub struct CommandFrame<'a> {
    codec: CommandCodec,
    quantity: u8,
    messages: Messages<'a>,
}

/// One message of a command frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What the message is, see [`COMMAND`], [`RESPONSE`] and [`WRONG_IMEI`].
    pub message_type: u8,
    /// Codec 13 and 15: Unix time in seconds.
    pub timestamp_s: Option<u32>,
    /// Codec 14 and 15: the device that is meant or that answers.
    pub imei: Option<Imei>,
    /// The text or the bytes of the serial link.
    pub payload: &'a [u8],
}

/// The messages of a command frame in wire order; nothing follows the first that is broken.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    codec: CommandCodec,
    frame_bytes: usize,
    reader: Reader<'a>,
}

/// Verifies the envelope of a command frame; its messages are not read yet.
///
/// # Errors
/// Those of the envelope of an AVL frame, `unsupported_codec` for a codec id other than 12 to 15.
pub fn check_command_frame<'a>(
    frame: &'a [u8],
    limits: &Limits,
) -> Result<CommandFrame<'a>, DecodeError> {
    let crc_start = check_data_field(frame, *limits)?;
    // Invariant: the envelope holds three bytes at least, so the second quantity is not the first.
    let mut reader = Reader::over(frame, TCP_DATA_START, crc_start.saturating_sub(1));
    let [codec_id, quantity] = reader
        .take()
        .ok_or_else(|| reader.cut_in(&[1, 1]).reject(frame.len()))?;
    let codec = CommandCodec::of(codec_id).ok_or(DecodeError::Rejected {
        consumed: frame.len(),
        offset: TCP_DATA_START,
        reason: RejectReason::UnsupportedCodec { codec_id },
    })?;
    let messages = Messages {
        codec,
        frame_bytes: frame.len(),
        reader,
    };
    Ok(CommandFrame {
        codec,
        quantity,
        messages,
    })
}

impl<'a> CommandFrame<'a> {
    /// The codec of the messages.
    #[must_use]
    pub const fn codec(&self) -> CommandCodec {
        self.codec
    }

    /// Quantity 1 as sent. It does not count the messages: real frames say 2 and hold one.
    #[must_use]
    pub const fn quantity(&self) -> u8 {
        self.quantity
    }

    /// The messages, delimited by the data field.
    #[must_use]
    pub fn messages(&self) -> Messages<'a> {
        self.messages.clone()
    }
}

impl<'a> Messages<'a> {
    fn read_message(&mut self) -> Result<Message<'a>, DecodeError> {
        let [message_type] = self.take(1)?;
        let size = usize::try_from(u32::from_be_bytes(self.take(4)?)).unwrap_or(usize::MAX);
        let body = self
            .reader
            .take_part(size)
            .ok_or_else(|| self.truncated(size))?;
        let behind = std::mem::replace(&mut self.reader, body);
        let timestamp_s = self.take_timestamp()?;
        let imei = self.take_imei()?;
        let payload = self
            .reader
            .take_slice(self.reader.left())
            .unwrap_or_default();
        self.reader = behind;
        Ok(Message {
            message_type,
            timestamp_s,
            imei,
            payload,
        })
    }

    /// Seconds in four bytes. Source: vendor wiki since 2021 and a real frame of 2023; vendor text
    /// before had eight bytes of milliseconds, which nothing on the wire announces.
    fn take_timestamp(&mut self) -> Result<Option<u32>, DecodeError> {
        if !self.codec.has_timestamp() {
            return Ok(None);
        }
        self.take(4).map(u32::from_be_bytes).map(Some)
    }

    fn take_imei(&mut self) -> Result<Option<Imei>, DecodeError> {
        if !self.codec.has_imei() {
            return Ok(None);
        }
        let offset = self.reader.offset();
        let packed = self.take(8)?;
        Imei::from_packed_decimal(packed)
            .map(Some)
            .ok_or(DecodeError::Rejected {
                consumed: self.frame_bytes,
                offset,
                reason: RejectReason::BadImei {
                    length: packed.len(),
                },
            })
    }

    fn take<const N: usize>(&mut self, width: usize) -> Result<[u8; N], DecodeError> {
        self.reader.take().ok_or_else(|| self.truncated(width))
    }

    #[cold]
    fn truncated(&self, width: usize) -> DecodeError {
        self.reader.cut_in(&[width]).reject(self.frame_bytes)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.left() == 0 {
            return None;
        }
        let message = self.read_message();
        if message.is_err() {
            self.reader = Reader::over(&[], 0, 0);
        }
        Some(message)
    }
}

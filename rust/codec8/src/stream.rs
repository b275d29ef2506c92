//! Cutting the byte stream of a TCP connection into what stands on it.
//!
//! TCP has no message boundaries: a read may hold part of a frame or several frames, and a one-byte
//! ping may stand before the handshake, between frames, or in one read with either.

use crate::error::DecodeError;
use crate::frame::frame_length;
use crate::handshake::{HANDSHAKE_BYTES, handshake_digits};
use crate::limits::Limits;

/// What stands at the front of a stream; all its bytes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// One byte 0xFF that keeps the link alive. It is not answered.
    Ping,
    /// A handshake, see [`parse_handshake`](crate::handshake::parse_handshake).
    Handshake,
    /// A frame of any codec; only preamble and length are verified.
    Frame {
        /// Length of the whole frame in bytes.
        length: usize,
    },
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No handshake was read yet.
    Opening,
    /// The handshake was read: another one would be framing that has slipped.
    Identified,
}

/// The answer to an AVL frame: how many of its records the server took.
///
/// A device sends the frame again unless this is the number that it sent.
#[must_use]
pub fn device_reply(n_accepted: u8) -> [u8; 4] {
    u32::from(n_accepted).to_be_bytes()
}

/// Says what stands at the front of the bytes that were received and not yet used.
///
/// # Errors
/// `Incomplete` says how many more bytes are needed at least to go on, `Fatal` that framing is lost:
/// `bad_preamble` or `length_out_of_range`, found as early as the bytes allow.
pub fn next_unit(unread: &[u8], progress: Progress, limits: &Limits) -> Result<Unit, DecodeError> {
    match (unread, progress) {
        ([], _) | ([0], Progress::Opening) => Err(DecodeError::Incomplete {
            offset: 0,
            needed: 1,
        }),
        ([PING, ..], _) => Ok(Unit::Ping),
        ([0, 0, ..], _) | (_, Progress::Identified) => next_frame(unread, *limits),
        (_, Progress::Opening) => handshake_digits(unread).map(|_| Unit::Handshake),
    }
}

impl Unit {
    /// Length in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Ping => 1,
            Self::Handshake => HANDSHAKE_BYTES,
            Self::Frame { length } => length,
        }
    }
}

const PING: u8 = 0xFF;

fn next_frame(unread: &[u8], limits: Limits) -> Result<Unit, DecodeError> {
    let length = frame_length(unread, limits)?;
    match length.checked_sub(unread.len()) {
        Some(needed) if needed > 0 => Err(DecodeError::Incomplete { offset: 8, needed }),
        _ => Ok(Unit::Frame { length }),
    }
}

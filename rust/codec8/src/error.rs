//! What is wrong with the input, and what to do about it.

use std::fmt;

use crate::codec_id::CodecClass;
use crate::reject_code::RejectCode;

/// Why an input was not decoded. The variant says what to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The input ends inside a TCP frame: wait for more, or reject it as truncated.
    Incomplete {
        /// Where the field that is cut starts, in bytes from the start of the input.
        offset: usize,
        /// At least this many bytes are missing.
        needed: usize,
    },
    /// This frame is bad and delimited: skip exactly `consumed` bytes.
    Rejected {
        /// Length of the rejected frame in bytes.
        consumed: usize,
        /// Where the offending field starts, in bytes from the start of the input.
        offset: usize,
        /// What is wrong.
        reason: RejectReason,
    },
    /// Framing is lost: nothing behind this point can be trusted.
    Fatal {
        /// Where the offending field starts, in bytes from the start of the input.
        offset: usize,
        /// What is wrong.
        reason: FatalReason,
    },
}

/// What is wrong with a delimited frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// A field does not fit into what encloses it.
    Truncated {
        /// Size of the field in bytes.
        needed: usize,
        /// Bytes that are left for it.
        left: usize,
    },
    /// The CRC field does not hold the CRC-16/IBM of the data field.
    CrcMismatch {
        /// All four bytes of the field; the upper two are zero in a valid frame.
        found: u32,
        /// CRC of the bytes present.
        computed: u16,
    },
    /// Number of data 1 and number of data 2 differ.
    RecordCountMismatch {
        /// Number of data 1.
        first: u8,
        /// Number of data 2.
        second: u8,
    },
    /// Bytes stand where the input has to end.
    TrailingBytes {
        /// How many.
        left: usize,
    },
    /// A codec id that this crate does not read.
    UnsupportedCodec {
        /// The codec id.
        codec_id: u8,
    },
    /// A frame of Codec 12 to 15: commands and serial data, no AVL records.
    NotAvl {
        /// The codec id.
        codec_id: u8,
    },
    /// The length of a UDP channel packet, or of its IMEI, is not that of the bytes present.
    ChannelLengthMismatch {
        /// Length that the field states, in bytes.
        declared: usize,
        /// Length that is there, in bytes.
        present: usize,
    },
    /// An IMEI that is not 15 ASCII digits.
    BadImei {
        /// Its length in bytes.
        length: usize,
    },
}

/// Why framing is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FatalReason {
    /// A frame starts with four zero bytes; these are not.
    BadPreamble {
        /// The bytes found, zeros standing for absent ones.
        found: u32,
    },
    /// The data field length (or the length of a UDP AVL packet) is out of range.
    LengthOutOfRange {
        /// The length found, in bytes; a zero stands for a byte of the field that is absent.
        found: usize,
        /// Smallest legal length.
        min: usize,
        /// Largest legal length.
        max: usize,
    },
}

impl DecodeError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> RejectCode {
        match self {
            Self::Incomplete { .. } => RejectCode::Truncated,
            Self::Rejected { reason, .. } => reason.code(),
            Self::Fatal { reason, .. } => reason.code(),
        }
    }

    /// Where the offending field starts, in bytes from the start of the input.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match *self {
            Self::Incomplete { offset, .. }
            | Self::Rejected { offset, .. }
            | Self::Fatal { offset, .. } => offset,
        }
    }

    /// How many bytes of a stream to skip: 0 where it must wait or be given up.
    #[must_use]
    pub const fn consumed(&self) -> usize {
        match *self {
            Self::Rejected { consumed, .. } => consumed,
            Self::Incomplete { .. } | Self::Fatal { .. } => 0,
        }
    }

    /// What was found and what was expected, without the place.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Incomplete { needed, .. } => {
                format!("the input ends inside the frame, {needed} more byte(s) needed")
            }
            Self::Rejected { reason, .. } => reason.to_string(),
            Self::Fatal { reason, .. } => reason.to_string(),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at byte {}: {}",
            self.code().name(),
            self.offset(),
            self.message()
        )
    }
}

impl std::error::Error for DecodeError {}

impl RejectReason {
    const fn code(self) -> RejectCode {
        match self {
            Self::Truncated { .. } => RejectCode::Truncated,
            Self::CrcMismatch { .. } => RejectCode::CrcMismatch,
            Self::RecordCountMismatch { .. } => RejectCode::RecordCountMismatch,
            Self::TrailingBytes { .. } => RejectCode::TrailingBytes,
            Self::UnsupportedCodec { .. } => RejectCode::UnsupportedCodec,
            Self::NotAvl { .. } => RejectCode::NotAvl,
            Self::ChannelLengthMismatch { .. } => RejectCode::ChannelLengthMismatch,
            Self::BadImei { .. } => RejectCode::BadImei,
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { needed, left } => {
                write!(f, "a field of {needed} byte(s), {left} left for it")
            }
            Self::CrcMismatch { found, computed } => {
                write!(
                    f,
                    "the frame carries 0x{found:04X}, its data gives 0x{computed:04X}"
                )
            }
            Self::RecordCountMismatch { first, second } => {
                write!(
                    f,
                    "number of data 1 is {first}, number of data 2 is {second}"
                )
            }
            Self::TrailingBytes { left } => write!(f, "{left} byte(s) where none are expected"),
            Self::UnsupportedCodec { codec_id } => {
                let expected = codecs_expected_instead_of(codec_id);
                write!(f, "codec id 0x{codec_id:02X}, expected {expected}")
            }
            Self::NotAvl { codec_id } => {
                write!(
                    f,
                    "codec id 0x{codec_id:02X} carries no AVL records, expected 0x08, 0x8E or 0x10"
                )
            }
            Self::ChannelLengthMismatch { declared, present } => {
                write!(f, "length {declared} stated, {present} byte(s) present")
            }
            Self::BadImei { length } => {
                write!(
                    f,
                    "{length} byte(s) that are not an IMEI, expected 15 ASCII digits"
                )
            }
        }
    }
}

const fn codecs_expected_instead_of(codec_id: u8) -> &'static str {
    match CodecClass::of(codec_id) {
        // An AVL codec is unsupported where a command frame is expected, only there.
        CodecClass::Avl(_) => "0x0C to 0x0F",
        CodecClass::NotAvl(_) | CodecClass::Unsupported(_) => "0x08, 0x8E or 0x10",
    }
}

impl FatalReason {
    const fn code(self) -> RejectCode {
        match self {
            Self::BadPreamble { .. } => RejectCode::BadPreamble,
            Self::LengthOutOfRange { .. } => RejectCode::LengthOutOfRange,
        }
    }
}

impl fmt::Display for FatalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadPreamble { found } => {
                write!(
                    f,
                    "the frame starts with 0x{found:08X}, expected 0x00000000"
                )
            }
            Self::LengthOutOfRange { found, min, max } => {
                write!(f, "length {found}, expected {min} to {max}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_where_and_how_far_to_skip() {
        let reason = RejectReason::RecordCountMismatch {
            first: 3,
            second: 4,
        };
        let error = DecodeError::Rejected {
            consumed: 68,
            offset: 63,
            reason,
        };
        assert_eq!(
            error.to_string(),
            "record_count_mismatch at byte 63: number of data 1 is 3, number of data 2 is 4"
        );
        assert_eq!(
            (error.code(), error.consumed()),
            (RejectCode::RecordCountMismatch, 68)
        );
    }
}

//! Why a frame or a stream entry was rejected.

use std::fmt;

use codec8::{DecodeError, RejectCode};

/// The rejection of one frame or stream entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The decoder refused the frame.
    Frame(DecodeError),
    /// The entry holds no frame that can be decoded.
    Entry(EntryFault),
    /// The decoder panicked.
    DecoderBug,
    /// A record's time is none that Postgres can hold; the frame's other records are good.
    UnstorableTime {
        /// Where the timestamp stands in its frame.
        offset: u32,
        /// The timestamp, Unix milliseconds.
        timestamp_ms: u64,
    },
}

/// What is wrong with a stream entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryFault {
    /// The payload was trimmed while the entry was pending.
    PayloadTrimmed,
    /// A field that every entry has is absent.
    MissingField(&'static str),
    /// `imei` is not 15 ASCII digits.
    BadImei {
        /// Its length in bytes.
        length: usize,
    },
    /// A field says that the entry follows a later contract.
    UnsupportedVersion {
        /// The field.
        field: &'static str,
        /// What this version reads in it.
        expected: &'static str,
    },
}

impl Reject {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> RejectCode {
        match self {
            Self::Frame(error) => error.code(),
            Self::Entry(EntryFault::PayloadTrimmed) => RejectCode::PayloadTrimmed,
            Self::Entry(EntryFault::MissingField(_)) => RejectCode::MissingField,
            Self::Entry(EntryFault::BadImei { .. }) => RejectCode::BadImei,
            Self::Entry(EntryFault::UnsupportedVersion { .. }) => RejectCode::UnsupportedVersion,
            Self::DecoderBug => RejectCode::DecoderBug,
            Self::UnstorableTime { .. } => RejectCode::TimestampOutOfRange,
        }
    }

    /// Where the offending field starts in the frame; 0 where the frame is not to blame.
    #[must_use]
    pub fn offset(&self) -> usize {
        match self {
            Self::Frame(error) => error.offset(),
            Self::UnstorableTime { offset, .. } => *offset as usize,
            Self::Entry(_) | Self::DecoderBug => 0,
        }
    }
}

/// What was found and what was expected: no payload, no IMEI.
impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => f.write_str(&error.message()),
            Self::Entry(fault) => fault.fmt(f),
            Self::DecoderBug => f.write_str("the decoder panicked, expected it never to"),
            Self::UnstorableTime { timestamp_ms, .. } => write!(
                f,
                "a record of Unix time {timestamp_ms} ms, expected one before the year 294277"
            ),
        }
    }
}

impl fmt::Display for EntryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PayloadTrimmed => f.write_str("the entry has no fields left, expected a frame"),
            Self::MissingField(field) => write!(f, "the entry has no field {field}"),
            Self::BadImei { length } => {
                write!(
                    f,
                    "{length} byte(s) that are not an IMEI, expected 15 ASCII digits"
                )
            }
            Self::UnsupportedVersion { field, expected } => {
                write!(f, "field {field} is not one of: {expected}")
            }
        }
    }
}

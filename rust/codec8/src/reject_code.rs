//! The catalogue of reject codes: what a frame or a stream entry can be refused for.

/// The closed catalogue of reject codes. Numbers and names are API: add, never rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RejectCode {
    /// A field does not fit.
    Truncated = 1,
    /// The frame does not start with four zero bytes.
    BadPreamble,
    /// The data field length is below 3 or the frame above the limit.
    LengthOutOfRange,
    /// The CRC does not match.
    CrcMismatch,
    /// The two record counts differ.
    RecordCountMismatch,
    /// Bytes behind the end.
    TrailingBytes,
    /// An unknown codec id.
    UnsupportedCodec,
    /// A frame of Codec 12 to 15.
    NotAvl,
    /// A UDP channel packet whose lengths disagree.
    ChannelLengthMismatch,
    /// A stream entry without `imei` or `frame`.
    MissingField,
    /// An IMEI that is not 15 digits.
    BadImei,
    /// A stream entry of a later contract.
    UnsupportedVersion,
    /// A record whose time Postgres cannot hold.
    TimestampOutOfRange,
    /// The decoder panicked.
    DecoderBug,
    /// Postgres refused a value of the entry.
    RefusedByPostgres,
    /// The entry was in hand in processes that died.
    CrashedProcessor,
    /// The entry's payload was trimmed while it was pending.
    PayloadTrimmed,
    /// A device sent the same undecodable frame again and again.
    PoisonFrame,
}

impl RejectCode {
    /// Every code, in the order of the numbers.
    pub const ALL: [Self; 18] = [
        Self::Truncated,
        Self::BadPreamble,
        Self::LengthOutOfRange,
        Self::CrcMismatch,
        Self::RecordCountMismatch,
        Self::TrailingBytes,
        Self::UnsupportedCodec,
        Self::NotAvl,
        Self::ChannelLengthMismatch,
        Self::MissingField,
        Self::BadImei,
        Self::UnsupportedVersion,
        Self::TimestampOutOfRange,
        Self::DecoderBug,
        Self::RefusedByPostgres,
        Self::CrashedProcessor,
        Self::PayloadTrimmed,
        Self::PoisonFrame,
    ];

    /// The number that stands in a `reject_code` column; 0 there means "decoded".
    #[must_use]
    #[expect(
        clippy::as_conversions,
        reason = "a fieldless enum with an explicit u8 representation"
    )]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The stable `snake_case` name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::BadPreamble => "bad_preamble",
            Self::LengthOutOfRange => "length_out_of_range",
            Self::CrcMismatch => "crc_mismatch",
            Self::RecordCountMismatch => "record_count_mismatch",
            Self::TrailingBytes => "trailing_bytes",
            Self::UnsupportedCodec => "unsupported_codec",
            Self::NotAvl => "not_avl",
            Self::ChannelLengthMismatch => "channel_length_mismatch",
            Self::MissingField => "missing_field",
            Self::BadImei => "bad_imei",
            Self::UnsupportedVersion => "unsupported_version",
            Self::TimestampOutOfRange => "timestamp_out_of_range",
            Self::DecoderBug => "decoder_bug",
            Self::RefusedByPostgres => "refused_by_postgres",
            Self::CrashedProcessor => "crashed_processor",
            Self::PayloadTrimmed => "payload_trimmed",
            Self::PoisonFrame => "poison_frame",
        }
    }

    /// One sentence for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Truncated => "a field does not fit into the bytes that are there",
            Self::BadPreamble => "the frame does not start with four zero bytes",
            Self::LengthOutOfRange => {
                "the data field length is below 3 or the frame above the limit"
            }
            Self::CrcMismatch => {
                "the CRC-16 of the data field is not the one that the frame carries"
            }
            Self::RecordCountMismatch => "number of data 1 and number of data 2 differ",
            Self::TrailingBytes => "bytes stand where the frame or its records have to end",
            Self::UnsupportedCodec => "a codec id that this version does not read",
            Self::NotAvl => "a frame of Codec 12 to 15: commands or serial data, no AVL records",
            Self::ChannelLengthMismatch => {
                "a length of the UDP channel packet disagrees with its bytes"
            }
            Self::MissingField => "the stream entry has no imei or no frame",
            Self::BadImei => "the IMEI is not 15 ASCII digits",
            Self::UnsupportedVersion => "the stream entry follows a later version of the contract",
            Self::TimestampOutOfRange => "an AVL record carries a time that Postgres cannot hold",
            Self::DecoderBug => "the decoder panicked on this frame: a bug, please report it",
            Self::RefusedByPostgres => "Postgres refused a value of this entry",
            Self::CrashedProcessor => "processes died each time this entry was in hand",
            Self::PayloadTrimmed => {
                "the stream was trimmed while the entry was pending: its data is lost"
            }
            Self::PoisonFrame => "the device sent the same undecodable frame again and again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_from_one_in_the_order_of_the_catalogue() {
        for (number, code) in (1u8..).zip(RejectCode::ALL) {
            assert_eq!(code.number(), number, "{}", code.name());
        }
    }

    #[test]
    fn names_are_distinct_snake_case() {
        let mut names: Vec<_> = RejectCode::ALL.iter().map(|code| code.name()).collect();
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 18);
    }
}

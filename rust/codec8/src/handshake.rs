//! The IMEI handshake that opens a TCP connection: a two-byte length, then ASCII digits.

use crate::error::{DecodeError, FatalReason, RejectReason};
use crate::imei::Imei;

/// Length of a handshake in bytes.
///
/// Source: vendor wiki, "Teltonika Data Sending Protocols": always 15 digits. No real device was
/// seen to send more, and foreign clients open with what reads as an absurd length.
pub const HANDSHAKE_BYTES: usize = LENGTH_BYTES + Imei::DIGITS;

/// The answer that lets a device send its frames.
pub const ACCEPT: [u8; 1] = [0x01];

/// The answer that turns a device away.
pub const REFUSE: [u8; 1] = [0x00];

const LENGTH_BYTES: usize = 2;

/// Reads the handshake at the front of `unread`; what follows it is left alone.
///
/// # Errors
/// `Incomplete` where the handshake is cut, `length_out_of_range` (fatal) for a length that is not
/// 15, `bad_imei` for characters that are not digits.
pub fn parse_handshake(unread: &[u8]) -> Result<Imei, DecodeError> {
    let digits = handshake_digits(unread)?;
    Imei::from_digits(digits).ok_or(DecodeError::Rejected {
        consumed: HANDSHAKE_BYTES,
        offset: LENGTH_BYTES,
        reason: RejectReason::BadImei {
            length: digits.len(),
        },
    })
}

/// The characters of the handshake at the front of `unread`, whatever they are.
pub(crate) fn handshake_digits(unread: &[u8]) -> Result<&[u8; Imei::DIGITS], DecodeError> {
    let missing = |offset| DecodeError::Incomplete {
        offset,
        needed: HANDSHAKE_BYTES.saturating_sub(unread.len()),
    };
    let (length, rest) = match unread {
        [] | [0] => return Err(missing(0)),
        // No second byte makes the length right.
        [high] => ([*high, 0], &[][..]),
        [high, low, rest @ ..] => ([*high, *low], rest),
    };
    let found = usize::from(u16::from_be_bytes(length));
    if found != Imei::DIGITS {
        let (min, max) = (Imei::DIGITS, Imei::DIGITS);
        let reason = FatalReason::LengthOutOfRange { found, min, max };
        return Err(DecodeError::Fatal { offset: 0, reason });
    }
    rest.first_chunk().ok_or(missing(LENGTH_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIKI: &[u8; 17] = b"\x00\x0f356307042441013";

    #[test]
    fn bytes_behind_a_handshake_are_left_alone() {
        let input = [&WIKI[..], &[0xFF, 0, 0]].concat();
        assert_eq!(
            parse_handshake(&input).map(Imei::number),
            Ok(356_307_042_441_013)
        );
    }

    #[test]
    fn a_cut_handshake_says_which_field_is_cut_and_what_is_missing() {
        for length in 0..WIKI.len() {
            let offset = if length < 2 { 0 } else { 2 };
            let incomplete = DecodeError::Incomplete {
                offset,
                needed: 17 - length,
            };
            assert_eq!(parse_handshake(&WIKI[..length]), Err(incomplete));
        }
    }

    #[test]
    fn a_length_that_is_not_fifteen_is_fatal_before_anything_is_awaited() {
        let inputs: [(&[u8], usize); 4] = [
            (b"\x00\x0e", 14),
            (b"\x00\x10", 16),
            (b"\x01\x01", 257),
            (b"\x16", 0x1600),
        ];
        for (input, found) in inputs {
            let reason = FatalReason::LengthOutOfRange {
                found,
                min: 15,
                max: 15,
            };
            assert_eq!(
                parse_handshake(input),
                Err(DecodeError::Fatal { offset: 0, reason })
            );
        }
    }

    #[test]
    fn characters_that_are_not_digits_are_a_bad_imei_at_the_first_of_them_all() {
        let reason = RejectReason::BadImei { length: 15 };
        let error = DecodeError::Rejected {
            consumed: 17,
            offset: 2,
            reason,
        };
        assert_eq!(parse_handshake(b"\x00\x0f35630704244101x"), Err(error));
    }
}

//! The identity of a device: 15 decimal digits.

use std::fmt;

/// An IMEI, kept as the number that its 15 digits spell.
///
/// The check digit is not verified: devices with made-up IMEIs exist, and the protocol never uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Imei(u64);

impl Imei {
    /// Digits of an IMEI.
    pub const DIGITS: usize = 15;

    /// Reads 15 ASCII digits; anything else is no IMEI.
    #[must_use]
    pub fn from_digits(digits: &[u8]) -> Option<Self> {
        if digits.len() != Self::DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(digits).ok()?.parse().ok().map(Self)
    }

    /// Reads eight bytes of packed decimal, as Codec 14 and 15 send it: a zero, then the 15 digits.
    #[must_use]
    pub fn from_packed_decimal(packed: [u8; 8]) -> Option<Self> {
        let spelled = format!("{:016x}", u64::from_be_bytes(packed));
        Self::from_digits(spelled.strip_prefix('0')?.as_bytes())
    }

    /// The number that the digits spell.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Imei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:015}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_digits_are_an_imei_and_leading_zeros_stay() {
        let imei = Imei::from_digits(b"004999010640000").unwrap();
        assert_eq!(imei.number(), 4_999_010_640_000);
        assert_eq!(imei.to_string(), "004999010640000");
    }

    #[test]
    fn other_lengths_and_characters_are_not() {
        for text in [
            "",
            "35630704244101",
            "3563070424410133",
            "35630704244101x",
            "+56307042441013",
        ] {
            assert_eq!(Imei::from_digits(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn packed_decimal_is_a_zero_and_fifteen_digits() {
        let packed = [0x03, 0x52, 0x09, 0x30, 0x81, 0x45, 0x22, 0x51];
        assert_eq!(
            Imei::from_packed_decimal(packed),
            Imei::from_digits(b"352093081452251")
        );
        assert_eq!(Imei::from_packed_decimal([0x13, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(
            Imei::from_packed_decimal([0x03, 0, 0, 0, 0, 0, 0, 0x0A]),
            None
        );
    }
}

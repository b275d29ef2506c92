//! Unsigned numbers as decimal text, four digits at a time from a table.

/// What a write may touch: the longest text of a `u64`, of 20 bytes, rounded up to whole words.
pub(crate) const ROOM: usize = 24;

const FOUR_DIGITS: u64 = 10_000;
const EIGHT_DIGITS: u64 = 100_000_000;
const ASCII_ZEROS: u64 = 0x3030_3030_3030_3030;

/// The digits of 0000 to 9999, one a byte, the first in the lowest: 40 kB, small enough for the
/// first cache. Measured by benches/rows.rs, `copy jsonb`, least of its passes: digits by arithmetic
/// alone 166 against 131 ns a row, ready texts of all numbers below 65,536 (512 KiB) 155 against 146.
static FOURS: [[u8; 4]; FOUR_DIGITS as usize] = fours();

/// Writes `value` at the start of `out` and returns the length of its text.
///
/// Bytes behind the text are overwritten with anything.
#[inline]
pub(crate) fn write(value: u64, out: &mut [u8; ROOM]) -> usize {
    if value < EIGHT_DIGITS {
        write_head(value, out)
    } else {
        write_long(value, out)
    }
}

#[inline(never)]
fn write_long(value: u64, out: &mut [u8; ROOM]) -> usize {
    let (head, tail) = (value / EIGHT_DIGITS, value % EIGHT_DIGITS);
    let at = if head < EIGHT_DIGITS {
        write_head(head, out)
    } else {
        let at = write_head(head / EIGHT_DIGITS, out);
        put(out, at, ASCII_ZEROS | eight_digits(head % EIGHT_DIGITS));
        at + 8
    };
    put(out, at, ASCII_ZEROS | eight_digits(tail));
    at + 8
}

/// Writes a number below 10^8 without zeros in front, without a branch on its length.
#[inline]
fn write_head(value: u64, out: &mut [u8; ROOM]) -> usize {
    let digits = eight_digits(value);
    // The mark in the last digit keeps one zero of the number 0.
    let n_zero_bits = (digits | 1 << 56).trailing_zeros() & !7;
    put(out, 0, (digits | ASCII_ZEROS) >> n_zero_bits);
    8 - n_zero_bits as usize / 8
}

#[inline]
fn put(out: &mut [u8; ROOM], at: usize, text: u64) {
    out[at..at + 8].copy_from_slice(&text.to_le_bytes());
}

/// The digits of a number below 10^8 with zeros in front, the first in the lowest byte.
#[inline]
fn eight_digits(value: u64) -> u64 {
    let [head, tail] = [value / FOUR_DIGITS, value % FOUR_DIGITS];
    four_digits(head) | four_digits(tail) << 32
}

#[inline]
fn four_digits(value: u64) -> u64 {
    u64::from(u32::from_le_bytes(FOURS[value as usize]))
}

#[expect(clippy::large_stack_arrays, reason = "evaluated by the compiler")]
const fn fours() -> [[u8; 4]; FOUR_DIGITS as usize] {
    let mut fours = [[0; 4]; FOUR_DIGITS as usize];
    let mut value = 0;
    while value < fours.len() {
        let digits = [value / 1_000, value / 100 % 10, value / 10 % 10, value % 10];
        let mut place = 0;
        while place < 4 {
            fours[value][place] = digits[place] as u8;
            place += 1;
        }
        value += 1;
    }
    fours
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: u64) -> String {
        let mut out = [b'?'; ROOM];
        let length = write(value, &mut out);
        String::from_utf8(out[..length].to_vec()).unwrap()
    }

    #[test]
    fn numbers_at_the_ends_of_each_length_are_written_in_full() {
        for (value, expected) in [
            (0, "0"),
            (9, "9"),
            (10, "10"),
            (9_999, "9999"),
            (10_000, "10000"),
            (99_999_999, "99999999"),
            (100_000_000, "100000000"),
            (4_294_967_295, "4294967295"),
            (9_007_199_254_740_993, "9007199254740993"),
            (10_000_000_000_000_000, "10000000000000000"),
            (10_000_000_000_000_000_000, "10000000000000000000"),
            (18_446_744_073_709_551_615, "18446744073709551615"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn every_number_of_two_bytes_is_written_as_the_standard_library_does() {
        for value in 0..=65_535 {
            assert_eq!(text(value), value.to_string());
        }
    }

    #[test]
    fn every_power_of_two_and_its_neighbours_are_written_as_the_standard_library_does() {
        for power in 0..64 {
            for value in [(1_u64 << power) - 1, 1 << power, (1 << power) + 1] {
                assert_eq!(text(value), value.to_string());
            }
        }
    }
}

//! When a gateway received a frame, as its stream entry says.

use rows::CLOCK_AHEAD_MAX_MS;

/// 2010-01-01 UTC in Unix ms. Bound: a clock before it was never set, or counts seconds.
const RECEIVED_FROM_MS: u64 = 1_262_304_000_000;

/// 10000-01-01 UTC in Unix ms. Bound: what Python's `datetime` and Postgres can both hold.
const ENTRY_ID_UNTIL_MS: u64 = 253_402_300_800_000;

/// The gateway's clock where the field holds a plausible one, else the milliseconds of the entry id.
///
/// Plausible is from 2010 until [`CLOCK_AHEAD_MAX_MS`] behind the id, which the stream's server gave:
/// with a time beyond, such as seconds for milliseconds, every record's clock would look wrong.
#[must_use]
pub fn receive_time(field: Option<&[u8]>, id_ms: u64) -> i64 {
    let plausible = RECEIVED_FROM_MS..=id_ms.saturating_add(CLOCK_AHEAD_MAX_MS);
    let milliseconds = field
        .and_then(digits)
        .filter(|milliseconds| plausible.contains(milliseconds))
        .unwrap_or(id_ms)
        .min(ENTRY_ID_UNTIL_MS - 1);
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

/// The milliseconds of an entry id `<milliseconds>-<sequence>`.
#[must_use]
pub fn milliseconds_of_id(id: &[u8]) -> Option<u64> {
    id.split(|&byte| byte == b'-').next().and_then(digits)
}

/// A number of ASCII digits and nothing else.
fn digits(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    if text.starts_with('+') {
        None
    } else {
        text.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID_MS: u64 = 1_700_000_000_777;

    #[test]
    fn a_time_from_2010_until_one_day_behind_the_entry_id_is_the_gateways() {
        for field in ["1262304000000", "1700000000123", "1700086400777"] {
            let time = receive_time(Some(field.as_bytes()), ID_MS);
            assert_eq!(time.to_string(), field);
        }
    }

    #[test]
    fn any_other_time_gives_way_to_the_entry_id() {
        let seconds = "1700000000";
        for field in [
            "1262303999999",
            "1700086400778",
            seconds,
            "",
            "-5",
            "+1700000000123",
            "x",
        ] {
            let time = receive_time(Some(field.as_bytes()), ID_MS);
            assert_eq!(time, 1_700_000_000_777, "{field:?}");
        }
        assert_eq!(receive_time(None, ID_MS), 1_700_000_000_777);
    }

    #[test]
    fn no_time_is_beyond_the_year_9999() {
        for field in [None, Some(&b"18446744073709551615"[..])] {
            assert_eq!(receive_time(field, u64::MAX), 253_402_300_799_999);
        }
    }

    #[test]
    fn an_entry_id_starts_with_its_milliseconds() {
        assert_eq!(milliseconds_of_id(b"1700000000777-12"), Some(ID_MS));
        for id in [&b""[..], b"-1", b"+5-1", b"x-0", b"18446744073709551616-0"] {
            assert_eq!(milliseconds_of_id(id), None);
        }
    }
}

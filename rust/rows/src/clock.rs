//! Times: what Postgres can hold, and when a device's clock is not to be believed.

/// Milliseconds of a UTC day.
pub(crate) const DAY_MS: u64 = 86_400_000;

/// Default: a record further ahead of its receive time than this is `clock_suspect` (1 day).
pub const CLOCK_AHEAD_MAX_MS: u64 = DAY_MS;

/// 2010-01-01 UTC in Unix ms: a record from before is `clock_suspect`; so is the first partition.
const PLAUSIBLE_FROM_MS: u64 = 1_262_304_000_000;

/// 2000-01-01 UTC in Unix ms: where a `timestamptz` counts from.
pub const POSTGRES_EPOCH_MS: i64 = 946_684_800_000;

/// 294277-01-01 UTC in Unix ms, the first instant that a `timestamptz` cannot hold.
///
/// Source: Postgres `datatype/timestamp.h`, `END_TIMESTAMP` (9,223,371,331,200,000,000 us after
/// 2000-01-01).
const STORABLE_UNTIL_MS: u64 = 9_224_318_016_000_000;

/// Whether a `timestamptz` can hold this Unix time.
#[must_use]
pub fn is_storable(unix_ms: u64) -> bool {
    unix_ms < STORABLE_UNTIL_MS
}

/// A storable Unix time as a `timestamptz`: microseconds since 2000-01-01 UTC.
///
/// Bound: saturates outside the storable range, where callers do not come.
pub(crate) fn postgres_micros(unix_ms: i64) -> i64 {
    unix_ms
        .saturating_sub(POSTGRES_EPOCH_MS)
        .saturating_mul(1_000)
}

/// Whether the device's clock was wrong: before 2010, or too far ahead of the gateway's.
pub(crate) fn is_suspect(recorded_at_ms: u64, received_at_ms: i64, ahead_max_ms: u64) -> bool {
    let latest_ms = received_at_ms.saturating_add_unsigned(ahead_max_ms);
    recorded_at_ms < PLAUSIBLE_FROM_MS
        || i64::try_from(recorded_at_ms).map_or(true, |recorded| recorded > latest_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED: i64 = 1_700_000_000_000;

    #[test]
    fn the_year_294276_is_storable_and_294277_is_not() {
        assert!(is_storable(9_224_318_015_999_999));
        assert!(!is_storable(9_224_318_016_000_000));
        assert!(!is_storable(u64::MAX));
    }

    #[test]
    fn the_last_storable_millisecond_is_the_servers_last_but_999_microseconds() {
        assert_eq!(
            postgres_micros(9_224_318_015_999_999),
            9_223_371_331_199_999_000
        );
        assert_eq!(postgres_micros(946_684_800_000), 0);
        assert_eq!(postgres_micros(0), -946_684_800_000_000);
    }

    #[test]
    fn a_record_from_before_2010_is_suspect() {
        assert!(is_suspect(1_262_303_999_999, RECEIVED, CLOCK_AHEAD_MAX_MS));
        assert!(!is_suspect(1_262_304_000_000, RECEIVED, CLOCK_AHEAD_MAX_MS));
    }

    #[test]
    fn a_record_is_suspect_one_millisecond_past_the_limit_ahead() {
        assert!(!is_suspect(1_700_086_400_000, RECEIVED, 86_400_000));
        assert!(is_suspect(1_700_086_400_001, RECEIVED, 86_400_000));
        assert!(is_suspect(1_700_000_000_001, RECEIVED, 0));
    }

    #[test]
    fn an_unlimited_clock_lead_does_not_overflow() {
        assert!(!is_suspect(9_224_318_015_999_999, RECEIVED, u64::MAX));
        assert!(is_suspect(u64::MAX, RECEIVED, u64::MAX));
    }
}

//! Instants between Postgres, which counts from 2000, and Unix microseconds; and as text.

const EPOCH_US: i64 = rows::POSTGRES_EPOCH_MS * 1_000;

const DAY_US: i64 = 86_400_000_000;

/// A `timestamptz` as Unix microseconds; the infinities are the ends of `i64`.
pub(crate) fn unix_us(timestamptz: i64) -> i64 {
    match timestamptz {
        i64::MIN | i64::MAX => timestamptz,
        finite => finite.saturating_add(EPOCH_US),
    }
}

/// Unix microseconds as a `timestamptz`.
pub(crate) fn timestamptz(unix_us: i64) -> i64 {
    match unix_us {
        i64::MIN | i64::MAX => unix_us,
        finite => finite.saturating_sub(EPOCH_US),
    }
}

/// The instant as Postgres reads it, to the microsecond.
pub(crate) fn text(unix_us: i64) -> String {
    if unix_us == i64::MIN {
        return "-infinity".to_owned();
    }
    if unix_us == i64::MAX {
        return "infinity".to_owned();
    }
    let (days, of_day) = (unix_us.div_euclid(DAY_US), unix_us.rem_euclid(DAY_US));
    let (year, month, day) = civil(days);
    let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    // Bound: Postgres has no year 0; the year before 1 is 1 BC.
    let (year, era) = if year > 0 {
        (year, "")
    } else {
        (1 - year, " BC")
    };
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}+00{era}")
}

/// Year, month and day of the proleptic Gregorian calendar, by days since 1970-01-01.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years
/// begin with March, so that the leap day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_text_to_the_microsecond() {
        for (unix_us, expected) in [
            (0, "1970-01-01 00:00:00.000000+00"),
            (-1, "1969-12-31 23:59:59.999999+00"),
            (951_782_400_000_000, "2000-02-29 00:00:00.000000+00"),
            (1_795_348_800_123_456, "2026-11-22 12:00:00.123456+00"),
            (4_107_542_399_999_999, "2100-02-28 23:59:59.999999+00"),
            (-62_135_596_800_000_001, "0001-12-31 23:59:59.999999+00 BC"),
            (i64::MIN, "-infinity"),
            (i64::MAX, "infinity"),
        ] {
            assert_eq!(text(unix_us), expected);
        }
    }

    #[test]
    fn infinities_stay_and_others_count_from_2000() {
        for unix in [i64::MIN, i64::MAX, 0, EPOCH_US, -5] {
            assert_eq!(unix_us(timestamptz(unix)), unix);
        }
        assert_eq!(timestamptz(EPOCH_US + 7), 7);
        assert_eq!(timestamptz(i64::MAX), i64::MAX);
    }
}

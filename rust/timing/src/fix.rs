//! A fix, and which records are timing fixes.

/// Where a device was at one instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fix {
    /// Unix microseconds.
    pub t_us: i64,
    /// The record's digest, signed as everywhere.
    pub digest: i64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Satellites in use.
    pub satellites: u8,
}

/// What names a fix of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FixKey {
    /// Unix microseconds.
    pub t_us: i64,
    /// The record's digest.
    pub digest: i64,
}

impl Fix {
    /// Whether timing sees it: it has satellites, its coordinates are in range, and its clock is
    /// not suspect.
    #[must_use]
    pub fn is_timing_fix(&self, clock_suspect: bool) -> bool {
        // A coordinate that is no number is in no range.
        self.satellites > 0
            && !clock_suspect
            && (-180.0..=180.0).contains(&self.longitude)
            && (-90.0..=90.0).contains(&self.latitude)
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> FixKey {
        FixKey {
            t_us: self.t_us,
            digest: self.digest,
        }
    }
}

/// The timing fixes of one device's records, in order of time.
///
/// `records` are fixes, each with its `clock_suspect`. Of one instant the greatest digest stays.
#[must_use]
pub fn timing_fixes(records: impl IntoIterator<Item = (Fix, bool)>) -> Vec<Fix> {
    let mut fixes: Vec<Fix> = records
        .into_iter()
        .filter(|(fix, clock_suspect)| fix.is_timing_fix(*clock_suspect))
        .map(|(fix, _)| fix)
        .collect();
    // Greatest digest first, so that it is the one that stays; sorted input costs one pass.
    fixes.sort_by_key(|fix| (fix.t_us, std::cmp::Reverse(fix.digest)));
    fixes.dedup_by_key(|fix| fix.t_us);
    fixes
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn fix(t_us: i64, digest: i64) -> Fix {
        Fix {
            t_us,
            digest,
            longitude: 13.4,
            latitude: 52.5,
            satellites: 9,
        }
    }

    #[test]
    fn of_one_instant_the_greatest_signed_digest_stays() {
        let kept = timing_fixes([
            (fix(1, 5), false),
            (fix(2, -9), false),
            (fix(2, 3), false),
            (fix(2, -1), false),
            (fix(3, 0), false),
        ]);
        let keys: Vec<_> = kept.iter().map(|fix| (fix.t_us, fix.digest)).collect();
        assert_eq!(keys, [(1, 5), (2, 3), (3, 0)]);
    }

    #[test]
    fn a_twin_that_is_no_timing_fix_does_not_win() {
        let mut no_fix = fix(2, 9);
        no_fix.satellites = 0;
        let kept = timing_fixes([(fix(2, 3), false), (no_fix, false), (fix(2, 8), true)]);
        assert_eq!(kept, [fix(2, 3)]);
    }

    #[test]
    fn records_out_of_range_are_left_out() {
        for (longitude, latitude) in [
            (180.000_000_1, 0.0),
            (-180.000_000_1, 0.0),
            (0.0, 90.000_000_1),
            (0.0, -90.000_000_1),
            (f64::NAN, 0.0),
            (0.0, f64::INFINITY),
        ] {
            let outside = Fix {
                longitude,
                latitude,
                ..fix(1, 1)
            };
            assert_eq!(timing_fixes([(outside, false)]), []);
        }
        let corner = Fix {
            longitude: -180.0,
            latitude: 90.0,
            ..fix(1, 1)
        };
        assert_eq!(timing_fixes([(corner, false)]), [corner]);
    }
}

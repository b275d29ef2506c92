//! What is held of one device, in one record of fixed size.

/// Bound: the committed frames that are remembered of each device.
pub const FRAMES: usize = 4;

/// A committed valid fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Device clock, Unix microseconds.
    pub recorded_at_us: i64,
    /// Signed xxh3-64 of the raw record.
    pub digest: i64,
    /// 1e-7 degree.
    pub longitude_e7: i32,
    /// 1e-7 degree.
    pub latitude_e7: i32,
}

impl Position {
    /// Whether this one wins in `last_position`: (`recorded_at`, digest) as a pair, both signed.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.recorded_at_us, self.digest) > (other.recorded_at_us, other.digest)
    }
}

/// A device that is held, and its neighbours in the order of sending.
pub(crate) struct Device {
    pub(crate) imei: i64,
    /// The newest valid fix, or that `last_position` has none.
    pub(crate) position: Option<Position>,
    pub(crate) frames: Frames,
    /// Who sent last before this one.
    pub(crate) older: u32,
    /// Who sent first after this one.
    pub(crate) newer: u32,
}

impl Device {
    /// Raises the position, never lowers it.
    pub(crate) fn advance(&mut self, position: Position) {
        if self
            .position
            .is_none_or(|held| position.is_newer_than(&held))
        {
            self.position = Some(position);
        }
    }
}

/// The digests of the last committed frames, oldest first.
#[derive(Default)]
pub(crate) struct Frames {
    digests: [u64; FRAMES],
    is_suspect: [bool; FRAMES],
    n: u8,
}

impl Frames {
    /// Whether a copy of this frame would change nothing.
    pub(crate) fn has_sane(&self, digest: u64) -> bool {
        self.find(digest).is_some_and(|at| !self.is_suspect[at])
    }

    /// Remembers a committed frame. A sane copy makes a suspect one sane, never the reverse.
    pub(crate) fn remember(&mut self, digest: u64, is_suspect: bool) {
        if let Some(at) = self.find(digest) {
            self.is_suspect[at] &= is_suspect;
            return;
        }
        let n = usize::from(self.n);
        let at = if n < FRAMES {
            self.n += 1;
            n
        } else {
            self.digests.rotate_left(1);
            self.is_suspect.rotate_left(1);
            FRAMES - 1
        };
        self.digests[at] = digest;
        self.is_suspect[at] = is_suspect;
    }

    fn find(&self, digest: u64) -> Option<usize> {
        self.digests[..usize::from(self.n)]
            .iter()
            .position(|&held| held == digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_frame_takes_the_place_of_the_first() {
        let mut frames = Frames::default();
        for digest in 1..=5 {
            frames.remember(digest, false);
        }
        let held: Vec<u64> = (0..=6).filter(|&digest| frames.has_sane(digest)).collect();
        assert_eq!(held, [2, 3, 4, 5]);
    }

    #[test]
    fn a_frame_that_comes_again_takes_no_second_place() {
        let mut frames = Frames::default();
        for digest in [1, 2, 2, 2, 2, 2] {
            frames.remember(digest, false);
        }
        assert!(frames.has_sane(1));
    }

    #[test]
    fn a_digest_of_zero_is_not_there_before_it_was_remembered() {
        let mut frames = Frames::default();
        assert!(!frames.has_sane(0));
        frames.remember(0, false);
        assert!(frames.has_sane(0));
    }

    #[test]
    fn a_sane_copy_makes_a_suspect_frame_sane_and_never_the_reverse() {
        let mut frames = Frames::default();
        frames.remember(7, true);
        assert!(!frames.has_sane(7));
        frames.remember(7, false);
        assert!(frames.has_sane(7));
        frames.remember(7, true);
        assert!(frames.has_sane(7));
    }

    #[test]
    fn the_flag_of_suspicion_moves_with_its_frame() {
        let mut frames = Frames::default();
        frames.remember(1, false);
        frames.remember(2, true);
        for digest in 3..=5 {
            frames.remember(digest, false);
        }
        let held: Vec<u64> = (1..=5).filter(|&digest| frames.has_sane(digest)).collect();
        assert_eq!(held, [3, 4, 5]);
    }

    #[test]
    fn of_one_time_the_greater_signed_digest_is_newer() {
        let position = |recorded_at_us, digest| Position {
            recorded_at_us,
            digest,
            longitude_e7: 0,
            latitude_e7: 0,
        };
        assert!(position(5, 1).is_newer_than(&position(5, -1)));
        assert!(!position(5, -1).is_newer_than(&position(5, 1)));
        assert!(!position(5, 1).is_newer_than(&position(5, 1)));
        assert!(position(6, i64::MIN).is_newer_than(&position(5, i64::MAX)));
        assert!(position(-1, 0).is_newer_than(&position(i64::MIN, 0)));
    }
}

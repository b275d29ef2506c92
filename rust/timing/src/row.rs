//! What is stored of a crossing.

use crate::fix::FixKey;
use crate::number::{float, rounded};

/// The acceleration that a device is thought not to exceed, in metres a second squared: what a race
/// car does when it brakes, without wings.
pub const ACCELERATION_MAX_M_S2: f64 = 15.0;

/// How far from where it is a fix lies along any one line, 19 times out of 20, in metres.
///
/// Source: half of the fixes of the receivers in trackers lie within 2.5 m (u-blox NEO-M8 data sheet,
/// UBX-15031086: 2.5 m CEP); that is 0.589 times the sum of two standard deviations (National Research
/// Council, The Global Positioning System: A Shared National Asset, 1995): one is 2.12 m, and 1.96 of
/// them are 4.2 m.
pub const FIX_ERROR_M: f64 = 4.2;

/// Satellites for which the receivers' figure holds. Source: the same data sheet, more than six.
pub const SATELLITES_ENOUGH: u8 = 7;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The first fix that a live version of the zone saw was inside.
    Initial,
    /// Into a circle or an area.
    Enter,
    /// Out of it.
    Exit,
    /// Through a gate.
    Cross,
}

/// Which way a gate was crossed, seen from its first point towards its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// No gate.
    None,
    /// From its left to its right.
    LeftToRight,
    /// From its right to its left.
    RightToLeft,
}

/// Why a row is to be believed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A segment within the limits.
    Ok,
    /// The segment was longer than the gap limit.
    Gap,
    /// The segment was faster than the jump limit.
    Jump,
    /// No version of the zone was live any more.
    ZoneEnded,
}

impl Kind {
    /// The word for it in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Enter => "enter",
            Self::Exit => "exit",
            Self::Cross => "cross",
        }
    }
}

impl Direction {
    /// The word for it in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::LeftToRight => "left_to_right",
            Self::RightToLeft => "right_to_left",
        }
    }
}

impl Cause {
    /// The word for it in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Gap => "gap",
            Self::Jump => "jump",
            Self::ZoneEnded => "zone_ended",
        }
    }
}

/// One line of `timing_records`, of one device. Its key is (`end_t_us`, `zone_id`, `n`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The instant of the segment's end fix, Unix microseconds.
    pub end_t_us: i64,
    /// The zone.
    pub zone_id: i32,
    /// Number among the rows of this segment and zone, by `at_us`, from 0.
    pub n: u16,
    /// The version of the zone by which it was judged; with `ZoneEnded` the one that ended.
    pub version: i32,
    /// What happened.
    pub kind: Kind,
    /// When, Unix microseconds, within the segment.
    pub at_us: i64,
    /// By how much `at_us` may be wrong, in microseconds, 19 times out of 20.
    ///
    /// `max(at - t0, t1 - at)`, and for a crossing of the border with cause `Ok` no more than
    /// `(a_max T^2 / 8 + e) / v`: with an acceleration of at most `a_max`
    /// ([`ACCELERATION_MAX_M_S2`]) a device is never farther than `a_max T^2 / 8` from where constant
    /// speed puts it in a segment of `T` seconds; `e` is the error of the fixes themselves,
    /// [`FIX_ERROR_M`], and with fewer than [`SATELLITES_ENOUGH`] as many times more as they are fewer
    /// (a choice: no figure is documented); `v` is the speed straight across the border. 0 for
    /// `Initial`.
    pub uncertainty_us: i64,
    /// Which way a gate was crossed.
    pub direction: Direction,
    /// Why it is to be believed or not.
    pub cause: Cause,
    /// The segment's start fix; none for `Initial`, which is judged by its fix alone.
    pub start: Option<FixKey>,
    /// The digest of the segment's end fix.
    pub end_digest: i64,
    /// The distance of the two fixes in metres, by haversine; 0 for `Initial`.
    pub distance_m: f64,
    /// The smaller number of satellites of the two fixes.
    pub satellites: u8,
}

impl Row {
    /// The time between the two fixes in microseconds; 0 for `Initial`.
    #[must_use]
    pub const fn dt_us(&self) -> i64 {
        match self.start {
            Some(start) => self.end_t_us.saturating_sub(start.t_us),
            None => 0,
        }
    }
}

/// The bound by speed, in microseconds: see [`Row::uncertainty_us`].
///
/// `across_m` is how far the whole path of `duration_us` would go straight across the border.
pub(crate) fn uncertainty_by_speed_us(duration_us: i64, across_m: f64, satellites: u8) -> i64 {
    let seconds = float(duration_us) / 1e6;
    let bent_m = ACCELERATION_MAX_M_S2 * seconds * seconds / 8.0;
    let enough = f64::from(SATELLITES_ENOUGH);
    let fix_m = FIX_ERROR_M * (enough / f64::from(satellites.max(1))).max(1.0);
    let speed_m_s = across_m / seconds;
    // Rounded up. Without speed it is infinite, which saturates.
    rounded(((bent_m + fix_m) / speed_m_s * 1e6).ceil())
}

//! The way from one fix to the next.

use crate::fix::Fix;
use crate::frame::short_way;
use crate::number::{float, rounded};
use crate::sphere::{DEGREE_M, cos_degrees};

/// Straight in longitude and latitude, at constant speed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    pub(crate) from: &'a Fix,
    pub(crate) to: &'a Fix,
    /// Degrees to the east, the short way round.
    pub(crate) east: f64,
    /// Degrees to the north.
    pub(crate) north: f64,
}

impl<'a> Path<'a> {
    pub(crate) fn between(from: &'a Fix, to: &'a Fix) -> Self {
        Self {
            from,
            to,
            east: short_way(from.longitude, to.longitude),
            north: to.latitude - from.latitude,
        }
    }

    /// How long it takes, in microseconds.
    pub(crate) const fn duration_us(&self) -> i64 {
        self.to.t_us.saturating_sub(self.from.t_us)
    }

    /// The instant at which the part `s` of the path is behind, in Unix microseconds.
    pub(crate) fn at_us(&self, s: f64) -> i64 {
        let since = rounded(s * float(self.duration_us())).clamp(0, self.duration_us());
        self.from.t_us.saturating_add(since)
    }

    /// The longitude, unwrapped from the first fix, and the latitude at the part `s`, in degrees.
    pub(crate) fn place(&self, s: f64) -> (f64, f64) {
        (
            self.from.longitude + s * self.east,
            self.from.latitude + s * self.north,
        )
    }

    /// An upper bound of its length in metres.
    pub(crate) fn length_bound_m(&self) -> f64 {
        let (a, b) = (self.from.latitude, self.to.latitude);
        let nearest_to_equator = if a * b <= 0.0 {
            0.0
        } else {
            a.abs().min(b.abs())
        };
        let east = self.east * cos_degrees(nearest_to_equator);
        // Bound: rounding of coordinates and cosines, far below the micrometre that is added.
        DEGREE_M * (self.north * self.north + east * east).sqrt() + 1e-6
    }
}

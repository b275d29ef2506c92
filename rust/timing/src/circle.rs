//! A circle on the sphere.

use crate::fix::Fix;
use crate::number::float;
use crate::path::Path;
use crate::sphere::{EARTH_RADIUS_M, arc_m, cos_degrees};
use crate::trace::{Course, Trace};

/// The points up to `radius_m` from the centre, by haversine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Circle {
    pub(crate) longitude: f64,
    pub(crate) latitude: f64,
    pub(crate) radius_m: f64,
    cos_latitude: f64,
}

/// A part of the path along which the distance only falls or only rises.
#[derive(Clone, Copy)]
struct Stretch {
    from: f64,
    to: f64,
    from_excess_m: f64,
    to_excess_m: f64,
}

/// Bound: a path near a pole is a spiral; so many parts of it are taken for simple.
const PARTS_NEAR_POLE: u8 = 64;

/// Bound: halving an interval more often cannot move a float.
const HALVINGS_MAX: u8 = 60;

/// Halving ends here, in microseconds: far below the one that is reported.
const RESOLUTION_US: f64 = 0.001;

impl Circle {
    pub(crate) fn new(longitude: f64, latitude: f64, radius_m: f64) -> Self {
        Self {
            longitude,
            latitude,
            radius_m,
            cos_latitude: cos_degrees(latitude),
        }
    }

    /// How far a place is outside, in metres; inside it is negative.
    fn excess_m(&self, longitude: f64, latitude: f64) -> f64 {
        let half_north = libm::sin((latitude - self.latitude).to_radians() * 0.5);
        let half_east = libm::sin((longitude - self.longitude).to_radians() * 0.5);
        let cosines = cos_degrees(latitude) * self.cos_latitude;
        arc_m(half_north * half_north + cosines * half_east * half_east) - self.radius_m
    }

    fn excess_along_m(&self, path: &Path<'_>, s: f64) -> f64 {
        let (longitude, latitude) = path.place(s);
        self.excess_m(longitude, latitude)
    }

    pub(crate) fn holds(&self, fix: &Fix) -> bool {
        self.excess_m(fix.longitude, fix.latitude) <= 0.0
    }

    /// The side of a fix that is beyond the band; none within it.
    pub(crate) fn side_beyond(&self, fix: &Fix, hysteresis_m: f64) -> Option<bool> {
        let excess_m = self.excess_m(fix.longitude, fix.latitude);
        if is_deep(excess_m, hysteresis_m) {
            Some(true)
        } else if excess_m > hysteresis_m {
            Some(false)
        } else {
            None
        }
    }

    /// Crossings and pieces of the path, in order.
    pub(crate) fn trace(&self, path: &Path<'_>, hysteresis_m: f64, trace: &mut Trace) -> Course {
        let start_m = self.excess_m(path.from.longitude, path.from.latitude);
        let end_m = self.excess_m(path.to.longitude, path.to.latitude);
        let length_m = path.length_bound_m();
        // No point of the path is farther from both ends together than the path is long.
        if (start_m + end_m - length_m) * 0.5 > hysteresis_m {
            return Course::OnSide(false);
        }
        if (start_m + end_m + length_m) * 0.5 < -hysteresis_m {
            return Course::OnSide(true);
        }
        if is_deep(start_m, hysteresis_m) {
            trace.piece(0.0, true);
        } else if start_m > hysteresis_m {
            trace.piece(0.0, false);
        }
        let parts = if self.is_simple(path, start_m.min(end_m) + length_m) {
            1
        } else {
            PARTS_NEAR_POLE
        };
        let mut from = 0.0;
        let mut from_excess_m = start_m;
        for part in 1..=parts {
            let to = f64::from(part) / f64::from(parts);
            let to_excess_m = if part == parts {
                end_m
            } else {
                self.excess_along_m(path, to)
            };
            let whole = Stretch {
                from,
                to,
                from_excess_m,
                to_excess_m,
            };
            self.trace_part(path, whole, hysteresis_m, trace);
            (from, from_excess_m) = (to, to_excess_m);
        }
        trace.settle_crossings();
        if hysteresis_m == 0.0 {
            trace.pieces_at_crossings();
        }
        Course::Pieces
    }

    /// Whether the square of the distance is convex along the path, so that it has one minimum.
    ///
    /// Its second derivative is at least |v|^2 (d cot d - 1.62 d tan latitude), d the distance as an
    /// angle: the path's own bend pulls by at most that much.
    fn is_simple(&self, path: &Path<'_>, excess_max_m: f64) -> bool {
        let farthest = (excess_max_m + self.radius_m) / EARTH_RADIUS_M;
        let latitude = path.from.latitude.abs().max(path.to.latitude.abs());
        let bend = 1.62 * libm::tan(latitude.to_radians());
        farthest + libm::atan(bend) < std::f64::consts::FRAC_PI_2
    }

    /// A part with at most one closest approach, which splits it into two stretches.
    fn trace_part(&self, path: &Path<'_>, part: Stretch, hysteresis_m: f64, trace: &mut Trace) {
        if self.slope(path, part.from) < 0.0 && self.slope(path, part.to) > 0.0 {
            let closest = first(path, part.from, part.to, |s| self.slope(path, s) >= 0.0);
            let closest_m = self.excess_along_m(path, closest);
            let mut near = part;
            (near.to, near.to_excess_m) = (closest, closest_m);
            self.trace_stretch(path, near, hysteresis_m, trace);
            let mut off = part;
            (off.from, off.from_excess_m) = (closest, closest_m);
            self.trace_stretch(path, off, hysteresis_m, trace);
        } else {
            self.trace_stretch(path, part, hysteresis_m, trace);
        }
    }

    fn trace_stretch(&self, path: &Path<'_>, part: Stretch, hysteresis_m: f64, trace: &mut Trace) {
        let becomes = |holds: &dyn Fn(f64) -> bool| {
            let begins = !holds(part.from_excess_m) && holds(part.to_excess_m);
            begins.then(|| {
                let holds_at = |s| holds(self.excess_along_m(path, s));
                first(path, part.from, part.to, holds_at)
            })
        };
        if let Some(s) = becomes(&|excess_m| excess_m <= 0.0) {
            trace.cross(path, s, self.across_m(path, s), false);
        }
        if let Some(s) = becomes(&|excess_m| excess_m > 0.0) {
            trace.cross(path, s, self.across_m(path, s), true);
        }
        if hysteresis_m == 0.0 {
            return;
        }
        if let Some(s) = becomes(&|excess_m| is_deep(excess_m, hysteresis_m)) {
            trace.piece(s, true);
        }
        if let Some(s) = becomes(&|excess_m| excess_m > hysteresis_m) {
            trace.piece(s, false);
        }
    }

    /// The derivative of the distance by `s`, times its sine: radians for the whole path.
    fn slope(&self, path: &Path<'_>, s: f64) -> f64 {
        let (longitude, latitude) = path.place(s);
        let latitude_rad = latitude.to_radians();
        let (sin_latitude, cos_latitude) = (libm::sin(latitude_rad), libm::cos(latitude_rad));
        let east_rad = (longitude - self.longitude).to_radians();
        let half_east = libm::sin(east_rad * 0.5);
        let north = libm::sin((latitude - self.latitude).to_radians())
            - 2.0 * sin_latitude * self.cos_latitude * half_east * half_east;
        let east = cos_latitude * self.cos_latitude * libm::sin(east_rad);
        path.north.to_radians() * north + path.east.to_radians() * east
    }

    /// How far the whole path would go straight away from the border, in metres.
    fn across_m(&self, path: &Path<'_>, s: f64) -> f64 {
        let sin_radius = libm::sin(self.radius_m / EARTH_RADIUS_M);
        EARTH_RADIUS_M * (self.slope(path, s) / sin_radius).abs()
    }
}

/// Deep inside; without hysteresis the border itself is.
fn is_deep(excess_m: f64, hysteresis_m: f64) -> bool {
    if hysteresis_m > 0.0 {
        excess_m < -hysteresis_m
    } else {
        excess_m <= 0.0
    }
}

/// The first part of the path, between `from` and `to`, at which `holds` has become true, by halving.
fn first(path: &Path<'_>, from: f64, to: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut before, mut after) = (from, to);
    let duration_us = float(path.duration_us());
    for _ in 0..HALVINGS_MAX {
        let middle = before.midpoint(after);
        if holds(middle) {
            after = middle;
        } else {
            before = middle;
        }
        if (after - before) * duration_us < RESOLUTION_US {
            break;
        }
    }
    after
}

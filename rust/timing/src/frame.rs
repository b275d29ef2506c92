//! Longitudes without a date line: each zone has a frame of one turn, and the path may be in it twice.

use crate::path::Path;
use crate::predicate::Point;

/// The turn of longitudes that starts half a turn west of a zone's centre.
///
/// Invariant: the zone and its band lie inside, so that what a path meets of them it meets in one of
/// its [`Frame::copies`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame {
    west: f64,
}

/// A path in the frame of a zone: from the first point to the second.
pub(crate) type Leg = (Point, Point);

/// The difference of two longitudes, in degrees, the short way round.
pub(crate) fn short_way(from: f64, to: f64) -> f64 {
    let turn = to - from;
    if turn > 180.0 {
        turn - 360.0
    } else if turn < -180.0 {
        turn + 360.0
    } else {
        turn
    }
}

impl Frame {
    pub(crate) const fn around(centre: f64) -> Self {
        Self {
            west: centre - 180.0,
        }
    }

    /// A longitude in this frame. Away from the date line it stays as it is, to the last bit.
    pub(crate) fn longitude(self, longitude: f64) -> f64 {
        if longitude < self.west {
            longitude + 360.0
        } else if longitude >= self.west + 360.0 {
            longitude - 360.0
        } else {
            longitude
        }
    }

    pub(crate) fn point(self, longitude: f64, latitude: f64) -> Point {
        Point {
            x: self.longitude(longitude),
            y: latitude,
        }
    }

    /// The path as the zone sees it: once, or, if it leaves the frame on one side and comes back on
    /// the other, once for each side.
    pub(crate) fn copies(self, path: &Path<'_>) -> (Leg, Option<Leg>) {
        let from = self.point(path.from.longitude, path.from.latitude);
        let to = self.point(path.to.longitude, path.to.latitude);
        let turns = ((to.x - from.x - path.east) / 360.0).round() * 360.0;
        let moved = |point: Point, by: f64| Point {
            x: point.x + by,
            y: point.y,
        };
        if turns == 0.0 {
            ((from, to), None)
        } else {
            ((from, moved(to, -turns)), Some((moved(from, turns), to)))
        }
    }
}

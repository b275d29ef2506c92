//! Exact answers about points, edges and paths.
//!
//! Everything here sees a path moved by (e, e^2), e above zero and smaller than any number: a hair to
//! the east, and a hair of a hair to the north. So no fix lies on an edge and no path goes through a
//! joint, every crossing is a proper one, and the parity of a path's crossings with a closed ring is
//! that of the sides of its ends, always.

#![allow(clippy::float_cmp, reason = "exact is the point of it")]

use robust::{Coord, orient2d};

/// A point in degrees, its longitude in the frame of a zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// Where a path crosses an edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Hit {
    /// The part of the path before the crossing, 0 to 1.
    pub(crate) s: f64,
    /// Whether the path comes from the left of the edge.
    pub(crate) from_left: bool,
}

/// Above zero if `point` is left of the line from `start` to `end`, below if right, zero if on it.
pub(crate) fn orient(start: Point, end: Point, point: Point) -> f64 {
    let coord = |point: Point| Coord {
        x: point.x,
        y: point.y,
    };
    orient2d(coord(start), coord(end), coord(point))
}

/// Whether the ray from `point` to the east meets the edge: an odd number of those means inside.
pub(crate) fn ray_meets(start: Point, end: Point, point: Point) -> bool {
    let upward = start.y <= point.y;
    if upward == (end.y <= point.y) || (start.x < point.x && end.x < point.x) {
        return false;
    }
    if start.x > point.x && end.x > point.x {
        return true;
    }
    let side = orient(start, end, point);
    if upward { side > 0.0 } else { side < 0.0 }
}

/// Where the path from `from` to `to` crosses the edge from `start` to `end`, if it does.
pub(crate) fn crossing(from: Point, to: Point, start: Point, end: Point) -> Option<Hit> {
    if apart(from.x, to.x, start.x, end.x) || apart(from.y, to.y, start.y, end.y) {
        return None;
    }
    let before = orient(start, end, from);
    let after = orient(start, end, to);
    let from_left = is_left_of_edge(before, start, end);
    if from_left == is_left_of_edge(after, start, end)
        || is_left_of_path(from, to, start) == is_left_of_path(from, to, end)
    {
        return None;
    }
    // One of the two is not zero: were both, both would be on one side.
    let s = (before / (before - after)).clamp(0.0, 1.0);
    Some(Hit { s, from_left })
}

/// Whether two intervals have no number in common.
fn apart(a: f64, b: f64, c: f64, d: f64) -> bool {
    a.max(b) < c.min(d) || c.max(d) < a.min(b)
}

/// The side of a moved point: (end - start) x (e, e^2) decides where the exact answer is zero.
fn is_left_of_edge(side: f64, start: Point, end: Point) -> bool {
    if side != 0.0 {
        side > 0.0
    } else if start.y != end.y {
        end.y < start.y
    } else {
        end.x > start.x
    }
}

/// The side of a point seen from a moved path: -(to - from) x (e, e^2) decides in the same way.
fn is_left_of_path(from: Point, to: Point, point: Point) -> bool {
    let side = orient(from, to, point);
    if side != 0.0 {
        side > 0.0
    } else if from.y != to.y {
        to.y > from.y
    } else {
        to.x < from.x
    }
}

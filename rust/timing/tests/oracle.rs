//! Against the `geo` crate: distances, sides, borders, crossings, and what is a valid area.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "times of a test are far below 2^53 microseconds"
)]

mod support;

use geo::coordinate_position::{CoordPos, CoordinatePosition};
use geo::line_intersection::{LineIntersection, line_intersection};
use geo::{Area, Coord, Distance, Haversine, Line, LineString, Point, Polygon, Validation};
use support::random::{Outcome, Random, check};
use support::{SECOND, derive, fix, index, version};
use timing::{Direction, GateDirection, Kind, Limits, LonLat, Row, Zone, ZoneFault, distance_m};

/// A hundredth of a degree: a whole number of them, and of none else.
const GRID: f64 = 1.0 / 128.0;

fn grid(random: &mut Random) -> [i32; 2] {
    [random.whole(0, 8), random.whole(0, 8)]
}

fn degrees([x, y]: [i32; 2]) -> LonLat {
    [f64::from(x) * GRID, f64::from(y) * GRID]
}

fn coord([x, y]: LonLat) -> Coord {
    Coord { x, y }
}

/// The rule of the crate's first page, as numbers: a hair to the east, a hair of that to the north.
///
/// On this grid the slopes are fractions of numbers up to 8, and the hairs far below their squares.
fn moved([x, y]: LonLat) -> Coord {
    Coord {
        x: x + GRID * 1e-4,
        y: y + GRID * 1e-8,
    }
}

fn ring(random: &mut Random) -> Vec<LonLat> {
    let count = random.whole(3, 8);
    let mut points: Vec<LonLat> = (0..count).map(|_| degrees(grid(random))).collect();
    if random.chance(70) {
        // By angle around their middle: rings that do not cross themselves are rare otherwise.
        let middle = points
            .iter()
            .fold([0.0, 0.0], |sum, p| [sum[0] + p[0], sum[1] + p[1]]);
        let angle = |p: &LonLat| {
            (p[1] - middle[1] / f64::from(count)).atan2(p[0] - middle[0] / f64::from(count))
        };
        points.sort_by(|a, b| angle(a).total_cmp(&angle(b)));
    }
    support::ring(&points)
}

fn polygon(rings: &[Vec<LonLat>]) -> Polygon {
    let string = |ring: &Vec<LonLat>| LineString(ring.iter().copied().map(coord).collect());
    Polygon::new(string(&rings[0]), rings[1..].iter().map(string).collect())
}

fn rings(random: &mut Random) -> Vec<Vec<LonLat>> {
    let mut rings = vec![ring(random)];
    if random.chance(40) {
        rings.push(ring(random));
    }
    rings
}

/// An area that is valid, and as `geo` has it.
fn area(random: &mut Random) -> Option<(Zone, Polygon)> {
    for _ in 0..50 {
        let rings = rings(random);
        if let Ok(zone) = Zone::area(version(1, 0.0), std::slice::from_ref(&rings)) {
            return Some((zone, polygon(&rings)));
        }
    }
    None
}

fn verdict(right: bool, what: impl FnOnce() -> String) -> Outcome {
    if right {
        Outcome::Right
    } else {
        Outcome::Wrong(what())
    }
}

#[test]
fn distances_are_those_of_geo() {
    check(20_000, 0, |random| {
        let place = |random: &mut Random| -> LonLat {
            [random.between(-180.0, 180.0), random.between(-90.0, 90.0)]
        };
        let from = place(random);
        let to = if random.chance(50) {
            place(random)
        } else {
            [
                from[0],
                (from[1] + random.between(-1e-3, 1e-3)).clamp(-90.0, 90.0),
            ]
        };
        let theirs =
            Haversine.distance(Point::from((from[0], from[1])), Point::from((to[0], to[1])));
        let ours = distance_m(from, to);
        // Opposite points: the arc sine near 1 loses half the digits.
        let tolerance = if theirs > 19e6 { 1.0 } else { 1e-6 };
        verdict((ours - theirs).abs() <= tolerance, || {
            format!("{from:?} {to:?}: {ours} {theirs}")
        })
    });
}

#[test]
fn sides_are_those_of_geo_and_borders_follow_the_rule() {
    check(5_000, 5, |random| {
        let Some((zone, polygon)) = area(random) else {
            return Outcome::Undecided;
        };
        let index = index([zone]);
        for x in -1..=9 {
            for y in -1..=9 {
                let place = degrees([x, y]);
                let ours = !derive(&index, &[fix(0, place)]).0.is_empty();
                let theirs = polygon.coordinate_position(&coord(place));
                let ruled = match theirs {
                    CoordPos::Inside => true,
                    CoordPos::Outside => false,
                    CoordPos::OnBoundary => {
                        polygon.coordinate_position(&moved(place)) == CoordPos::Inside
                    }
                };
                if ours != ruled {
                    return Outcome::Wrong(format!("{x} {y}: {ours}, {theirs:?} in {polygon:?}"));
                }
            }
        }
        Outcome::Right
    });
}

#[test]
fn an_area_is_refused_if_geo_finds_it_invalid() {
    check(20_000, 2, |random| {
        let rings = rings(random);
        let theirs_whole = polygon(&rings);
        let ours = Zone::area(version(1, 0.0), std::slice::from_ref(&rings));
        let theirs = theirs_whole.is_valid();
        if ours.is_ok() && !theirs && touches_twice(&rings) {
            // A hole that touches its polygon at two points cuts it in two: no border is unclear.
            return Outcome::Undecided;
        }
        if matches!(&ours, Err(error) if error.fault == ZoneFault::NoArea) {
            // `geo` does not mind a ring that is a line.
            let lines = rings
                .iter()
                .filter(|ring| polygon(std::slice::from_ref(ring)).unsigned_area() == 0.0);
            return verdict(lines.count() > 0, || format!("{ours:?}: {rings:?}"));
        }
        verdict(ours.is_ok() == theirs, || {
            format!(
                "{ours:?}, but {:?}: {rings:?}",
                theirs_whole.validation_errors()
            )
        })
    });
}

/// Whether the two rings have two points in common.
fn touches_twice(rings: &[Vec<LonLat>]) -> bool {
    let [outer, hole] = rings else {
        return false;
    };
    let lines = |ring: &[LonLat]| -> Vec<Line> {
        ring.windows(2)
            .map(|ends| Line::new(coord(ends[0]), coord(ends[1])))
            .collect()
    };
    let mut common: Vec<Coord> = Vec::new();
    for one in lines(outer) {
        for other in lines(hole) {
            if let Some(LineIntersection::SinglePoint { intersection, .. }) =
                line_intersection(one, other)
                && !common.contains(&intersection)
            {
                common.push(intersection);
            }
        }
    }
    common.len() > 1
}

/// Crossings of the path with lines, as parts of the path, and whether from the left.
fn crossings(path: Line, lines: impl Iterator<Item = Line>) -> Vec<(f64, bool)> {
    let mut found: Vec<(f64, bool)> = lines
        .filter_map(|line| match line_intersection(path, line)? {
            LineIntersection::SinglePoint { intersection, .. } => {
                let (way, edge) = (path.delta(), line.delta());
                let along = intersection - path.start;
                let s = (along.x * way.x + along.y * way.y) / (way.x * way.x + way.y * way.y);
                Some((s, edge.x * way.y - edge.y * way.x < 0.0))
            }
            LineIntersection::Collinear { .. } => None,
        })
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    // What undoes each other at one point is no crossing.
    let mut kept: Vec<(f64, bool)> = Vec::new();
    for crossing in found {
        match kept.last() {
            Some(last) if crossing.0 - last.0 < 1e-3 && crossing.1 != last.1 => {
                kept.pop();
            }
            _ => kept.push(crossing),
        }
    }
    kept
}

/// Whether the rows are these crossings, in a segment of `SECOND` from 0.
fn agree(rows: &[Row], crossings: &[(f64, bool)], tolerance_us: i64) -> bool {
    rows.len() == crossings.len()
        && rows.iter().zip(crossings).all(|(row, &(s, _))| {
            let at = (s * 1e6).round();
            let (low, high) = (at - tolerance_us as f64, at + tolerance_us as f64);
            (low..=high).contains(&(row.at_us as f64))
        })
}

fn fold(zone: Zone, path: [LonLat; 2]) -> Vec<Row> {
    let limits = Limits::new(60 * SECOND, f64::INFINITY).unwrap();
    let fixes = [fix(0, path[0]), fix(SECOND, path[1])];
    let mut rows = Vec::new();
    index([zone]).derive(&limits, None, &fixes, &mut rows);
    rows
}

#[test]
fn crossings_of_gates_are_those_of_geo() {
    check(50_000, 0, |random| {
        let count = random.whole(2, 6);
        let points: Vec<LonLat> = (0..count).map(|_| degrees(grid(random))).collect();
        let path = [degrees(grid(random)), degrees(grid(random))];
        let Ok(zone) = Zone::gate(version(1, 0.0), &points, GateDirection::Both) else {
            return Outcome::Right;
        };
        let lines = points
            .windows(2)
            .map(|ends| Line::new(coord(ends[0]), coord(ends[1])));
        let expected = crossings(Line::new(moved(path[0]), moved(path[1])), lines);
        let rows = fold(zone, path);
        // A hair of 1e-4 moves a crossing by up to 8 of them on this grid.
        let right = agree(&rows, &expected, 2_000)
            && rows.iter().zip(&expected).all(|(row, (_, left))| {
                row.direction
                    == if *left {
                        Direction::LeftToRight
                    } else {
                        Direction::RightToLeft
                    }
            });
        verdict(right, || {
            format!("{points:?} {path:?}: {rows:?}, expected {expected:?}")
        })
    });
}

#[test]
fn crossings_of_areas_are_those_of_geo() {
    check(20_000, 5, |random| {
        let Some((zone, polygon)) = area(random) else {
            return Outcome::Undecided;
        };
        let on_grid = random.chance(50);
        let mut place = || {
            if on_grid {
                degrees(grid(random))
            } else {
                [
                    random.between(-GRID, 9.0 * GRID),
                    random.between(-GRID, 9.0 * GRID),
                ]
            }
        };
        let path = [place(), place()];
        let rings = std::iter::once(polygon.exterior()).chain(polygon.interiors());
        let lines: Vec<Line> = rings.flat_map(LineString::lines).collect();
        // Off the grid nothing meets by chance, and the times are those of the path itself.
        let (line, tolerance_us) = if on_grid {
            (Line::new(moved(path[0]), moved(path[1])), 2_000)
        } else {
            (Line::new(coord(path[0]), coord(path[1])), 1)
        };
        let mut expected = crossings(line, lines.into_iter());
        // In and out within a thousandth is a touch on the grid, else a corner that is cut.
        let rows: Vec<Row> = fold(zone, path)
            .into_iter()
            .filter(|row| row.kind != Kind::Initial)
            .collect();
        let from = polygon.coordinate_position(&moved(path[0])) == CoordPos::Inside;
        let to = polygon.coordinate_position(&moved(path[1])) == CoordPos::Inside;
        expected = alternating(expected);
        if !on_grid && expected.len() != rows.len() && expected.len() % 2 == rows.len() % 2 {
            return Outcome::Undecided;
        }
        let kinds = rows.iter().map(|row| row.kind == Kind::Enter);
        let right = agree(&rows, &expected, tolerance_us)
            && kinds
                .enumerate()
                .all(|(n, enters)| enters == ((n % 2 == 0) != from))
            && (rows.len() % 2 == 1) == (from != to);
        verdict(right, || {
            format!("{polygon:?} {path:?}: {rows:?}, expected {expected:?}")
        })
    });
}

/// Crossings of rings of either sense: two at one point are none.
fn alternating(crossings: Vec<(f64, bool)>) -> Vec<(f64, bool)> {
    let mut kept: Vec<(f64, bool)> = Vec::new();
    for crossing in crossings {
        match kept.last() {
            Some(last) if crossing.0 - last.0 < 1e-3 => {
                kept.pop();
            }
            _ => kept.push(crossing),
        }
    }
    kept
}

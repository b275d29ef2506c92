//! From rings as they are written to the edges of an area, or what is wrong with them.

use std::collections::HashSet;

use crate::area::{Area, Bounds, Edges};
use crate::error::{Place, ZoneError, ZoneFault};
use crate::frame::short_way;
use crate::nesting::{Outline, check_nesting};
use crate::predicate::{Point, orient};
use crate::sphere::{DEGREE_M, cos_degrees};
use crate::zone::{AREA_MIN_M2, LonLat, POINTS_MAX};

/// A ring of distinct neighbours. The first point is not repeated at the end.
struct Ring {
    polygon: usize,
    number: usize,
    points: Vec<RingPoint>,
    /// Whole turns, in degrees, that put it beside the others of its area.
    shift: f64,
    west: f64,
    east: f64,
}

#[derive(Clone, Copy)]
struct RingPoint {
    /// Its number in the ring as written.
    number: usize,
    longitude: f64,
    latitude: f64,
    /// Whole turns, in degrees, that unwrap it from the point before.
    turns: f64,
}

/// An edge and where it is from.
#[derive(Clone, Copy)]
struct Origin {
    /// Number of its ring, over all polygons.
    ring: usize,
    place: Place,
    /// Edges before this one in its ring, and edges of the ring.
    order: (usize, usize),
}

/// The area of polygons that are written as `GeoJSON`'s `MultiPolygon` has them.
///
/// # Errors
/// Everything of [`ZoneFault`] that concerns rings; the first one found.
pub(crate) fn area(polygons: &[Vec<Vec<LonLat>>]) -> Result<Area, ZoneError> {
    let mut rings = read_rings(polygons)?;
    place_polygons(&mut rings)?;
    let edges_of: Vec<Vec<(Point, Point)>> = rings.iter().map(Ring::edges).collect();
    let cuts = cuts_at_date_line(&edges_of);
    let is_border = |&(start, end): &(Point, Point)| !cuts.contains(&meridian_part(start, end));
    let (all, origins): (Vec<_>, Vec<_>) = (edges_of.iter().flatten().copied())
        .zip(rings.iter().enumerate().flat_map(origins))
        .filter(|(edge, _)| is_border(edge))
        .unzip();
    let all = Edges::new(all).ok_or(ZoneFault::Empty.everywhere())?;
    find_meeting_edges(&all, &origins)?;
    for ring in &rings {
        if ring.signed_area_m2().abs() < AREA_MIN_M2 {
            return Err(ZoneFault::NoArea.at(ring.polygon, ring.number, 0));
        }
    }
    let outlines: Vec<Outline> = (rings.iter().zip(&edges_of))
        .filter_map(|(ring, edges)| Outline::new(ring.polygon, ring.number, edges.clone()))
        .collect();
    check_nesting(&outlines)?;
    let oriented = rings.iter().zip(edges_of).flat_map(|(ring, edges)| {
        let left = ring.number == 0;
        let turn = (ring.signed_area_m2() > 0.0) != left;
        (edges.into_iter().filter(is_border))
            .map(move |(start, end)| if turn { (end, start) } else { (start, end) })
    });
    let edges = Edges::new(oriented.collect()).ok_or(ZoneFault::Empty.everywhere())?;
    Ok(Area { edges })
}

/// Refuses a point that is not on earth.
pub(crate) fn check_point(point: LonLat, place: Place) -> Result<(), ZoneError> {
    let [longitude, latitude] = point;
    if (-180.0..=180.0).contains(&longitude) && (-90.0..=90.0).contains(&latitude) {
        return Ok(());
    }
    let fault = ZoneFault::CoordinateOutOfRange {
        longitude,
        latitude,
    };
    Err(fault.at(place.polygon, place.ring, place.point))
}

fn read_rings(polygons: &[Vec<Vec<LonLat>>]) -> Result<Vec<Ring>, ZoneError> {
    let found = polygons
        .iter()
        .flatten()
        .fold(0_usize, |sum, ring| sum.saturating_add(ring.len()));
    if found > POINTS_MAX {
        return Err(ZoneFault::TooManyPoints { found }.everywhere());
    }
    if polygons.is_empty() {
        return Err(ZoneFault::Empty.everywhere());
    }
    let mut rings = Vec::new();
    for (polygon, written) in polygons.iter().enumerate() {
        if written.is_empty() {
            return Err(ZoneFault::Empty.at(polygon, 0, 0));
        }
        let mut outer_centre = None;
        for (number, points) in written.iter().enumerate() {
            let mut ring = Ring::read(polygon, number, points)?;
            let centre = ring.west.midpoint(ring.east);
            let outer_centre = *outer_centre.get_or_insert(centre);
            // A hole beyond the date line from the first point of its polygon.
            ring.move_by(((outer_centre - centre) / 360.0).round() * 360.0);
            rings.push(ring);
        }
    }
    Ok(rings)
}

/// Puts the polygons side by side in one frame: it is cut where the widest gap between them is.
fn place_polygons(rings: &mut [Ring]) -> Result<(), ZoneError> {
    let mut spans: Vec<(f64, f64)> = (rings.iter().filter(|ring| ring.number == 0))
        .map(|ring| {
            let west = ring.west.rem_euclid(360.0);
            (west, west + (ring.east - ring.west))
        })
        .collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let first_west = spans.first().map_or(0.0, |span| span.0);
    let mut reach = f64::NEG_INFINITY;
    let mut widest = (f64::NEG_INFINITY, 0.0);
    let after_all = (first_west + 360.0, f64::INFINITY);
    for &(west, east) in spans.iter().chain(std::iter::once(&after_all)) {
        if reach.is_finite() && west - reach > widest.0 {
            widest = (west - reach, west.rem_euclid(360.0));
        }
        reach = reach.max(east);
    }
    let (gap, cut) = widest;
    if gap <= 0.0 {
        return Err(ZoneFault::TooWide.everywhere());
    }
    let centre = cut + (360.0 - gap) * 0.5;
    let to_frame = -((centre + 180.0) / 360.0).floor() * 360.0;
    let mut by = 0.0;
    for ring in rings {
        if ring.number == 0 {
            // Half the gap as a margin, so that rounding does not throw the first polygon a turn off.
            let start = cut - gap * 0.5;
            by = ((start - ring.west) / 360.0).ceil() * 360.0 + to_frame;
        }
        ring.move_by(by);
    }
    Ok(())
}

impl Ring {
    fn read(polygon: usize, ring: usize, written: &[LonLat]) -> Result<Self, ZoneError> {
        for (point, &coordinates) in written.iter().enumerate() {
            let place = Place {
                polygon,
                ring,
                point,
            };
            check_point(coordinates, place)?;
        }
        if written.len() < 4 {
            let found = written.len();
            return Err(ZoneFault::TooFewPoints { found, min: 4 }.at(polygon, ring, 0));
        }
        let (first, last) = (written.first(), written.last());
        if first != last {
            let point = written.len().saturating_sub(1);
            return Err(ZoneFault::RingNotClosed.at(polygon, ring, point));
        }
        let (points, turns_at_end) = unwrapped(written);
        if turns_at_end != 0.0 {
            return Err(ZoneFault::RingAroundPole.at(polygon, ring, 0));
        }
        let mut read = Self {
            polygon,
            number: ring,
            points,
            shift: 0.0,
            west: f64::INFINITY,
            east: f64::NEG_INFINITY,
        };
        let bounds = Bounds::of(read.points.iter().map(|point| read.place(point)));
        (read.west, read.east) = (bounds.west, bounds.east);
        if read.is_collinear() {
            return Err(ZoneFault::NoArea.at(polygon, ring, 0));
        }
        Ok(read)
    }

    fn place(&self, point: &RingPoint) -> Point {
        Point {
            // One addition: away from the date line the longitude stays as it is, to the last bit.
            x: point.longitude + (point.turns + self.shift),
            y: point.latitude,
        }
    }

    fn move_by(&mut self, turns: f64) {
        self.shift += turns;
        self.west += turns;
        self.east += turns;
    }

    fn edges(&self) -> Vec<(Point, Point)> {
        let points: Vec<Point> = self.points.iter().map(|point| self.place(point)).collect();
        let next = points.iter().cycle().skip(1);
        points.iter().copied().zip(next.copied()).collect()
    }

    fn is_collinear(&self) -> bool {
        let mut places = self.points.iter().map(|point| self.place(point));
        let (Some(first), Some(second)) = (places.next(), places.next()) else {
            return true;
        };
        places.all(|point| orient(first, second, point) == 0.0)
    }

    /// Above zero if the ring runs anticlockwise.
    fn signed_area_m2(&self) -> f64 {
        let edges = self.edges();
        let bounds = Bounds::of(edges.iter().map(|edge| edge.0));
        let twice: f64 = edges
            .iter()
            .map(|(start, end)| {
                (start.x - bounds.west) * (end.y - bounds.south)
                    - (end.x - bounds.west) * (start.y - bounds.south)
            })
            .sum();
        let middle = bounds.south.midpoint(bounds.north);
        twice * 0.5 * DEGREE_M * DEGREE_M * cos_degrees(middle)
    }
}

/// The points without repeated neighbours, and the turns, in degrees, at which the ring comes back.
fn unwrapped(written: &[LonLat]) -> (Vec<RingPoint>, f64) {
    let mut turns = 0.0;
    let mut previous: Option<LonLat> = None;
    let mut points: Vec<RingPoint> = Vec::with_capacity(written.len());
    for (number, &[longitude, latitude]) in written.iter().enumerate() {
        if let Some([from, from_latitude]) = previous.replace([longitude, latitude]) {
            turns += short_way(from, longitude) - (longitude - from);
            // A whole number of turns, of which the subtraction leaves a few bits.
            turns = (turns / 360.0).round() * 360.0;
            if short_way(from, longitude) == 0.0 && (latitude - from_latitude) == 0.0 {
                continue;
            }
        }
        points.push(RingPoint {
            number,
            longitude,
            latitude,
            turns,
        });
    }
    // The last point is the first.
    let repeated = points
        .first()
        .zip(points.last())
        .is_some_and(|(first, last)| {
            short_way(first.longitude, last.longitude) == 0.0
                && first.latitude - last.latitude == 0.0
        });
    if repeated {
        points.pop();
    }
    (points, turns)
}

fn origins((number, ring): (usize, &Ring)) -> impl Iterator<Item = Origin> + '_ {
    let length = ring.points.len();
    ring.points
        .iter()
        .enumerate()
        .map(move |(at, point)| Origin {
            ring: number,
            place: Place {
                polygon: ring.polygon,
                ring: ring.number,
                point: point.number,
            },
            order: (at, length),
        })
}

/// A part of a meridian, by bits: its longitude, and its latitudes from south to north.
fn meridian_part(start: Point, end: Point) -> [u64; 3] {
    let (south, north) = (start.y.min(end.y), start.y.max(end.y));
    // Adding 0 makes one zero of two.
    [start.x, south, north].map(|degrees| (degrees + 0.0).to_bits())
}

/// The edges on the date line that two rings have in common: RFC 7946 has areas cut there.
fn cuts_at_date_line(edges_of: &[Vec<(Point, Point)>]) -> HashSet<[u64; 3]> {
    let mut seen = HashSet::new();
    let mut cuts = HashSet::new();
    for edges in edges_of {
        let on_date_line = edges.iter().filter(|(start, end)| {
            start.x.rem_euclid(360.0) - 180.0 == 0.0 && end.x.rem_euclid(360.0) - 180.0 == 0.0
        });
        let parts: HashSet<_> = on_date_line
            .map(|edge| meridian_part(edge.0, edge.1))
            .collect();
        cuts.extend(seen.intersection(&parts));
        seen.extend(parts);
    }
    cuts
}

/// What two edges have in common.
enum Meeting {
    /// One point: inside of both, or an end of one of them.
    Through(Point),
    Touch(Point),
    /// A line.
    Overlap(Point),
}

fn find_meeting_edges(edges: &Edges, origins: &[Origin]) -> Result<(), ZoneError> {
    let mut stack = Vec::new();
    for (number, (&(start, end), origin)) in edges.list.iter().zip(origins).enumerate() {
        let mut found = None;
        edges.any(
            &Bounds::of([start, end]),
            &mut stack,
            |at, other_start, other_end| {
                let Some(other) = origins.get(at).filter(|_| at < number) else {
                    return false;
                };
                found = fault_of(
                    origin,
                    other,
                    meeting((start, end), (other_start, other_end)),
                );
                found.is_some()
            },
        );
        if let Some(fault) = found {
            let place = origin.place;
            return Err(fault.at(place.polygon, place.ring, place.point));
        }
    }
    Ok(())
}

fn fault_of(origin: &Origin, other: &Origin, meeting: Option<Meeting>) -> Option<ZoneFault> {
    let meeting = meeting?;
    let (place, bad_within, bad_between) = match meeting {
        Meeting::Through(place) | Meeting::Overlap(place) => (place, true, true),
        // Neighbours touch at their joint, and rings may touch each other at a point.
        Meeting::Touch(place) => (place, !are_neighbours(origin.order, other.order), false),
    };
    let (longitude, latitude) = (short_way(0.0, place.x), place.y);
    let other_place = other.place;
    if origin.ring == other.ring {
        bad_within.then_some(ZoneFault::SelfIntersection {
            longitude,
            latitude,
            other: other_place,
        })
    } else {
        bad_between.then_some(ZoneFault::RingsCross {
            longitude,
            latitude,
            other: other_place,
        })
    }
}

fn are_neighbours(a: (usize, usize), b: (usize, usize)) -> bool {
    let apart = a.0.abs_diff(b.0);
    apart == 1 || apart.saturating_add(1) == a.1
}

fn meeting(a: (Point, Point), b: (Point, Point)) -> Option<Meeting> {
    if !Bounds::of([a.0, a.1]).meets(&Bounds::of([b.0, b.1])) {
        return None;
    }
    let b_start = orient(a.0, a.1, b.0);
    let b_end = orient(a.0, a.1, b.1);
    let a_start = orient(b.0, b.1, a.0);
    let a_end = orient(b.0, b.1, a.1);
    let differ = |one: f64, other: f64| (one > 0.0 && other < 0.0) || (one < 0.0 && other > 0.0);
    if differ(b_start, b_end) && differ(a_start, a_end) {
        let part = a_start / (a_start - a_end);
        return Some(Meeting::Through(Point {
            x: a.0.x + part * (a.1.x - a.0.x),
            y: a.0.y + part * (a.1.y - a.0.y),
        }));
    }
    let ends = [
        (a_start, a.0, b),
        (a_end, a.1, b),
        (b_start, b.0, a),
        (b_end, b.1, a),
    ];
    let mut touching = ends
        .into_iter()
        .filter(|&(side, point, edge)| side == 0.0 && is_in_box(point, edge))
        .map(|(_, point, _)| point);
    let first = touching.next()?;
    // Two different common points: all between them is common too.
    let overlap = touching.find(|&point| point != first);
    Some(overlap.map_or(Meeting::Touch(first), Meeting::Overlap))
}

pub(crate) fn is_in_box(point: Point, edge: (Point, Point)) -> bool {
    Bounds::of([edge.0, edge.1]).meets(&Bounds::of([point]))
}

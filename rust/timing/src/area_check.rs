//! From rings as they are written to the edges of an area, or what is wrong with them.

use std::collections::HashSet;

use crate::area::{Area, Bounds, Edges};
use crate::error::{Faults, Place, ZoneError, ZoneFault};
use crate::frame::short_way;
use crate::nesting::{Outline, check_nesting};
use crate::predicate::{Point, orient};
use crate::ring::{Ring, place_polygons, read_rings};
use crate::zone::{AREA_MIN_M2, LonLat};

// Bound: pairs of edges that are looked at, about a second; 100,000 points in any usual order need a
// few each.
const PAIRS_MAX: usize = 200_000_000;

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
/// Everything of [`ZoneFault`] that concerns rings; of all that can be told apart up to `max`.
pub(crate) fn area(polygons: &[Vec<Vec<LonLat>>], max: usize) -> Result<Area, Vec<ZoneError>> {
    let mut faults = Faults::up_to(max);
    let mut rings = read_rings(polygons, &mut faults)?;
    place_polygons(&mut rings).map_err(|error| vec![error])?;
    let edges_of: Vec<Vec<(Point, Point)>> = rings.iter().map(Ring::edges).collect();
    let cuts = cuts_at_date_line(&edges_of);
    let is_border = |&(start, end): &(Point, Point)| !cuts.contains(&meridian_part(start, end));
    let (all, origins): (Vec<_>, Vec<_>) = (edges_of.iter().flatten().copied())
        .zip(rings.iter().enumerate().flat_map(origins))
        .filter(|(edge, _)| is_border(edge))
        .unzip();
    let empty = || vec![ZoneFault::Empty.everywhere()];
    let all = Edges::new(all).ok_or_else(empty)?;
    find_meeting_edges(&all, &origins, &mut faults);
    faults.none_yet()?;
    for ring in &rings {
        if ring.signed_area_m2().abs() < AREA_MIN_M2 {
            faults.add(ZoneFault::NoArea.at(ring.polygon, ring.number, 0));
        }
    }
    faults.none_yet()?;
    let outlines: Vec<Outline> = (rings.iter().zip(&edges_of))
        .filter_map(|(ring, edges)| Outline::new(ring.polygon, ring.number, edges.clone()))
        .collect();
    check_nesting(&outlines).map_err(|error| vec![error])?;
    let oriented = rings.iter().zip(edges_of).flat_map(|(ring, edges)| {
        let left = ring.number == 0;
        let turn = (ring.signed_area_m2() > 0.0) != left;
        (edges.into_iter().filter(is_border))
            .map(move |(start, end)| if turn { (end, start) } else { (start, end) })
    });
    let edges = Edges::new(oriented.collect()).ok_or_else(empty)?;
    Ok(Area { edges })
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

fn find_meeting_edges(edges: &Edges, origins: &[Origin], faults: &mut Faults) {
    let mut stack = Vec::new();
    let mut pairs = 0_usize;
    for (number, (&(start, end), origin)) in edges.list.iter().zip(origins).enumerate() {
        let place = origin.place;
        edges.any(
            &Bounds::of([start, end]),
            &mut stack,
            |at, other_start, other_end| {
                pairs = pairs.saturating_add(1);
                let Some(other) = origins.get(at).filter(|_| at < number) else {
                    return pairs > PAIRS_MAX;
                };
                let found = meeting((start, end), (other_start, other_end));
                fault_of(origin, other, found).map_or(pairs > PAIRS_MAX, |fault| {
                    faults.add(fault.at(place.polygon, place.ring, place.point))
                })
            },
        );
        if pairs > PAIRS_MAX {
            faults.add(ZoneFault::TooIntricate.everywhere());
        }
        if pairs > PAIRS_MAX || faults.is_full() {
            return;
        }
    }
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

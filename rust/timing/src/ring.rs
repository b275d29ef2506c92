//! Rings as they are written, and where they lie in one frame.

use crate::area::Bounds;
use crate::error::{Faults, Place, ZoneError, ZoneFault};
use crate::frame::short_way;
use crate::predicate::{Point, orient};
use crate::sphere::{DEGREE_M, cos_degrees};
use crate::zone::{LonLat, POINTS_MAX};

/// A ring of distinct neighbours. The first point is not repeated at the end.
pub(crate) struct Ring {
    pub(crate) polygon: usize,
    /// 0 for the outer ring of its polygon.
    pub(crate) number: usize,
    pub(crate) points: Vec<RingPoint>,
    /// Whole turns, in degrees, that put it beside the others of its area.
    shift: f64,
    west: f64,
    east: f64,
}

#[derive(Clone, Copy)]
pub(crate) struct RingPoint {
    /// Its number in the ring as written.
    pub(crate) number: usize,
    longitude: f64,
    latitude: f64,
    /// Whole turns, in degrees, that unwrap it from the point before.
    turns: f64,
}

/// The rings, one fault at most noted of each.
pub(crate) fn read_rings(
    polygons: &[Vec<Vec<LonLat>>],
    faults: &mut Faults,
) -> Result<Vec<Ring>, Vec<ZoneError>> {
    let found = polygons
        .iter()
        .flatten()
        .fold(0_usize, |sum, ring| sum.saturating_add(ring.len()));
    if found > POINTS_MAX {
        return Err(vec![ZoneFault::TooManyPoints { found }.everywhere()]);
    }
    if polygons.is_empty() {
        return Err(vec![ZoneFault::Empty.everywhere()]);
    }
    let mut rings = Vec::new();
    for (polygon, written) in polygons.iter().enumerate() {
        if written.is_empty() {
            faults.add(ZoneFault::Empty.at(polygon, 0, 0));
        }
        let mut outer_centre = None;
        for (number, points) in written.iter().enumerate() {
            let mut ring = match Ring::read(polygon, number, points) {
                Ok(ring) => ring,
                Err(error) => {
                    faults.add(error);
                    continue;
                }
            };
            let centre = ring.west.midpoint(ring.east);
            let outer_centre = *outer_centre.get_or_insert(centre);
            // A hole beyond the date line from the first point of its polygon.
            ring.move_by(((outer_centre - centre) / 360.0).round() * 360.0);
            rings.push(ring);
        }
    }
    faults.none_yet()?;
    Ok(rings)
}

/// Puts the polygons side by side in one frame: it is cut where the widest gap between them is.
pub(crate) fn place_polygons(rings: &mut [Ring]) -> Result<(), ZoneError> {
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

    pub(crate) fn edges(&self) -> Vec<(Point, Point)> {
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
    pub(crate) fn signed_area_m2(&self) -> f64 {
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

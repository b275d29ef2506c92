//! One version of a zone.

use std::sync::Arc;

use crate::area::{Area, Bounds, Edges, SLACK_DEGREES};
use crate::area_check::area;
use crate::circle::Circle;
use crate::error::{Place, ZoneError, ZoneFault};
use crate::fix::Fix;
use crate::frame::short_way;
use crate::gate::Gate;
use crate::predicate::Point;
use crate::ring::check_point;
use crate::sphere::{DEGREE_M, cos_degrees};

/// Longitude and latitude in degrees, in `GeoJSON`'s order.
pub type LonLat = [f64; 2];

/// Bound: points of a zone. A policy of ours: a million are checked and indexed in about a second.
pub const POINTS_MAX: usize = 1_000_000;

/// Bound: the largest radius, about a quarter of a turn; a circle beyond it is no circle on a map.
pub const RADIUS_MAX_M: f64 = 10_000_000.0;

/// Bound: the smallest hysteresis above zero; below it rounding would decide.
pub const HYSTERESIS_MIN_M: f64 = 0.001;

/// Bound: the smallest area of a ring in square metres: that of the grid on which devices report.
pub const AREA_MIN_M2: f64 = 1e-4;

/// What is common to zones of every kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Version {
    /// The zone, the same in all its versions.
    pub zone_id: i32,
    /// The version's number; of several that are valid at one time the greatest counts.
    pub version: i32,
    /// First instant at which it is valid, Unix microseconds.
    pub valid_from_us: i64,
    /// First instant at which it is not any more, Unix microseconds; `i64::MAX` for none.
    pub valid_to_us: i64,
    /// Half the width of the band around the border, in metres: 0 for none. Gates have none.
    pub hysteresis_m: f64,
}

/// Which way through a gate counts, seen from its first point towards its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GateDirection {
    /// From its left to its right.
    LeftToRight,
    /// From its right to its left.
    RightToLeft,
    /// Either way.
    Both,
}

/// What a zone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZoneKind {
    /// A centre and a radius on the sphere.
    Circle,
    /// Polygons with holes.
    Area,
    /// A line with a direction.
    Gate,
}

/// One version of a zone, valid and immutable. A clone shares the geometry.
#[derive(Clone)]
pub struct Zone {
    version: Version,
    shape: Arc<Shape>,
}

pub(crate) enum Shape {
    Circle(Circle),
    Area(Area),
    Gate(Gate),
}

impl Zone {
    /// All points up to `radius_m` metres from the centre.
    ///
    /// # Errors
    /// `coordinate_out_of_range`, `radius_out_of_range`, `hysteresis_out_of_range`,
    /// `hysteresis_exceeds_radius`, `validity_reversed`.
    pub fn circle(version: Version, centre: LonLat, radius_m: f64) -> Result<Self, ZoneError> {
        check_version(&version)?;
        check_point(centre, FIRST)?;
        if !(radius_m > 0.0 && radius_m <= RADIUS_MAX_M) {
            return Err(ZoneFault::RadiusOutOfRange { radius_m }.everywhere());
        }
        let hysteresis_m = version.hysteresis_m;
        if hysteresis_m >= radius_m {
            let fault = ZoneFault::HysteresisExceedsRadius {
                hysteresis_m,
                radius_m,
            };
            return Err(fault.everywhere());
        }
        let [longitude, latitude] = centre;
        let circle = Circle::new(longitude, latitude, radius_m);
        Ok(Self::new(version, Shape::Circle(circle)))
    }

    /// Polygons, each an outer ring and its holes, as `GeoJSON`'s `MultiPolygon` has them. The sense of
    /// the rings does not matter; repeated points are one point; rings may touch at points.
    ///
    /// # Errors
    /// Every [`ZoneFault`] but those of circles and gates; the first one found, with its place.
    pub fn area(version: Version, polygons: &[Vec<Vec<LonLat>>]) -> Result<Self, ZoneError> {
        match Self::area_or_faults(version, polygons, 1) {
            Ok(zone) => Ok(zone),
            Err(faults) => Err(faults
                .first()
                .copied()
                .unwrap_or(ZoneFault::Empty.everywhere())),
        }
    }

    /// The same, with every fault that can be told apart, up to `max` and at least one: all rings that
    /// are none; else all edges that meet; else all rings without area; else the first of the rest.
    ///
    /// # Errors
    /// As [`Zone::area`].
    pub fn area_or_faults(
        version: Version,
        polygons: &[Vec<Vec<LonLat>>],
        max: usize,
    ) -> Result<Self, Vec<ZoneError>> {
        check_version(&version).map_err(|error| vec![error])?;
        let area = area(polygons, max.max(1))?;
        let bounds = area.edges.bounds;
        let (band, _) = area.edges.degrees(version.hysteresis_m);
        if bounds.east - bounds.west + 2.0 * band >= 360.0 - SLACK_DEGREES {
            return Err(vec![ZoneFault::TooWide.everywhere()]);
        }
        Ok(Self::new(version, Shape::Area(area)))
    }

    /// A line of two or more points, which may meet itself.
    ///
    /// # Errors
    /// `coordinate_out_of_range`, `too_few_points`, `too_many_points`, `gate_without_length`,
    /// `too_wide`, `hysteresis_out_of_range`, `validity_reversed`.
    pub fn gate(
        version: Version,
        points: &[LonLat],
        direction: GateDirection,
    ) -> Result<Self, ZoneError> {
        check_version(&version)?;
        for (point, &coordinates) in points.iter().enumerate() {
            check_point(coordinates, Place { point, ..FIRST })?;
        }
        let found = points.len();
        if found < 2 {
            return Err(ZoneFault::TooFewPoints { found, min: 2 }.everywhere());
        }
        if found > POINTS_MAX {
            return Err(ZoneFault::TooManyPoints { found }.everywhere());
        }
        let Some(edges) = Edges::new(gate_edges(points)) else {
            return Err(ZoneFault::GateWithoutLength.everywhere());
        };
        if edges.bounds.east - edges.bounds.west >= 360.0 - SLACK_DEGREES {
            return Err(ZoneFault::TooWide.everywhere());
        }
        Ok(Self::new(version, Shape::Gate(Gate { edges, direction })))
    }

    fn new(version: Version, shape: Shape) -> Self {
        let shape = Arc::new(shape);
        Self { version, shape }
    }

    /// Its number, validity and hysteresis.
    #[must_use]
    pub const fn version(&self) -> &Version {
        &self.version
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ZoneKind {
        match *self.shape {
            Shape::Circle(_) => ZoneKind::Circle,
            Shape::Area(_) => ZoneKind::Area,
            Shape::Gate(_) => ZoneKind::Gate,
        }
    }

    /// Whether it is valid at the instant, in Unix microseconds.
    #[must_use]
    pub const fn is_valid_at(&self, t_us: i64) -> bool {
        self.version.valid_from_us <= t_us && t_us < self.version.valid_to_us
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The raw side of a fix: the border rule alone. Nothing is inside of a gate.
    pub(crate) fn holds(&self, fix: &Fix, stack: &mut Vec<usize>) -> bool {
        match self.shape() {
            Shape::Circle(circle) => circle.holds(fix),
            Shape::Area(area) => area.holds(fix, stack),
            Shape::Gate(_) => false,
        }
    }

    /// The side of a fix that is beyond the band; none within it.
    pub(crate) fn side_beyond(&self, fix: &Fix, stack: &mut Vec<usize>) -> Option<bool> {
        let hysteresis_m = self.version.hysteresis_m;
        match self.shape() {
            Shape::Circle(circle) => circle.side_beyond(fix, hysteresis_m),
            Shape::Area(area) => area.side_beyond(fix, hysteresis_m, stack),
            Shape::Gate(_) => Some(false),
        }
    }

    /// The boxes that hold the zone and its band, in degrees from -180 to 180.
    pub(crate) fn boxes(&self) -> [Option<Bounds>; 2] {
        let hysteresis_m = self.version.hysteresis_m;
        let bounds = match self.shape() {
            Shape::Circle(circle) => circle_bounds(circle, hysteresis_m),
            Shape::Area(Area { edges }) => {
                let (east, north) = edges.degrees(hysteresis_m);
                edges.bounds.widened(east, north)
            }
            Shape::Gate(Gate { edges, .. }) => edges.bounds.widened(0.0, 0.0),
        };
        split_at_date_line(bounds)
    }
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zone")
            .field("kind", &self.kind())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

const FIRST: Place = Place {
    polygon: 0,
    ring: 0,
    point: 0,
};

fn check_version(version: &Version) -> Result<(), ZoneError> {
    let hysteresis_m = version.hysteresis_m;
    if hysteresis_m != 0.0 && !(HYSTERESIS_MIN_M..=RADIUS_MAX_M).contains(&hysteresis_m) {
        return Err(ZoneFault::HysteresisOutOfRange { hysteresis_m }.everywhere());
    }
    if version.valid_to_us < version.valid_from_us {
        return Err(ZoneFault::ValidityReversed.everywhere());
    }
    Ok(())
}

/// The edges of a line, unwrapped from its first point, its centre between -180 and 180.
fn gate_edges(points: &[LonLat]) -> Vec<(Point, Point)> {
    let mut turns = 0.0;
    let mut previous: Option<f64> = None;
    let mut unwrapped: Vec<(LonLat, f64)> = Vec::with_capacity(points.len());
    for &[longitude, latitude] in points {
        if let Some(from) = previous {
            turns += ((short_way(from, longitude) - (longitude - from)) / 360.0).round() * 360.0;
        }
        previous = Some(longitude);
        unwrapped.push(([longitude, latitude], turns));
    }
    // One addition: away from the date line a longitude stays as it is, to the last bit.
    let placed = |by: f64| {
        unwrapped.iter().map(move |&([longitude, y], turns)| Point {
            x: longitude + (turns + by),
            y,
        })
    };
    let bounds = Bounds::of(placed(0.0));
    let centre = bounds.west.midpoint(bounds.east);
    let to_frame = -((centre + 180.0) / 360.0).floor() * 360.0;
    (placed(to_frame).zip(placed(to_frame).skip(1)))
        .filter(|(start, end)| start != end)
        .collect()
}

fn circle_bounds(circle: &Circle, hysteresis_m: f64) -> Bounds {
    let reach = (circle.radius_m + hysteresis_m) / DEGREE_M;
    let (south, north) = (circle.latitude - reach, circle.latitude + reach);
    let half_width = if south <= -90.0 || north >= 90.0 {
        180.0
    } else {
        let sine = libm::sin(reach.to_radians()) / cos_degrees(circle.latitude);
        libm::asin(sine.min(1.0)).to_degrees()
    };
    let bounds = Bounds {
        west: circle.longitude - half_width,
        south,
        east: circle.longitude + half_width,
        north,
    };
    // Rounding is relative to the size; a billionth of it is far more.
    bounds.widened(half_width * 1e-9, reach * 1e-9)
}

/// A box of any longitudes as one or two boxes of longitudes from -180 to 180.
pub(crate) fn split_at_date_line(bounds: Bounds) -> [Option<Bounds>; 2] {
    if bounds.east - bounds.west >= 360.0 {
        let all = Bounds {
            west: -180.0,
            east: 180.0,
            ..bounds
        };
        return [Some(all), None];
    }
    let turns = ((bounds.west + 180.0) / 360.0).floor() * 360.0;
    let (west, east) = (bounds.west - turns, bounds.east - turns);
    if east < 180.0 {
        let whole = Bounds {
            west,
            east,
            ..bounds
        };
        return [Some(whole), None];
    }
    let before = Bounds {
        west,
        east: 180.0,
        ..bounds
    };
    let after = Bounds {
        west: -180.0,
        east: east - 360.0,
        ..bounds
    };
    [Some(before), Some(after)]
}

//! What is wrong with a zone, and where.

use std::fmt;

/// A point of a zone, by the numbers it has in the geometry, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The polygon of an area; 0 for a gate or a circle.
    pub polygon: usize,
    /// The ring of the polygon, 0 being the outer one; 0 for a gate or a circle.
    pub ring: usize,
    /// The point of the ring or of the gate; 0 for a circle.
    pub point: usize,
}

/// A zone that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZoneError {
    /// What is wrong.
    pub fault: ZoneFault,
    /// Where; none where the whole zone is meant.
    pub place: Option<Place>,
}

/// What is wrong with a zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ZoneFault {
    /// A longitude or latitude that is no finite number in range, in degrees.
    CoordinateOutOfRange {
        /// The longitude.
        longitude: f64,
        /// The latitude.
        latitude: f64,
    },
    /// An area without polygons, or a polygon without rings.
    Empty,
    /// A ring or a gate with too few points.
    TooFewPoints {
        /// How many there are.
        found: usize,
        /// How many there must be.
        min: usize,
    },
    /// More points than a zone may have.
    TooManyPoints {
        /// How many there are.
        found: usize,
    },
    /// The last point of a ring is not its first.
    RingNotClosed,
    /// A ring that goes round a pole: it does not close on a map.
    RingAroundPole,
    /// A ring that encloses nothing.
    NoArea,
    /// Two edges of a ring cross, touch or lie on each other; the place is the start of the later one.
    SelfIntersection {
        /// A point that both have, about.
        longitude: f64,
        /// The same.
        latitude: f64,
        /// The start of the other edge.
        other: Place,
    },
    /// Edges of two rings cross or lie on each other; the place is the start of the later one.
    RingsCross {
        /// A point that both have, about.
        longitude: f64,
        /// The same.
        latitude: f64,
        /// The start of the other edge.
        other: Place,
    },
    /// A hole that is outside of its polygon, or in another hole.
    HoleOutside,
    /// A polygon that lies within another one of the area.
    PolygonInside {
        /// The other polygon.
        other: usize,
    },
    /// Its edges lie across each other's boxes so often that looking at all of them takes too long.
    TooIntricate,
    /// With its band the zone goes all round the earth.
    TooWide,
    /// A gate whose points are all the same.
    GateWithoutLength,
    /// A radius that is not above 0 and at most [`RADIUS_MAX_M`](crate::RADIUS_MAX_M).
    RadiusOutOfRange {
        /// The radius in metres.
        radius_m: f64,
    },
    /// A hysteresis that is neither 0 nor at least [`HYSTERESIS_MIN_M`](crate::HYSTERESIS_MIN_M).
    HysteresisOutOfRange {
        /// The hysteresis in metres.
        hysteresis_m: f64,
    },
    /// A hysteresis that is not below the radius of the circle.
    HysteresisExceedsRadius {
        /// The hysteresis in metres.
        hysteresis_m: f64,
        /// The radius in metres.
        radius_m: f64,
    },
    /// The validity ends before it begins.
    ValidityReversed,
}

impl ZoneFault {
    /// The stable code: names are added, never changed.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::CoordinateOutOfRange { .. } => "coordinate_out_of_range",
            Self::Empty => "empty",
            Self::TooFewPoints { .. } => "too_few_points",
            Self::TooManyPoints { .. } => "too_many_points",
            Self::RingNotClosed => "ring_not_closed",
            Self::RingAroundPole => "ring_around_pole",
            Self::NoArea => "no_area",
            Self::SelfIntersection { .. } => "self_intersection",
            Self::RingsCross { .. } => "rings_cross",
            Self::HoleOutside => "hole_outside",
            Self::PolygonInside { .. } => "polygon_inside",
            Self::TooIntricate => "too_intricate",
            Self::TooWide => "too_wide",
            Self::GateWithoutLength => "gate_without_length",
            Self::RadiusOutOfRange { .. } => "radius_out_of_range",
            Self::HysteresisOutOfRange { .. } => "hysteresis_out_of_range",
            Self::HysteresisExceedsRadius { .. } => "hysteresis_exceeds_radius",
            Self::ValidityReversed => "validity_reversed",
        }
    }

    /// Of those without numbers of their own.
    const fn text(&self) -> &'static str {
        match self {
            Self::Empty => "there is no ring, expected at least one",
            Self::RingNotClosed => {
                "the ring is not closed: expected its last point to be its first"
            }
            Self::RingAroundPole => "the ring goes round a pole: use a circle",
            Self::HoleOutside => "the hole lies outside of its polygon or in another hole",
            Self::TooIntricate => {
                "too many of its edges lie side by side at a slant: expected fewer points"
            }
            Self::TooWide => "the zone with its hysteresis goes all round the earth",
            Self::GateWithoutLength => {
                "all points of the gate are the same: expected two different ones"
            }
            Self::ValidityReversed => "the validity ends before it begins",
            _ => self.code(),
        }
    }

    pub(crate) const fn at(self, polygon: usize, ring: usize, point: usize) -> ZoneError {
        let place = Place {
            polygon,
            ring,
            point,
        };
        ZoneError {
            fault: self,
            place: Some(place),
        }
    }

    pub(crate) const fn everywhere(self) -> ZoneError {
        ZoneError {
            fault: self,
            place: None,
        }
    }
}

/// What was found so far, up to a bound.
pub(crate) struct Faults {
    found: Vec<ZoneError>,
    max: usize,
}

impl Faults {
    pub(crate) const fn up_to(max: usize) -> Self {
        let found = Vec::new();
        Self { found, max }
    }

    /// Notes one more; whether that is enough.
    pub(crate) fn add(&mut self, error: ZoneError) -> bool {
        if !self.is_full() {
            self.found.push(error);
        }
        self.is_full()
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.found.len() >= self.max
    }

    /// # Errors
    /// All of them, where there is any.
    pub(crate) fn none_yet(&mut self) -> Result<(), Vec<ZoneError>> {
        if self.found.is_empty() {
            return Ok(());
        }
        Err(std::mem::take(&mut self.found))
    }
}

impl ZoneError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.fault.code()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            polygon,
            ring,
            point,
        } = self;
        write!(f, "polygon {polygon}, ring {ring}, point {point}")
    }
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)?;
        self.place
            .map_or(Ok(()), |place| write!(f, " (at {place})"))
    }
}

impl fmt::Display for ZoneFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CoordinateOutOfRange {
                longitude,
                latitude,
            } => write!(
                f,
                "longitude {longitude}, latitude {latitude}: expected -180 to 180 and -90 to 90 degrees"
            ),
            Self::TooFewPoints { found, min } => {
                write!(f, "{found} points, expected at least {min}")
            }
            Self::TooManyPoints { found } => {
                write!(f, "{found} points, expected at most {}", crate::POINTS_MAX)
            }
            Self::NoArea => write!(
                f,
                "the ring encloses no area, expected at least {} square metres",
                crate::AREA_MIN_M2
            ),
            Self::SelfIntersection {
                longitude,
                latitude,
                other,
            } => write!(
                f,
                "the ring meets itself near {longitude}, {latitude}: also at {other}"
            ),
            Self::RingsCross {
                longitude,
                latitude,
                other,
            } => write!(
                f,
                "two rings cross near {longitude}, {latitude}: the other at {other}"
            ),
            Self::PolygonInside { other } => write!(f, "the polygon lies within polygon {other}"),
            Self::RadiusOutOfRange { radius_m } => write!(
                f,
                "radius {radius_m} m, expected above 0 and at most {} m",
                crate::RADIUS_MAX_M
            ),
            Self::HysteresisOutOfRange { hysteresis_m } => write!(
                f,
                "hysteresis {hysteresis_m} m, expected 0 or {} m to {} m",
                crate::HYSTERESIS_MIN_M,
                crate::RADIUS_MAX_M
            ),
            Self::HysteresisExceedsRadius {
                hysteresis_m,
                radius_m,
            } => write!(
                f,
                "hysteresis {hysteresis_m} m, expected less than the radius, {radius_m} m"
            ),
            without_numbers => f.write_str(without_numbers.text()),
        }
    }
}

impl std::error::Error for ZoneError {}

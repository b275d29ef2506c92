//! An area: polygons with holes, on a plane of its own.

use static_aabb2d_index::{Control, StaticAABB2DIndex, StaticAABB2DIndexBuilder};

use crate::capsule::{Metres, is_near, near};
use crate::fix::Fix;
use crate::frame::{Frame, Leg};
use crate::path::Path;
use crate::predicate::{Point, crossing, ray_meets};
use crate::sphere::{DEGREE_M, cos_degrees};
use crate::trace::{Course, Piece, Trace};

/// Straight edges in the frame of a zone, found by where they are; of an area or of a gate.
pub(crate) struct Edges {
    pub(crate) list: Vec<(Point, Point)>,
    index: Option<StaticAABB2DIndex<f64>>,
    pub(crate) frame: Frame,
    pub(crate) bounds: Bounds,
    scale: Metres,
}

/// A box in degrees, its longitudes in the frame of a zone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) west: f64,
    pub(crate) south: f64,
    pub(crate) east: f64,
    pub(crate) north: f64,
}

/// Edges up to which looking at all is faster than the index.
const UNINDEXED_MAX: usize = 24;

/// What is added to the band of a path in metres: a path whose end is within the band by
/// [`Area::side_beyond`] meets it, whatever rounding says. So an end outside of all bands is beyond it.
const BAND_SLACK_M: f64 = 1e-6;

/// What is added to boxes in degrees, so that rounding loses nothing: a tenth of a millimetre.
pub(crate) const SLACK_DEGREES: f64 = 1e-9;

impl Bounds {
    pub(crate) const NOWHERE: Self = Self {
        west: f64::INFINITY,
        south: f64::INFINITY,
        east: f64::NEG_INFINITY,
        north: f64::NEG_INFINITY,
    };

    pub(crate) fn of(points: impl IntoIterator<Item = Point>) -> Self {
        points
            .into_iter()
            .fold(Self::NOWHERE, |bounds, point| Self {
                west: bounds.west.min(point.x),
                south: bounds.south.min(point.y),
                east: bounds.east.max(point.x),
                north: bounds.north.max(point.y),
            })
    }

    pub(crate) fn widened(self, east: f64, north: f64) -> Self {
        Self {
            west: self.west - east - SLACK_DEGREES,
            south: self.south - north - SLACK_DEGREES,
            east: self.east + east + SLACK_DEGREES,
            north: self.north + north + SLACK_DEGREES,
        }
    }

    pub(crate) fn holds(&self, other: &Self) -> bool {
        self.west <= other.west
            && other.east <= self.east
            && self.south <= other.south
            && other.north <= self.north
    }

    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.west <= other.east
            && other.west <= self.east
            && self.south <= other.north
            && other.south <= self.north
    }
}

impl Edges {
    /// Edges whose points are in one frame; `None` if there are none.
    pub(crate) fn new(list: Vec<(Point, Point)>) -> Option<Self> {
        let bounds = Bounds::of(list.iter().flat_map(|&(start, end)| [start, end]));
        if list.is_empty() {
            return None;
        }
        let centre = bounds.west.midpoint(bounds.east);
        let scale = Metres {
            x: DEGREE_M * cos_degrees(bounds.south.midpoint(bounds.north)),
            y: DEGREE_M,
        };
        let index = (list.len() > UNINDEXED_MAX)
            .then(|| index_of(list.iter().map(|&(start, end)| Bounds::of([start, end]))))
            .flatten();
        Some(Self {
            list,
            index,
            frame: Frame::around(centre),
            bounds,
            scale,
        })
    }

    /// How many degrees a distance on the plane is, to the east and to the north.
    pub(crate) fn degrees(&self, distance_m: f64) -> (f64, f64) {
        (distance_m / self.scale.x, distance_m / self.scale.y)
    }

    pub(crate) fn metres(&self, point: Point) -> Metres {
        // Relative to a corner of the zone, so that nothing cancels.
        Metres {
            x: (point.x - self.bounds.west) * self.scale.x,
            y: (point.y - self.bounds.south) * self.scale.y,
        }
    }

    /// Calls `visit` for every edge whose box meets `bounds`, until it is true.
    pub(crate) fn any(
        &self,
        bounds: &Bounds,
        stack: &mut Vec<usize>,
        mut visit: impl FnMut(usize, Point, Point) -> bool,
    ) -> bool {
        let Some(index) = &self.index else {
            return (self.list.iter().enumerate()).any(|(at, &(start, end))| {
                bounds.meets(&Bounds::of([start, end])) && visit(at, start, end)
            });
        };
        let mut visitor = |at: usize| match self.list.get(at) {
            Some(&(start, end)) if visit(at, start, end) => Control::Break(()),
            _ => Control::Continue,
        };
        let found = index.visit_query_with_stack(
            bounds.west,
            bounds.south,
            bounds.east,
            bounds.north,
            &mut visitor,
            stack,
        );
        matches!(found, Control::Break(()))
    }

    /// Whether a point is within the rings: the ray to the east meets an odd number of edges.
    pub(crate) fn ring_holds(&self, point: Point, stack: &mut Vec<usize>) -> bool {
        let ray = Bounds {
            west: point.x,
            south: point.y,
            east: self.bounds.east,
            north: point.y,
        };
        if !self.bounds.meets(&ray) {
            return false;
        }
        let mut inside = false;
        self.any(&ray, stack, |_, start, end| {
            inside ^= ray_meets(start, end, point);
            false
        });
        inside
    }

    /// Collects the crossings of the path, settled, and the parts of it that are within the distance.
    pub(crate) fn meet(&self, path: &Path<'_>, distance_m: f64, trace: &mut Trace) {
        let (east, north) = self.degrees(distance_m);
        let mut stack = std::mem::take(&mut trace.stack);
        let (once, again): (Leg, Option<Leg>) = self.frame.copies(path);
        for (from, to) in std::iter::once(once).chain(again) {
            let bounds = Bounds::of([from, to]).widened(east, north);
            if !self.bounds.meets(&bounds) {
                continue;
            }
            let place = self.metres(from);
            let way = self.metres(to).minus(place);
            self.any(&bounds, &mut stack, |_, start, end| {
                let (start_m, end_m) = (self.metres(start), self.metres(end));
                if let Some(hit) = crossing(from, to, start, end) {
                    let edge = end_m.minus(start_m);
                    let across_m = (edge.cross(way) / edge.length()).abs();
                    trace.cross(path, hit.s, across_m, hit.from_left);
                }
                if distance_m > 0.0 {
                    let reach_m = distance_m + BAND_SLACK_M;
                    (trace.bands).extend(near(place, way, start_m, end_m, reach_m));
                }
                false
            });
        }
        trace.stack = stack;
        trace.settle_crossings();
        trace.bands.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
}

/// An index of boxes; none if it cannot be built, for then all are looked at.
pub(crate) fn index_of(
    boxes: impl ExactSizeIterator<Item = Bounds>,
) -> Option<StaticAABB2DIndex<f64>> {
    let mut builder = StaticAABB2DIndexBuilder::new(boxes.len());
    for bounds in boxes {
        builder.add(bounds.west, bounds.south, bounds.east, bounds.north);
    }
    builder.build().ok()
}

/// Polygons with holes. Invariant: the inside is on the left of every edge.
pub(crate) struct Area {
    pub(crate) edges: Edges,
}

impl Area {
    pub(crate) fn holds(&self, fix: &Fix, stack: &mut Vec<usize>) -> bool {
        let point = self.edges.frame.point(fix.longitude, fix.latitude);
        self.edges.ring_holds(point, stack)
    }

    /// The side of a fix that is beyond the band; none within it.
    pub(crate) fn side_beyond(
        &self,
        fix: &Fix,
        hysteresis_m: f64,
        stack: &mut Vec<usize>,
    ) -> Option<bool> {
        let point = self.edges.frame.point(fix.longitude, fix.latitude);
        let in_band = hysteresis_m > 0.0 && {
            let (east, north) = self.edges.degrees(hysteresis_m);
            let bounds = Bounds::of([point]).widened(east, north);
            let place = self.edges.metres(point);
            self.edges.bounds.meets(&bounds)
                && self.edges.any(&bounds, stack, |_, start, end| {
                    let (start, end) = (self.edges.metres(start), self.edges.metres(end));
                    is_near(place, start, end, hysteresis_m)
                })
        };
        (!in_band).then(|| self.edges.ring_holds(point, stack))
    }

    /// Crossings and pieces of the path, in order. `start` is the side of its start, if it is known.
    pub(crate) fn trace(
        &self,
        path: &Path<'_>,
        hysteresis_m: f64,
        start: Option<bool>,
        trace: &mut Trace,
    ) -> Course {
        self.edges.meet(path, hysteresis_m, trace);
        if trace.crossings.is_empty() && trace.bands.is_empty() {
            return Course::Unbroken;
        }
        if hysteresis_m > 0.0 {
            return self.pieces_between_bands(path, start, trace);
        }
        let inside = start.unwrap_or_else(|| self.holds(path.from, &mut trace.stack));
        trace.piece(0.0, inside);
        trace.pieces_at_crossings();
        Course::Pieces
    }

    /// What is left of the path without the bands; each piece has one side, that of its middle.
    fn pieces_between_bands(
        &self,
        path: &Path<'_>,
        start: Option<bool>,
        trace: &mut Trace,
    ) -> Course {
        let Trace {
            bands,
            stack,
            pieces,
            ..
        } = trace;
        let last_near = bands.iter().fold(0.0, |last: f64, band| last.max(band.1));
        let mut free_from = 0.0;
        for (near_from, near_to) in bands.iter().copied().chain([(1.0, 1.0)]) {
            if near_from > free_from {
                let side = || {
                    let (longitude, latitude) = path.place(near_from.midpoint(free_from));
                    let middle = self.edges.frame.point(longitude, latitude);
                    self.edges.ring_holds(middle, stack)
                };
                let inside = start.filter(|_| free_from == 0.0).unwrap_or_else(side);
                pieces.push(Piece {
                    s: free_from,
                    inside,
                });
            }
            free_from = near_to.max(free_from);
        }
        if last_near < 1.0 {
            Course::PiecesToTheEnd
        } else {
            Course::Pieces
        }
    }
}

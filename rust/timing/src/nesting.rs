//! Holes lie in their polygon and not in each other, polygons lie apart.

use crate::area::{Bounds, Edges, index_of};
use crate::area_check::is_in_box;
use crate::error::{ZoneError, ZoneFault};
use crate::predicate::{Point, orient};

/// A ring, whole, whatever of it is a border.
pub(crate) struct Outline {
    polygon: usize,
    /// 0 for the outer ring, a hole otherwise.
    ring: usize,
    edges: Edges,
}

/// Where the points of a ring lie that are not on another one.
#[derive(Clone, Copy, Default)]
struct Sides {
    inside: bool,
    outside: bool,
}

impl Outline {
    pub(crate) fn new(polygon: usize, ring: usize, edges: Vec<(Point, Point)>) -> Option<Self> {
        Edges::new(edges).map(|edges| Self {
            polygon,
            ring,
            edges,
        })
    }

    const fn is_hole(&self) -> bool {
        self.ring > 0
    }

    /// Where this ring lies, seen from another that it does not cross but may touch: its points, and
    /// the middles of its edges.
    fn sides(&self, of: &Self) -> Sides {
        let (bounds, others) = (&self.edges.bounds, &of.edges.bounds);
        let sticks_out = bounds.west < others.west
            || bounds.east > others.east
            || bounds.south < others.south
            || bounds.north > others.north;
        let mut sides = Sides {
            inside: false,
            outside: sticks_out,
        };
        let (mut own_stack, mut stack) = (Vec::new(), Vec::new());
        self.edges.any(others, &mut own_stack, |_, start, end| {
            let middle = Point {
                x: start.x.midpoint(end.x),
                y: start.y.midpoint(end.y),
            };
            for point in [start, middle] {
                let on_border = of
                    .edges
                    .any(&Bounds::of([point]), &mut stack, |_, start, end| {
                        orient(start, end, point) == 0.0 && is_in_box(point, (start, end))
                    });
                if !on_border {
                    let inside = of.edges.ring_holds(point, &mut stack);
                    sides.inside |= inside;
                    sides.outside |= !inside;
                }
            }
            sides.inside && sides.outside
        });
        sides
    }
}

/// Rings whose edges do not cross or lie on each other, all of an area.
pub(crate) fn check_nesting(outlines: &[Outline]) -> Result<(), ZoneError> {
    let index = index_of(outlines.iter().map(|outline| outline.edges.bounds));
    let mut outer = None;
    for (number, outline) in outlines.iter().enumerate() {
        if !outline.is_hole() {
            outer = Some(outline);
        } else if outer.is_none_or(|outer| !is_hole_of(outline, outer)) {
            return Err(hole_outside(outline));
        }
        let bounds = &outline.edges.bounds;
        let near = index.as_ref().map_or_else(
            || (0..outlines.len()).collect(),
            |index| index.query(bounds.west, bounds.south, bounds.east, bounds.north),
        );
        for other in near.into_iter().filter(|&other| other < number) {
            if let Some(other) = outlines.get(other) {
                check_pair(outline, other, outlines)?;
            }
        }
    }
    Ok(())
}

fn is_hole_of(hole: &Outline, outer: &Outline) -> bool {
    let sides = hole.sides(outer);
    sides.inside && !sides.outside && !outer.sides(hole).inside
}

fn hole_outside(hole: &Outline) -> ZoneError {
    ZoneFault::HoleOutside.at(hole.polygon, hole.ring, 0)
}

fn check_pair(one: &Outline, other: &Outline, outlines: &[Outline]) -> Result<(), ZoneError> {
    match (one.is_hole(), other.is_hole()) {
        (true, true)
            if one.polygon == other.polygon
                && (one.sides(other).inside || other.sides(one).inside) =>
        {
            return Err(hole_outside(one));
        }
        (false, false) => {
            for (inner, outer) in [(one, other), (other, one)] {
                let is_lake = |hole: &Outline| {
                    hole.polygon == outer.polygon && hole.is_hole() && !inner.sides(hole).outside
                };
                if inner.sides(outer).inside && !outlines.iter().any(is_lake) {
                    let other = outer.polygon;
                    return Err(ZoneFault::PolygonInside { other }.at(inner.polygon, 0, 0));
                }
            }
        }
        _ => {}
    }
    Ok(())
}

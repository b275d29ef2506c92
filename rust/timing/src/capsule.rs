//! Which part of a straight path is within a distance of an edge: a line against a capsule.

/// A point or a difference of points on the plane of a zone, in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Metres {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

impl Metres {
    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            x: self.x - other.x,
            y: self.y - other.y,
        }
    }

    fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y
    }

    pub(crate) fn cross(self, other: Self) -> f64 {
        self.x * other.y - self.y * other.x
    }

    pub(crate) fn length(self) -> f64 {
        self.dot(self).sqrt()
    }
}

/// Whether `point` is at most `distance_m` from the edge.
pub(crate) fn is_near(point: Metres, start: Metres, end: Metres, distance_m: f64) -> bool {
    let edge = end.minus(start);
    // No edge is without length: repeated points are one point.
    let along = (point.minus(start).dot(edge) / edge.dot(edge)).clamp(0.0, 1.0);
    let foot = Metres {
        x: start.x + along * edge.x,
        y: start.y + along * edge.y,
    };
    let off = point.minus(foot);
    off.dot(off) <= distance_m * distance_m
}

/// The part of the path from `from` over `way` that is at most `distance_m` from the edge.
///
/// The capsule is convex, so it is one interval: from the first to the last of what the path has in
/// the two discs and the rectangle between them.
pub(crate) fn near(
    from: Metres,
    way: Metres,
    start: Metres,
    end: Metres,
    distance_m: f64,
) -> Option<(f64, f64)> {
    let parts = [
        in_disc(from, way, start, distance_m),
        in_disc(from, way, end, distance_m),
        in_rectangle(from, way, start, end, distance_m),
    ];
    parts
        .into_iter()
        .flatten()
        .reduce(|(first, last), (from, to)| (first.min(from), last.max(to)))
}

fn in_disc(from: Metres, way: Metres, centre: Metres, radius_m: f64) -> Option<(f64, f64)> {
    let offset = from.minus(centre);
    let way_squared = way.dot(way);
    if way_squared == 0.0 {
        return (offset.dot(offset) <= radius_m * radius_m).then_some((0.0, 1.0));
    }
    // The distance of the line from the centre, squared, is (way x offset)^2 / way^2: no cancellation.
    let off = way.cross(offset);
    let half_chord_squared = way_squared * radius_m * radius_m - off * off;
    if half_chord_squared < 0.0 {
        return None;
    }
    let middle = -way.dot(offset) / way_squared;
    let half = half_chord_squared.sqrt() / way_squared;
    clipped(middle - half, middle + half)
}

fn in_rectangle(
    from: Metres,
    way: Metres,
    start: Metres,
    end: Metres,
    half_width_m: f64,
) -> Option<(f64, f64)> {
    let edge = end.minus(start);
    let length = edge.length();
    let offset = from.minus(start);
    let along = between(offset.dot(edge), way.dot(edge), 0.0, length * length)?;
    let reach = half_width_m * length;
    let across = between(edge.cross(offset), edge.cross(way), -reach, reach)?;
    clipped(along.0.max(across.0), along.1.min(across.1))
}

/// Where `at + s * rate` lies between `low` and `high`.
fn between(at: f64, rate: f64, low: f64, high: f64) -> Option<(f64, f64)> {
    if rate == 0.0 {
        let everywhere = (f64::NEG_INFINITY, f64::INFINITY);
        return (low <= at && at <= high).then_some(everywhere);
    }
    let (a, b) = ((low - at) / rate, (high - at) / rate);
    Some((a.min(b), a.max(b)))
}

fn clipped(from: f64, to: f64) -> Option<(f64, f64)> {
    let (from, to) = (from.max(0.0), to.min(1.0));
    (from <= to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Metres = Metres { x: 0.0, y: 0.0 };
    const END: Metres = Metres { x: 10.0, y: 0.0 };

    fn metres(x: f64, y: f64) -> Metres {
        Metres { x, y }
    }

    #[test]
    fn a_path_straight_across_is_near_for_twice_the_distance() {
        let found = near(metres(4.0, -10.0), metres(0.0, 20.0), START, END, 2.0);
        assert_eq!(found, Some((0.4, 0.6)));
    }

    #[test]
    fn a_path_along_the_edge_ends_at_the_round_caps() {
        let found = near(metres(-15.0, 0.0), metres(40.0, 0.0), START, END, 5.0);
        assert_eq!(found, Some((0.25, 0.75)));
    }

    #[test]
    fn a_path_past_the_cap_meets_the_disc_only() {
        // 3-4-5: at x = 13 the disc of radius 5 around (10, 0) reaches y = -4 to 4.
        let found = near(metres(13.0, -8.0), metres(0.0, 16.0), START, END, 5.0);
        assert_eq!(found, Some((0.25, 0.75)));
        assert_eq!(
            near(metres(15.5, -8.0), metres(0.0, 16.0), START, END, 5.0),
            None
        );
    }

    #[test]
    fn who_stands_is_near_all_the_time_or_never() {
        let still = metres(0.0, 0.0);
        assert_eq!(
            near(metres(5.0, 2.0), still, START, END, 2.0),
            Some((0.0, 1.0))
        );
        assert_eq!(near(metres(5.0, 2.1), still, START, END, 2.0), None);
        assert!(is_near(metres(5.0, 2.0), START, END, 2.0));
        assert!(!is_near(metres(5.0, 2.1), START, END, 2.0));
        assert!(is_near(metres(13.0, 4.0), START, END, 5.0));
        assert!(!is_near(metres(14.0, 4.0), START, END, 5.0));
    }
}

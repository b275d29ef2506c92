//! Against a slow reference that knows nothing of edges, capsules and halving: it walks the path in
//! small steps, and at each asks how deep inside it is.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "times of a test are far below 2^53 microseconds"
)]

mod support;

use support::random::{Outcome, Random, check};
use support::{SECOND, index, ring};
use timing::{Cause, Fix, Kind, Limits, LonLat, Row, Version, Zone};

/// Steps of a segment.
const STEPS: i32 = 1_500;

/// What the reference cannot see, in metres: a step of the longest segment, and rounding.
const BLIND_M: f64 = 0.5;

const LIMITS: (i64, f64) = (60 * SECOND, 100.0);

/// A zone in metres around its middle.
enum Shape {
    /// Rings, the first one the outer.
    Area(Vec<Vec<[f64; 2]>>),
    Circle {
        centre: LonLat,
        radius_m: f64,
    },
}

/// A plane around a place.
#[derive(Clone, Copy)]
struct Plane {
    middle: LonLat,
    east_m: f64,
    north_m: f64,
}

impl Plane {
    fn at(middle: LonLat) -> Self {
        let north_m = 6_371_008.8 * std::f64::consts::PI / 180.0;
        let east_m = north_m * middle[1].to_radians().cos();
        Self {
            middle,
            east_m,
            north_m,
        }
    }

    fn place(&self, [x, y]: [f64; 2]) -> LonLat {
        let longitude = self.middle[0] + x / self.east_m;
        let turned = if longitude > 180.0 {
            longitude - 360.0
        } else if longitude < -180.0 {
            longitude + 360.0
        } else {
            longitude
        };
        [turned, self.middle[1] + y / self.north_m]
    }
}

fn outline(random: &mut Random, smallest: f64, largest: f64) -> Vec<[f64; 2]> {
    let count = random.whole(3, 11);
    (0..count)
        .map(|n| {
            let turn = (f64::from(n) + random.between(0.0, 0.8)) / f64::from(count);
            let radius = random.between(smallest, largest);
            let (sin, cos) = (turn * std::f64::consts::TAU).sin_cos();
            [radius * cos, radius * sin]
        })
        .collect()
}

/// How deep inside a point is, in metres; outside it is negative.
fn depth_m(shape: &Shape, plane: &Plane, [x, y]: [f64; 2]) -> f64 {
    match shape {
        Shape::Circle { centre, radius_m } => radius_m - angle_m(*centre, unturned(plane, [x, y])),
        Shape::Area(rings) => {
            let mut nearest = f64::INFINITY;
            let mut turns = 0.0;
            for (n, ring) in rings.iter().enumerate() {
                let mut ring_turns = 0.0;
                for at in 0..ring.len() {
                    let [a, b] = [ring[at], ring[(at + 1) % ring.len()]];
                    let (from, to) = ([a[0] - x, a[1] - y], [b[0] - x, b[1] - y]);
                    nearest = nearest.min(to_edge_m(from, to));
                    let cross = from[0] * to[1] - from[1] * to[0];
                    ring_turns += cross.atan2(from[0] * to[0] + from[1] * to[1]);
                }
                let once = (ring_turns.abs() / std::f64::consts::TAU).round();
                turns += if n == 0 { once } else { -once };
            }
            if turns > 0.5 { nearest } else { -nearest }
        }
    }
}

fn unturned(plane: &Plane, [x, y]: [f64; 2]) -> LonLat {
    [
        plane.middle[0] + x / plane.east_m,
        plane.middle[1] + y / plane.north_m,
    ]
}

/// From the origin to an edge: by the sides and the area of the triangle.
fn to_edge_m(from: [f64; 2], to: [f64; 2]) -> f64 {
    let square = |[x, y]: [f64; 2]| x * x + y * y;
    let base = square([to[0] - from[0], to[1] - from[1]]);
    let (a, b) = (square(from), square(to));
    if a + base <= b {
        a.sqrt()
    } else if b + base <= a {
        b.sqrt()
    } else {
        (from[0] * to[1] - from[1] * to[0]).abs() / base.sqrt()
    }
}

/// The angle of two directions, as vectors, on the earth.
fn angle_m(a: LonLat, b: LonLat) -> f64 {
    let vector = |[longitude, latitude]: LonLat| {
        let (east, north) = (longitude.to_radians(), latitude.to_radians());
        [
            north.cos() * east.cos(),
            north.cos() * east.sin(),
            north.sin(),
        ]
    };
    let (a, b) = (vector(a), vector(b));
    let cross = [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ];
    let sine = cross.iter().map(|x| x * x).sum::<f64>().sqrt();
    let cosine: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    6_371_008.8 * sine.atan2(cosine)
}

/// Where a device was, in metres, and when.
type Track = Vec<(i64, [f64; 2])>;

/// A row of the reference: end, kind, when, cause.
type Told = (i64, Kind, f64, Cause);

/// `depths` of every step of every segment; `band_m` is the depth that confirms.
fn told(
    track: &Track,
    depths: &[Vec<f64>],
    shift: f64,
    band_m: f64,
    way_m: &dyn Fn([f64; 2], [f64; 2]) -> f64,
) -> Vec<Told> {
    let mut rows = Vec::new();
    let (first_us, _) = track[0];
    let mut inside = depths.first().is_some_and(|steps| steps[0] + shift > 0.0);
    if inside {
        rows.push((first_us, Kind::Initial, first_us as f64, Cause::Ok));
    }
    for (ends, steps) in track.windows(2).zip(depths) {
        let [(t0, from), (t1, to)] = [ends[0], ends[1]];
        let duration = (t1 - t0) as f64;
        let way = way_m(from, to);
        let cause = if way / (duration / 1e6) > LIMITS.1 {
            Cause::Jump
        } else if t1 - t0 > LIMITS.0 {
            Cause::Gap
        } else {
            Cause::Ok
        };
        let moment = |step: f64| t0 as f64 + step / f64::from(STEPS) * duration;
        let mut border = None;
        for (step, &depth) in (0..).zip(steps) {
            let depth = depth + shift;
            if step > 0 {
                let before = steps[usize::try_from(step - 1).unwrap()] + shift;
                if (before > 0.0) != (depth > 0.0) {
                    border = Some(moment(f64::from(step - 1) + before / (before - depth)));
                }
            }
            let judged = cause == Cause::Ok || step == STEPS;
            let turns = if inside {
                depth < -band_m
            } else {
                depth > band_m
            };
            if judged && turns {
                inside = !inside;
                let without = if cause == Cause::Ok {
                    moment(0.0)
                } else {
                    moment(f64::from(STEPS))
                };
                let kind = if inside { Kind::Enter } else { Kind::Exit };
                rows.push((t1, kind, border.unwrap_or(without), cause));
            }
        }
    }
    rows
}

fn agree(rows: &[Row], variants: &[Vec<Told>], steps_us: &dyn Fn(i64) -> f64) -> bool {
    rows.iter().enumerate().all(|(n, row)| {
        let times = || variants.iter().map(|told| told[n].2);
        let slack = steps_us(row.end_t_us) + 1.0;
        let low = times().fold(f64::INFINITY, f64::min) - slack;
        let high = times().fold(f64::NEG_INFINITY, f64::max) + slack;
        let (end, kind, _, cause) = variants[0][n];
        (row.end_t_us, row.kind, row.cause) == (end, kind, cause)
            && (low..=high).contains(&(row.at_us as f64))
    })
}

fn random_shape(random: &mut Random, plane: &Plane, version: Version) -> Option<(Shape, Zone)> {
    if random.chance(40) {
        let at = [random.between(-30.0, 30.0), random.between(-30.0, 30.0)];
        let centre = plane.place(at);
        let radius_m = random.between(20.0, 120.0);
        let zone = Zone::circle(version, centre, radius_m).ok()?;
        return Some((Shape::Circle { centre, radius_m }, zone));
    }
    let mut rings = vec![outline(random, 40.0, 140.0)];
    if random.chance(30) {
        rings.push(outline(random, 8.0, 25.0));
    }
    let written: Vec<Vec<LonLat>> = rings
        .iter()
        .map(|points| {
            ring(
                &points
                    .iter()
                    .map(|&point| plane.place(point))
                    .collect::<Vec<_>>(),
            )
        })
        .collect();
    let zone = Zone::area(version, &[written]).ok()?;
    Some((Shape::Area(rings), zone))
}

/// Some of the fixes lie near a corner, where a band is round.
fn random_track(random: &mut Random, corners: &[[f64; 2]], near_m: f64) -> Track {
    let mut t_us = 1_700_000_000 * SECOND;
    let speed = random.of(&[15.0, 60.0, 95.0, 140.0]);
    let mut place = [random.between(-150.0, 150.0), random.between(-150.0, 150.0)];
    (0..random.whole(2, 7))
        .map(|_| {
            let here = (t_us, place);
            let seconds = if random.chance(8) {
                random.between(50.0, 90.0)
            } else {
                random.between(0.5, 5.0)
            };
            t_us += (seconds * 1e6).round() as i64;
            let way = (speed * random.between(0.2, 1.0) * seconds).min(400.0);
            let (sin, cos) = random.between(0.0, std::f64::consts::TAU).sin_cos();
            // Back towards the zone, if it is far.
            let far = (place[0].powi(2) + place[1].powi(2)).sqrt() > 200.0;
            let to = [place[0] + way * cos, place[1] + way * sin];
            let corner = random.below(corners.len().max(1));
            place = if far {
                [to[0] * 0.3, to[1] * 0.3]
            } else if let Some(corner) = corners.get(corner).filter(|_| random.chance(25)) {
                [corner[0] + near_m * cos, corner[1] + near_m * sin]
            } else {
                to
            };
            here
        })
        .collect()
}

/// The depth of every step of every segment.
fn depths_of(track: &Track, depth_m: impl Fn([f64; 2]) -> f64) -> Vec<Vec<f64>> {
    let steps = |ends: &[(i64, [f64; 2])]| {
        let [(_, from), (_, to)] = [ends[0], ends[1]];
        let at = |step: i32| {
            let s = f64::from(step) / f64::from(STEPS);
            [
                from[0] + s * (to[0] - from[0]),
                from[1] + s * (to[1] - from[1]),
            ]
        };
        (0..=STEPS).map(|step| depth_m(at(step))).collect()
    };
    track.windows(2).map(steps).collect()
}

/// The rows with the border and the band moved by `blind_m`; none if that makes another story.
fn tell(
    track: &Track,
    depths: &[Vec<f64>],
    hysteresis_m: f64,
    blind_m: f64,
    way_m: &dyn Fn([f64; 2], [f64; 2]) -> f64,
) -> Option<Vec<Vec<Told>>> {
    let mut variants = Vec::new();
    for shift in [0.0, -blind_m, blind_m] {
        for band in [0.0, -blind_m, blind_m] {
            let depth = if hysteresis_m > 0.0 {
                hysteresis_m + band
            } else {
                0.0
            };
            variants.push(told(track, depths, shift, depth, way_m));
        }
    }
    let kinds = |rows: &[Told]| -> Vec<_> { rows.iter().map(|row| (row.0, row.1)).collect() };
    let same = |told: &Vec<Told>| kinds(told) == kinds(&variants[0]);
    variants.iter().all(same).then_some(variants)
}

fn compare(track: &Track, zone: Zone, fixes: &[Fix], variants: &[Vec<Told>]) -> Outcome {
    let limits = Limits::new(LIMITS.0, LIMITS.1).unwrap();
    let mut rows = Vec::new();
    index([zone]).derive(&limits, None, fixes, &mut rows);
    let step_us = |end_us: i64| {
        let end = track.iter().position(|&(t, _)| t == end_us).unwrap_or(0);
        let start = track[end.saturating_sub(1)].0;
        2.0 * (end_us - start) as f64 / f64::from(STEPS)
    };
    if rows.len() == variants[0].len() && agree(&rows, variants, &step_us) {
        Outcome::Right
    } else {
        Outcome::Wrong(format!("{track:?}: {rows:?}, expected {:?}", variants[0]))
    }
}

#[test]
fn rows_are_those_of_the_slow_reference() {
    check(2_000, 15, |random| {
        let middles = [
            [0.0, 0.0],
            [13.4, 52.5],
            [180.0, -40.0],
            [-179.9999, 10.0],
            [25.0, 70.0],
        ];
        let plane = Plane::at(random.of(&middles));
        let hysteresis_m = random.of(&[0.0, 3.0, 8.0]);
        let version = support::version(1, hysteresis_m);
        let Some((shape, zone)) = random_shape(random, &plane, version) else {
            return Outcome::Undecided;
        };
        let corners = match &shape {
            Shape::Area(rings) => rings.concat(),
            Shape::Circle { .. } => Vec::new(),
        };
        let near_m = hysteresis_m.max(3.0) * random.of(&[0.7, 1.3]);
        let track = random_track(random, &corners, near_m);
        let depths = depths_of(&track, |at| depth_m(&shape, &plane, at));
        let way_m = |from: [f64; 2], to: [f64; 2]| {
            ((to[0] - from[0]).powi(2) + (to[1] - from[1]).powi(2)).sqrt()
        };
        let Some(variants) = tell(&track, &depths, hysteresis_m, BLIND_M, &way_m) else {
            return Outcome::Undecided;
        };
        let placed = |&(t, at): &(i64, [f64; 2])| support::fix(t, plane.place(at));
        let fixes: Vec<Fix> = track.iter().map(placed).collect();
        compare(&track, zone, &fixes, &variants)
    });
}

/// Circles of 1 to 200 km anywhere, near the poles too, and paths of up to 6 km a segment: there a
/// straight line on the map is far from straight on the earth.
#[test]
fn large_circles_are_those_of_the_slow_reference() {
    check(1_500, 10, |random| {
        let latitude = random.of(&[0.0, 45.0, 75.0, 85.0, 89.0, 89.95, 90.0]);
        let centre = [
            random.between(-180.0, 180.0),
            latitude * random.of(&[1.0, -1.0]),
        ];
        let radius_m = random.of(&[1_000.0, 5_000.0, 50_000.0, 200_000.0]);
        let hysteresis_m = random.of(&[0.0, 100.0]);
        let Ok(zone) = Zone::circle(support::version(1, hysteresis_m), centre, radius_m) else {
            return Outcome::Undecided;
        };
        // Start on the border, about, and wander.
        let (sin, cos) = random.between(0.0, std::f64::consts::TAU).sin_cos();
        let out = radius_m * random.between(0.95, 1.05) / 111_195.0;
        let narrower = (centre[1] + out * sin).to_radians().cos().abs().max(1e-4);
        let mut place = [centre[0] + out * cos / narrower, centre[1] + out * sin];
        let mut t_us = 0;
        let track: Track = (0..5)
            .map(|_| {
                place[1] = place[1].clamp(-90.0, 90.0);
                let here = (t_us, place);
                t_us += 60 * SECOND;
                let (sin, cos) = random.between(0.0, std::f64::consts::TAU).sin_cos();
                let way = random.between(0.0, 6_000.0) / 111_195.0;
                let narrower = place[1].to_radians().cos().max(1e-3);
                place = [place[0] + way * cos / narrower, place[1] + way * sin];
                here
            })
            .collect();
        let depths = depths_of(&track, |at| radius_m - angle_m(centre, at));
        // A step is 4 m at most where the path is no jump.
        let Some(variants) = tell(&track, &depths, hysteresis_m, 8.0, &angle_m) else {
            return Outcome::Undecided;
        };
        let turned = |longitude: f64| (longitude + 180.0).rem_euclid(360.0) - 180.0;
        let placed = |&(t, [x, y]): &(i64, [f64; 2])| support::fix(t, [turned(x), y]);
        let fixes: Vec<Fix> = track.iter().map(placed).collect();
        if track
            .windows(2)
            .any(|ends| (ends[1].1[0] - ends[0].1[0]).abs() >= 180.0)
        {
            // Not the short way round.
            return Outcome::Undecided;
        }
        compare(&track, zone, &fixes, &variants)
    });
}

//! What is refused, by which code, and where.

mod support;

use support::{at, corners, ring, version};
use timing::{
    GateDirection, IndexError, Limits, LonLat, POINTS_MAX, Place, Version, Zone, ZoneError,
    ZoneFault, ZoneIndex, ZoneKind,
};

fn area(rings: &[Vec<LonLat>]) -> Result<Zone, ZoneError> {
    Zone::area(version(1, 0.0), &[rings.to_vec()])
}

fn polygons(polygons: &[Vec<Vec<LonLat>>]) -> Result<Zone, ZoneError> {
    Zone::area(version(1, 0.0), polygons)
}

/// Code, and polygon, ring and point.
fn refused(result: Result<Zone, ZoneError>) -> (&'static str, Option<(usize, usize, usize)>) {
    let error = result.unwrap_err();
    let place = |Place {
                     polygon,
                     ring,
                     point,
                 }| (polygon, ring, point);
    (error.code(), error.place.map(place))
}

fn line(points: &[(f64, f64)]) -> Vec<LonLat> {
    ring(&points.iter().map(|&(x, y)| at(x, y)).collect::<Vec<_>>())
}

#[test]
fn rings_are_closed_and_have_four_points() {
    let mut open = corners(0.0, 0.0, 10.0, 10.0);
    open.pop();
    assert_eq!(refused(area(&[open])), ("ring_not_closed", Some((0, 0, 3))));
    let thin = vec![at(0.0, 0.0), at(1.0, 0.0), at(0.0, 0.0)];
    assert_eq!(refused(area(&[thin])), ("too_few_points", Some((0, 0, 0))));
    let good = corners(0.0, 0.0, 100.0, 100.0);
    assert_eq!(
        refused(area(&[good, vec![]])),
        ("too_few_points", Some((0, 1, 0)))
    );
    assert_eq!(refused(area(&[])), ("empty", Some((0, 0, 0))));
    assert_eq!(refused(polygons(&[])), ("empty", None));
}

#[test]
fn coordinates_are_on_earth() {
    for bad in [f64::NAN, f64::INFINITY, 180.000_001, -180.000_001] {
        let mut points = corners(0.0, 0.0, 10.0, 10.0);
        points[2][0] = bad;
        assert_eq!(
            refused(area(&[points])),
            ("coordinate_out_of_range", Some((0, 0, 2)))
        );
    }
    let gate = [at(0.0, 0.0), [0.0, 90.5]];
    let gate = Zone::gate(version(1, 0.0), &gate, GateDirection::Both);
    assert_eq!(refused(gate), ("coordinate_out_of_range", Some((0, 0, 1))));
    let circle = Zone::circle(version(1, 0.0), [0.0, -90.5], 10.0);
    assert_eq!(
        refused(circle),
        ("coordinate_out_of_range", Some((0, 0, 0)))
    );
}

#[test]
fn a_ring_encloses_something() {
    let straight = line(&[(0.0, 0.0), (10.0, 0.0), (20.0, 0.0), (5.0, 0.0)]);
    assert_eq!(refused(area(&[straight])), ("no_area", Some((0, 0, 0))));
    let point = vec![at(1.0, 1.0); 5];
    assert_eq!(refused(area(&[point])), ("no_area", Some((0, 0, 0))));
    let back_and_forth = line(&[(0.0, 0.0), (10.0, 5.0), (0.0, 0.0), (10.0, 5.0)]);
    assert_eq!(
        refused(area(&[back_and_forth])),
        ("no_area", Some((0, 0, 0)))
    );
    let sliver = line(&[(0.0, 0.0), (0.01, 0.0), (0.0, 0.01)]);
    assert_eq!(refused(area(&[sliver])), ("no_area", Some((0, 0, 0))));
    // The whole world has its western and eastern edge in one place.
    let world = ring(&[
        [-180.0, -60.0],
        [180.0, -60.0],
        [180.0, 60.0],
        [-180.0, 60.0],
    ]);
    assert_eq!(refused(area(&[world])), ("no_area", Some((0, 0, 0))));
}

#[test]
fn a_ring_does_not_meet_itself() {
    let bow_tie = line(&[(0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 10.0)]);
    let error = area(&[bow_tie]).unwrap_err();
    assert_eq!(
        error.place,
        Some(Place {
            polygon: 0,
            ring: 0,
            point: 2
        })
    );
    let ZoneFault::SelfIntersection {
        longitude,
        latitude,
        other,
    } = error.fault
    else {
        panic!("{error}");
    };
    assert_eq!(
        other,
        Place {
            polygon: 0,
            ring: 0,
            point: 0
        }
    );
    let [x, y] = at(5.0, 5.0);
    assert!((longitude - x).abs() < 1e-12 && (latitude - y).abs() < 1e-12);
    // A joint on another edge, a joint on another joint, a spike, an edge on an edge.
    for points in [
        vec![
            (0.0, 0.0),
            (20.0, 0.0),
            (20.0, 10.0),
            (10.0, 0.0),
            (0.0, 10.0),
        ],
        vec![
            (0.0, 0.0),
            (10.0, 5.0),
            (20.0, 0.0),
            (20.0, 10.0),
            (10.0, 5.0),
            (0.0, 10.0),
        ],
        vec![(0.0, 0.0), (20.0, 0.0), (10.0, 0.0), (10.0, 10.0)],
        vec![
            (0.0, 0.0),
            (30.0, 0.0),
            (30.0, 9.0),
            (20.0, 0.0),
            (10.0, 0.0),
            (0.0, 9.0),
        ],
    ] {
        assert_eq!(
            refused(area(&[line(&points)])).0,
            "self_intersection",
            "{points:?}"
        );
    }
}

#[test]
fn repeated_points_are_one_point() {
    let twice: Vec<LonLat> = corners(0.0, 0.0, 10.0, 10.0)
        .into_iter()
        .flat_map(|point| [point, point])
        .collect();
    assert!(area(&[twice]).is_ok());
    let across = ring(&[
        [180.0, 0.0],
        [-180.0, 0.0],
        [-179.9, 0.0],
        [-179.9, 1.0],
        [180.0, 1.0],
    ]);
    assert!(area(&[across]).is_ok());
}

#[test]
fn holes_lie_in_their_polygon() {
    let outer = corners(0.0, 0.0, 100.0, 100.0);
    let hole = |x: f64, y: f64| corners(x, y, x + 20.0, y + 20.0);
    let with = |holes: &[Vec<LonLat>]| {
        let rings: Vec<_> = std::iter::once(outer.clone())
            .chain(holes.iter().cloned())
            .collect();
        area(&rings)
    };
    assert!(with(&[hole(10.0, 10.0), hole(50.0, 50.0)]).is_ok());
    assert_eq!(
        refused(with(&[hole(200.0, 0.0)])),
        ("hole_outside", Some((0, 1, 0)))
    );
    assert_eq!(refused(with(&[hole(90.0, 10.0)])).0, "rings_cross");
    let big = corners(10.0, 10.0, 60.0, 60.0);
    assert_eq!(
        refused(with(&[big, hole(20.0, 20.0)])),
        ("hole_outside", Some((0, 2, 0)))
    );
    // A hole may touch its polygon at a point, not along a line.
    let kite = line(&[(0.0, 50.0), (20.0, 40.0), (20.0, 60.0)]);
    assert!(with(&[kite]).is_ok());
    assert_eq!(
        refused(with(&[hole(0.0, 10.0)])),
        ("rings_cross", Some((0, 1, 3)))
    );
    assert_eq!(refused(with(std::slice::from_ref(&outer))).0, "rings_cross");
}

#[test]
fn polygons_lie_apart() {
    let one = vec![corners(0.0, 0.0, 100.0, 100.0)];
    let within = vec![corners(20.0, 20.0, 40.0, 40.0)];
    let apart = vec![corners(200.0, 20.0, 240.0, 40.0)];
    let beside = vec![corners(100.0, 0.0, 150.0, 100.0)];
    assert!(polygons(&[one.clone(), apart]).is_ok());
    let expected = ("polygon_inside", Some((1, 0, 0)));
    assert_eq!(refused(polygons(&[one.clone(), within.clone()])), expected);
    let expected = ("polygon_inside", Some((0, 0, 0)));
    assert_eq!(refused(polygons(&[within.clone(), one.clone()])), expected);
    assert_eq!(refused(polygons(&[one, beside])).0, "rings_cross");
    // An island in a lake is no fault.
    let lake = vec![
        corners(0.0, 0.0, 100.0, 100.0),
        corners(10.0, 10.0, 50.0, 50.0),
    ];
    assert!(polygons(&[lake, within]).is_ok());
}

#[test]
fn a_ring_does_not_go_round_a_pole() {
    let round: Vec<LonLat> = (0..12)
        .map(|n| [f64::from(n) * 30.0 - 180.0, 80.0])
        .collect();
    assert_eq!(
        refused(area(&[ring(&round)])),
        ("ring_around_pole", Some((0, 0, 0)))
    );
}

#[test]
fn an_area_does_not_go_all_round_the_earth() {
    let box_at = |west: f64, south: f64| {
        vec![ring(&[
            [west, south],
            [west + 70.0, south],
            [west + 70.0, south + 5.0],
            [west, south + 5.0],
        ])]
    };
    let boxes = |n: usize| -> Vec<_> {
        [-180.0, -120.0, -60.0, 0.0, 60.0, 110.0]
            .iter()
            .zip([0.0, 10.0, 0.0, 10.0, 0.0, 10.0])
            .map(|(&west, south)| box_at(west, south))
            .take(n)
            .collect()
    };
    assert!(polygons(&boxes(5)).is_ok());
    assert_eq!(refused(polygons(&boxes(6))), ("too_wide", None));
}

#[test]
fn circles_gates_and_versions_have_their_bounds() {
    let centre = at(0.0, 0.0);
    for radius_m in [0.0, -1.0, f64::NAN, f64::INFINITY, 10_000_001.0] {
        let circle = Zone::circle(version(1, 0.0), centre, radius_m);
        assert_eq!(refused(circle).0, "radius_out_of_range");
    }
    for hysteresis_m in [10.0, 11.0] {
        let circle = Zone::circle(version(1, hysteresis_m), centre, 10.0);
        assert_eq!(refused(circle).0, "hysteresis_exceeds_radius");
    }
    assert!(Zone::circle(version(1, 9.9), centre, 10.0).is_ok());
    for hysteresis_m in [-1.0, f64::NAN, f64::INFINITY, 0.000_9, 1e8] {
        let circle = Zone::circle(version(1, hysteresis_m), centre, 10.0);
        assert_eq!(refused(circle).0, "hysteresis_out_of_range");
    }
    let reversed = Version {
        valid_from_us: 5,
        valid_to_us: 4,
        ..version(1, 0.0)
    };
    assert_eq!(
        refused(Zone::circle(reversed, centre, 10.0)).0,
        "validity_reversed"
    );
    let gate = |points: &[LonLat]| Zone::gate(version(1, 0.0), points, GateDirection::Both);
    assert_eq!(refused(gate(&[centre])).0, "too_few_points");
    assert_eq!(refused(gate(&[centre, centre])).0, "gate_without_length");
    assert_eq!(
        refused(gate(&[[180.0, 1.0], [-180.0, 1.0]])).0,
        "gate_without_length"
    );
    let round: Vec<LonLat> = (0..=13)
        .map(|n| [f64::from(n) * 30.0 - 180.0, 80.0])
        .collect();
    let beyond: Vec<LonLat> = round
        .iter()
        .map(|&[x, y]| [if x > 180.0 { x - 360.0 } else { x }, y])
        .collect();
    assert_eq!(refused(gate(&beyond)).0, "too_wide");
    assert_eq!(
        gate(&[centre, at(0.0, 5.0), at(0.0, 5.0)]).unwrap().kind(),
        ZoneKind::Gate
    );
}

#[test]
fn an_index_holds_a_version_once() {
    let circle = |number| {
        let version = Version {
            version: number,
            ..version(7, 0.0)
        };
        Zone::circle(version, at(0.0, 0.0), 10.0).unwrap()
    };
    let error = ZoneIndex::new(vec![circle(1), circle(2), circle(1)]).unwrap_err();
    assert_eq!(
        error,
        IndexError::DuplicateVersion {
            zone_id: 7,
            version: 1
        }
    );
    assert_eq!(error.to_string(), "zone 7 has its version 1 twice");
    assert_eq!(ZoneIndex::new(vec![circle(1), circle(2)]).unwrap().len(), 2);
}

#[test]
fn limits_are_positive() {
    assert_eq!(
        Limits::new(0, 1.0).unwrap_err().to_string(),
        "the gap limit is 0 us, expected more than 0"
    );
    assert!(Limits::new(1, 0.0).is_err() && Limits::new(1, f64::NAN).is_err());
    let never = Limits::new(i64::MAX, f64::INFINITY).unwrap();
    assert_eq!(
        (never.gap_us(), never.jump_m_s()),
        (i64::MAX, f64::INFINITY)
    );
}

#[test]
fn errors_say_what_and_where() {
    let mut open = corners(0.0, 0.0, 10.0, 10.0);
    open.pop();
    let good = vec![corners(50.0, 0.0, 60.0, 10.0)];
    let error = polygons(&[good, vec![open]]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the ring is not closed: expected its last point to be its first \
         (at polygon 1, ring 0, point 3)"
    );
    let error = Zone::circle(version(1, 0.0), at(0.0, 0.0), -2.0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "radius -2 m, expected above 0 and at most 10000000 m"
    );
    let bow_tie = line(&[(0.0, 0.0), (10.0, 10.0), (10.0, 0.0), (0.0, 10.0)]);
    let message = area(&[bow_tie]).unwrap_err().to_string();
    assert!(
        message.starts_with("the ring meets itself near 0.0000449"),
        "{message}"
    );
    assert!(
        message.ends_with("also at polygon 0, ring 0, point 0 (at polygon 0, ring 0, point 2)")
    );
}

/// A star of `points` points that no edge of crosses another.
fn star(points: u32) -> Vec<LonLat> {
    let corner = |n: u32| {
        let angle = f64::from(n) / f64::from(points) * std::f64::consts::TAU;
        let radius = if n.is_multiple_of(2) {
            10_000.0
        } else {
            9_999.5
        };
        at(radius * angle.cos(), radius * angle.sin())
    };
    ring(&(0..points).map(corner).collect::<Vec<_>>())
}

#[test]
fn a_zone_of_a_hundred_thousand_points_works() {
    let zone = support::index([area(&[star(100_000)]).unwrap()]);
    let fixes: Vec<_> = (0..100)
        .map(|n| {
            support::fix(
                n * 1_000_000,
                at(-5_000.0 + f64::from(i32::try_from(n).unwrap()) * 95.0, 1.0),
            )
        })
        .collect();
    let (rows, inside) = support::derive(&zone, &fixes);
    assert_eq!(rows.len(), 1);
    assert_eq!(inside.ids(), [1]);
    assert_eq!(rows[0].kind, timing::Kind::Initial);
    // And one with a fault in its middle is told where.
    let mut tangled = star(100_000);
    tangled.swap(60_000, 60_002);
    let error = area(&[tangled]).unwrap_err();
    assert_eq!(error.code(), "self_intersection");
    assert!((59_998..=60_003).contains(&error.place.unwrap().point));
}

/// Long teeth at a slant: every edge lies across the box of every other one.
fn comb(teeth: u32) -> Vec<LonLat> {
    let mut points: Vec<LonLat> = (0..teeth)
        .flat_map(|n| {
            let across = f64::from(n) * 1e-6;
            let ends = [[across, -across], [1.0 + across, 1.0 - across]];
            let [first, second] = ends;
            if n % 2 == 0 { ends } else { [second, first] }
        })
        .collect();
    points.extend([[2.0, -2.0], [-1.0, -2.0]]);
    ring(&points)
}

#[test]
fn a_zone_that_would_take_minutes_to_look_at_is_refused() {
    assert!(area(&[comb(1_000)]).is_ok());
    assert_eq!(refused(area(&[comb(50_000)])), ("too_intricate", None));
}

#[test]
fn every_fault_that_can_be_told_apart_is_told() {
    let faults = |polygons: &[Vec<Vec<LonLat>>], max| {
        let found = Zone::area_or_faults(version(1, 0.0), polygons, max).unwrap_err();
        (found.iter())
            .map(|error| {
                (
                    error.code(),
                    error.place.map(|at| (at.polygon, at.ring, at.point)),
                )
            })
            .collect::<Vec<_>>()
    };
    let good = corners(0.0, 0.0, 10.0, 10.0);
    let mut open = corners(50.0, 0.0, 60.0, 10.0);
    open.pop();
    let rings = [
        vec![good.clone(), vec![]],
        vec![open],
        vec![],
        vec![vec![[0.0, 91.0]]],
    ];
    assert_eq!(
        faults(&rings, 10),
        [
            ("too_few_points", Some((0, 1, 0))),
            ("ring_not_closed", Some((1, 0, 3))),
            ("empty", Some((2, 0, 0))),
            ("coordinate_out_of_range", Some((3, 0, 0))),
        ]
    );
    assert_eq!(faults(&rings, 2).len(), 2);
    assert_eq!(faults(&rings, 0).len(), 1);
    // Twice itself on its way, and once another ring.
    let tangled = line(&[
        (0.0, 0.0),
        (10.0, 10.0),
        (20.0, 0.0),
        (30.0, 10.0),
        (30.0, 0.0),
        (20.0, 10.0),
        (10.0, 0.0),
        (0.0, 10.0),
    ]);
    let across = corners(-5.0, 2.0, 1.0, 3.0);
    assert_eq!(
        faults(&[vec![tangled], vec![across]], 10),
        [
            ("self_intersection", Some((0, 0, 4))),
            ("self_intersection", Some((0, 0, 5))),
            ("self_intersection", Some((0, 0, 6))),
            ("rings_cross", Some((1, 0, 0))),
            ("rings_cross", Some((1, 0, 2))),
        ]
    );
}

#[test]
fn more_than_a_million_points_are_refused() {
    let points = vec![at(0.0, 0.0); POINTS_MAX + 1];
    assert_eq!(
        refused(area(std::slice::from_ref(&points))),
        ("too_many_points", None)
    );
    let gate = Zone::gate(version(1, 0.0), &points, GateDirection::Both);
    assert_eq!(refused(gate), ("too_many_points", None));
}

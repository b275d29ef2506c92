//! Cases worked by hand: the date line and the poles.

mod support;

use support::{SECOND, area, corners_degrees, derive, fix, index, ring, short, version};
use timing::Cause::Ok as Fine;
use timing::Kind::{Enter, Exit, Initial};
use timing::{Limits, Zone, ZoneIndex};

/// A device on latitude 10 at these longitudes, two seconds apart.
fn on_ten(longitudes: &[f64]) -> Vec<timing::Fix> {
    let times = (0..).map(|n| 2 * n * SECOND);
    times
        .zip(longitudes)
        .map(|(t, &longitude)| fix(t, [longitude, 10.0]))
        .collect()
}

fn across_the_date_line(hysteresis_m: f64) -> Vec<(&'static str, ZoneIndex)> {
    let version = version(1, hysteresis_m);
    // From 179.999 to -179.998, written in four ways.
    let east_first = ring(&[
        [179.999, 9.0],
        [-179.998, 9.0],
        [-179.998, 11.0],
        [179.999, 11.0],
    ]);
    let west_first = ring(&[
        [-179.998, 9.0],
        [-179.998, 11.0],
        [179.999, 11.0],
        [179.999, 9.0],
    ]);
    let beside_180 = ring(&[
        [180.0, 9.0],
        [-179.998, 9.0],
        [-179.998, 11.0],
        [-180.0, 11.0],
        [179.999, 11.0],
        [179.999, 9.0],
    ]);
    vec![
        ("east first", index([area(version, vec![east_first])])),
        ("west first", index([area(version, vec![west_first])])),
        ("by way of 180", index([area(version, vec![beside_180])])),
    ]
}

#[test]
fn an_area_across_the_date_line_is_one_zone() {
    for (name, zones) in across_the_date_line(5.0) {
        let fixes = on_ten(&[179.9985, 179.9995, -179.9995, -179.9985, -179.9975]);
        let (rows, _) = derive(&zones, &fixes);
        let expected = [(1, 0, Enter, 1_000, Fine), (1, 0, Exit, 7_000, Fine)];
        assert_eq!(short(&rows), expected, "{name}");
        let back: Vec<f64> = fixes.iter().rev().map(|fix| fix.longitude).collect();
        let (rows, _) = derive(&zones, &on_ten(&back));
        assert_eq!(short(&rows), expected, "{name}");
        for inside in [179.9995, 180.0, -180.0, -179.999] {
            let (rows, _) = derive(&zones, &on_ten(&[inside]));
            assert_eq!(short(&rows), [(1, 0, Initial, 0, Fine)], "{name} {inside}");
        }
        assert_eq!(
            derive(&zones, &on_ten(&[0.0, 0.001, 0.002])).0,
            [],
            "{name}"
        );
    }
    for (name, zones) in across_the_date_line(0.0) {
        let seen = |longitude| derive(&zones, &on_ten(&[longitude])).0.len();
        // Its western border is inside, its eastern one is not.
        assert_eq!([seen(179.999), seen(-179.998)], [1, 0], "{name}");
    }
}

#[test]
fn a_segment_that_leaves_on_one_side_of_the_date_line_and_comes_back_is_whole() {
    // 657 m in 12 s, over the zone and the date line.
    for (name, zones) in across_the_date_line(5.0) {
        let fixes = [fix(0, [179.998, 10.0]), fix(12 * SECOND, [-179.996, 10.0])];
        let (rows, _) = derive(&zones, &fixes);
        let expected = [(1, 0, Enter, 2_000, Fine), (1, 1, Exit, 8_000, Fine)];
        assert_eq!(short(&rows), expected, "{name}");
    }
}

#[test]
fn an_area_that_is_cut_at_the_date_line_as_the_rfc_asks_is_whole() {
    let polygons = [
        vec![corners_degrees(179.999, 9.0, 180.0, 11.0)],
        vec![corners_degrees(-180.0, 9.0, -179.998, 11.0)],
    ];
    let zones = index([Zone::area(version(1, 5.0), &polygons).unwrap()]);
    let fixes = on_ten(&[
        179.9985, 179.9995, 180.0, -180.0, -179.9995, -179.9985, -179.9975,
    ]);
    let (rows, _) = derive(&zones, &fixes);
    // The cut is no border, and has no band.
    let expected = [(1, 0, Enter, 1_000, Fine), (1, 0, Exit, 11_000, Fine)];
    assert_eq!(short(&rows), expected);
    for on_it in [180.0, -180.0] {
        assert!(zones.is_beyond_every_band(&on_ten(&[on_it])[0]));
    }
    // A cut that does not fit is none.
    let polygons = [
        vec![corners_degrees(179.999, 9.0, 180.0, 11.0)],
        vec![corners_degrees(-180.0, 9.5, -179.998, 11.0)],
    ];
    let error = Zone::area(version(1, 0.0), &polygons).unwrap_err();
    assert_eq!(error.code(), "rings_cross");
}

#[test]
fn polygons_on_both_sides_of_the_date_line_are_one_zone() {
    let apart = [
        vec![corners_degrees(179.999, 9.0, 179.9999, 11.0)],
        vec![corners_degrees(-179.9999, 9.0, -179.998, 11.0)],
    ];
    let zones = index([Zone::area(version(1, 0.0), &apart).unwrap()]);
    let fixes = on_ten(&[179.9995, 180.0, -179.9995]);
    let (rows, _) = derive(&zones, &fixes);
    let expected = [
        (1, 0, Initial, 0, Fine),
        (1, 0, Exit, 1_600, Fine),
        (1, 0, Enter, 2_400, Fine),
    ];
    assert_eq!(short(&rows), expected);
}

#[test]
fn a_circle_across_the_date_line_is_one_zone() {
    for centre in [180.0, -180.0] {
        let circle = Zone::circle(version(1, 5.0), [centre, 10.0], 100.0).unwrap();
        let zones = index([circle]);
        // A thousandth of a degree there is 109.5 m.
        let fixes = on_ten(&[179.9985, 179.9995, -179.9995, -179.9985]);
        let (rows, _) = derive(&zones, &fixes);
        let expected = [(1, 0, Enter, 1_174, Fine), (1, 0, Exit, 4_826, Fine)];
        assert_eq!(short(&rows), expected);
        assert_eq!(derive(&zones, &on_ten(&[180.0])).0.len(), 1);
        assert_eq!(derive(&zones, &on_ten(&[-180.0])).0.len(), 1);
    }
}

#[test]
fn a_circle_around_a_pole_is_one_zone() {
    for (pole, sign) in [(90.0, 1.0), (-90.0, -1.0)] {
        let zones = index([Zone::circle(version(1, 5.0), [0.0, pole], 1000.0).unwrap()]);
        // A thousandth of a degree of latitude is 111.195 m; down any meridian.
        for longitude in [-180.0, -90.0, 0.0, 37.0, 180.0] {
            let fix = |n: i64, latitude: f64| fix(n * 2 * SECOND, [longitude, sign * latitude]);
            let fixes = [fix(0, 89.9905), fix(1, 89.9915), fix(2, 89.9905)];
            let (rows, _) = derive(&zones, &fixes);
            let expected = [(1, 0, Enter, 1_014, Fine), (1, 0, Exit, 2_986, Fine)];
            assert_eq!(short(&rows), expected, "{pole} {longitude}");
        }
        // The pole itself, whatever its longitude is said to be.
        for longitude in [-123.0, 0.0, 180.0] {
            let (rows, _) = derive(&zones, &[fix(0, [longitude, pole])]);
            assert_eq!(short(&rows), [(1, 0, Initial, 0, Fine)]);
        }
        // Round the pole at its distance there is no crossing.
        let round: Vec<_> = (0..36)
            .map(|n| {
                fix(
                    n * 5 * SECOND,
                    [
                        f64::from(i32::try_from(n).unwrap()) * 10.0 - 180.0,
                        sign * 89.99,
                    ],
                )
            })
            .collect();
        assert_eq!(derive(&zones, &round).0, []);
    }
}

#[test]
fn a_circle_near_a_pole_is_found_from_every_meridian_that_it_meets() {
    // 1 km around 89.995 N, 10 E reaches over the pole.
    let zones = index([Zone::circle(version(1, 0.0), [10.0, 89.995], 1000.0).unwrap()]);
    let seen = |place| derive(&zones, &[fix(0, place)]).0.len();
    // 556 m from the pole: behind it there are 444 m, 0.00399 degrees.
    assert_eq!([seen([-170.0, 89.997]), seen([-170.0, 89.995])], [1, 0]);
    assert_eq!(
        [seen([190.0 - 360.0, 89.9961]), seen([10.0, 89.9861])],
        [1, 1]
    );
    // 100 m to the side at 89.99: a degree of longitude is 19 m there.
    assert_eq!([seen([15.0, 89.99]), seen([-180.0, 89.99])], [1, 0]);
}

#[test]
fn an_area_that_reaches_a_pole_holds_it() {
    let zones = index([area(
        version(1, 0.0),
        vec![corners_degrees(10.0, 89.0, 20.0, 90.0)],
    )]);
    let seen = |place| derive(&zones, &[fix(0, place)]).0.len();
    // Its northern border is not inside, a hair below it is.
    assert_eq!(seen([15.0, 90.0]), 0);
    assert_eq!(seen([15.0, 89.999_999_9]), 1);
    assert_eq!(seen([25.0, 89.999_999_9]), 0);
}

#[test]
fn areas_on_the_date_line_are_told_apart() {
    let west = area(
        version(1, 0.0),
        vec![corners_degrees(170.0, 0.0, 180.0, 20.0)],
    );
    let east = area(
        version(2, 0.0),
        vec![corners_degrees(-180.0, 0.0, -170.0, 20.0)],
    );
    let zones = index([west, east]);
    for on_it in [180.0, -180.0] {
        let (rows, inside) = derive(&zones, &on_ten(&[on_it]));
        assert_eq!(rows.len(), 1);
        assert_eq!(inside.ids(), [2]);
    }
    let (rows, _) = derive(&zones, &on_ten(&[179.9996, -179.9996]));
    let expected = [
        (1, 0, Initial, 0, Fine),
        (1, 0, Exit, 1_000, Fine),
        (2, 0, Enter, 1_000, Fine),
    ];
    assert_eq!(short(&rows), expected);
}

#[test]
fn a_path_over_the_one_gap_of_an_area_around_the_earth_is_seen_at_both_ends() {
    let polygons = [
        vec![corners_degrees(3.0, 0.0, 179.0, 5.0)],
        vec![corners_degrees(-179.0, 0.0, -3.0, 5.0)],
    ];
    let limits = Limits::new(100 * SECOND, f64::INFINITY).unwrap();
    for hysteresis_m in [0.0, 5.0] {
        let zones = index([Zone::area(version(1, hysteresis_m), &polygons).unwrap()]);
        for sign in [1.0, -1.0] {
            let fixes = [
                fix(0, [4.0 * sign, 2.0]),
                fix(8 * SECOND, [-4.0 * sign, 2.0]),
            ];
            let mut rows = Vec::new();
            zones.derive(&limits, None, &fixes, &mut rows);
            let expected = [
                (1, 0, Initial, 0, Fine),
                (1, 0, Exit, 1_000, Fine),
                (1, 1, Enter, 7_000, Fine),
            ];
            assert_eq!(short(&rows), expected);
        }
    }
}

#[test]
fn a_path_round_a_pole_may_leave_a_circle_and_come_back() {
    // 1,112 m from the pole, over 178 degrees of longitude; the circle lies on the other side. Its
    // border is 2 asin(1800 / 2 / 1112) = 108.1 degrees from its centre, 17.1 from the path's ends.
    let circle = Zone::circle(version(1, 5.0), [180.0, 89.99], 1_800.0).unwrap();
    let fixes = [fix(0, [-89.0, 89.99]), fix(60 * SECOND, [89.0, 89.99])];
    let (rows, _) = derive(&index([circle]), &fixes);
    let seen: Vec<_> = rows.iter().map(|row| (row.n, row.kind)).collect();
    assert_eq!(seen, [(0, Initial), (0, Exit), (1, Enter)]);
    assert!(
        (rows[1].at_us - 5_757_000).abs() < 20_000,
        "{}",
        rows[1].at_us
    );
    assert!(
        (rows[2].at_us - 54_243_000).abs() < 20_000,
        "{}",
        rows[2].at_us
    );
}

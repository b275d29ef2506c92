//! Cases worked by hand: gates.

mod support;

use support::{SECOND, along, at, derive, directions, fix, gate, index, short};
use timing::Cause::Ok as Fine;
use timing::Direction::{LeftToRight, RightToLeft};
use timing::GateDirection::{self, Both};
use timing::Kind::Cross;
use timing::ZoneIndex;

/// A line to the north through 0/0: west is left of it.
fn northward(direction: GateDirection) -> ZoneIndex {
    index([gate(1, &[at(0.0, -50.0), at(0.0, 50.0)], direction)])
}

#[test]
fn a_fast_vehicle_is_caught_between_two_fixes() {
    let (rows, inside) = derive(&northward(Both), &along(&[-20.0, 60.0]));
    assert_eq!(short(&rows), [(1, 0, Cross, 250, Fine)]);
    assert_eq!(rows[0].direction, LeftToRight);
    // 15/8 m and 4.2 m at 80 m/s: 75.9 ms.
    assert!((75_937..=75_939).contains(&rows[0].uncertainty_us));
    assert!(inside.ids().is_empty());
}

#[test]
fn only_the_gates_direction_counts() {
    let fixes = along(&[-20.0, 20.0, -20.0]);
    let seen = |direction| directions(&derive(&northward(direction), &fixes).0);
    assert_eq!(seen(Both), [(500, LeftToRight), (1_500, RightToLeft)]);
    assert_eq!(seen(GateDirection::LeftToRight), [(500, LeftToRight)]);
    assert_eq!(seen(GateDirection::RightToLeft), [(1_500, RightToLeft)]);
    let eastward = index([gate(1, &[at(-50.0, 0.0), at(50.0, 0.0)], Both)]);
    let fixes = [fix(0, at(0.0, 10.0)), fix(SECOND, at(0.0, -10.0))];
    assert_eq!(
        directions(&derive(&eastward, &fixes).0),
        [(500, LeftToRight)]
    );
}

#[test]
fn past_the_ends_is_not_through() {
    for north_m in [-51.0, 51.0] {
        let fixes = [fix(0, at(-20.0, north_m)), fix(SECOND, at(20.0, north_m))];
        assert_eq!(derive(&northward(Both), &fixes).0, []);
    }
}

#[test]
fn a_fix_on_the_gate_counts_once() {
    // It is thought to lie a hair to the east.
    let seen = |east_m: &[f64]| directions(&derive(&northward(Both), &along(east_m)).0);
    assert_eq!(seen(&[-20.0, 0.0, 20.0]), [(1_000, LeftToRight)]);
    assert_eq!(seen(&[20.0, 0.0, -20.0]), [(1_000, RightToLeft)]);
    assert_eq!(seen(&[-20.0, 0.0, 0.0, 0.0, 20.0]), [(1_000, LeftToRight)]);
    assert_eq!(seen(&[20.0, 0.0, 0.0, -20.0]), [(2_000, RightToLeft)]);
    assert_eq!(seen(&[20.0, 0.0, 20.0]), []);
    let there_and_back = [(1_000, LeftToRight), (1_000, RightToLeft)];
    assert_eq!(seen(&[-20.0, 0.0, -20.0]), there_and_back);
    assert_eq!(seen(&[0.0, 20.0]), []);
    assert_eq!(seen(&[0.0, -20.0]), [(0, RightToLeft)]);
}

#[test]
fn along_the_gate_is_not_through() {
    let fixes = [
        fix(0, at(0.0, -70.0)),
        fix(SECOND, at(0.0, 0.0)),
        fix(2 * SECOND, at(0.0, 70.0)),
    ];
    assert_eq!(derive(&northward(Both), &fixes).0, []);
}

#[test]
fn through_a_joint_counts_once_and_touching_one_does_not() {
    let points = [at(0.0, -50.0), at(0.0, 0.0), at(20.0, 50.0)];
    let bent = index([gate(1, &points, Both)]);
    assert_eq!(
        directions(&derive(&bent, &along(&[-20.0, 20.0])).0),
        [(500, LeftToRight)]
    );
    assert_eq!(
        directions(&derive(&bent, &along(&[20.0, -20.0])).0),
        [(500, RightToLeft)]
    );
    // A wedge whose tip points west, and a path to the north past its tip; then one to the west.
    for tip in [0.0, 30.0] {
        let points = [at(tip + 50.0, -50.0), at(tip, 0.0), at(tip + 50.0, 50.0)];
        let wedge = index([gate(1, &points, Both)]);
        let fixes = [fix(0, at(tip, -40.0)), fix(SECOND, at(tip, 40.0))];
        assert_eq!(derive(&wedge, &fixes).0, []);
    }
}

#[test]
fn of_two_gates_with_a_common_end_a_path_through_it_crosses_one() {
    for turn in 0..12 {
        let angle = f64::from(turn) * std::f64::consts::PI / 6.0;
        let end = |sign: f64| at(sign * 50.0 * angle.cos(), sign * 50.0 * angle.sin());
        let zones = index([
            gate(1, &[end(1.0), at(0.0, 0.0)], Both),
            gate(2, &[at(0.0, 0.0), end(-1.0)], Both),
        ]);
        let across = |sign: f64| at(-sign * 20.0 * angle.sin(), sign * 20.0 * angle.cos());
        let fixes = [fix(0, across(1.0)), fix(SECOND, across(-1.0))];
        let (rows, _) = derive(&zones, &fixes);
        assert_eq!(rows.len(), 1, "turn {turn}");
        assert_eq!(rows[0].direction, RightToLeft, "turn {turn}");
    }
}

#[test]
fn several_crossings_in_a_segment_come_in_their_order() {
    let points = [
        at(30.0, 50.0),
        at(30.0, -50.0),
        at(10.0, -50.0),
        at(10.0, 50.0),
        at(20.0, 50.0),
        at(20.0, -10.0),
    ];
    let folded = index([gate(1, &points, Both)]);
    let (rows, _) = derive(&folded, &along(&[0.0, 40.0]));
    let expected = [
        (1, 0, Cross, 250, Fine),
        (1, 1, Cross, 500, Fine),
        (1, 2, Cross, 750, Fine),
    ];
    assert_eq!(short(&rows), expected);
    let ways: Vec<_> = rows.iter().map(|row| row.direction).collect();
    assert_eq!(ways, [LeftToRight, RightToLeft, RightToLeft]);
}

#[test]
fn gaps_and_jumps_cross_no_gate() {
    let fixes = [fix(0, at(-20.0, 0.0)), fix(61 * SECOND, at(20.0, 0.0))];
    assert_eq!(derive(&northward(Both), &fixes).0, []);
    assert_eq!(derive(&northward(Both), &along(&[-60.0, 60.0])).0, []);
    let fixes = [fix(0, at(-20.0, 0.0)), fix(60 * SECOND, at(20.0, 0.0))];
    assert_eq!(derive(&northward(Both), &fixes).0.len(), 1);
}

#[test]
fn a_gate_across_the_date_line_is_crossed_once() {
    // To the east along latitude 10, from 179.9 to -179.9: north is left of it.
    let points = [[179.9, 10.0], [-179.9, 10.0]];
    let zones = index([gate(1, &points, Both)]);
    for longitude in [179.95, 180.0, -180.0, -179.95] {
        let fixes = [
            fix(0, [longitude, 10.0003]),
            fix(SECOND, [longitude, 9.9997]),
        ];
        let (rows, _) = derive(&zones, &fixes);
        assert_eq!(directions(&rows), [(500, LeftToRight)], "{longitude}");
    }
    // A path that goes over the date line, and one that does not come near.
    let fixes = [
        fix(0, [179.9999, 10.0003]),
        fix(SECOND, [-179.9999, 9.9997]),
    ];
    assert_eq!(directions(&derive(&zones, &fixes).0), [(500, LeftToRight)]);
    let fixes = [fix(0, [0.0, 10.0003]), fix(SECOND, [0.0, 9.9997])];
    assert_eq!(derive(&zones, &fixes).0, []);
}

#[test]
fn a_gate_on_the_date_line_is_crossed_once() {
    for meridian in [180.0, -180.0] {
        let zones = index([gate(1, &[[meridian, 9.9], [meridian, 10.1]], Both)]);
        let fix = |n: i64, longitude| fix(n * SECOND, [longitude, 10.0]);
        for on_it in [180.0, -180.0] {
            let fixes = [fix(0, 179.9995), fix(1, on_it), fix(2, -179.9995)];
            assert_eq!(
                directions(&derive(&zones, &fixes).0),
                [(1_000, LeftToRight)]
            );
            let fixes = [fix(0, -179.9995), fix(1, on_it), fix(2, 179.9995)];
            assert_eq!(
                directions(&derive(&zones, &fixes).0),
                [(1_000, RightToLeft)]
            );
        }
        let fixes = [fix(0, 179.9996), fix(1, -179.9996)];
        assert_eq!(directions(&derive(&zones, &fixes).0), [(500, LeftToRight)]);
    }
}

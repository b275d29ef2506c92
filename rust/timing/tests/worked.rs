//! Cases worked by hand: membership, its band, its causes and its versions.

mod support;

use support::{
    SECOND, along, area, at, corners, corners_degrees, derive, fix, index, limits, millis, short,
    square, version,
};
use timing::Cause::{Gap, Jump, Ok as Fine, ZoneEnded};
use timing::Kind::{Cross, Enter, Exit, Initial};
use timing::{Direction, Fix, FixKey, GateDirection, Membership, Row, Version, Zone, ZoneIndex};

/// East of 0, 200 m wide, with a band of 5 m.
fn banded() -> ZoneIndex {
    index([square(version(1, 5.0), [0.0, -100.0, 200.0, 100.0])])
}

/// The same without a band.
fn sharp() -> ZoneIndex {
    index([square(version(1, 0.0), [0.0, -100.0, 200.0, 100.0])])
}

#[test]
fn a_visit_shallower_than_the_band_is_none() {
    let (rows, inside) = derive(&banded(), &along(&[-10.0, 3.0, 3.0, -10.0]));
    assert_eq!(short(&rows), []);
    assert_eq!(inside, Membership::new());
}

#[test]
fn a_late_fix_beyond_the_band_makes_the_visit() {
    let mut fixes = along(&[-10.0, 3.0, 3.0, -10.0]);
    fixes.insert(1, fix(SECOND / 2, at(8.0, 0.0)));
    let (rows, inside) = derive(&banded(), &fixes);
    // 10 of 18 m in the first half second; 3 of 13 m in the third second.
    let expected = [(1, 0, Enter, 278, Fine), (1, 0, Exit, 2_231, Fine)];
    assert_eq!(short(&rows), expected);
    assert_eq!([rows[0].at_us, rows[1].at_us], [277_778, 2_230_769]);
    assert_eq!([rows[0].end_t_us, rows[1].end_t_us], [500_000, 3_000_000]);
    assert_eq!(inside, Membership::new());
}

#[test]
fn a_circle_has_the_same_band() {
    let circle = Zone::circle(version(1, 5.0), at(100.0, 0.0), 100.0).unwrap();
    let circle = index([circle]);
    assert_eq!(derive(&circle, &along(&[-10.0, 3.0, 3.0, -10.0])).0, []);
    let mut fixes = along(&[-10.0, 3.0, 3.0, -10.0]);
    fixes.insert(1, fix(SECOND / 2, at(8.0, 0.0)));
    let (rows, _) = derive(&circle, &fixes);
    assert_eq!([rows[0].at_us, rows[1].at_us], [277_778, 2_230_769]);
}

#[test]
fn a_row_says_all_there_is_to_know() {
    let mut fixes = along(&[-15.0, 15.0]);
    fixes[0].satellites = 7;
    let (rows, _) = derive(&sharp(), &fixes);
    let distance_m = rows[0].distance_m;
    let uncertainty_us = rows[0].uncertainty_us;
    assert_eq!(
        rows,
        [Row {
            end_t_us: 1_000_000,
            zone_id: 1,
            n: 0,
            version: 1,
            kind: Enter,
            at_us: 500_000,
            uncertainty_us,
            direction: Direction::None,
            cause: Fine,
            start: Some(FixKey { t_us: 0, digest: 0 }),
            end_digest: 1000,
            distance_m,
            satellites: 7,
        }]
    );
    assert!((distance_m - 30.0).abs() < 1e-6);
    // 15 m/s2 over one second is at most 15/8 m off the line, and 4.2 m the fixes; at 30 m/s.
    assert!((202_500..=202_501).contains(&uncertainty_us));
    assert_eq!(rows[0].dt_us(), SECOND);
}

#[test]
fn the_uncertainty_is_never_beyond_the_segment() {
    // 1 m in a second: the bound by speed is 6.1 s.
    let (rows, _) = derive(&sharp(), &along(&[-0.25, 0.75]));
    assert_eq!([rows[0].at_us, rows[0].uncertainty_us], [250_000, 750_000]);
}

#[test]
fn the_uncertainty_is_more_with_fewer_than_seven_satellites() {
    let uncertainty_us = |satellites| {
        let mut fixes = along(&[-15.0, 15.0]);
        fixes[1].satellites = satellites;
        derive(&sharp(), &fixes).0[0].uncertainty_us
    };
    // 15/8 m and 4.2, 7.35 and 29.4 m, at 30 m/s; and not beyond the segment.
    assert!((202_500..=202_501).contains(&uncertainty_us(7)));
    assert!((307_500..=307_501).contains(&uncertainty_us(4)));
    assert_eq!(uncertainty_us(1), 500_000);
}

#[test]
fn the_uncertainty_asks_for_the_speed_straight_across() {
    // 30 m to the east and 40 m to the north, across a border that runs north: 30 m/s count.
    let fixes = [fix(0, at(-15.0, -20.0)), fix(SECOND, at(15.0, 20.0))];
    let (rows, _) = derive(&sharp(), &fixes);
    assert!((202_500..=202_501).contains(&rows[0].uncertainty_us));
    let circle = index([Zone::circle(version(1, 0.0), at(1000.0, 0.0), 1000.0).unwrap()]);
    let (rows, _) = derive(&circle, &fixes);
    // The circle's border at -15, -20 .. 15, 20 runs nearly north.
    assert!((202_200..=202_800).contains(&rows[0].uncertainty_us));
    assert!((millis(rows[0].at_us) - 500).abs() <= 1);
}

#[test]
fn in_and_out_between_two_fixes_gives_both_rows() {
    let zone = square(version(1, 5.0), [0.0, -100.0, 40.0, 100.0]);
    let circle = Zone::circle(version(2, 5.0), at(20.0, 0.0), 20.0).unwrap();
    let (rows, inside) = derive(&index([zone, circle]), &along(&[-20.0, 60.0]));
    let expected = [
        (1, 0, Enter, 250, Fine),
        (1, 1, Exit, 750, Fine),
        (2, 0, Enter, 250, Fine),
        (2, 1, Exit, 750, Fine),
    ];
    assert_eq!(short(&rows), expected);
    assert_eq!(inside, Membership::new());
}

#[test]
fn a_graze_shallower_than_the_band_is_none() {
    // The corner at 0, 100 is cut 4 m deep, then 6 m deep.
    let pass = |depth: f64| {
        let off = depth * std::f64::consts::SQRT_2;
        [
            fix(0, at(off - 50.0, 50.0)),
            fix(2 * SECOND, at(off + 50.0, 150.0)),
        ]
    };
    assert_eq!(short(&derive(&banded(), &pass(4.0)).0), []);
    // The corner's band is round: 7.0 m off the corner along the diagonal is 4.95 m from both edges.
    assert_eq!(short(&derive(&banded(), &pass(7.0)).0), []);
    assert_eq!(derive(&banded(), &pass(7.2)).0.len(), 2);
    assert_eq!(derive(&sharp(), &pass(0.1)).0.len(), 2);
    assert_eq!(derive(&sharp(), &pass(-0.1)).0.len(), 0);
    let circle = |hysteresis_m| {
        let zone = Zone::circle(version(1, hysteresis_m), at(0.0, 0.0), 20.0);
        index([zone.unwrap()])
    };
    let chord = |north_m| [fix(0, at(-40.0, north_m)), fix(SECOND, at(40.0, north_m))];
    assert_eq!(derive(&circle(5.0), &chord(16.0)).0.len(), 0);
    assert_eq!(derive(&circle(5.0), &chord(14.0)).0.len(), 2);
    assert_eq!(derive(&circle(0.0), &chord(19.9)).0.len(), 2);
    assert_eq!(derive(&circle(0.0), &chord(20.1)).0.len(), 0);
}

#[test]
fn a_band_is_round_at_a_corner() {
    // Over the corner at 0, 100 and back: 4 m beyond it, then 6 m.
    let over = |beyond: f64| {
        let off = beyond / std::f64::consts::SQRT_2;
        [
            fix(0, at(10.0, 90.0)),
            fix(SECOND, at(-off, 100.0 + off)),
            fix(2 * SECOND, at(10.0, 90.0)),
        ]
    };
    let kinds = |beyond: f64| -> Vec<_> {
        let (rows, _) = derive(&banded(), &over(beyond));
        rows.iter().map(|row| row.kind).collect()
    };
    assert_eq!(kinds(4.0), [Initial]);
    assert_eq!(kinds(4.9), [Initial]);
    assert_eq!(kinds(5.1), [Initial, Exit, Enter]);
}

#[test]
fn the_last_crossing_before_the_depth_counts() {
    // In 3 m, out 3 m, in for good, within one segment each.
    let (rows, _) = derive(&banded(), &along(&[-10.0, 3.0, -3.0, 7.0]));
    assert_eq!(short(&rows), [(1, 0, Enter, 2_300, Fine)]);
}

#[test]
fn depth_that_starts_across_the_border_counts_from_the_segments_start() {
    // Within the band from 1 s on; the depth comes in the second after.
    let (rows, _) = derive(&banded(), &along(&[-10.0, 3.0, 13.0]));
    assert_eq!(short(&rows), [(1, 0, Enter, 1_000, Fine)]);
    assert_eq!(rows[0].uncertainty_us, SECOND);
}

#[test]
fn a_first_fix_takes_the_raw_side() {
    for (zones, name) in [(banded(), "banded"), (sharp(), "sharp")] {
        let (rows, inside) = derive(&zones, &along(&[1.0]));
        assert_eq!(short(&rows), [(1, 0, Initial, 0, Fine)], "{name}");
        assert_eq!(rows[0].uncertainty_us, 0);
        assert_eq!(rows[0].start, None);
        assert_eq!(inside.ids(), [1]);
        assert_eq!(derive(&zones, &along(&[-1.0])).0, [], "{name}");
    }
}

#[test]
fn from_a_first_fix_in_the_band_only_depth_on_the_other_side_counts() {
    let (rows, _) = derive(&banded(), &along(&[1.0, -4.0, 4.0, -6.0]));
    let expected = [(1, 0, Initial, 0, Fine), (1, 0, Exit, 2_400, Fine)];
    assert_eq!(short(&rows), expected);
}

fn holds(zone: &Zone, place: [f64; 2]) -> bool {
    !derive(&index([zone.clone()]), &[fix(0, place)])
        .0
        .is_empty()
}

#[test]
fn a_box_holds_its_western_and_southern_border() {
    let zone = area(version(1, 0.0), vec![corners_degrees(1.0, 2.0, 3.0, 5.0)]);
    for (place, inside) in [
        ([1.0, 3.0], true),
        ([3.0, 3.0], false),
        ([2.0, 2.0], true),
        ([2.0, 5.0], false),
        ([1.0, 2.0], true),
        ([3.0, 2.0], false),
        ([1.0, 5.0], false),
        ([3.0, 5.0], false),
    ] {
        assert_eq!(holds(&zone, place), inside, "{place:?}");
    }
}

#[test]
fn of_zones_with_a_common_border_exactly_one_holds_a_fix_on_it() {
    // Triangles around a point, their edges in every direction, whatever their sense.
    let hub = [10.1, 50.3];
    let rim = [
        [11.0, 50.3],
        [10.7, 51.1],
        [10.1, 51.3],
        [9.5, 50.9],
        [9.1, 50.3],
        [9.4, 49.5],
        [10.1, 49.3],
        [10.9, 49.9],
    ];
    let zones: Vec<Zone> = (0..rim.len())
        .map(|n| {
            let mut points = vec![hub, rim[n], rim[(n + 1) % rim.len()]];
            if n % 2 == 0 {
                points.reverse();
            }
            area(version(1, 0.0), vec![support::ring(&points)])
        })
        .collect();
    let holding = |place| zones.iter().filter(|zone| holds(zone, place)).count();
    assert_eq!(holding(hub), 1);
    for [longitude, latitude] in rim {
        // Along a spoke: all points of it that floats can name, and some that they nearly can.
        for part in [0.25, 0.5, 0.3, 0.77] {
            let place = [
                hub[0] + part * (longitude - hub[0]),
                hub[1] + part * (latitude - hub[1]),
            ];
            assert_eq!(holding(place), 1, "{place:?}");
        }
    }
}

#[test]
fn a_fix_on_the_border_belongs_to_one_segment() {
    // On the western border, which is inside: it is entered at the fix, and left at it.
    let (rows, _) = derive(&sharp(), &along(&[-10.0, 0.0, 10.0, 0.0, -10.0]));
    let expected = [(1, 0, Enter, 1_000, Fine), (1, 0, Exit, 3_000, Fine)];
    assert_eq!(short(&rows), expected);
    assert_eq!([rows[0].end_t_us, rows[1].end_t_us], [SECOND, 4 * SECOND]);
    // On the eastern border, which is outside.
    let (rows, _) = derive(&sharp(), &along(&[210.0, 200.0, 190.0, 200.0, 210.0]));
    assert_eq!(
        short(&rows),
        [(1, 0, Enter, 1_000, Fine), (1, 0, Exit, 3_000, Fine)]
    );
    assert_eq!(
        [rows[0].end_t_us, rows[1].end_t_us],
        [2 * SECOND, 3 * SECOND]
    );
}

#[test]
fn a_path_along_a_border_or_past_a_corner_is_no_visit() {
    let fixes = [fix(0, at(200.0, -200.0)), fix(9 * SECOND, at(200.0, 200.0))];
    assert_eq!(derive(&sharp(), &fixes).0, []);
    // Along the western border it is inside between the corners.
    let fixes = [fix(0, at(0.0, -200.0)), fix(8 * SECOND, at(0.0, 200.0))];
    let (rows, _) = derive(&sharp(), &fixes);
    assert_eq!(
        short(&rows),
        [(1, 0, Enter, 2_000, Fine), (1, 1, Exit, 6_000, Fine)]
    );
    // Through corners only: north-west, then south-west.
    for south in [-1.0, 1.0] {
        let fixes = [
            fix(0, at(-50.0, south * 50.0)),
            fix(9 * SECOND, at(50.0, south * 150.0)),
        ];
        assert_eq!(derive(&sharp(), &fixes).0, [], "{south}");
    }
}

#[test]
fn a_hole_is_outside() {
    let rings = vec![
        corners(0.0, -100.0, 200.0, 100.0),
        corners(80.0, -20.0, 120.0, 20.0),
    ];
    let zones = index([area(version(1, 5.0), rings)]);
    let (rows, inside) = derive(&zones, &along(&[-50.0, 50.0, 100.0, 150.0, 250.0]));
    let expected = [
        (1, 0, Enter, 500, Fine),
        (1, 0, Exit, 1_600, Fine),
        (1, 0, Enter, 2_400, Fine),
        (1, 0, Exit, 3_500, Fine),
    ];
    assert_eq!(short(&rows), expected);
    assert_eq!(inside, Membership::new());
    // All of it in one segment.
    let fixes = [fix(0, at(-50.0, 0.0)), fix(4 * SECOND, at(250.0, 0.0))];
    let kinds: Vec<_> = derive(&zones, &fixes)
        .0
        .iter()
        .map(|row| (row.n, row.kind))
        .collect();
    assert_eq!(kinds, [(0, Enter), (1, Exit), (2, Enter), (3, Exit)]);
}

#[test]
fn several_polygons_are_one_zone() {
    let polygons = [
        vec![corners(0.0, -10.0, 40.0, 10.0)],
        vec![corners(100.0, -10.0, 140.0, 10.0)],
    ];
    let zones = index([Zone::area(version(1, 0.0), &polygons).unwrap()]);
    let (rows, _) = derive(&zones, &along(&[20.0, 70.0, 120.0, 120.0]));
    let expected = [
        (1, 0, Initial, 0, Fine),
        (1, 0, Exit, 400, Fine),
        (1, 0, Enter, 1_600, Fine),
    ];
    assert_eq!(short(&rows), expected);
}

#[test]
fn a_gap_is_judged_at_its_end() {
    let pass = |end: f64| [fix(0, at(-50.0, 0.0)), fix(100 * SECOND, at(end, 0.0))];
    // In: the last crossing of the straight line, and the whole rest as uncertainty.
    let (rows, inside) = derive(&banded(), &pass(50.0));
    assert_eq!(short(&rows), [(1, 0, Enter, 50_000, Gap)]);
    assert_eq!(rows[0].uncertainty_us, 50 * SECOND);
    assert_eq!(inside.ids(), [1]);
    // Within the band: as before.
    assert_eq!(derive(&banded(), &pass(3.0)).0, []);
    // In and out is not seen.
    assert_eq!(derive(&banded(), &pass(250.0)).0, []);
}

#[test]
fn a_change_in_a_gap_without_a_crossing_is_at_its_end() {
    // Inside the band at the start, by the raw side out, and no border on the way.
    let fixes = [
        fix(0, at(-10.0, 0.0)),
        fix(SECOND, at(1.0, 0.0)),
        fix(100 * SECOND, at(50.0, 0.0)),
    ];
    let (rows, _) = derive(&banded(), &fixes);
    assert_eq!(short(&rows), [(1, 0, Enter, 100_000, Gap)]);
    assert_eq!(rows[0].uncertainty_us, 99 * SECOND);
}

#[test]
fn a_jump_is_judged_at_its_end_and_comes_before_a_gap() {
    let (rows, _) = derive(&banded(), &along(&[-50.0, 100.0]));
    assert_eq!(short(&rows), [(1, 0, Enter, 333, Jump)]);
    assert_eq!(rows[0].uncertainty_us, 666_667);
    // 100 m/s to the millimetre is none.
    let (rows, _) = derive(&banded(), &along(&[-50.0, 49.999]));
    assert_eq!(rows[0].cause, Fine);
    let fixes = [fix(0, at(-5e6, 0.0)), fix(100 * SECOND, at(100.0, 0.0))];
    let (rows, _) = derive(&banded(), &fixes);
    assert_eq!(rows[0].cause, Jump);
    // A teleport out of the zone leaves its row.
    let (rows, inside) = derive(&banded(), &along(&[100.0, 5e6]));
    assert_eq!(
        short(&rows),
        [(1, 0, Initial, 0, Fine), (1, 0, Exit, 0, Jump)]
    );
    assert_eq!(inside, Membership::new());
}

fn valid(from_s: i64, to_s: i64, number: i32) -> Version {
    Version {
        version: number,
        valid_from_us: from_s * SECOND,
        valid_to_us: to_s * SECOND,
        ..version(1, 5.0)
    }
}

#[test]
fn a_zone_that_ends_is_left() {
    let zone = |to_s| square(valid(0, to_s, 1), [0.0, -100.0, 200.0, 100.0]);
    let fixes = along(&[50.0, 60.0, 70.0, 80.0]);
    // It ends at a fix: that one does not see it any more.
    let (rows, inside) = derive(&index([zone(2)]), &fixes);
    let expected = [(1, 0, Initial, 0, Fine), (1, 0, Exit, 2_000, ZoneEnded)];
    assert_eq!(short(&rows), expected);
    assert_eq!(rows[1].uncertainty_us, SECOND);
    assert_eq!(inside, Membership::new());
    // Before a jump, before a gap.
    let fixes = [fix(0, at(50.0, 0.0)), fix(100 * SECOND, at(5e6, 0.0))];
    let (rows, _) = derive(&index([zone(2)]), &fixes);
    assert_eq!(short(&rows)[1], (1, 0, Exit, 2_000, ZoneEnded));
}

#[test]
fn a_first_fix_under_a_live_version_takes_the_raw_side() {
    let zone = square(valid(2, 9, 1), [0.0, -100.0, 200.0, 100.0]);
    // The crossing at 0.5 s was not of a zone.
    let (rows, _) = derive(&index([zone]), &along(&[-10.0, 10.0, 20.0, 30.0]));
    assert_eq!(short(&rows), [(1, 0, Initial, 2_000, Fine)]);
    assert_eq!(rows[0].start, None);
}

#[test]
fn membership_carries_over_to_the_next_version() {
    let first = square(valid(0, 2, 1), [0.0, -100.0, 200.0, 100.0]);
    let moved = |by| square(valid(2, 99, 2), [by, -100.0, 200.0, 100.0]);
    let fixes = along(&[50.0, 60.0, 70.0, 80.0]);
    let (rows, _) = derive(&index([first.clone(), moved(10.0)]), &fixes);
    assert_eq!(short(&rows), [(1, 0, Initial, 0, Fine)]);
    // Its border has moved beyond the device: out at the start of the segment that sees it.
    let (rows, _) = derive(&index([first.clone(), moved(150.0)]), &fixes);
    let expected = [(1, 0, Initial, 0, Fine), (1, 0, Exit, 1_000, Fine)];
    assert_eq!(short(&rows), expected);
    assert_eq!([rows[1].version, rows[0].version], [2, 1]);
    // Its band holds the device: as before.
    let (rows, _) = derive(
        &index([first.clone(), moved(74.0)]),
        &along(&[50.0, 72.0, 73.0, 71.0]),
    );
    assert_eq!(short(&rows), [(1, 0, Initial, 0, Fine)]);
}

#[test]
fn a_version_far_away_ends_the_visit_too() {
    let first = square(valid(0, 2, 1), [0.0, -100.0, 200.0, 100.0]);
    let second = square(valid(2, 99, 2), [9_000.0, -100.0, 9_200.0, 100.0]);
    let (rows, _) = derive(&index([first, second]), &along(&[50.0, 60.0, 70.0]));
    let expected = [(1, 0, Initial, 0, Fine), (1, 0, Exit, 1_000, Fine)];
    assert_eq!(short(&rows), expected);
}

#[test]
fn a_pause_between_versions_is_seen_by_the_fixes_in_it() {
    let zone = |from, to, number| square(valid(from, to, number), [0.0, -100.0, 200.0, 100.0]);
    let zones = index([zone(0, 2, 1), zone(4, 9, 2)]);
    let (rows, _) = derive(&zones, &along(&[50.0, 60.0, 70.0, 80.0, 90.0]));
    let expected = [
        (1, 0, Initial, 0, Fine),
        (1, 0, Exit, 2_000, ZoneEnded),
        (1, 0, Initial, 4_000, Fine),
    ];
    assert_eq!(short(&rows), expected);
    let fixes = [fix(SECOND, at(50.0, 0.0)), fix(5 * SECOND, at(60.0, 0.0))];
    assert_eq!(derive(&zones, &fixes).0.len(), 1);
}

#[test]
fn of_versions_that_are_valid_together_the_greatest_counts() {
    let old = square(valid(0, 99, 1), [0.0, -100.0, 200.0, 100.0]);
    let new = square(valid(0, 99, 2), [500.0, -100.0, 700.0, 100.0]);
    let (rows, _) = derive(&index([new, old]), &along(&[50.0, 60.0]));
    assert_eq!(rows, []);
}

#[test]
fn rows_come_by_end_and_zone_and_number() {
    let zone = |id| square(version(id, 0.0), [0.0, -100.0, 40.0, 100.0]);
    let zones = index([zone(5), zone(-3), zone(2)]);
    let (rows, _) = derive(&zones, &along(&[-20.0, 60.0, 20.0, 60.0]));
    let keys: Vec<_> = rows
        .iter()
        .map(|row| (row.end_t_us / SECOND, row.zone_id, row.n))
        .collect();
    let expected = [
        (1, -3, 0),
        (1, -3, 1),
        (1, 2, 0),
        (1, 2, 1),
        (1, 5, 0),
        (1, 5, 1),
        (2, -3, 0),
        (2, 2, 0),
        (2, 5, 0),
        (3, -3, 0),
        (3, 2, 0),
        (3, 5, 0),
    ];
    assert_eq!(keys, expected);
}

#[test]
fn geometry_says_what_it_can() {
    let zones = index([
        square(version(1, 5.0), [0.0, -100.0, 200.0, 100.0]),
        Zone::circle(version(2, 5.0), at(0.0, 0.0), 100.0).unwrap(),
        square(version(3, 0.0), [0.0, -100.0, 200.0, 100.0]),
    ]);
    let says = |east_m: f64| {
        let fix = fix(0, at(east_m, 0.0));
        let beyond = zones.membership_beyond_band(&fix).ids().to_vec();
        (
            zones.in_band(&fix),
            beyond,
            zones.is_beyond_every_band(&fix),
        )
    };
    assert_eq!(says(50.0), (vec![], vec![1, 2, 3], true));
    assert_eq!(says(4.9), (vec![1], vec![2, 3], false));
    assert_eq!(says(5.1), (vec![], vec![1, 2, 3], true));
    assert_eq!(says(-4.9), (vec![1], vec![2], false));
    assert_eq!(says(-5.1), (vec![], vec![2], true));
    assert_eq!(says(0.0), (vec![1], vec![2, 3], false));
    assert_eq!(says(95.1), (vec![2], vec![1, 3], false));
    assert_eq!(says(104.9), (vec![2], vec![1, 3], false));
    assert_eq!(says(105.1), (vec![], vec![1, 3], true));
    let ended = index([square(valid(1, 2, 1), [0.0, -100.0, 200.0, 100.0])]);
    assert!(ended.is_beyond_every_band(&fix(0, at(1.0, 0.0))));
    assert!(!ended.is_beyond_every_band(&fix(SECOND, at(1.0, 0.0))));
    assert!(ended.is_beyond_every_band(&fix(2 * SECOND, at(1.0, 0.0))));
}

#[test]
fn a_zone_that_is_not_known_is_dropped() {
    let mut rows = Vec::new();
    let inside: Membership = [1, 77].into_iter().collect();
    let left = fix(0, at(50.0, 0.0));
    let right: [Fix; 1] = [fix(SECOND, at(60.0, 0.0))];
    let after = banded().derive(&limits(), Some((&left, &inside)), &right, &mut rows);
    assert_eq!((rows, after.ids()), (vec![], &[1][..]));
}

#[test]
fn a_fix_that_is_not_later_is_passed_over() {
    let mut fixes = along(&[-50.0, 50.0]);
    fixes.insert(1, fix(0, at(70.0, 0.0)));
    assert_eq!(
        short(&derive(&banded(), &fixes).0),
        [(1, 0, Enter, 500, Fine)]
    );
}

#[test]
fn no_zones_no_rows() {
    let none = index([]);
    assert!(none.is_empty());
    assert_eq!(
        derive(&none, &along(&[-50.0, 50.0])),
        (vec![], Membership::new())
    );
}

#[test]
fn a_segment_has_as_many_rows_as_there_are_numbers() {
    // A comb of 33,000 teeth of a centimetre, a centimetre apart.
    let mut points = vec![at(0.0, -10.0)];
    for tooth in 0..33_000 {
        let west = f64::from(tooth) * 0.02;
        points.extend([
            at(west, 0.0),
            at(west, 10.0),
            at(west + 0.01, 10.0),
            at(west + 0.01, 0.0),
        ]);
    }
    points.push(at(660.0, -10.0));
    let comb = index([area(version(1, 0.0), vec![support::ring(&points)])]);
    let across = |to_m| [fix(0, at(-1.0, 5.0)), fix(10 * SECOND, at(to_m, 5.0))];
    let (rows, inside) = derive(&comb, &across(661.0));
    assert_eq!(
        (rows.len(), rows[65_535].n, rows[65_535].kind),
        (65_536, 65_535, Exit)
    );
    assert_eq!(inside.ids().len(), 0);
    // It ends in a tooth: what is stored last says so.
    let (rows, inside) = derive(&comb, &across(659.985));
    assert_eq!(
        (rows.len(), rows[65_534].n, rows[65_534].kind),
        (65_535, 65_534, Enter)
    );
    assert_eq!(inside.ids(), [1]);
}

#[test]
fn a_zone_that_becomes_a_gate_is_left() {
    let first = square(valid(0, 2, 1), [0.0, -100.0, 200.0, 100.0]);
    let line = [at(55.0, -50.0), at(55.0, 50.0)];
    let second = Zone::gate(valid(2, 99, 2), &line, GateDirection::Both).unwrap();
    let (rows, inside) = derive(&index([first, second]), &along(&[50.0, 50.0, 60.0, 70.0]));
    let expected = [
        (1, 0, Initial, 0, Fine),
        (1, 0, Cross, 1_500, Fine),
        (1, 1, Exit, 2_000, ZoneEnded),
    ];
    assert_eq!(short(&rows), expected);
    assert_eq!(inside, Membership::new());
}

#[test]
fn a_membership_that_is_not_so_is_put_right() {
    let (left, right) = (fix(0, at(50.0, 0.0)), [fix(SECOND, at(60.0, 0.0))]);
    let mut rows = Vec::new();
    let outside = Membership::new();
    let inside = banded().derive(&limits(), Some((&left, &outside)), &right, &mut rows);
    assert_eq!(short(&rows), [(1, 0, Enter, 0, Fine)]);
    assert_eq!(inside.ids(), [1]);
}

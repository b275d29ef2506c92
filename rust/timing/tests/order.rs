//! What the fold of the database rests on: it may be cut anywhere, and done again around late data.

mod support;

use support::random::{Outcome, Random, check};
use support::{SECOND, at, fix, index, limits};
use timing::{Fix, GateDirection, Kind, Membership, Row, Version, Zone, ZoneIndex};

/// Zones with everything, on a grid of 5 m, so that fixes lie on borders, gates and ends of bands.
fn zones(random: &mut Random) -> ZoneIndex {
    let mut zones = Vec::new();
    for zone_id in 1..=random.whole(1, 4) {
        let versions = random.whole(1, 3);
        let mut from_s = random.of(&[-99, 0, 3]);
        for number in 1..=versions {
            let to_s = if number == versions && random.chance(60) {
                999
            } else {
                from_s + random.whole(1, 9)
            };
            let version = Version {
                zone_id,
                version: number,
                valid_from_us: i64::from(from_s) * SECOND,
                valid_to_us: i64::from(to_s) * SECOND,
                hysteresis_m: random.of(&[0.0, 5.0, 5.0, 7.0]),
            };
            zones.push(zone(random, version));
            from_s = to_s + random.of(&[0, 0, 2]);
        }
    }
    index(zones)
}

fn grid(random: &mut Random) -> [f64; 2] {
    [
        f64::from(random.whole(-8, 8)) * 5.0,
        f64::from(random.whole(-8, 8)) * 5.0,
    ]
}

fn zone(random: &mut Random, version: Version) -> Zone {
    let [x, y] = grid(random);
    let (width, height) = (
        f64::from(random.whole(1, 8)) * 5.0,
        f64::from(random.whole(1, 8)) * 5.0,
    );
    match random.below(3) {
        0 => Zone::circle(version, at(x, y), width + 5.0).unwrap(),
        1 => support::square(version, [x, y, x + width, y + height]),
        _ => {
            let points = [at(x, y), at(x + width, y), at(x + width, y + height)];
            let direction = random.of(&[GateDirection::Both, GateDirection::LeftToRight]);
            Zone::gate(version, &points, direction).unwrap()
        }
    }
}

fn fixes(random: &mut Random, count: i32) -> Vec<Fix> {
    let mut t_us = -2 * SECOND;
    let mut place = grid(random);
    (0..count)
        .map(|_| {
            t_us += random.of(&[
                200_000,
                500_000,
                SECOND,
                SECOND,
                2 * SECOND,
                70 * SECOND / 10,
                61 * SECOND,
            ]);
            if random.chance(15) {
                place = grid(random);
            } else {
                place = place.map(|metres| metres + f64::from(random.whole(-3, 3)) * 5.0);
            }
            let [x, y] = place;
            Fix {
                satellites: u8::try_from(random.whole(4, 12)).unwrap(),
                ..fix(t_us, at(x, y))
            }
        })
        .collect()
}

fn whole(index: &ZoneIndex, fixes: &[Fix]) -> (Vec<Row>, Membership) {
    let mut rows = Vec::new();
    let inside = index.derive(&limits(), None, fixes, &mut rows);
    (rows, inside)
}

#[test]
fn a_fold_may_be_cut_anywhere() {
    check(4_000, 0, |random| {
        let index = zones(random);
        let count = random.whole(1, 40);
        let fixes = fixes(random, count);
        let expected = whole(&index, &fixes);
        let mut rows = Vec::new();
        let mut left: Option<(Fix, Membership)> = None;
        let mut rest = &fixes[..];
        while !rest.is_empty() {
            let (part, after) = rest.split_at(random.below(rest.len()) + 1);
            let known = left.as_ref().map(|(fix, inside)| (fix, inside));
            let inside = index.derive(&limits(), known, part, &mut rows);
            left = Some((part[part.len() - 1], inside));
            rest = after;
        }
        let inside = left.map(|(_, inside)| inside).unwrap_or_default();
        if (&rows, &inside) == (&expected.0, &expected.1) {
            Outcome::Right
        } else {
            Outcome::Wrong(format!("{rows:?}, expected {:?}", expected.0))
        }
    });
}

/// What a database would hold of one device.
#[derive(Default)]
struct Stored {
    fixes: Vec<Fix>,
    rows: Vec<Row>,
}

impl Stored {
    /// By geometry beyond the band, else the newest row up to there.
    fn membership_at(&self, index: &ZoneIndex, fix: &Fix) -> Membership {
        let mut inside = index.membership_beyond_band(fix);
        for zone_id in index.in_band(fix) {
            let of_zone = |row: &&Row| row.zone_id == zone_id && row.end_t_us <= fix.t_us;
            let newest = self.rows.iter().rfind(of_zone);
            let is_in = newest.is_some_and(|row| matches!(row.kind, Kind::Initial | Kind::Enter));
            inside.set(zone_id, is_in);
        }
        inside
    }

    /// From the fix on to the first that is beyond every band; rows belong to their ends.
    fn take(&mut self, index: &ZoneIndex, late: Fix) {
        let first = self.fixes.partition_point(|fix| fix.t_us < late.t_us);
        self.fixes.insert(first, late);
        let stop = self.fixes[first + 1..]
            .iter()
            .position(|fix| index.is_beyond_every_band(fix));
        let last = stop.map_or(self.fixes.len() - 1, |after| first + 1 + after);
        let left = first.checked_sub(1).map(|at| self.fixes[at]);
        let known = left.map(|fix| (fix, self.membership_at(index, &fix)));
        let known = known.as_ref().map(|(fix, inside)| (fix, inside));
        let mut rows = Vec::new();
        index.derive(&limits(), known, &self.fixes[first..=last], &mut rows);
        let from_us = left.map_or(i64::MIN, |fix| fix.t_us);
        let to_us = stop.map_or(i64::MAX, |_| self.fixes[last].t_us);
        self.rows
            .retain(|row| row.end_t_us <= from_us || row.end_t_us > to_us);
        let place = self.rows.partition_point(|row| row.end_t_us <= from_us);
        self.rows.splice(place..place, rows);
    }
}

#[test]
fn fixes_in_any_order_give_the_rows_of_one_sorted_pass() {
    check(4_000, 0, |random| {
        let index = zones(random);
        let count = random.whole(1, 30);
        let sorted = fixes(random, count);
        let mut arriving = sorted.clone();
        for at in (1..arriving.len()).rev() {
            arriving.swap(at, random.below(at + 1));
        }
        let mut stored = Stored::default();
        for fix in arriving {
            stored.take(&index, fix);
        }
        let (expected, _) = whole(&index, &sorted);
        if stored.rows == expected {
            Outcome::Right
        } else {
            Outcome::Wrong(format!("{:?}, expected {expected:?}", stored.rows))
        }
    });
}

#[test]
fn rows_keep_their_order_their_segment_and_their_sense() {
    check(4_000, 0, |random| {
        let index = zones(random);
        let fixes = fixes(random, 40);
        let (rows, inside) = whole(&index, &fixes);
        let keys: Vec<_> = rows
            .iter()
            .map(|row| (row.end_t_us, row.zone_id, row.n))
            .collect();
        let in_order = keys.is_sorted_by(|one, next| one < next);
        let within = rows.iter().all(|row| {
            let start = row.start.map_or(row.end_t_us, |start| start.t_us);
            (start..=row.end_t_us).contains(&row.at_us)
                && (0..=row.dt_us()).contains(&row.uncertainty_us)
        });
        // Of each zone the rows go in and out in turn, and end where the device is.
        let in_turn = (1..=4).all(|zone_id| {
            let changes = rows
                .iter()
                .filter(|row| row.zone_id == zone_id && row.kind != Kind::Cross);
            let mut state = false;
            let alternate = changes.into_iter().all(|row| {
                state = !state;
                state == matches!(row.kind, Kind::Initial | Kind::Enter)
            });
            alternate && state == inside.contains(zone_id)
        });
        if in_order && within && in_turn {
            Outcome::Right
        } else {
            Outcome::Wrong(format!("{in_order} {within} {in_turn}: {rows:?}"))
        }
    });
}

#[test]
fn the_zones_elsewhere_do_not_matter() {
    check(1_000, 0, |random| {
        let number = random.next();
        let near = zones(&mut Random::new(number));
        let fixes = fixes(random, 30);
        let (expected, _) = whole(&near, &fixes);
        // The same zones and two hundred others, some of them so near that they crowd.
        let mut all = Vec::new();
        for zone_id in 1000..1200 {
            let place = [random.between(-180.0, 180.0), random.between(-80.0, 80.0)];
            all.push(Zone::circle(support::version(zone_id, 5.0), place, 500.0).unwrap());
        }
        for zone_id in 1200..1200 + random.whole(0, 100) {
            let place = at(random.between(-900.0, 900.0), random.between(-900.0, 900.0));
            all.push(Zone::circle(support::version(zone_id, 5.0), place, 30.0).unwrap());
        }
        all.extend(near.zones().cloned());
        let (mut rows, _) = whole(&index(all), &fixes);
        rows.retain(|row| row.zone_id < 1000);
        if rows == expected {
            Outcome::Right
        } else {
            Outcome::Wrong(format!("{rows:?}, expected {expected:?}"))
        }
    });
}

/// Who asks for one segment gets it from the index, who asks for many from what lies near.
#[test]
fn what_lies_near_is_what_the_index_has() {
    check(400, 10, |random| {
        let middle = random.of(&[10.0, 180.0, -179.9]);
        let turned = |longitude: f64| (longitude + 180.0).rem_euclid(360.0) - 180.0;
        let count = random.of(&[50, 300, 3000]);
        let zones = (0..count).map(|zone_id| {
            let centre = [
                turned(middle + random.between(-0.2, 0.2)),
                random.between(49.9, 50.1),
            ];
            let version = support::version(zone_id, random.of(&[0.0, 5.0]));
            Zone::circle(version, centre, random.between(20.0, 400.0)).unwrap()
        });
        let index = index(zones.collect::<Vec<_>>());
        let mut place = [middle, 50.0];
        let fixes: Vec<Fix> = (0..60)
            .map(|n| {
                place[0] =
                    (place[0] + random.between(-0.03, 0.03)).clamp(middle - 0.2, middle + 0.2);
                place[1] = (place[1] + random.between(-0.01, 0.01)).clamp(49.9, 50.1);
                fix(n * 50 * SECOND, [turned(place[0]), place[1]])
            })
            .collect();
        let (expected, _) = whole(&index, &fixes);
        let mut rows = Vec::new();
        let mut inside = index.derive(&limits(), None, &fixes[..1], &mut rows);
        for ends in fixes.windows(2) {
            inside = index.derive(&limits(), Some((&ends[0], &inside)), &ends[1..], &mut rows);
        }
        if rows == expected && rows.is_empty() {
            Outcome::Undecided
        } else if rows == expected {
            Outcome::Right
        } else {
            Outcome::Wrong(format!("{} rows, expected {}", rows.len(), expected.len()))
        }
    });
}

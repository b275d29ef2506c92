//! How many segments a second one core derives.
//!
//! `cargo run --release -p timing --example speed [ZONES]`: 60 cars at 1 Hz and 10,000 vehicles at
//! 1/10 Hz over a country of 800 by 600 km, against 1,000 and 20,000 zones: half circles of 50 to
//! 500 m, half polygons of 8 to 32 points, a twentieth gates, and ten districts of 80 km. The median
//! of five rounds, in time on the processor; all fixes of a device in a call, or one.
#![allow(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::as_conversions,
    reason = "figures for people"
)]

use std::time::Instant;

use timing::{Fix, GateDirection, Limits, LonLat, Membership, Row, Version, Zone, ZoneIndex};

const SECOND: i64 = 1_000_000;
const WEST: f64 = 6.0;
const SOUTH: f64 = 47.5;
const WIDTH: f64 = 8.0;
const HEIGHT: f64 = 6.0;
const DEGREE_M: f64 = 111_195.0;

struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    fn place(&mut self) -> LonLat {
        [
            self.between(WEST, WEST + WIDTH),
            self.between(SOUTH, SOUTH + HEIGHT),
        ]
    }
}

fn moved([longitude, latitude]: LonLat, east_m: f64, north_m: f64) -> LonLat {
    let narrower = latitude.to_radians().cos();
    [
        longitude + east_m / DEGREE_M / narrower,
        latitude + north_m / DEGREE_M,
    ]
}

fn round(centre: LonLat, radius_m: f64, points: u32, random: &mut Random) -> Vec<LonLat> {
    let mut ring: Vec<LonLat> = (0..points)
        .map(|n| {
            let angle = f64::from(n) / f64::from(points) * std::f64::consts::TAU;
            let radius = radius_m * random.between(0.7, 1.0);
            moved(centre, radius * angle.cos(), radius * angle.sin())
        })
        .collect();
    ring.push(ring[0]);
    ring
}

/// Most zones lie where people are: around one of 60 towns.
fn zone(zone_id: i32, towns: &[LonLat], random: &mut Random) -> Zone {
    let version = Version {
        zone_id,
        version: 1,
        valid_from_us: 0,
        valid_to_us: i64::MAX,
        hysteresis_m: 5.0,
    };
    let town = towns[(random.unit() * towns.len() as f64) as usize];
    let spread = 15_000.0;
    let centre = if random.unit() < 0.7 {
        moved(
            town,
            random.between(-spread, spread),
            random.between(-spread, spread),
        )
    } else {
        random.place()
    };
    let radius_m = random.between(50.0, 500.0);
    match zone_id % 20 {
        0 => {
            let end = moved(centre, random.between(5.0, 20.0), random.between(5.0, 20.0));
            Zone::gate(version, &[centre, end], GateDirection::Both)
        }
        1 if zone_id < 200 => {
            let points = random.between(200.0, 2000.0) as u32;
            Zone::area(version, &[vec![round(centre, 40_000.0, points, random)]])
        }
        n if n % 2 == 0 => Zone::circle(version, centre, radius_m),
        _ => {
            let points = random.between(8.0, 32.0) as u32;
            Zone::area(version, &[vec![round(centre, radius_m, points, random)]])
        }
    }
    .expect("a valid zone")
}

/// A circuit of 5 km with 12 gates, somewhere in the country.
fn circuit(first_id: i32, centre: LonLat) -> Vec<Zone> {
    (0..12)
        .map(|n| {
            let angle = f64::from(n) / 12.0 * std::f64::consts::TAU;
            let at = |radius: f64| moved(centre, radius * angle.cos(), radius * angle.sin());
            let version = Version {
                zone_id: first_id + n,
                version: 1,
                valid_from_us: 0,
                valid_to_us: i64::MAX,
                hysteresis_m: 0.0,
            };
            Zone::gate(version, &[at(780.0), at(820.0)], GateDirection::Both).expect("a gate")
        })
        .collect()
}

/// Cars on the circuit, at 60 m/s, once a second.
fn cars(centre: LonLat, random: &mut Random) -> Vec<Vec<Fix>> {
    (0..60)
        .map(|car| {
            let start = f64::from(car) * 0.1;
            (0..7200)
                .map(|second: i64| {
                    let angle = start + second as f64 * 60.0 / 800.0;
                    let radius = 800.0 + random.between(-5.0, 5.0);
                    fix(
                        second * SECOND,
                        moved(centre, radius * angle.cos(), radius * angle.sin()),
                    )
                })
                .collect()
        })
        .collect()
}

/// Vehicles between towns, at 8 to 35 m/s, every ten seconds, with stops.
fn vehicles(towns: &[LonLat], random: &mut Random) -> Vec<Vec<Fix>> {
    (0..10_000)
        .map(|_| {
            let town = towns[(random.unit() * towns.len() as f64) as usize];
            let mut place = moved(town, random.between(-2e4, 2e4), random.between(-2e4, 2e4));
            let mut heading = random.between(0.0, std::f64::consts::TAU);
            let mut speed = random.between(8.0, 35.0);
            (0..100)
                .map(|n: i64| {
                    heading += random.between(-0.3, 0.3);
                    if random.unit() < 0.05 {
                        speed = if random.unit() < 0.3 {
                            0.0
                        } else {
                            random.between(8.0, 35.0)
                        };
                    }
                    let way = speed * 10.0;
                    place = moved(place, way * heading.cos(), way * heading.sin());
                    fix(n * 10 * SECOND, place)
                })
                .collect()
        })
        .collect()
}

fn fix(t_us: i64, place: LonLat) -> Fix {
    let [longitude, latitude] = place.map(|degrees| (degrees * 1e7).round() / 1e7);
    Fix {
        t_us,
        digest: t_us,
        longitude,
        latitude,
        satellites: 9,
    }
}

/// Time on a processor, where the system says it: others may be at work too. Else what a clock says.
fn cpu_seconds() -> f64 {
    let schedule = std::fs::read_to_string("/proc/self/schedstat").ok();
    let on_cpu = schedule.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let clock = || {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
        since.map_or(0.0, |since| since.as_secs_f64())
    };
    on_cpu.map_or_else(clock, |nanoseconds| nanoseconds / 1e9)
}

fn run(name: &str, index: &ZoneIndex, devices: &[Vec<Fix>], fixes_a_call: usize) {
    let limits = Limits::new(300 * SECOND, 120.0).expect("limits");
    let segments: usize = devices.iter().map(|fixes| fixes.len() - 1).sum();
    let mut seconds = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..5 {
        rows.clear();
        let began = cpu_seconds();
        for fixes in devices {
            let mut left: Option<(&Fix, Membership)> = None;
            for part in fixes.chunks(fixes_a_call) {
                let known = left.as_ref().map(|(fix, inside)| (*fix, inside));
                let inside = index.derive(&limits, known, part, &mut rows);
                left = part.last().map(|fix| (fix, inside));
            }
        }
        seconds.push(cpu_seconds() - began);
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "{name}: {:.2} M segments/s ({:.0} ns each, fastest {:.0}, slowest {:.0}), {} segments, {} rows",
        segments as f64 / seconds[2] / 1e6,
        seconds[2] / segments as f64 * 1e9,
        seconds[0] / segments as f64 * 1e9,
        seconds[4] / segments as f64 * 1e9,
        segments,
        rows.len(),
    );
}

fn main() {
    let mut random = Random(42);
    let towns: Vec<LonLat> = (0..60).map(|_| random.place()).collect();
    let centre = towns[7];
    let (cars, vehicles) = (cars(centre, &mut random), vehicles(&towns, &mut random));
    let only: Option<i32> = std::env::args().nth(1).and_then(|count| count.parse().ok());
    for count in [1_000, 20_000] {
        if only.is_some_and(|only| only != count) {
            continue;
        }
        let mut zones: Vec<Zone> = (0..count).map(|id| zone(id, &towns, &mut random)).collect();
        zones.extend(circuit(1_000_000, centre));
        let began = Instant::now();
        let index = ZoneIndex::new(zones).expect("an index");
        println!(
            "{count} zones: index in {:.2} ms",
            began.elapsed().as_secs_f64() * 1e3
        );
        run(
            "  60 cars at 1 Hz on a circuit of 12 gates",
            &index,
            &cars,
            usize::MAX,
        );
        run(
            "  10,000 vehicles at 1/10 Hz",
            &index,
            &vehicles,
            usize::MAX,
        );
        run("  the same, one fix a call", &index, &vehicles, 1);
    }
    if only.is_none() {
        large_zones(centre, &vehicles, &mut random);
    }
}

fn large_zones(centre: LonLat, vehicles: &[Vec<Fix>], random: &mut Random) {
    let points = 100_000;
    let ring = round(centre, 20_000.0, points, random);
    let version = Version {
        zone_id: 1,
        version: 1,
        valid_from_us: 0,
        valid_to_us: i64::MAX,
        hysteresis_m: 5.0,
    };
    let mut smooth: Vec<LonLat> = (0..points)
        .map(|n| {
            let angle = f64::from(n) / f64::from(points) * std::f64::consts::TAU;
            moved(centre, 20_000.0 * angle.cos(), 20_000.0 * angle.sin())
        })
        .collect();
    smooth.push(smooth[0]);
    for (name, ring) in [("a round one", smooth), ("a hedgehog", ring)] {
        let began = Instant::now();
        let zone = Zone::area(version, &[vec![ring]]).expect("a valid zone");
        println!(
            "{name} of {points} points: checked in {:.0} ms",
            began.elapsed().as_secs_f64() * 1e3
        );
        let index = ZoneIndex::new(vec![zone]).expect("an index");
        run("  10,000 vehicles at 1/10 Hz", &index, vehicles, usize::MAX);
    }
}

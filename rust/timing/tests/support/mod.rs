//! Zones and fixes on the plane around longitude 0, latitude 0, in metres.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this file and uses a part of it"
)]

pub mod random;

use timing::{
    Cause, Direction, EARTH_RADIUS_M, Fix, GateDirection, Kind, Limits, LonLat, Membership, Row,
    Version, Zone, ZoneIndex,
};

pub const SECOND: i64 = 1_000_000;

/// Degrees of a metre of latitude, and of longitude at the equator.
pub fn degrees(metres: f64) -> f64 {
    metres / EARTH_RADIUS_M * 180.0 / std::f64::consts::PI
}

/// A point so many metres to the east and the north of 0/0.
pub fn at(east_m: f64, north_m: f64) -> LonLat {
    [degrees(east_m), degrees(north_m)]
}

/// A fix with 9 satellites; its digest is its time in milliseconds.
pub fn fix(t_us: i64, [longitude, latitude]: LonLat) -> Fix {
    Fix {
        t_us,
        digest: t_us / 1000,
        longitude,
        latitude,
        satellites: 9,
    }
}

/// Fixes one second apart from 0, on the equator, so many metres to the east.
pub fn along(east_m: &[f64]) -> Vec<Fix> {
    let times = (0..).map(|n| n * SECOND);
    times
        .zip(east_m)
        .map(|(t, &x)| fix(t, at(x, 0.0)))
        .collect()
}

/// Version 1, always valid.
pub fn version(zone_id: i32, hysteresis_m: f64) -> Version {
    Version {
        zone_id,
        version: 1,
        valid_from_us: i64::MIN,
        valid_to_us: i64::MAX,
        hysteresis_m,
    }
}

pub fn ring(points: &[LonLat]) -> Vec<LonLat> {
    points.iter().chain(points.first()).copied().collect()
}

/// The corners of a box, in metres.
pub fn corners(west: f64, south: f64, east: f64, north: f64) -> Vec<LonLat> {
    ring(&[
        at(west, south),
        at(east, south),
        at(east, north),
        at(west, north),
    ])
}

/// The corners of a box, in degrees.
pub fn corners_degrees(west: f64, south: f64, east: f64, north: f64) -> Vec<LonLat> {
    ring(&[[west, south], [east, south], [east, north], [west, north]])
}

pub fn area(version: Version, rings: Vec<Vec<LonLat>>) -> Zone {
    Zone::area(version, &[rings]).unwrap()
}

/// A box in metres.
pub fn square(version: Version, [west, south, east, north]: [f64; 4]) -> Zone {
    area(version, vec![corners(west, south, east, north)])
}

pub fn gate(zone_id: i32, points: &[LonLat], direction: GateDirection) -> Zone {
    Zone::gate(version(zone_id, 0.0), points, direction).unwrap()
}

pub fn index(zones: impl IntoIterator<Item = Zone>) -> ZoneIndex {
    ZoneIndex::new(zones.into_iter().collect()).unwrap()
}

/// Gaps above a minute, jumps above 100 m/s.
pub fn limits() -> Limits {
    Limits::new(60 * SECOND, 100.0).unwrap()
}

pub fn derive(index: &ZoneIndex, fixes: &[Fix]) -> (Vec<Row>, Membership) {
    let mut rows = Vec::new();
    let inside = index.derive(&limits(), None, fixes, &mut rows);
    (rows, inside)
}

/// What a test looks at first: zone, number, what, when in milliseconds, and why.
pub type Short = (i32, u16, Kind, i64, Cause);

pub fn short(rows: &[Row]) -> Vec<Short> {
    rows.iter()
        .map(|row| (row.zone_id, row.n, row.kind, millis(row.at_us), row.cause))
        .collect()
}

pub fn millis(at_us: i64) -> i64 {
    (at_us + 500).div_euclid(1000)
}

pub fn directions(rows: &[Row]) -> Vec<(i64, Direction)> {
    let seen = rows.iter().map(|row| (millis(row.at_us), row.direction));
    seen.collect()
}

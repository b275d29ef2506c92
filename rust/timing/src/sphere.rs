//! Distances on the sphere.

/// Mean radius of the earth in metres. Source: IUGG, GRS 80, R1 = (2a + b) / 3.
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Metres of a degree of latitude.
pub(crate) const DEGREE_M: f64 = EARTH_RADIUS_M * std::f64::consts::PI / 180.0;

/// Haversine distance of two points, in metres; longitudes and latitudes in degrees.
#[must_use]
pub fn distance_m(from: [f64; 2], to: [f64; 2]) -> f64 {
    let [from_longitude, from_latitude] = from;
    let [to_longitude, to_latitude] = to;
    let half_north = libm::sin((to_latitude - from_latitude).to_radians() * 0.5);
    let half_east = libm::sin((to_longitude - from_longitude).to_radians() * 0.5);
    let cosines = cos_degrees(from_latitude) * cos_degrees(to_latitude);
    arc_m(half_north * half_north + cosines * half_east * half_east)
}

/// The distance that has this haversine, in metres.
pub(crate) fn arc_m(haversine: f64) -> f64 {
    2.0 * EARTH_RADIUS_M * libm::asin(haversine.sqrt().min(1.0))
}

/// The cosine of an angle in degrees.
pub(crate) fn cos_degrees(degrees: f64) -> f64 {
    libm::cos(degrees.to_radians())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degree_is_111_195_metres() {
        assert!((distance_m([10.0, 0.0], [11.0, 0.0]) - 111_195.080).abs() < 0.001);
        assert!((distance_m([10.0, 50.0], [10.0, 51.0]) - 111_195.080).abs() < 0.001);
        assert!((distance_m([179.5, 0.0], [-179.5, 0.0]) - 111_195.080).abs() < 0.001);
    }

    #[test]
    fn opposite_points_are_half_a_turn_apart() {
        let half_turn = EARTH_RADIUS_M * std::f64::consts::PI;
        assert!((distance_m([0.0, 90.0], [77.0, -90.0]) - half_turn).abs() < 0.001);
        assert!((distance_m([-90.0, 0.0], [90.0, 0.0]) - half_turn).abs() < 0.001);
    }
}

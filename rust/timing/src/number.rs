//! The conversions between numbers that no `From` covers, each with what it can lose.

/// Microseconds as a float: exact up to 2^53 of them, 285 years.
#[allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "beyond 285 years a fraction of a segment is no longer exact to the microsecond"
)]
pub(crate) const fn float(us: i64) -> f64 {
    us as f64
}

/// The nearest whole number; saturates at the ends of the range, and is 0 for what is no number.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "a cast of floats saturates, which is what is wanted"
)]
pub(crate) fn rounded(value: f64) -> i64 {
    value.round() as i64
}

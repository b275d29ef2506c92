//! Whole numbers that Python passes: what does not fit is a `ValueError` with what was found.

use std::fmt::Display;
use std::ops::RangeInclusive;

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;

/// The argument `name`, if it is in `range`.
///
/// # Errors
/// `ValueError` with the number and the range; `TypeError` where it is no integer.
pub(crate) fn in_range<'py, T>(
    name: &str,
    value: &Bound<'py, PyAny>,
    range: RangeInclusive<T>,
) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr> + PartialOrd + Display,
{
    let number = fitting(value)?.filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (start, end) = range.into_inner();
        PyValueError::new_err(format!("{name} is {value}, expected {start} to {end}"))
    })
}

/// The number, or nothing where `T` cannot hold it.
///
/// # Errors
/// `TypeError`: it is no integer.
pub(crate) fn fitting<'py, T>(value: &Bound<'py, PyAny>) -> PyResult<Option<T>>
where
    T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    match value.extract() {
        Ok(number) => Ok(Some(number)),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Ok(None),
        Err(error) => Err(error),
    }
}

//! Arguments that Python passes: a wrong one is a `ValueError` with what was found and expected.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

use codec8::{Limits, Transport};
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use state::DEVICES_CEILING;

/// Name of [`Transport::Tcp`].
pub(crate) const TCP: &str = "tcp";

/// Name of [`Transport::Udp`].
pub(crate) const UDP: &str = "udp";

/// The transport of this name.
pub(crate) fn transport_of(name: &str) -> PyResult<Transport> {
    match name {
        TCP => Ok(Transport::Tcp),
        UDP => Ok(Transport::Udp),
        found => {
            let message = format!("transport is {found:?}, expected 'tcp' or 'udp'");
            Err(PyValueError::new_err(message))
        }
    }
}

/// The limits with this upper bound of a frame.
pub(crate) fn limits_of(frame_max_bytes: &Bound<'_, PyAny>) -> PyResult<Limits> {
    let range = Limits::FRAME_MIN_BYTES..=Limits::FRAME_CEILING_BYTES;
    Limits::new(in_range("frame_max_bytes", frame_max_bytes, range)?)
        .map_err(|error| PyValueError::new_err(error.to_string()))
}

/// An upper bound of records.
pub(crate) fn max_records_of(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    in_range("max_records", value, 0..=usize::MAX)
}

/// How far ahead of its receive time a record may be.
pub(crate) fn clock_ahead_of(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    in_range("clock_ahead_max_ms", value, 0..=u64::MAX)
}

/// A gateway's clock in Unix milliseconds.
pub(crate) fn received_at_of(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    in_range("received_at_ms", value, 0..=u64::MAX)
}

/// How many devices a state may hold.
pub(crate) fn devices_max_of(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    in_range("devices_max", value, 1..=DEVICES_CEILING)
}

/// The entries [start, stop) of a batch of `n_entries`; without bounds, all.
pub(crate) fn entries_of(
    start: Option<&Bound<'_, PyAny>>,
    stop: Option<&Bound<'_, PyAny>>,
    n_entries: usize,
) -> PyResult<Range<usize>> {
    let stop = stop.map_or(Ok(n_entries), |stop| in_range("stop", stop, 0..=n_entries))?;
    let start = start.map_or(Ok(0), |start| in_range("start", start, 0..=stop))?;
    Ok(start..stop)
}

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

//! `ZoneIndex`: the zones that a process holds; the rules live in the crate `timing`.
#![expect(
    clippy::needless_pass_by_value,
    reason = "lists of Python's are taken as vectors"
)]

use std::sync::Arc;

use batch::caught;
use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use timing::{GateDirection, LonLat, Version, Zone, ZoneError};

use crate::error::decoder_bug;

create_exception!(
    _native,
    ZoneRefused,
    PyValueError,
    "A geometry that is no zone: code, place (polygon, ring, point) and what was expected."
);

/// What all versions have: (zone id, version, valid from, valid to, hysteresis in metres).
type PyVersion = (i32, i32, i64, i64, f64);

/// What is wrong with a zone: text, code and (polygon, ring, point).
type PyFault = (String, &'static str, Option<(usize, usize, usize)>);

/// One version of a zone, checked.
#[pyclass(frozen, name = "Zone", module = "teltonika_processor._native")]
pub(crate) struct PyZone {
    zone: Zone,
}

#[pymethods]
impl PyZone {
    /// A circle on the sphere.
    #[staticmethod]
    fn circle(py: Python<'_>, version: PyVersion, centre: LonLat, radius_m: f64) -> PyResult<Self> {
        checked(py, || Zone::circle(version_of(version), centre, radius_m))
    }

    /// Polygons, each an outer ring and its holes.
    #[staticmethod]
    fn area(py: Python<'_>, version: PyVersion, polygons: Vec<Vec<Vec<LonLat>>>) -> PyResult<Self> {
        checked(py, || Zone::area(version_of(version), &polygons))
    }

    /// What is wrong with polygons, up to `max`: (text, code, place) of each; none if they are an area.
    #[staticmethod]
    fn area_faults(
        py: Python<'_>,
        version: PyVersion,
        polygons: Vec<Vec<Vec<LonLat>>>,
        max: usize,
    ) -> PyResult<Vec<PyFault>> {
        let found = py
            .detach(|| caught(|| Zone::area_or_faults(version_of(version), &polygons, max).err()))
            .map_err(|panicked| decoder_bug(py, panicked))?;
        Ok(found.unwrap_or_default().iter().map(fault_of).collect())
    }

    /// A line with a direction: `left_to_right`, `right_to_left` or `both`.
    #[staticmethod]
    fn gate(
        py: Python<'_>,
        version: PyVersion,
        points: Vec<LonLat>,
        direction: &str,
    ) -> PyResult<Self> {
        let direction = match direction {
            "left_to_right" => GateDirection::LeftToRight,
            "right_to_left" => GateDirection::RightToLeft,
            "both" => GateDirection::Both,
            found => {
                let message = format!(
                    "direction is {found:?}, expected 'left_to_right', 'right_to_left' or 'both'"
                );
                return Err(PyValueError::new_err(message));
            }
        };
        checked(py, || Zone::gate(version_of(version), &points, direction))
    }
}

fn version_of(version: PyVersion) -> Version {
    let (zone_id, version, valid_from_us, valid_to_us, hysteresis_m) = version;
    Version {
        zone_id,
        version,
        valid_from_us,
        valid_to_us,
        hysteresis_m,
    }
}

/// Without the GIL: a large geometry takes a second.
fn checked(
    py: Python<'_>,
    make: impl FnOnce() -> Result<Zone, ZoneError> + Send,
) -> PyResult<PyZone> {
    let checked = py
        .detach(|| caught(make))
        .map_err(|panicked| decoder_bug(py, panicked))?;
    checked
        .map(|zone| PyZone { zone })
        .map_err(|error| refused(&error))
}

fn refused(error: &ZoneError) -> PyErr {
    ZoneRefused::new_err(fault_of(error))
}

fn fault_of(error: &ZoneError) -> PyFault {
    let place = error
        .place
        .map(|place| (place.polygon, place.ring, place.point));
    (error.to_string(), error.code(), place)
}

/// Versions of zones, found by where they are.
#[pyclass(frozen, name = "ZoneIndex", module = "teltonika_processor._native")]
pub(crate) struct PyZoneIndex {
    index: Arc<timing::ZoneIndex>,
}

impl PyZoneIndex {
    pub(crate) fn shared(&self) -> Arc<timing::ZoneIndex> {
        Arc::clone(&self.index)
    }
}

#[pymethods]
impl PyZoneIndex {
    /// Of these versions, in any order.
    #[new]
    #[pyo3(signature = (zones, /))]
    fn new(py: Python<'_>, zones: Vec<Bound<'_, PyZone>>) -> PyResult<Self> {
        let zones: Vec<Zone> = zones.iter().map(|zone| zone.get().zone.clone()).collect();
        let index = py
            .detach(|| caught(|| timing::ZoneIndex::new(zones)))
            .map_err(|panicked| decoder_bug(py, panicked))?
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self {
            index: Arc::new(index),
        })
    }

    /// How many versions it holds.
    fn __len__(&self) -> usize {
        self.index.len()
    }
}

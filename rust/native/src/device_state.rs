//! What earlier commits said of each device; the rules live in the crates `state` and `rows`.

use std::hash::{BuildHasher, RandomState};
use std::sync::MutexGuard;

use batch::caught;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use state::{Position, SharedState};

use crate::arguments::{devices_max_of, entries_of};
use crate::batch::DecodedBatch;
use crate::error::decoder_bug;
use crate::rows::{Rows, require_entries};

/// What `last_position` has of a device, as [`DeviceState::hydrate`] takes it.
type Found = (i64, i64, i64, f64, f64);

/// A bounded cache of what commits said of each device: its newest fix and its last frames.
#[pyclass(frozen, module = "teltonika_processor._native")]
pub(crate) struct DeviceState {
    held: SharedState,
}

impl DeviceState {
    /// What is held, for as long as the guard lives.
    pub(crate) fn lock(&self) -> MutexGuard<'_, state::DeviceState> {
        self.held.lock()
    }

    /// Works on what is held; a panic is the exception `DecoderBug`.
    fn with<T>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut state::DeviceState) -> T,
    ) -> PyResult<T> {
        caught(|| work(&mut self.lock())).map_err(|panicked| decoder_bug(py, panicked))
    }
}

#[pymethods]
impl DeviceState {
    #[new]
    fn new(#[pyo3(from_py_with = devices_max_of)] devices_max: usize) -> Self {
        let seed = RandomState::new().hash_one(0);
        Self {
            held: SharedState::new(state::DeviceState::new(devices_max, seed)),
        }
    }

    /// The distinct devices of the entries [start, stop) with records that are not held, ascending.
    #[pyo3(
        signature = (batch, start = None, stop = None),
        text_signature = "($self, batch, start=0, stop=None)"
    )]
    fn cold(
        &self,
        batch: &Bound<'_, DecodedBatch>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<i64>> {
        require_entries(batch)?;
        let entries = entries_of(start, stop, batch.get().outcomes().n_frames())?;
        let offsets = &batch.get().outcomes().record_offsets;
        self.with(batch.py(), |held| {
            held.cold(&rows::senders(batch.get().imeis(), offsets, entries))
        })
    }

    /// Hold the devices `asked` with what `last_position` has of them.
    fn hydrate(&self, py: Python<'_>, asked: Vec<i64>, found: Vec<Found>) -> PyResult<()> {
        let mut distinct = asked.clone();
        distinct.sort_unstable();
        if found
            .iter()
            .any(|row| distinct.binary_search(&row.0).is_err())
        {
            return Err(PyValueError::new_err(
                "found has a device that was not asked for",
            ));
        }
        self.with(py, |held| {
            for imei in asked {
                held.hydrate(imei, None);
            }
            for (imei, recorded_at_us, digest, longitude, latitude) in found {
                let position = Position {
                    recorded_at_us,
                    digest,
                    longitude_e7: e7(longitude),
                    latitude_e7: e7(latitude),
                };
                held.advance(imei, position);
            }
        })
    }

    /// Note what a COMMIT of these rows, and of their last positions, has made true.
    fn committed(&self, rows: &Bound<'_, Rows>) -> PyResult<()> {
        rows.get().detached(rows.py(), |view, rows| {
            rows::remember(view, rows, &mut self.lock());
        })
    }

    /// Forget a device; whether it was held.
    fn drop(&self, py: Python<'_>, imei: i64) -> PyResult<bool> {
        self.with(py, |held| held.forget(imei))
    }

    /// Forget every device.
    fn clear(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, state::DeviceState::clear)
    }

    /// The newest committed fix that is held of a device.
    fn position(&self, py: Python<'_>, imei: i64) -> PyResult<Option<(i64, i64, f64, f64)>> {
        let position = self.with(py, |held| held.position(imei))?;
        Ok(position.map(|position| {
            let [longitude, latitude] =
                [position.longitude_e7, position.latitude_e7].map(|e7| f64::from(e7) / 1e7);
            (
                position.recorded_at_us,
                position.digest,
                longitude,
                latitude,
            )
        }))
    }

    /// Whether a device is held, with a position or without.
    fn holds(&self, py: Python<'_>, imei: i64) -> PyResult<bool> {
        self.with(py, |held| held.holds(imei))
    }

    /// Devices that are held.
    #[getter]
    fn n_devices(&self) -> usize {
        self.lock().n_devices()
    }

    /// Bytes allocated for them.
    #[getter]
    fn n_bytes(&self) -> usize {
        self.lock().n_bytes()
    }

    /// How many devices `cold` found held, since the start.
    #[getter]
    fn hits(&self) -> u64 {
        self.lock().hits()
    }

    /// How many devices `cold` found not held, since the start.
    #[getter]
    fn misses(&self) -> u64 {
        self.lock().misses()
    }

    /// How many devices the bound has cost, since the start.
    #[getter]
    fn evictions(&self) -> u64 {
        self.lock().evictions()
    }
}

/// Degrees in units of 1e-7. Bound: saturates; what is no number is 0.
#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn e7(degrees: f64) -> i32 {
    (degrees * 1e7).round() as i32
}

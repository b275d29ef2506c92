//! `Fold`: one try at deriving the crossings of a group of devices; the rules live in the crate `fold`.
#![expect(
    clippy::needless_pass_by_value,
    reason = "lists of Python's are taken as vectors"
)]

use batch::{caught, pool};
use fold::{Budget, CopyError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use timing::Limits;

use crate::buffer::CopyData;
use crate::error::decoder_bug;
use crate::zones::PyZoneIndex;

/// What a fold still has to read: values of `VALUES` lists (next, left, right, history, members).
type PyNeeds = (
    Vec<String>,
    Vec<String>,
    Vec<String>,
    Vec<String>,
    Vec<String>,
);

/// A group of devices that are marked.
#[pyclass(name = "Fold", module = "teltonika_processor._native")]
pub(crate) struct PyFold {
    fold: fold::Fold,
}

impl PyFold {
    /// Works without the GIL; a panic is the exception `DecoderBug`.
    fn with<T: Send>(
        &mut self,
        py: Python<'_>,
        work: impl FnOnce(&mut fold::Fold) -> T + Send,
    ) -> PyResult<T> {
        let fold = &mut self.fold;
        py.detach(|| caught(|| work(fold)))
            .map_err(|panicked| decoder_bug(py, panicked))
    }
}

#[pymethods]
impl PyFold {
    /// Of the marks that Postgres copied out.
    #[new]
    #[pyo3(signature = (index, marks, *, gap_us, jump_m_s, fixes, right, window_us))]
    #[expect(
        clippy::too_many_arguments,
        reason = "limits by name, as Python passes them"
    )]
    fn new(
        py: Python<'_>,
        index: &PyZoneIndex,
        marks: &[u8],
        gap_us: i64,
        jump_m_s: f64,
        fixes: usize,
        right: usize,
        window_us: i64,
    ) -> PyResult<Self> {
        let limits = Limits::new(gap_us, jump_m_s)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let budget = Budget {
            fixes,
            right,
            window_us,
        };
        let made = caught(|| fold::Fold::of_marks(index.shared(), limits, budget, marks))
            .map_err(|panicked| decoder_bug(py, panicked))?;
        Ok(Self {
            fold: made.map_err(bad_copy)?,
        })
    }

    /// The devices, ascending.
    #[getter]
    fn imeis(&self) -> Vec<i64> {
        self.fold.imeis()
    }

    /// (low, high, stretches) of those that are near in time.
    fn reads(&self) -> Vec<(String, String, Vec<String>)> {
        let reads = self.fold.reads().into_iter();
        reads
            .map(|read| (read.low, read.high, read.stretches))
            .collect()
    }

    /// Takes fixes.
    #[pyo3(signature = (positions, /))]
    fn add_positions(&mut self, py: Python<'_>, positions: &[u8]) -> PyResult<()> {
        self.with(py, |fold| fold.add_positions(positions))?
            .map_err(bad_copy)
    }

    /// What is missing.
    fn needs(&mut self, py: Python<'_>) -> PyResult<PyNeeds> {
        let needs = self.with(py, fold::Fold::needs)?;
        Ok((
            needs.next,
            needs.left,
            needs.right,
            needs.history,
            needs.members,
        ))
    }

    /// What was asked for by `left` was read.
    fn left_was_read(&mut self) {
        self.fold.left_was_read();
    }

    /// Takes the answer to `next`.
    #[pyo3(signature = (next_fixes, /))]
    fn add_next(&mut self, next_fixes: &[u8]) -> PyResult<()> {
        self.fold.add_next(next_fixes).map_err(bad_copy)
    }

    /// Takes the answer to `history`.
    #[pyo3(signature = (older, /))]
    fn add_history(&mut self, older: &[u8]) -> PyResult<()> {
        self.fold.add_history(older).map_err(bad_copy)
    }

    /// Takes the answer to `members`.
    #[pyo3(signature = (members, /))]
    fn add_members(&mut self, members: &[u8]) -> PyResult<()> {
        self.fold.add_members(members).map_err(bad_copy)
    }

    /// Derives the rows of all devices; how many segments were looked at.
    fn derive(&mut self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, fold::Fold::derive)
    }

    /// Values (imei, version) of the marks as they were read.
    fn versions(&self) -> Vec<String> {
        self.fold.versions()
    }

    /// Goes on with these devices alone, which ascend.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "made from a list of Python's"
    )]
    #[pyo3(signature = (imeis, /))]
    fn keep(&mut self, imeis: Vec<i64>) {
        self.fold.keep(&imeis);
    }

    /// Values (imei, behind, upto) of the rows that are replaced.
    fn replaced(&self) -> Vec<String> {
        self.fold.replaced()
    }

    /// Takes the rows that are stored there; the devices whose rows differ, ascending.
    #[pyo3(signature = (stored, /))]
    fn compare(&mut self, py: Python<'_>, stored: &[u8]) -> PyResult<Vec<i64>> {
        self.with(py, |fold| fold.compare(stored))?
            .map_err(bad_copy)
    }

    /// Binary COPY of `TIMING_RECORD_COLUMNS` of these devices, which ascend.
    #[pyo3(signature = (imeis, /))]
    fn copy_records(&mut self, py: Python<'_>, imeis: Vec<i64>) -> PyResult<CopyData> {
        let room = pool::take_room();
        let bytes = self.with(py, |fold| fold.copy_records(&imeis, room))?;
        Ok(CopyData::new(bytes))
    }

    /// Binary COPY of `REVISION_COLUMNS` of these devices, which ascend.
    #[pyo3(signature = (imeis, /))]
    fn copy_revisions(&mut self, py: Python<'_>, imeis: Vec<i64>) -> PyResult<CopyData> {
        let room = pool::take_room();
        let bytes = self.with(py, |fold| fold.copy_revisions(&imeis, room))?;
        Ok(CopyData::new(bytes))
    }

    /// (cause, how many) of the rows of these devices that were replaced.
    #[pyo3(signature = (imeis, /))]
    fn count_revisions(&self, imeis: Vec<i64>) -> Vec<(&'static str, usize)> {
        self.fold.count_revisions(&imeis).into_iter().collect()
    }

    /// (kind of zone, kind, how many) of the rows of these devices that are new or differ.
    #[pyo3(signature = (imeis, /))]
    fn count_crossings(&self, imeis: Vec<i64>) -> Vec<(&'static str, &'static str, usize)> {
        let counts = self.fold.count_crossings(&imeis).into_iter();
        counts.map(|((zone, kind), n)| (zone, kind, n)).collect()
    }

    /// The devices of which a part stays marked, ascending.
    fn unfinished(&self) -> Vec<i64> {
        self.fold.unfinished()
    }

    /// Values (imei, ranges): the marks that stay.
    fn rest(&self) -> Vec<String> {
        self.fold.rest()
    }
}

/// Our own statement sent something else: a bug.
fn bad_copy(error: CopyError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

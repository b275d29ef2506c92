//! A run of a batch's entries as rows for the database; the rules live in the crate `rows`.

use std::ops::Range;
use std::sync::OnceLock;

use batch::{caught, pool};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use rows::{
    BatchView, CopyBytes, IoType, KeyColumns, copy_last_positions, copy_marks, copy_positions,
};

use crate::batch::{DecodedBatch, Origin};
use crate::buffer::{CopyData, Item, view};
use crate::device_state::DeviceState;
use crate::error::decoder_bug;

/// Below this many records (some 10 us of work) giving the GIL away and taking it back costs more
/// than another thread gains.
const DETACH_RECORDS: usize = 64;

/// Distinct rows sorted by (UTC day, imei, `recorded_at`, digest), with the sane copy of each kept.
#[pyclass(frozen, module = "teltonika_processor._native")]
pub(crate) struct Rows {
    batch: Py<DecodedBatch>,
    selected: rows::Rows,
    /// Made when they are first asked for: no writer does.
    keys: OnceLock<KeyColumns>,
}

/// The rows of these entries of a batch, which has them, less what the state says is there already.
pub(crate) fn rows_of(
    batch: &Bound<'_, DecodedBatch>,
    entries: Range<usize>,
    clock_ahead_max_ms: u64,
    state: Option<&DeviceState>,
) -> PyResult<Rows> {
    require_entries(batch)?;
    let selected = detached(batch, |view| {
        let held = state.map(DeviceState::lock);
        rows::Rows::select(view, entries, clock_ahead_max_ms, held.as_deref())
    })?;
    Ok(Rows {
        batch: batch.clone().unbind(),
        selected,
        keys: OnceLock::new(),
    })
}

/// Only a batch of stream entries says of which device its frames are, and when received.
pub(crate) fn require_entries(batch: &Bound<'_, DecodedBatch>) -> PyResult<()> {
    match batch.get().origin() {
        Origin::Entries => Ok(()),
        Origin::Frames => {
            let message =
                "rows are made from decode_entries: frames alone say neither device nor time";
            Err(PyValueError::new_err(message))
        }
    }
}

/// Works on a batch without the GIL; a panic is the exception `DecoderBug`.
fn detached<T: Send>(
    batch: &Bound<'_, DecodedBatch>,
    work: impl FnOnce(&BatchView<'_>) -> T + Send,
) -> PyResult<T> {
    let (py, batch) = (batch.py(), batch.get());
    let frames = batch.frame_bytes(py);
    let view = BatchView::new(
        batch.columns(),
        &frames,
        batch.imeis(),
        batch.received_at(),
        &batch.outcomes().record_offsets,
    );
    let work = || caught(|| work(&view));
    let outcome = if batch.columns().n_records() < DETACH_RECORDS {
        work()
    } else {
        py.detach(work)
    };
    outcome.map_err(|panicked| decoder_bug(py, panicked))
}

impl Rows {
    /// Works on the rows and their batch without the GIL; a panic is the exception `DecoderBug`.
    pub(crate) fn detached<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&BatchView<'_>, &rows::Rows) -> T + Send,
    ) -> PyResult<T> {
        detached(self.batch.bind(py), |view| work(view, &self.selected))
    }

    fn copy(
        &self,
        py: Python<'_>,
        write: impl FnOnce(&BatchView<'_>, &rows::Rows, Vec<u8>) -> CopyBytes + Send,
    ) -> PyResult<CopyData> {
        let room = pool::take_room();
        let bytes = self.detached(py, |view, rows| write(view, rows, room))?;
        Ok(CopyData::new(bytes))
    }

    /// One of the columns of keys, which are made all at once.
    fn key_column<'py, T: Item>(
        slf: &Bound<'py, Self>,
        of: impl FnOnce(&KeyColumns) -> &[T],
    ) -> View<'py> {
        let (py, this) = (slf.py(), slf.get());
        if this.keys.get().is_none() {
            let keys = this.detached(py, KeyColumns::of)?;
            this.keys.get_or_init(|| keys);
        }
        view(slf, |rows| rows.keys.get().map_or(&[], of))
    }
}

type View<'py> = PyResult<Bound<'py, PyMemoryView>>;

#[pymethods]
impl Rows {
    /// Distinct storable records.
    #[getter]
    fn n_rows(&self) -> usize {
        self.selected.n_rows()
    }

    /// Storable records before duplicates were removed, retransmitted frames included.
    #[getter]
    fn n_records(&self) -> usize {
        self.selected.n_records()
    }

    /// Storable records of retransmitted frames, which the state remembers: they are no rows.
    #[getter]
    fn n_retransmitted(&self) -> usize {
        self.selected.n_retransmitted()
    }

    /// Rows whose every copy has an impossible clock.
    #[getter]
    fn n_suspect(&self) -> usize {
        self.selected.n_suspect()
    }

    /// UTC days (since 1970-01-01) that hold a row that is not `clock_suspect`, ascending.
    #[getter]
    fn days(&self) -> &[i64] {
        self.selected.days()
    }

    /// Distinct devices, ascending.
    #[getter]
    fn imeis(&self) -> &[i64] {
        self.selected.imeis()
    }

    /// The latest receive time of the records in Unix ms; 0 if there are none.
    #[getter]
    fn received_at_max_ms(&self) -> i64 {
        self.selected.received_at_max_ms()
    }

    /// Device of each row: int64 [n].
    #[getter]
    fn imei<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        Self::key_column(slf, |keys| &keys.imei)
    }

    /// Device clock of each row in Unix ms: int64 [n].
    #[getter]
    fn recorded_at_ms<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        Self::key_column(slf, |keys| &keys.recorded_at_ms)
    }

    /// Signed xxh3-64 of the raw record of each row: int64 [n].
    #[getter]
    fn digest<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        Self::key_column(slf, |keys| &keys.digest)
    }

    /// Index, in the batch, of the entry that each row came in: uint32 [n].
    #[getter]
    fn entry<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        Self::key_column(slf, |keys| &keys.entry)
    }

    /// Binary COPY of `POSITION_COLUMNS`.
    #[pyo3(signature = (*, io = "jsonb"))]
    fn copy_positions(&self, py: Python<'_>, io: &str) -> PyResult<CopyData> {
        let io = io_type_of(io)?;
        self.copy(py, |view, rows, room| copy_positions(view, rows, io, room))
    }

    /// Binary COPY of `LAST_POSITION_COLUMNS`: the newest valid fix of each device, by imei.
    ///
    /// Of rows made with a state, fixes that cannot win are left out.
    fn copy_last_positions(&self, py: Python<'_>) -> PyResult<CopyData> {
        self.copy(py, copy_last_positions)
    }

    /// Binary COPY of `MARK_COLUMNS`: the runs of each device's fixes that take part in timing.
    fn copy_marks(&self, py: Python<'_>) -> PyResult<CopyData> {
        self.copy(py, copy_marks)
    }
}

fn io_type_of(name: &str) -> PyResult<IoType> {
    match name {
        "jsonb" => Ok(IoType::Jsonb),
        "json" => Ok(IoType::Json),
        found => {
            let message = format!("io is {found:?}, expected 'jsonb' or 'json'");
            Err(PyValueError::new_err(message))
        }
    }
}

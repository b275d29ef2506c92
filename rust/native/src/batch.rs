//! One call per batch: F frames or stream entries to columns over R records.

use codec8::{Columns, Limits, Transport};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::buffer::view;
use crate::decode::{Outcomes, Source, decode_all};
use crate::entries::{Entry, read_entry};
use crate::pool;
use crate::rows::{Rows, rows_of};

/// Bound: offsets of records and elements are u32, and no frame has more of them than bytes.
const MAX_BATCH_BYTES: usize = u32::MAX as usize;

/// Below this many bytes of frames (some 10 us of decoding) giving the GIL away and taking it back
/// costs more than another thread gains.
const DETACH_BYTES: usize = 32 << 10;

/// Columns over R records in input order, and one outcome per frame.
#[pyclass(frozen, module = "teltonika_processor._native")]
pub(crate) struct DecodedBatch {
    columns: Box<Columns>,
    outcomes: Outcomes,
    /// What the columns were read from, to point into; `None` where an entry had no frame.
    frames: Vec<Option<Py<PyBytes>>>,
    imei: Vec<i64>,
    received_at_ms: Vec<i64>,
}

/// Decode F frames to columns, with one outcome per frame; never raises for their content.
#[pyfunction]
#[pyo3(signature = (frames, *, transport = "tcp", frame_max_bytes = codec8::FRAME_MAX_BYTES))]
pub(crate) fn decode_batch(
    frames: &Bound<'_, PyAny>,
    transport: &str,
    frame_max_bytes: usize,
) -> PyResult<DecodedBatch> {
    let (transport, limits) = (transport_of(transport)?, limits_of(frame_max_bytes)?);
    let mut batch = Undecoded::with_room_for(frames);
    for (index, frame) in frames.try_iter()?.enumerate() {
        let frame = frame?.cast_into::<PyBytes>().map_err(|error| {
            let found = error.into_inner().get_type();
            PyTypeError::new_err(format!("frame {index} is {found}, expected bytes"))
        })?;
        batch.push_frame(frame, transport);
    }
    batch.decode(frames.py(), limits)
}

/// Decode F stream entries `[id, [field, value, ...]]` as XREADGROUP returns them in RESP2.
#[pyfunction]
#[pyo3(signature = (entries, *, frame_max_bytes = codec8::FRAME_MAX_BYTES))]
pub(crate) fn decode_entries(
    entries: &Bound<'_, PyAny>,
    frame_max_bytes: usize,
) -> PyResult<DecodedBatch> {
    let limits = limits_of(frame_max_bytes)?;
    let mut batch = Undecoded::with_room_for(entries);
    for entry in entries.try_iter()? {
        batch.push_entry(read_entry(&entry?)?);
    }
    let mut batch = batch.decode(entries.py(), limits)?;
    batch.outcomes.reject_unstorable_times(&batch.columns);
    Ok(batch)
}

/// The transport of this name.
pub(crate) fn transport_of(name: &str) -> PyResult<Transport> {
    match name {
        "tcp" => Ok(Transport::Tcp),
        "udp" => Ok(Transport::Udp),
        found => {
            let message = format!("transport is {found:?}, expected 'tcp' or 'udp'");
            Err(PyValueError::new_err(message))
        }
    }
}

pub(crate) fn limits_of(frame_max_bytes: usize) -> PyResult<Limits> {
    Limits::new(frame_max_bytes).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// What is known of each frame before it is decoded.
struct Undecoded {
    frames: Vec<Option<Py<PyBytes>>>,
    sources: Vec<Source>,
    imei: Vec<i64>,
    received_at_ms: Vec<i64>,
}

impl Undecoded {
    /// Room for the frames of a sequence of this length, as far as it tells.
    fn with_room_for(frames: &Bound<'_, PyAny>) -> Self {
        let n_frames = frames.len().unwrap_or_default();
        Self {
            frames: Vec::with_capacity(n_frames),
            sources: Vec::with_capacity(n_frames),
            imei: Vec::new(),
            received_at_ms: Vec::new(),
        }
    }

    fn push_frame(&mut self, frame: Bound<'_, PyBytes>, transport: Transport) {
        self.frames.push(Some(frame.unbind()));
        self.sources.push(Ok(transport));
    }

    fn push_entry(&mut self, entry: Entry<'_>) {
        self.imei.push(entry.imei);
        self.received_at_ms.push(entry.received_at_ms);
        match entry.frame {
            Ok((frame, transport)) => self.push_frame(frame, transport),
            Err(fault) => {
                self.frames.push(None);
                self.sources.push(Err(fault));
            }
        }
    }

    /// Decodes frames that nothing can change meanwhile: they are immutable `bytes`, and held.
    fn decode(mut self, py: Python<'_>, limits: Limits) -> PyResult<DecodedBatch> {
        let frames = slices(&self.frames, py);
        let n_bytes = frames.iter().map(|frame| frame.len()).sum::<usize>();
        if n_bytes > MAX_BATCH_BYTES {
            let message = format!("a batch of {n_bytes} bytes, expected {MAX_BATCH_BYTES} at most");
            return Err(PyValueError::new_err(message));
        }
        let mut columns = pool::take();
        let outcomes = if n_bytes < DETACH_BYTES {
            decode_all(&frames, &self.sources, limits, &mut columns)
        } else {
            py.detach(|| decode_all(&frames, &self.sources, limits, &mut columns))
        };
        self.imei.resize(self.frames.len(), 0);
        self.received_at_ms.resize(self.frames.len(), 0);
        let Self {
            frames,
            imei,
            received_at_ms,
            ..
        } = self;
        Ok(DecodedBatch {
            columns,
            outcomes,
            frames,
            imei,
            received_at_ms,
        })
    }
}

/// The frame of each entry as received, empty where it had none.
fn slices<'a>(frames: &'a [Option<Py<PyBytes>>], py: Python<'_>) -> Vec<&'a [u8]> {
    let slice = |frame: &'a Option<Py<PyBytes>>| frame.as_ref().map_or(&[][..], |f| f.as_bytes(py));
    frames.iter().map(slice).collect()
}

impl Drop for DecodedBatch {
    fn drop(&mut self) {
        pool::give_back(std::mem::take(&mut self.columns));
    }
}

/// What the rooms of this crate that turn batches into rows read.
impl DecodedBatch {
    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    pub(crate) fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Device of each entry, 0 where unknown.
    pub(crate) fn imeis(&self) -> &[i64] {
        &self.imei
    }

    /// Gateway clock of each entry in Unix ms, 0 where unknown.
    pub(crate) fn received_at(&self) -> &[i64] {
        &self.received_at_ms
    }

    /// The frame of each entry as received, empty where it had none.
    pub(crate) fn frame_bytes(&self, py: Python<'_>) -> Vec<&[u8]> {
        slices(&self.frames, py)
    }
}

type View<'py> = PyResult<Bound<'py, PyMemoryView>>;

#[pymethods]
impl DecodedBatch {
    #[getter]
    fn n_frames(&self) -> usize {
        self.frames.len()
    }

    #[getter]
    fn n_records(&self) -> usize {
        self.columns.n_records()
    }

    #[getter]
    fn n_elements(&self) -> usize {
        self.columns.n_elements()
    }

    #[getter]
    fn n_rejected(&self) -> usize {
        self.outcomes.rejects.len()
    }

    #[getter]
    fn reject_code<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.outcomes.reject_code)
    }

    #[getter]
    fn reject_offset<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.outcomes.reject_offset)
    }

    #[getter]
    fn codec_id<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.outcomes.codec_id)
    }

    #[getter]
    fn imei<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.imei)
    }

    #[getter]
    fn received_at_ms<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.received_at_ms)
    }

    #[getter]
    fn record_offsets<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.outcomes.record_offsets)
    }

    #[getter]
    fn recorded_at_ms<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.recorded_at_ms())
    }

    #[getter]
    fn priority<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.priority())
    }

    #[getter]
    fn longitude_e7<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.longitude_e7())
    }

    #[getter]
    fn latitude_e7<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.latitude_e7())
    }

    #[getter]
    fn altitude_m<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.altitude_m())
    }

    #[getter]
    fn angle_deg<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.angle_deg())
    }

    #[getter]
    fn satellites<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.satellites())
    }

    #[getter]
    fn speed_kmh<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.speed_kmh())
    }

    #[getter]
    fn event_io_id<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.event_io_id())
    }

    #[getter]
    fn generation_type<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.generation_type())
    }

    #[getter]
    fn io_offsets<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.io_offsets())
    }

    #[getter]
    fn n_variable<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.n_variable())
    }

    #[getter]
    fn io_id<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.io_id())
    }

    #[getter]
    fn io_value<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.io_value())
    }

    /// (frame index, code, offset, text) of every rejected frame, in input order.
    fn rejects(&self) -> Vec<(usize, &'static str, usize, String)> {
        let row = |(index, reject): &(usize, crate::error::Reject)| {
            (
                *index,
                reject.code().name(),
                reject.offset(),
                reject.to_string(),
            )
        };
        self.outcomes.rejects.iter().map(row).collect()
    }

    /// Cut the F entries into runs [start, stop) of at most `max_records` records (one entry at least).
    fn chunks(&self, max_records: usize) -> Vec<(usize, usize)> {
        let offsets = &self.outcomes.record_offsets;
        let mut chunks = Vec::new();
        let mut start = 0;
        while start < self.n_frames() {
            let bound = (offsets[start] as usize).saturating_add(max_records);
            let within = offsets[start + 1..].partition_point(|&offset| offset as usize <= bound);
            let stop = start + within.max(1);
            chunks.push((start, stop));
            start = stop;
        }
        chunks
    }

    /// The distinct storable rows of the entries [start, stop), in the order writers must use.
    #[pyo3(signature = (start = 0, stop = None, *, clock_ahead_max_ms = rows::CLOCK_AHEAD_MAX_MS))]
    fn rows(
        slf: &Bound<'_, Self>,
        start: usize,
        stop: Option<usize>,
        clock_ahead_max_ms: u64,
    ) -> PyResult<Rows> {
        let stop = stop.unwrap_or(slf.get().n_frames());
        rows_of(slf, start..stop, clock_ahead_max_ms)
    }

    fn __len__(&self) -> usize {
        self.n_frames()
    }
}

//! One call per batch: F frames or stream entries to columns over R records.

use codec8::{Columns, Limits, Transport};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::buffer::view;
use crate::decode::{Input, Outcomes, decode_all};
use crate::entries::read_entry;
use crate::error::EntryFault;
use crate::pool;

/// Bound: offsets of records and elements are u32, and no frame has more of them than bytes.
const MAX_BATCH_BYTES: usize = u32::MAX as usize;

/// Below this many bytes of frames (some 10 us of decoding) giving the GIL away and taking it back
/// costs more than another thread gains.
const DETACH_BYTES: usize = 32 << 10;

/// Columns over R records in input order, and one outcome per frame.
#[pyclass(frozen, module = "teltonika_processor._native")]
pub(crate) struct DecodedBatch {
    columns: Columns,
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
    let mut batch = Undecoded::default();
    for (index, frame) in frames.try_iter()?.enumerate() {
        let frame = frame?.cast_into::<PyBytes>().map_err(|error| {
            let found = error.into_inner().get_type();
            PyTypeError::new_err(format!("frame {index} is {found}, expected bytes"))
        })?;
        batch.push(Ok((frame, transport)), 0, 0);
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
    let mut batch = Undecoded::default();
    for entry in entries.try_iter()? {
        let entry = read_entry(&entry?)?;
        batch.push(entry.frame, entry.imei, entry.received_at_ms);
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
#[derive(Default)]
struct Undecoded {
    frames: Vec<Result<(Py<PyBytes>, Transport), EntryFault>>,
    imei: Vec<i64>,
    received_at_ms: Vec<i64>,
}

impl Undecoded {
    fn push(
        &mut self,
        frame: Result<(Bound<'_, PyBytes>, Transport), EntryFault>,
        imei: i64,
        received_at_ms: i64,
    ) {
        self.frames
            .push(frame.map(|(frame, transport)| (frame.unbind(), transport)));
        self.imei.push(imei);
        self.received_at_ms.push(received_at_ms);
    }

    fn decode(self, py: Python<'_>, limits: Limits) -> PyResult<DecodedBatch> {
        let (columns, outcomes) = decode_frames(py, &self.frames, limits)?;
        let Self {
            frames,
            imei,
            received_at_ms,
        } = self;
        let frames = frames
            .into_iter()
            .map(|frame| frame.ok().map(|(frame, _)| frame))
            .collect();
        Ok(DecodedBatch {
            columns,
            outcomes,
            frames,
            imei,
            received_at_ms,
        })
    }
}

/// Decodes frames that nothing can change meanwhile: they are immutable `bytes`, and held.
fn decode_frames(
    py: Python<'_>,
    frames: &[Result<(Py<PyBytes>, Transport), EntryFault>],
    limits: Limits,
) -> PyResult<(Columns, Outcomes)> {
    let inputs: Vec<Input<'_>> = frames
        .iter()
        .map(|frame| match frame {
            Ok((frame, transport)) => Ok((frame.as_bytes(py), *transport)),
            Err(fault) => Err(*fault),
        })
        .collect();
    let n_bytes = inputs
        .iter()
        .flatten()
        .map(|(frame, _)| frame.len())
        .sum::<usize>();
    if n_bytes > MAX_BATCH_BYTES {
        let message = format!("a batch of {n_bytes} bytes, expected {MAX_BATCH_BYTES} at most");
        return Err(PyValueError::new_err(message));
    }
    let mut columns = pool::take();
    let outcomes = if n_bytes < DETACH_BYTES {
        decode_all(&inputs, limits, &mut columns)
    } else {
        py.detach(|| decode_all(&inputs, limits, &mut columns))
    };
    Ok((columns, outcomes))
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
        let frames = self.frames.iter();
        frames
            .map(|frame| frame.as_ref().map_or(&[][..], |frame| frame.as_bytes(py)))
            .collect()
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

    fn __len__(&self) -> usize {
        self.n_frames()
    }
}

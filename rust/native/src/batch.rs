//! One call per batch: F frames or stream entries to columns over R records.

use batch::{Outcomes, Reject, Source, decode_all, pool};
use codec8::{Columns, Limits, Transport};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::arguments::{clock_ahead_of, entries_of, limits_of, max_records_of, transport_of};
use crate::buffer::view;
use crate::device_state::DeviceState;
use crate::entries::{Entry, read_entry};
use crate::rows::{Rows, rows_of};

/// Bound: offsets of records and elements are u32, and no frame has more of them than bytes.
const MAX_BATCH_BYTES: usize = u32::MAX as usize;

/// Below this many bytes of frames (some 10 us of decoding) giving the GIL away and taking it back
/// costs more than another thread gains.
const DETACH_BYTES: usize = 32 << 10;

/// Bound: room that a length reserves before the frames are there; it can say anything.
const ROOM_FRAMES: usize = 4_096;

/// Columns over R records in input order, and one outcome per frame.
#[pyclass(frozen, module = "teltonika_processor._native")]
pub(crate) struct DecodedBatch {
    columns: Box<Columns>,
    outcomes: Outcomes,
    /// What the columns were read from, to point into; `None` where an entry had no frame.
    frames: Vec<Option<Py<PyBytes>>>,
    imei: Vec<i64>,
    received_at_ms: Vec<i64>,
    origin: Origin,
}

/// What a batch was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Frames alone: nobody said of which device, and when received.
    Frames,
    /// Stream entries.
    Entries,
}

/// Decode F frames to columns, with one outcome per frame; never raises for their content.
#[pyfunction]
#[pyo3(
    signature = (frames, *, transport = "tcp", frame_max_bytes = Limits::default()),
    text_signature = "(frames, *, transport='tcp', frame_max_bytes=65536)"
)]
pub(crate) fn decode_batch(
    frames: &Bound<'_, PyAny>,
    transport: &str,
    #[pyo3(from_py_with = limits_of)] frame_max_bytes: Limits,
) -> PyResult<DecodedBatch> {
    let transport = transport_of(transport)?;
    let mut batch = Undecoded::with_room_for(frames);
    for (index, frame) in frames.try_iter()?.enumerate() {
        let frame = frame?.cast_into::<PyBytes>().map_err(|error| {
            let found = error.into_inner().get_type();
            PyTypeError::new_err(format!("frame {index} is {found}, expected bytes"))
        })?;
        batch.push_frame(frame, transport);
    }
    batch.decode(frames.py(), frame_max_bytes, Origin::Frames)
}

/// Decode F stream entries `[id, [field, value, ...]]` as XREADGROUP returns them in RESP2.
#[pyfunction]
#[pyo3(
    signature = (entries, *, frame_max_bytes = Limits::default()),
    text_signature = "(entries, *, frame_max_bytes=65536)"
)]
pub(crate) fn decode_entries(
    entries: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = limits_of)] frame_max_bytes: Limits,
) -> PyResult<DecodedBatch> {
    let mut batch = Undecoded::with_room_for(entries);
    for entry in entries.try_iter()? {
        batch.push_entry(read_entry(&entry?)?);
    }
    let mut batch = batch.decode(entries.py(), frame_max_bytes, Origin::Entries)?;
    batch.outcomes.reject_unstorable_times(&batch.columns);
    Ok(batch)
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
        let n_frames = frames.len().unwrap_or_default().min(ROOM_FRAMES);
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
    fn decode(mut self, py: Python<'_>, limits: Limits, origin: Origin) -> PyResult<DecodedBatch> {
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
            origin,
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

    pub(crate) fn origin(&self) -> Origin {
        self.origin
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
    /// F, the number of frames or entries.
    #[getter]
    fn n_frames(&self) -> usize {
        self.frames.len()
    }

    /// R, the number of AVL records.
    #[getter]
    fn n_records(&self) -> usize {
        self.columns.n_records()
    }

    /// K, the number of IO elements.
    #[getter]
    fn n_elements(&self) -> usize {
        self.columns.n_elements()
    }

    /// How many of the F frames have a reject code.
    #[getter]
    fn n_rejected(&self) -> usize {
        self.outcomes.rejects.len()
    }

    /// Number of the reject code in `error_catalogue`, 0 where the frame decoded: uint8 [F].
    #[getter]
    fn reject_code<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.outcomes.reject_code)
    }

    /// Where the offending field starts in its frame: uint32 [F].
    #[getter]
    fn reject_offset<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.outcomes.reject_offset)
    }

    /// Codec id of the frame, or the one it was rejected for; 0 where unknown: uint8 [F].
    #[getter]
    fn codec_id<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.outcomes.codec_id)
    }

    /// Device of each entry, 0 where unknown: int64 [F].
    #[getter]
    fn imei<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.imei)
    }

    /// Gateway clock of each entry in Unix ms, 0 where unknown: int64 [F].
    #[getter]
    fn received_at_ms<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.received_at_ms)
    }

    /// The records of frame i are [o[i], o[i+1]): uint32 [F+1].
    #[getter]
    fn record_offsets<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| &batch.outcomes.record_offsets)
    }

    /// Device clock in Unix ms, unsigned as on the wire: uint64 [R].
    #[getter]
    fn recorded_at_ms<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.recorded_at_ms())
    }

    /// 0 low, 1 high, 2 panic: uint8 [R].
    #[getter]
    fn priority<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.priority())
    }

    /// Longitude in 1e-7 degree: int32 [R].
    #[getter]
    fn longitude_e7<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.longitude_e7())
    }

    /// Latitude in 1e-7 degree: int32 [R].
    #[getter]
    fn latitude_e7<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.latitude_e7())
    }

    /// Altitude in metres: int16 [R].
    #[getter]
    fn altitude_m<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.altitude_m())
    }

    /// Degrees clockwise from north: uint16 [R].
    #[getter]
    fn angle_deg<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.angle_deg())
    }

    /// Satellites in use, 0 without a current fix: uint8 [R].
    #[getter]
    fn satellites<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.satellites())
    }

    /// Speed in km/h: uint16 [R].
    #[getter]
    fn speed_kmh<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.speed_kmh())
    }

    /// IO id that caused the record, 0 for none: uint16 [R].
    #[getter]
    fn event_io_id<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.event_io_id())
    }

    /// Generation type of Codec 16, -1 for the other codecs: int16 [R].
    #[getter]
    fn generation_type<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.generation_type())
    }

    /// The elements of record r are [o[r], o[r+1]), in wire order: uint32 [R+1].
    #[getter]
    fn io_offsets<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.io_offsets())
    }

    /// How many of a record's last elements are variable-length or 16 bytes long: uint16 [R].
    #[getter]
    fn n_variable<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.n_variable())
    }

    /// IO id: uint16 [K].
    #[getter]
    fn io_id<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.io_id())
    }

    /// Unsigned value, or (offset << 32 | length) into the frame where variable: uint64 [K].
    #[getter]
    fn io_value<'py>(slf: &Bound<'py, Self>) -> View<'py> {
        view(slf, |batch| batch.columns.io_value())
    }

    /// (frame index, code, offset, text) of every rejected frame, in input order.
    fn rejects(&self) -> Vec<(usize, &'static str, usize, String)> {
        let row = |(index, reject): &(usize, Reject)| {
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
    fn chunks(
        &self,
        #[pyo3(from_py_with = max_records_of)] max_records: usize,
    ) -> Vec<(usize, usize)> {
        self.outcomes.chunks(max_records)
    }

    /// The distinct storable rows of the entries [start, stop), in the order writers must use.
    #[pyo3(
        signature = (
            start = None, stop = None, *, clock_ahead_max_ms = rows::CLOCK_AHEAD_MAX_MS, state = None
        ),
        text_signature = "($self, start=0, stop=None, *, clock_ahead_max_ms=86400000, state=None)"
    )]
    fn rows(
        slf: &Bound<'_, Self>,
        start: Option<&Bound<'_, PyAny>>,
        stop: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = clock_ahead_of)] clock_ahead_max_ms: u64,
        state: Option<&Bound<'_, DeviceState>>,
    ) -> PyResult<Rows> {
        let entries = entries_of(start, stop, slf.get().n_frames())?;
        rows_of(slf, entries, clock_ahead_max_ms, state.map(Bound::get))
    }

    fn __len__(&self) -> usize {
        self.n_frames()
    }
}

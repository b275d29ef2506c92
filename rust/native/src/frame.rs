//! One frame as Python objects: for people, not for the hot path.

use batch::{guarded, pool};
use codec8::{Columns, Limits, Transport};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyMappingProxy, PyMemoryView, PySlice, PyTuple};

use crate::arguments::{limits_of, transport_of};
use crate::error::decode_error;

/// The AVL packet of one frame: iterable, its records in wire order.
#[pyclass(frozen, module = "teltonika_processor._native")]
pub(crate) struct AvlPacket {
    /// 0x08 Codec 8, 0x8E Codec 8 Extended, 0x10 Codec 16.
    #[pyo3(get)]
    codec_id: u8,
    /// R records in wire order.
    #[pyo3(get)]
    records: Py<PyTuple>,
}

/// One AVL record of a frame. Values are those of the wire.
#[pyclass(frozen, get_all, module = "teltonika_processor._native")]
pub(crate) struct AvlRecord {
    /// Device clock: Unix milliseconds, unsigned 64-bit.
    pub(crate) recorded_at_ms: u64,
    /// 0 low, 1 high, 2 panic; other values are passed on.
    pub(crate) priority: u8,
    /// Longitude in 1e-7 degree, east positive.
    pub(crate) longitude_e7: i32,
    /// Latitude in 1e-7 degree, north positive.
    pub(crate) latitude_e7: i32,
    /// Altitude in metres, signed.
    pub(crate) altitude_m: i16,
    /// Degrees clockwise from north.
    pub(crate) angle_deg: u16,
    /// Satellites in use; 0 means that the position is not a current fix.
    pub(crate) satellites: u8,
    /// Speed in km/h.
    pub(crate) speed_kmh: u16,
    /// IO id that caused the record; 0 for none.
    pub(crate) event_io_id: u16,
    /// Generation type of Codec 16; None for the other codecs.
    pub(crate) generation_type: Option<i16>,
    /// Read-only: IO id to unsigned value, or to bytes where of variable length or of 16.
    pub(crate) io: Py<PyMappingProxy>,
    /// The raw record: a read-only view into the caller's frame.
    pub(crate) raw: Py<PyMemoryView>,
}

/// Decode one frame: a whole TCP frame, or the AVL data array of a UDP channel packet.
#[pyfunction]
#[pyo3(
    signature = (frame, *, transport = "tcp", frame_max_bytes = Limits::default()),
    text_signature = "(frame, *, transport='tcp', frame_max_bytes=65536)"
)]
pub(crate) fn decode_frame(
    frame: &Bound<'_, PyBytes>,
    transport: &str,
    #[pyo3(from_py_with = limits_of)] frame_max_bytes: Limits,
) -> PyResult<AvlPacket> {
    let transport = transport_of(transport)?;
    let mut columns = pool::take();
    let packet = decode(frame, transport, frame_max_bytes, &mut columns);
    pool::give_back(columns);
    packet
}

fn decode(
    frame: &Bound<'_, PyBytes>,
    transport: Transport,
    limits: Limits,
    columns: &mut Columns,
) -> PyResult<AvlPacket> {
    let codec_id = guarded(columns, |columns| {
        let packet = codec8::decode_frame(frame.as_bytes(), transport, &limits, 0, columns)?;
        Ok(packet.codec_id().number())
    })
    .map_err(|reject| decode_error(frame.py(), &reject))?;
    let whole = PyMemoryView::from(frame.as_any())?;
    let records = (0..columns.n_records())
        .map(|record| AvlRecord::of(columns, record, frame, &whole))
        .collect::<PyResult<Vec<_>>>()?;
    Ok(AvlPacket {
        codec_id,
        records: PyTuple::new(frame.py(), records)?.unbind(),
    })
}

impl AvlRecord {
    fn of(
        columns: &Columns,
        record: usize,
        frame: &Bound<'_, PyBytes>,
        whole: &Bound<'_, PyMemoryView>,
    ) -> PyResult<Self> {
        let generation_type = columns.generation_type()[record];
        Ok(Self {
            recorded_at_ms: columns.recorded_at_ms()[record],
            priority: columns.priority()[record],
            longitude_e7: columns.longitude_e7()[record],
            latitude_e7: columns.latitude_e7()[record],
            altitude_m: columns.altitude_m()[record],
            angle_deg: columns.angle_deg()[record],
            satellites: columns.satellites()[record],
            speed_kmh: columns.speed_kmh()[record],
            event_io_id: columns.event_io_id()[record],
            generation_type: (generation_type >= 0).then_some(generation_type),
            io: io_elements(columns, record, frame)?,
            raw: raw_record(columns, record, whole)?,
        })
    }
}

/// IO id to unsigned value, or to the bytes of a variable-length or 16-byte element.
///
/// Of an id that stands twice in a record, the last value; none is known to do so.
fn io_elements(
    columns: &Columns,
    record: usize,
    frame: &Bound<'_, PyBytes>,
) -> PyResult<Py<PyMappingProxy>> {
    let [start, stop] = [record, record + 1].map(|at| columns.io_offsets()[at] as usize);
    let first_variable = stop - usize::from(columns.n_variable()[record]);
    let io = PyDict::new(frame.py());
    for element in start..stop {
        let (id, value) = (columns.io_id()[element], columns.io_value()[element]);
        if element < first_variable {
            io.set_item(id, value)?;
        } else {
            io.set_item(
                id,
                PyBytes::new(frame.py(), &frame.as_bytes()[Columns::span(value)]),
            )?;
        }
    }
    Ok(PyMappingProxy::new(frame.py(), io.as_mapping()).unbind())
}

/// The raw record as a part of the caller's bytes.
fn raw_record(
    columns: &Columns,
    record: usize,
    whole: &Bound<'_, PyMemoryView>,
) -> PyResult<Py<PyMemoryView>> {
    let [start, stop] = [columns.raw_start(), columns.raw_end()].map(|at| at[record]);
    let raw = whole.as_any().get_item(PySlice::new(
        whole.py(),
        start.try_into()?,
        stop.try_into()?,
        1,
    ))?;
    Ok(raw.cast_into::<PyMemoryView>()?.unbind())
}

#[pymethods]
impl AvlPacket {
    fn __len__(&self, py: Python<'_>) -> usize {
        self.records.bind(py).len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.records.bind(py).try_iter()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let records = self.records.bind(py).repr()?;
        Ok(format!(
            "AvlPacket(codec_id=0x{:02X}, records={records})",
            self.codec_id
        ))
    }
}

#[pymethods]
impl AvlRecord {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let generation_type = self
            .generation_type
            .map_or("None".to_owned(), |n| n.to_string());
        let io = self.io.bind(py).call_method0("copy")?.repr()?;
        Ok(format!(
            "AvlRecord(recorded_at_ms={}, priority={}, longitude_e7={}, latitude_e7={}, \
             altitude_m={}, angle_deg={}, satellites={}, speed_kmh={}, event_io_id={}, \
             generation_type={generation_type}, io={io})",
            self.recorded_at_ms,
            self.priority,
            self.longitude_e7,
            self.latitude_e7,
            self.altitude_m,
            self.angle_deg,
            self.satellites,
            self.speed_kmh,
            self.event_io_id,
        ))
    }
}

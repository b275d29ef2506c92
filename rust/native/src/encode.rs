//! `encode_frame`: Python records to a frame, for tests, simulators and benches.

use codec8::encode::{
    IoElement, IoValue, Layout, Record, encode_frame as encode_tcp, encode_packet,
};
use codec8::{CodecClass, CodecId, Transport};
use pyo3::exceptions::{PyAttributeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyMapping, PyTuple};

use crate::arguments::{fitting, transport_of};

/// The fields of a record, as `AvlRecord` names them. `raw` is accepted and not used.
const FIELDS: [&str; 12] = [
    "recorded_at_ms",
    "priority",
    "longitude_e7",
    "latitude_e7",
    "altitude_m",
    "angle_deg",
    "satellites",
    "speed_kmh",
    "event_io_id",
    "generation_type",
    "io",
    "raw",
];

/// Encode records as a frame: for tests, simulators and benches.
#[pyfunction]
#[pyo3(
    signature = (records, *, codec_id = CodecId::Codec8Extended, transport = "tcp"),
    text_signature = "(records, *, codec_id=142, transport='tcp')"
)]
pub(crate) fn encode_frame<'py>(
    py: Python<'py>,
    records: &Bound<'py, PyAny>,
    #[pyo3(from_py_with = avl_codec)] codec_id: CodecId,
    transport: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let transport = transport_of(transport)?;
    let records = read_records(records, codec_id)?;
    let layout = layout_for(codec_id, &records);
    let encoded = match transport {
        Transport::Tcp => encode_tcp(layout, &records),
        Transport::Udp => encode_packet(layout, &records),
    };
    let frame = encoded.map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, &frame))
}

fn avl_codec(codec_id: &Bound<'_, PyAny>) -> PyResult<CodecId> {
    match fitting::<u8>(codec_id)?.map(CodecClass::of) {
        Some(CodecClass::Avl(codec_id)) => Ok(codec_id),
        _ => Err(PyValueError::new_err(format!(
            "codec_id is {codec_id}, expected 0x08, 0x8E or 0x10"
        ))),
    }
}

/// Codec 8 gets its 16-byte group only where a record needs it: nothing on the wire announces it.
fn layout_for(codec_id: CodecId, records: &[Record]) -> Layout {
    let is_sixteen = |element: &IoElement| matches!(element.value, IoValue::Bytes16(_));
    if records
        .iter()
        .any(|record| record.io.iter().any(is_sixteen))
    {
        Layout::Codec8With16ByteGroup
    } else {
        Layout::Documented(codec_id)
    }
}

fn read_records(records: &Bound<'_, PyAny>, codec_id: CodecId) -> PyResult<Vec<Record>> {
    let read = |(index, object): (usize, PyResult<Bound<'_, PyAny>>)| {
        let object = object?;
        let mapping = object.cast::<PyMapping>().ok().cloned();
        let record = PyRecord {
            index,
            object,
            mapping,
        };
        record.read(codec_id)
    };
    records.try_iter()?.enumerate().map(read).collect()
}

/// One Python object that a record is read from.
struct PyRecord<'py> {
    index: usize,
    object: Bound<'py, PyAny>,
    mapping: Option<Bound<'py, PyMapping>>,
}

impl<'py> PyRecord<'py> {
    fn read(&self, codec_id: CodecId) -> PyResult<Record> {
        self.refuse_unknown_fields()?;
        let recorded_at_ms = self
            .number("recorded_at_ms")?
            .ok_or_else(|| self.wrong_type("recorded_at_ms is missing"))?;
        Ok(Record {
            recorded_at_ms,
            priority: self.number("priority")?.unwrap_or_default(),
            longitude_e7: self.number("longitude_e7")?.unwrap_or_default(),
            latitude_e7: self.number("latitude_e7")?.unwrap_or_default(),
            altitude_m: self.number("altitude_m")?.unwrap_or_default(),
            angle_deg: self.number("angle_deg")?.unwrap_or_default(),
            satellites: self.number("satellites")?.unwrap_or_default(),
            speed_kmh: self.number("speed_kmh")?.unwrap_or_default(),
            event_io_id: self.number("event_io_id")?.unwrap_or_default(),
            generation_type: self.number("generation_type")?,
            io: self.read_elements(codec_id)?,
        })
    }

    /// A mistyped name must not become a default.
    fn refuse_unknown_fields(&self) -> PyResult<()> {
        let Some(mapping) = &self.mapping else {
            return Ok(());
        };
        for key in mapping.keys()? {
            if !FIELDS.iter().any(|field| key.eq(field).unwrap_or(false)) {
                let expected = FIELDS.join(", ");
                return Err(self.wrong_type(&format!("unknown field {key}, expected {expected}")));
            }
        }
        Ok(())
    }

    /// The value of a field; `None` where a mapping lacks it or it is `None`.
    fn field(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let value = match &self.mapping {
            Some(mapping) if !mapping.contains(name)? => return Ok(None),
            Some(mapping) => mapping.get_item(name)?,
            None => self.attribute(name)?,
        };
        Ok(Some(value).filter(|value| !value.is_none()))
    }

    fn attribute(&self, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.object.getattr(name).map_err(|error| {
            if error.is_instance_of::<PyAttributeError>(self.object.py()) {
                let found = self.object.get_type();
                self.wrong_type(&format!(
                    "{found} has no {name}, expected an AvlRecord or a mapping"
                ))
            } else {
                error
            }
        })
    }

    fn number<T>(&self, name: &str) -> PyResult<Option<T>>
    where
        T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
    {
        self.field(name)?
            .map(|value| self.integer(name, &value))
            .transpose()
    }

    fn integer<T>(&self, what: &str, value: &Bound<'py, PyAny>) -> PyResult<T>
    where
        T: for<'a> FromPyObject<'a, 'py, Error = PyErr>,
    {
        fitting(value)
            .map_err(|_| self.wrong_type(&format!("{what} is {value}, expected an int")))?
            .ok_or_else(|| {
                let bytes = size_of::<T>();
                self.bad_value(&format!(
                    "{what} is {value}, which {bytes} byte(s) cannot hold"
                ))
            })
    }

    fn read_elements(&self, codec_id: CodecId) -> PyResult<Vec<IoElement>> {
        let Some(io) = self.field("io")? else {
            return Ok(Vec::new());
        };
        let items = io
            .cast::<PyMapping>()
            .map_err(|_| self.wrong_type("io is not a mapping of IO id to value"))?
            .items()?;
        let read = |item: Bound<'py, PyAny>| {
            let (id, value): (Bound<'py, PyAny>, Bound<'py, PyAny>) = item.extract()?;
            let id = self.integer("an IO id", &id)?;
            let value = self.read_value(id, &value, codec_id)?;
            Ok(IoElement { id, value })
        };
        items.into_iter().map(read).collect()
    }

    fn read_value(
        &self,
        id: u16,
        value: &Bound<'py, PyAny>,
        codec_id: CodecId,
    ) -> PyResult<IoValue> {
        if let Ok(bytes) = value.extract::<PyBackedBytes>() {
            return Ok(bytes_value(&bytes, codec_id));
        }
        let what = format!("the value of IO id {id}");
        if let Ok(pair) = value.cast::<PyTuple>() {
            let (number, width): (Bound<'py, PyAny>, Bound<'py, PyAny>) =
                pair.extract().map_err(|_| {
                    let length = pair.len();
                    self.bad_value(&format!(
                        "{what} is a tuple of {length}, expected (int, width)"
                    ))
                })?;
            return self.value_of_width(&what, &number, self.integer("a width", &width)?);
        }
        self.integer(&what, value).map(smallest)
    }

    fn value_of_width(
        &self,
        what: &str,
        number: &Bound<'py, PyAny>,
        width: u64,
    ) -> PyResult<IoValue> {
        match width {
            1 => self.integer(what, number).map(IoValue::U8),
            2 => self.integer(what, number).map(IoValue::U16),
            4 => self.integer(what, number).map(IoValue::U32),
            8 => self.integer(what, number).map(IoValue::U64),
            other => Err(self.bad_value(&format!(
                "{what} has the width {other}, expected 1, 2, 4 or 8"
            ))),
        }
    }

    fn bad_value(&self, message: &str) -> PyErr {
        PyValueError::new_err(format!("record {}: {message}", self.index))
    }

    fn wrong_type(&self, message: &str) -> PyErr {
        PyTypeError::new_err(format!("record {}: {message}", self.index))
    }
}

fn bytes_value(bytes: &[u8], codec_id: CodecId) -> IoValue {
    match <[u8; 16]>::try_from(bytes) {
        Ok(sixteen) if codec_id == CodecId::Codec8 => IoValue::Bytes16(sixteen),
        _ => IoValue::Variable(bytes.to_vec()),
    }
}

/// The value in the smallest field that holds it.
fn smallest(value: u64) -> IoValue {
    u8::try_from(value)
        .map(IoValue::U8)
        .or_else(|_| u16::try_from(value).map(IoValue::U16))
        .or_else(|_| u32::try_from(value).map(IoValue::U32))
        .unwrap_or(IoValue::U64(value))
}

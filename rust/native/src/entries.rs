//! Stream entries of version 1, as XREADGROUP returns them in RESP2: `[id, [field, value, ...]]`.

use batch::{EntryFault, milliseconds_of_id, receive_time};
use codec8::{Imei, Transport};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

/// The newest version of the contract that this build reads.
pub(crate) const STREAM_ENTRY_VERSION: u8 = 1;

/// The same as the field `v` has it; only this version is read.
pub(crate) const VERSION_TEXT: &str = "1";
const _: () =
    assert!(matches!(VERSION_TEXT.as_bytes(), [digit] if *digit == b'0' + STREAM_ENTRY_VERSION));

pub(crate) const IMEI: &str = "imei";
pub(crate) const FRAME: &str = "frame";
pub(crate) const VERSION: &str = "v";
pub(crate) const TRANSPORT: &str = "transport";
pub(crate) const RECEIVED_AT_MS: &str = "received_at_ms";

/// The fields of a stream entry that this version reads.
pub(crate) const ENTRY_FIELDS: [&str; 5] = [IMEI, FRAME, VERSION, TRANSPORT, RECEIVED_AT_MS];

/// One stream entry; what is unknown is 0.
pub(crate) struct Entry<'py> {
    pub(crate) imei: i64,
    pub(crate) received_at_ms: i64,
    pub(crate) frame: Result<(Bound<'py, PyBytes>, Transport), EntryFault>,
}

/// The values of an entry's known fields; of a field that stands twice, the last.
#[derive(Default)]
struct Fields<'py> {
    imei: Option<Bound<'py, PyBytes>>,
    frame: Option<Bound<'py, PyBytes>>,
    version: Option<Bound<'py, PyBytes>>,
    transport: Option<Bound<'py, PyBytes>>,
    received_at_ms: Option<Bound<'py, PyBytes>>,
}

/// Reads one entry: bad content is a fault in it.
///
/// # Errors
/// `TypeError` or `ValueError`: this is no entry as XREADGROUP returns them, a bug of the caller.
pub(crate) fn read_entry<'py>(entry: &Bound<'py, PyAny>) -> PyResult<Entry<'py>> {
    let (id, fields) = pair(entry)?;
    let id_ms = milliseconds_of_id(bytes(&id)?.as_bytes())
        .ok_or_else(|| PyValueError::new_err("an entry id is b'<milliseconds>-<sequence>'"))?;
    let mut entry = Entry {
        imei: 0,
        received_at_ms: receive_time(None, id_ms),
        frame: Err(EntryFault::PayloadTrimmed),
    };
    let items = if fields.is_none() {
        Vec::new()
    } else {
        sequence(&fields)?
    };
    if items.is_empty() {
        return Ok(entry);
    }
    let fields = Fields::among(&items)?;
    let received_at_ms = fields.received_at_ms.as_ref();
    entry.received_at_ms = receive_time(received_at_ms.map(PyBytesMethods::as_bytes), id_ms);
    entry.frame = fields.transport_read().and_then(|transport| {
        let digits = fields.imei.ok_or(EntryFault::MissingField(IMEI))?;
        let imei = imei_of(digits.as_bytes());
        entry.imei = imei.unwrap_or_default();
        let frame = fields.frame.ok_or(EntryFault::MissingField(FRAME))?;
        imei.map(|_| (frame, transport))
    });
    Ok(entry)
}

impl<'py> Fields<'py> {
    fn among(items: &[Bound<'py, PyAny>]) -> PyResult<Self> {
        let (pairs, []) = items.as_chunks::<2>() else {
            let found = items.len();
            let message = format!("an entry has fields and values in pairs, found {found} items");
            return Err(PyValueError::new_err(message));
        };
        let mut fields = Self::default();
        for [name, value] in pairs {
            let value = bytes(value)?;
            match bytes(name)?.as_bytes() {
                name if name == IMEI.as_bytes() => fields.imei = Some(value.clone()),
                name if name == FRAME.as_bytes() => fields.frame = Some(value.clone()),
                name if name == VERSION.as_bytes() => fields.version = Some(value.clone()),
                name if name == TRANSPORT.as_bytes() => fields.transport = Some(value.clone()),
                name if name == RECEIVED_AT_MS.as_bytes() => {
                    fields.received_at_ms = Some(value.clone());
                }
                _ => {}
            }
        }
        Ok(fields)
    }

    /// The transport, once the entry is known to follow a contract that this version reads.
    fn transport_read(&self) -> Result<Transport, EntryFault> {
        let later = |field, expected| Err(EntryFault::UnsupportedVersion { field, expected });
        match self.version.as_ref().map(PyBytesMethods::as_bytes) {
            Some(version) if version != VERSION_TEXT.as_bytes() => {
                return later(VERSION, VERSION_TEXT);
            }
            _ => {}
        }
        match self.transport.as_ref().map(PyBytesMethods::as_bytes) {
            None | Some(b"tcp") => Ok(Transport::Tcp),
            Some(b"udp") => Ok(Transport::Udp),
            Some(_) => later(TRANSPORT, "tcp, udp"),
        }
    }
}

fn imei_of(digits: &[u8]) -> Result<i64, EntryFault> {
    Imei::from_digits(digits)
        .and_then(|imei| i64::try_from(imei.number()).ok())
        .ok_or(EntryFault::BadImei {
            length: digits.len(),
        })
}

/// The two parts of an entry.
fn pair<'py>(entry: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let parts = sequence(entry)?;
    <[_; 2]>::try_from(parts)
        .map(|[id, fields]| (id, fields))
        .map_err(|parts| {
            let message = format!(
                "an entry is [id, [field, value, ...]], found {} items",
                parts.len()
            );
            PyValueError::new_err(message)
        })
}

fn sequence<'py>(object: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if let Ok(list) = object.cast::<PyList>() {
        Ok(list.iter().collect())
    } else if let Ok(tuple) = object.cast::<PyTuple>() {
        Ok(tuple.iter().collect())
    } else {
        Err(unexpected(object, "list or tuple"))
    }
}

fn bytes<'a, 'py>(object: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyBytes>> {
    object
        .cast::<PyBytes>()
        .map_err(|_| unexpected(object, "bytes"))
}

fn unexpected(object: &Bound<'_, PyAny>, expected: &str) -> PyErr {
    let found = object.get_type();
    PyTypeError::new_err(format!(
        "a part of an entry is {found}, expected {expected}"
    ))
}

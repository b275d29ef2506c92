//! `EntryPacker`: one XADD of the stream entry contract, as Redis reads it.

use std::io::Write;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arguments::{received_at_of, transport_name_of};
use crate::entries::{FRAME, IMEI, RECEIVED_AT_MS, TRANSPORT, VERSION, VERSION_TEXT};

const GATEWAY: &str = "gateway";
const CONNECTION: &str = "connection";

/// Arguments of the command: XADD, stream, *, and seven fields with their values.
const N_ARGUMENTS: usize = 3 + 2 * 7;

/// Packs stream entries of one stream and one gateway as XADD commands.
#[pyclass(frozen, module = "teltonika_processor._native")]
pub(crate) struct EntryPacker {
    /// All that precedes the IMEI.
    head: Vec<u8>,
    /// The gateway, and the name of the field behind it.
    tail: Vec<u8>,
}

#[pymethods]
impl EntryPacker {
    #[new]
    #[pyo3(signature = (stream, gateway))]
    fn new(stream: &[u8], gateway: &[u8]) -> Self {
        let mut head = format!("*{N_ARGUMENTS}\r\n").into_bytes();
        for argument in [b"XADD", stream, b"*", IMEI.as_bytes()] {
            push(&mut head, argument);
        }
        let mut tail = Vec::new();
        for argument in [GATEWAY.as_bytes(), gateway, CONNECTION.as_bytes()] {
            push(&mut tail, argument);
        }
        Self { head, tail }
    }

    /// The whole command in RESP, its id left to the server.
    #[pyo3(signature = (imei, frame, transport, received_at_ms, connection))]
    fn xadd<'py>(
        &self,
        py: Python<'py>,
        imei: &[u8],
        frame: &[u8],
        #[pyo3(from_py_with = transport_name_of)] transport: &'static str,
        #[pyo3(from_py_with = received_at_of)] received_at_ms: u64,
        connection: &[u8],
    ) -> Bound<'py, PyBytes> {
        const NAMES_AND_LENGTHS: usize = 256;
        let values = imei.len() + frame.len() + connection.len();
        let room = self.head.len() + self.tail.len() + values + NAMES_AND_LENGTHS;
        let mut command = Vec::with_capacity(room);
        command.extend_from_slice(&self.head);
        for argument in [
            imei,
            FRAME.as_bytes(),
            frame,
            VERSION.as_bytes(),
            VERSION_TEXT.as_bytes(),
            TRANSPORT.as_bytes(),
            transport.as_bytes(),
            RECEIVED_AT_MS.as_bytes(),
            received_at_ms.to_string().as_bytes(),
        ] {
            push(&mut command, argument);
        }
        command.extend_from_slice(&self.tail);
        push(&mut command, connection);
        PyBytes::new(py, &command)
    }
}

/// Appends one argument: its length, then itself.
fn push(command: &mut Vec<u8>, argument: &[u8]) {
    // A vector takes whatever is written.
    let _ = write!(command, "${}\r\n", argument.len());
    command.extend_from_slice(argument);
    command.extend_from_slice(b"\r\n");
}

//! `EntryPacker`: one XADD of the stream entry contract, as Redis reads it.

use std::io::Write;
use std::num::NonZeroU64;

use codec8::Transport;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arguments::{TCP, UDP, received_at_of, transport_of};
use crate::entries::{FRAME, IMEI, RECEIVED_AT_MS, TRANSPORT, VERSION, VERSION_TEXT};

const GATEWAY: &str = "gateway";
const CONNECTION: &str = "connection";

/// Arguments of the command behind those that say where: seven fields with their values.
const N_FIELD_ARGUMENTS: usize = 2 * 7;

/// Packs stream entries of one stream and one gateway as XADD commands.
#[pyclass(frozen, module = "teltonika_processor._native")]
pub(crate) struct EntryPacker {
    /// All that precedes the value of `imei`.
    head: Vec<u8>,
    /// All between the values of `imei` and `frame`.
    before_frame: Vec<u8>,
    /// All between the values of `frame` and `received_at_ms`, where it came by TCP.
    over_tcp: Vec<u8>,
    /// The same where it came by UDP.
    over_udp: Vec<u8>,
    /// All between the values of `received_at_ms` and `connection`.
    tail: Vec<u8>,
}

#[pymethods]
impl EntryPacker {
    #[new]
    #[pyo3(signature = (stream, gateway, *, keep_entries = None))]
    fn new(stream: &[u8], gateway: &[u8], keep_entries: Option<NonZeroU64>) -> Self {
        let over = |transport| {
            arguments(
                &[VERSION, VERSION_TEXT, TRANSPORT, transport, RECEIVED_AT_MS].map(str::as_bytes),
            )
        };
        let kept = keep_entries.map(|entries| entries.to_string());
        let mut whither: Vec<&[u8]> = vec![b"XADD", stream];
        if let Some(kept) = &kept {
            whither.extend([&b"MAXLEN"[..], b"~", kept.as_bytes()]);
        }
        whither.push(b"*");
        let start = format!("*{}\r\n", whither.len() + N_FIELD_ARGUMENTS).into_bytes();
        Self {
            head: [start, arguments(&whither), arguments(&[IMEI.as_bytes()])].concat(),
            before_frame: arguments(&[FRAME.as_bytes()]),
            over_tcp: over(TCP),
            over_udp: over(UDP),
            tail: arguments(&[GATEWAY.as_bytes(), gateway, CONNECTION.as_bytes()]),
        }
    }

    /// The whole command in RESP; the server gives the entry its id.
    #[pyo3(signature = (imei, frame, transport, received_at_ms, connection))]
    fn xadd<'py>(
        &self,
        py: Python<'py>,
        imei: &[u8],
        frame: &[u8],
        transport: &str,
        #[pyo3(from_py_with = received_at_of)] received_at_ms: u64,
        connection: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        /// Of four values: their lengths, line ends, and a number of at most 20 digits.
        const ROUND_VALUES: usize = 128;
        let before_received_at = match transport_of(transport)? {
            Transport::Tcp => &self.over_tcp,
            Transport::Udp => &self.over_udp,
        };
        let received_at_ms = received_at_ms.to_string();
        let parts: [(&[u8], &[u8]); 4] = [
            (&self.head, imei),
            (&self.before_frame, frame),
            (before_received_at, received_at_ms.as_bytes()),
            (&self.tail, connection),
        ];
        let n_bytes: usize = parts
            .iter()
            .map(|(before, value)| before.len() + value.len())
            .sum();
        let mut command = Vec::with_capacity(n_bytes + ROUND_VALUES);
        for (before, value) in parts {
            command.extend_from_slice(before);
            push(&mut command, value);
        }
        Ok(PyBytes::new(py, &command))
    }
}

/// Arguments of a command, each with its length.
fn arguments(arguments: &[&[u8]]) -> Vec<u8> {
    let mut packed = Vec::new();
    for argument in arguments {
        push(&mut packed, argument);
    }
    packed
}

/// Appends one argument: its length, then itself.
fn push(command: &mut Vec<u8>, argument: &[u8]) {
    // A vector takes whatever is written.
    let _ = write!(command, "${}\r\n", argument.len());
    command.extend_from_slice(argument);
    command.extend_from_slice(b"\r\n");
}

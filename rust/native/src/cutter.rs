//! `FrameCutter` and `channel_packets`: what a connection or a datagram brought; the rules are codec8's.

use batch::caught;
use codec8::cutter::{CutUnit, Cutter};
use codec8::udp;
use codec8::{CommandCodec, DecodeError, Limits, RejectCode};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::arguments::limits_of;

/// Kinds of units. Numbers are API: add, never rename.
pub(crate) const UNITS: [(&str, u8); 7] = [
    ("UNIT_PING", PING),
    ("UNIT_HANDSHAKE", HANDSHAKE),
    ("UNIT_AVL", AVL),
    ("UNIT_COMMAND", COMMAND),
    ("UNIT_DAMAGED", DAMAGED),
    ("UNIT_FOREIGN", FOREIGN),
    ("UNIT_LOST", LOST),
];

const PING: u8 = 0;
const HANDSHAKE: u8 = 1;
const AVL: u8 = 2;
const COMMAND: u8 = 3;
const DAMAGED: u8 = 4;
const FOREIGN: u8 = 5;
const LOST: u8 = 6;

/// Cuts the bytes of one TCP connection into units.
#[pyclass(module = "teltonika_processor._native")]
pub(crate) struct FrameCutter {
    cutter: Cutter,
    has_panicked: bool,
}

#[pymethods]
impl FrameCutter {
    #[new]
    #[pyo3(signature = (*, frame_max_bytes))]
    fn new(#[pyo3(from_py_with = limits_of)] frame_max_bytes: Limits) -> Self {
        Self {
            cutter: Cutter::new(frame_max_bytes),
            has_panicked: false,
        }
    }

    /// The units that are whole with this read, in their order.
    #[pyo3(signature = (data, /))]
    fn feed<'py>(&mut self, data: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyList>> {
        let units = PyList::empty(data.py());
        if self.has_panicked {
            return Ok(units);
        }
        let mut listed = Ok(());
        let mut n_pings = 0;
        let mut list = |unit: CutUnit<'_>| {
            if matches!(unit, CutUnit::Ping) {
                n_pings += 1;
            } else if listed.is_ok() {
                listed = append_pings(&units, &mut n_pings)
                    .and_then(|()| units.append(py_unit(unit, data)?));
            }
        };
        if caught(|| self.cutter.feed(data.as_bytes(), &mut list)).is_err() {
            self.has_panicked = true;
            list(CutUnit::Lost {
                code: RejectCode::DecoderBug,
                offset: 0,
            });
        }
        listed.and_then(|()| append_pings(&units, &mut n_pings))?;
        Ok(units)
    }

    /// Bytes of a unit that is not whole yet.
    #[getter]
    fn n_buffered(&self) -> usize {
        self.cutter.n_buffered()
    }
}

/// A unit as Python takes it: (kind, value, number).
fn py_unit<'py>(unit: CutUnit<'_>, data: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyTuple>> {
    let py = data.py();
    let (kind, value, number) = match unit {
        CutUnit::Ping => (PING, text(py, ""), 1),
        CutUnit::Handshake(imei) => (HANDSHAKE, text(py, &imei.to_string()), 0),
        CutUnit::Avl { frame, n_data } => (AVL, shared(frame, data), n_data.into()),
        CutUnit::Command { frame, codec } => (COMMAND, shared(frame, data), codec.number().into()),
        CutUnit::Damaged { frame, n_data } => (DAMAGED, shared(frame, data), n_data.into()),
        CutUnit::Foreign(client) => (FOREIGN, text(py, client.name()), 0),
        CutUnit::Lost { code, offset } => (LOST, text(py, code.name()), offset),
    };
    (kind, value, number).into_pyobject(py)
}

/// Pings in a row are one unit: a read full of them would otherwise be a quarter of a million.
fn append_pings(units: &Bound<'_, PyList>, n_pings: &mut u64) -> PyResult<()> {
    match std::mem::take(n_pings) {
        0 => Ok(()),
        n => units.append((PING, text(units.py(), ""), n)),
    }
}

fn text<'py>(py: Python<'py>, ascii: &str) -> Bound<'py, PyBytes> {
    PyBytes::new(py, ascii.as_bytes())
}

/// The frame as bytes: the caller's own object where it is all of it.
fn shared<'py>(frame: &[u8], data: &Bound<'py, PyBytes>) -> Bound<'py, PyBytes> {
    if std::ptr::eq(frame, data.as_bytes()) {
        data.clone()
    } else {
        PyBytes::new(data.py(), frame)
    }
}

/// One channel packet of a datagram, or why it was rejected.
#[pyclass(frozen, get_all, module = "teltonika_processor._native")]
pub(crate) struct ChannelPacket {
    /// The device as it claims: 15 digits; None where rejected.
    imei: Option<String>,
    /// Packet id, echoed in the reply; 0 where rejected.
    packet_id: u16,
    /// AVL packet id, by which the device recognises the reply; 0 where rejected.
    avl_packet_id: u8,
    /// The AVL packet, codec id to number of data 2, not verified; empty where rejected.
    avl_packet: Py<PyBytes>,
    /// Number of data 1; 0 where the AVL packet is too short for it.
    n_data: u8,
    /// Codec id; 0 where the AVL packet is empty.
    codec_id: u8,
    /// Whether it is one of Codec 12 to 15, which are not answered.
    is_command: bool,
    /// The reject code's name; None where the channel packet is well-formed.
    reject: Option<&'static str>,
    /// Where the AVL packet starts in the datagram; where rejected, the offending field.
    offset: usize,
}

#[pymethods]
impl ChannelPacket {
    /// The answer that says how many records were accepted, from the first on.
    #[pyo3(signature = (n_accepted, /))]
    fn reply<'py>(&self, py: Python<'py>, n_accepted: u8) -> Bound<'py, PyBytes> {
        PyBytes::new(
            py,
            &udp::reply(self.packet_id, self.avl_packet_id, n_accepted),
        )
    }
}

/// The channel packets of one datagram, of which there is at least one.
#[pyfunction]
#[pyo3(signature = (datagram, /, *, packets_max=usize::MAX))]
pub(crate) fn channel_packets(
    datagram: &Bound<'_, PyBytes>,
    packets_max: usize,
) -> Vec<ChannelPacket> {
    udp::channel_packets(datagram.as_bytes())
        .take(packets_max)
        .map(|packet| match packet {
            Ok(packet) => well_formed(datagram.py(), &packet),
            Err(error) => rejected(datagram.py(), error),
        })
        .collect()
}

fn well_formed(py: Python<'_>, packet: &udp::ChannelPacket<'_>) -> ChannelPacket {
    ChannelPacket {
        imei: Some(packet.imei.to_string()),
        packet_id: packet.packet_id,
        avl_packet_id: packet.avl_packet_id,
        avl_packet: PyBytes::new(py, packet.avl_packet).unbind(),
        n_data: packet.n_data().unwrap_or_default(),
        codec_id: packet.codec_id().unwrap_or_default(),
        is_command: packet.codec_id().and_then(CommandCodec::of).is_some(),
        reject: None,
        offset: packet.avl_packet_start,
    }
}

fn rejected(py: Python<'_>, error: DecodeError) -> ChannelPacket {
    ChannelPacket {
        imei: None,
        packet_id: 0,
        avl_packet_id: 0,
        avl_packet: PyBytes::new(py, &[]).unbind(),
        n_data: 0,
        codec_id: 0,
        is_command: false,
        reject: Some(error.code().name()),
        offset: error.offset(),
    }
}
